"""What docs/queries.md promises: each of its queries runs, and has the columns and rows that it should."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sql_scene import Scene, scene

from tutelage.audit.sql_names import NAMES, check_query
from tutelage.audit.sql_query import run_query
from tutelage.schemas.rows import Completion

PAGE = (Path(__file__).parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"### (\d+)\. ([^\n]+)\n\n([^\n]+)\n\n```sql\n(.+?)\n```", PAGE, re.DOTALL)
COLUMNS = {
    1: "teacher model_reported train_use answers first_at last_at",
    2: "dataset teacher train_use obligations reasons declared_by_user override",
    3: "dataset teacher train_use sealed_use answers",
    4: "obligation answers teachers",
    5: "teacher label answers example",
    6: "dataset sealed event created_at merkle_root leaves tombstones problems",
    7: "dataset reason withdrawn first_at last_at",
    8: "dataset teacher request_id prompt_id",
    9: "prompt_source cause prompts first_row example",
    10: "teacher cause retryable requests mean_attempts last_at",
    11: "run_id started_at ended_at code_version answers",
    12: "teacher outcome outcome_cause answers percent",
    13: "teacher answers characters tokens",
    14: "prompt_language response_language answers",
    15: "opening answers teachers",
    16: "teacher usd calls probes usd_per_useful_row",
    17: "severity rule dataset rows message threshold threshold_source error_rate cannot_tell",
    18: "what jaccard left_teacher right_teacher left_text right_text",
    19: "cluster_id kind answers prompt_clusters teachers",
    20: "benchmark part method items answers most",
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, completion: Callable[..., Completion]) -> Scene:
    return scene(tmp_path_factory.mktemp("queries") / "set", completion)


def test_there_are_twenty_numbered_in_order_each_with_a_question_and_a_sentence() -> None:
    assert [int(number) for number, _, _, _ in QUERIES] == list(range(1, 21))
    assert all(question.endswith("?") and sentence.endswith(".") for _, question, sentence, _ in QUERIES)
    assert PAGE.count("```sql") == 20


def test_together_they_ask_every_table() -> None:
    assert frozenset().union(*(check_query(query) for *_, query in QUERIES)) >= set(NAMES)


@pytest.mark.parametrize(("number", "query"), [(int(number), query) for number, *_, query in QUERIES])
def test_a_query_of_the_page_has_its_columns_and_a_row(everything: Scene, number: int, query: str) -> None:
    with run_query([everything.dataset], everything.out, query) as reader:
        table = reader.read_all()
    assert table.column_names == COLUMNS[number].split()
    assert table.num_rows > 0


def test_pairs_of_answers_and_of_prompts_are_shown_with_their_texts(everything: Scene) -> None:
    with run_query([everything.dataset], everything.out, QUERIES[17][-1]) as reader:
        rows = reader.read_all().to_pylist()
    assert [row["what"] for row in rows] == ["answer", "prompt"]
    assert [row["left_text"][:11] for row in rows] == ["the harbour", "Describe a "]


def test_a_request_that_ended_nowhere_is_the_one_that_was_planned_only(everything: Scene) -> None:
    with run_query([everything.dataset], everything.out, QUERIES[7][-1]) as reader:
        assert reader.read_all().column("request_id").to_pylist() == ["e" * 64]
