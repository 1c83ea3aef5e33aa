"""Recall on planted items and false findings on benign text, from real data: a part of what contamination.py quotes."""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutelage.audit.contamination import audit_contamination
from tutelage.audit.contamination_findings import ERROR_RATES
from tutelage.cli.audit_input import prepared

DATA = Path(__file__).parents[3] / "shared" / "data"
PROMPTS, ANSWERS = DATA / "prompts", DATA / "lineage-dev" / "outputs.parquet"
pytestmark = pytest.mark.skipif(not PROMPTS.is_dir(), reason="the shared prompts are not beside this checkout")
PLANTED = 400


def load(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (PROMPTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def hits_in(
    folder: Path, texts: list[str], ids: list[str], against: Sequence[str] = ("gsm8k_test",)
) -> list[dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": ids, "text": texts}), folder / "rows.parquet")
    maps = ["response=text", "row_id=id"]
    found = prepared([str(folder / "rows.parquet")], maps=maps, out=str(folder / "out"), likeness_only=True)
    audit_contamination(found.inputs, [str(PROMPTS / f"{name}.jsonl") for name in against], found.out)
    return list(pq.read_table(found.out.path("contamination_hits.parquet")).to_pylist())


@pytest.mark.parametrize(
    ("field", "kept", "in_one_run", "recall"),
    [
        ("prompt", 1.0, False, 1.0),
        ("prompt", 0.8, False, 0.998),
        ("prompt", 0.6, False, 0.982),
        ("prompt", 0.8, True, 1.0),
        ("prompt", 0.6, True, 0.994),
        ("answer", 0.8, False, 0.980),
        ("answer", 0.6, False, 0.888),
    ],
)
def test_planted_items_are_found_as_often_as_is_said(
    tmp_path: Path, field: str, kept: float, in_one_run: bool, recall: float
) -> None:
    drawn = random.Random(3)
    others = load("self_instruct_seeds") + load("user_oriented_instructions")
    vocabulary = [word for other in others for word in other["prompt"].split()]
    items = drawn.sample(load("gsm8k_test"), PLANTED)
    texts = []
    for item in items:
        words = item[field].split()
        replaced = round(len(words) * (1 - kept))
        first = drawn.randint(0, replaced)
        places = (
            [*range(first), *range(len(words) - replaced + first, len(words))]
            if in_one_run
            else drawn.sample(range(len(words)), replaced)
        )
        for place in places:
            words[place] = drawn.choice(vocabulary)
        before, behind = (" ".join(drawn.choice(others)["prompt"].split()[:60]) for _ in range(2))
        texts.append(f"{before}\n{' '.join(words)}\n{behind}")
    ids = [item["id"] for item in items]
    hits = hits_in(tmp_path / "planted", texts, ids)
    own = {hit["row_id"] for hit in hits if (hit["item_id"], hit["item_field"]) == (hit["row_id"], field)}
    # Three standard deviations of what PLANTED draws give, and one item.
    slack = 3 * math.sqrt(recall * (1 - recall) / PLANTED) + 1 / PLANTED
    assert len(own) / PLANTED == pytest.approx(recall, abs=slack)
    assert len({hit["row_id"] for hit in hits} - own) <= 0.02 * PLANTED


def test_benign_prompts_are_not_found(tmp_path: Path) -> None:
    others = load("self_instruct_seeds") + load("user_oriented_instructions")
    assert hits_in(tmp_path / "benign", [other["prompt"] for other in others], [other["id"] for other in others]) == []


def test_word_problems_are_not_found_in_a_set_of_instructions(tmp_path: Path) -> None:
    texts = [item[field] for item in load("gsm8k_test") for field in ("prompt", "answer")]
    against = ["self_instruct_seeds", "user_oriented_instructions"]
    assert hits_in(tmp_path / "reverse", texts, [str(number) for number in range(len(texts))], against) == []


@pytest.mark.skipif(not ANSWERS.is_file(), reason="the shared answers are not beside this checkout")
def test_benign_answers_are_not_found(tmp_path: Path) -> None:
    answers = [text for text in pq.read_table(ANSWERS)["response"].to_pylist() if text][::40]
    assert len(answers) > 2000
    assert hits_in(tmp_path / "answers", answers, [str(number) for number in range(len(answers))]) == []


def test_items_taken_for_another_of_their_set_are_as_many_as_the_findings_say(tmp_path: Path) -> None:
    items = load("gsm8k_test")
    hits = hits_in(tmp_path / "own", [item["prompt"] for item in items], [item["id"] for item in items])
    assert {hit["row_id"] for hit in hits if hit["method"] == "exact"} == {item["id"] for item in items}
    for method, (rate, _) in ERROR_RATES.items():
        wrong = {hit["row_id"] for hit in hits if hit["method"] == method and hit["item_id"] != hit["row_id"]}
        assert len(wrong) / len(items) == pytest.approx(rate, abs=0.5e-4), method
