"""Rows that hold text of an evaluation set: by hand, on look-alikes, and on input that is no good."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from audit_scene import input_of

from tutelage.audit import contamination
from tutelage.audit.contamination import ContaminationReport, audit_contamination
from tutelage.audit.findings import read_findings
from tutelage.audit.folder import AuditFolder
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import Completion

QUESTION = (
    "A lighthouse keeper climbs ninety eight steps every evening and lights seven lamps, of which two go out before "
    "midnight. How many lamps still burn at midnight?"
)
ANSWER = "Count what was lit, take away what has gone dark, and you are left with five when the clock strikes twelve."
FILLER = "The orchard keeper gathers apples in autumn and stores them in wooden crates until the first frost. "
ITEMS = [
    {"id": "lamp", "question": QUESTION, "answer": ANSWER},
    {"id": "short", "question": "What is the capital of France?", "answer": "Paris."},
    {"id": "boats", "question": "All of the boats in the harbour are blue, and the Petrel lies there. Its colour?"},
]


class Scene:
    def __init__(self, folder: Path, build: Callable[..., Completion]) -> None:
        self.folder, self.build = folder, build
        self.out = AuditFolder(str(folder / "results"))
        self.against = self.benchmark("bench.jsonl", ITEMS)

    def benchmark(self, name: str, items: list[dict[str, Any]]) -> str:
        path = self.folder / name
        path.write_text("".join(json.dumps(item) + "\n" for item in items))
        return str(path)

    def audit(self, rows: list[tuple[str, str]], *against: str) -> ContaminationReport:
        made = [self.build(messages=[("user", prompt)], response=response) for prompt, response in rows]
        self.ids = [row.row_id for row in made]
        return audit_contamination([input_of(self.folder / "set", made)], against or (self.against,), self.out)

    def hits(self) -> list[dict[str, Any]]:
        return list(pq.read_table(self.out.path("contamination_hits.parquet")).to_pylist())

    def found(self) -> list[tuple[int, str, str, str, str]]:
        """(place of the row, part, item, field, method) of each hit."""
        names = ("part", "item_id", "item_field", "method")
        return [(self.ids.index(hit["row_id"]), *(hit[name] for name in names)) for hit in self.hits()]  # type: ignore[misc]


@pytest.fixture
def scene(tmp_path: Path, completion: Callable[..., Completion]) -> Scene:
    return Scene(tmp_path, completion)


def test_a_table_by_hand(scene: Scene) -> None:
    words = QUESTION.split()
    replaced = " ".join("apples" if place % 3 == 0 else word for place, word in enumerate(words))  # 67 % are left
    rows = [
        (QUESTION.upper(), "Five."),
        (FILLER, f"{FILLER}{QUESTION}{FILLER}"),
        (f"{FILLER}{replaced}", "Five."),
        (f"{FILLER}{' '.join(words[:14])} {FILLER}", ANSWER),
        (FILLER, "Nothing of it."),
    ]
    report = scene.audit(rows)
    assert scene.found() == [
        (0, "prompt", "lamp", "question", "exact"),
        (1, "response", "lamp", "question", "ngram"),
        (2, "prompt", "lamp", "question", "near"),
        (3, "prompt", "lamp", "question", "ngram"),
        (3, "response", "lamp", "answer", "exact"),
    ]
    shares = [round(hit["share"], 2) for hit in scene.hits()]
    assert shares[:2] == [1.0, 1.0]
    assert 0.6 <= shares[2] <= 0.75
    # 27 words have 15 13-grams, and 14 of the words have 2 of them.
    assert (len(words), shares[3]) == (27, round(2 / 15, 2))
    assert (report.rows, report.rows_hit, report.hits) == (5, 4, 5)
    [benchmark] = report.to_json()["benchmarks"]
    assert (benchmark["items"], benchmark["fields"], benchmark["too_short"]) == (3, ["question", "answer"], 2)
    assert benchmark["hits"] == {"exact": 2, "ngram": 2, "near": 1}
    assert scene.out.exists("contamination.json")


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "What is the capital of France? Paris.",
        "How many lamps still burn at midnight?",
        "The lighthouse keeper lights the lamps every evening.",
        "Answer the following question. Think step by step, and give the final answer at the end.",
        "A postman climbs sixty four stairs every morning and carries nine parcels, of which three are heavy. How many "
        "parcels are not heavy?",
        "",
    ],
)
def test_look_alikes_and_short_phrases_are_not_found(scene: Scene, text: str) -> None:
    report = scene.audit([(text, text), (FILLER, f"{FILLER * 10}{text}")])
    assert (scene.found(), report.findings) == ([], [])


def test_both_texts_stand_side_by_side_and_long_ones_are_cut_around_the_match(scene: Scene) -> None:
    scene.audit([(FILLER, f"{FILLER * 300}{QUESTION} {FILLER * 300}")])
    [hit] = scene.hits()
    assert hit["item_text"] == QUESTION
    assert QUESTION in hit["row_text"]
    assert len(hit["row_text"]) <= 2000
    assert hit["row_text"].startswith("…")


def test_rows_of_one_text_all_have_its_hits(scene: Scene) -> None:
    report = scene.audit([(QUESTION, FILLER)] * 50)
    assert (report.prompts, report.responses, report.hits, report.rows_hit) == (1, 1, 50, 50)


def test_findings_say_how_sure_they_are(scene: Scene) -> None:
    scene.audit([(QUESTION, FILLER), (FILLER, f"{FILLER}{QUESTION}")])
    found = read_findings(scene.out)
    assert [(item.rule, item.severity, item.rows) for item in found] == [
        ("contamination.exact", "error", 1),
        ("contamination.ngram", "error", 1),
    ]
    assert found[0].row_ids == [scene.ids[0]]
    assert found[0].error_rate == 0.0
    assert "2 texts of fewer than 8 words" in found[0].cannot_tell


def test_several_evaluation_sets_are_told_apart(scene: Scene) -> None:
    other = scene.benchmark("other.jsonl", [{"id": "filler", "text": FILLER}])
    report = scene.audit([(QUESTION, FILLER)], scene.against, other)
    assert [item.rows_hit for item in report.benchmarks] == [1, 1]
    assert {hit["benchmark"] for hit in scene.hits()} == {scene.against, other}


def test_what_one_text_holds_of_a_thousand_items_is_bounded_and_counted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contamination, "MOST_HITS", 5)
    items = [{"id": str(number), "question": QUESTION} for number in range(12)]
    report = scene.audit([(QUESTION, FILLER)], scene.benchmark("copies.jsonl", items))
    assert (report.hits, report.benchmarks[0].hits_left_out, report.rows_hit) == (5, 7, 1)


@pytest.mark.parametrize("count", [0, 1])
def test_few_rows_are_searched(scene: Scene, count: int) -> None:
    report = scene.audit([(QUESTION, "Five.")] * count)
    assert (report.rows, report.hits) == (count, count)


def test_a_row_of_a_megabyte_is_searched(scene: Scene) -> None:
    scene.audit([(FILLER, f"{FILLER * 6000}{QUESTION}{FILLER * 6000}")])
    assert [hit[-1] for hit in scene.found()] == ["ngram"]


def test_the_same_search_leaves_the_same_bytes(scene: Scene) -> None:
    rows = [(QUESTION, FILLER), (FILLER, f"{FILLER}{QUESTION}")]
    dataset = input_of(scene.folder / "set", [scene.build(messages=[("user", p)], response=r) for p, r in rows])
    left = []
    for _ in range(2):
        audit_contamination([dataset], [scene.against], scene.out)
        left.append([scene.out.read(name) for name in ("contamination_hits.parquet", "contamination.json")])
    assert left[0] == left[1]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("b.jsonl", "", "holds no item"),
        ("b.jsonl", '{"score": 1}\n', "its fields are score"),
        ("b.jsonl", '{"question": "   "}\n', "none was found with text in it"),
        ("b.jsonl", "{no json\n", "line 1 is no JSON"),
        ("b.txt", "text", "an evaluation set ends in"),
        ("b.csv", 'question\n"never closed\n', "is no CSV"),
        ("b.parquet", "no parquet", "can't be read"),
    ],
)
def test_what_is_no_evaluation_set_is_refused(scene: Scene, name: str, content: str, complaint: str) -> None:
    (scene.folder / name).write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        scene.audit([(QUESTION, "x")], str(scene.folder / name))


def test_one_that_is_not_there_or_named_twice_is_refused(scene: Scene) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        scene.audit([(QUESTION, "x")], "gone.jsonl")
    with pytest.raises(ConfigError, match="named twice"):
        scene.audit([(QUESTION, "x")], scene.against, scene.against)


def test_text_fields_are_those_that_the_user_names(scene: Scene) -> None:
    odd = scene.benchmark("odd.jsonl", [{"id": "x", "aufgabe": QUESTION, "note": FILLER}])
    dataset = input_of(scene.folder / "set", [scene.build(messages=[("user", QUESTION)], response=FILLER)])
    report = audit_contamination([dataset], [odd], scene.out, text_fields=["aufgabe"])
    assert [hit["item_field"] for hit in scene.hits()] == ["aufgabe"]
    assert report.hits == 1
    with pytest.raises(ConfigError, match="no evaluation set has text in it"):
        audit_contamination([dataset], [odd], scene.out, text_fields=["aufgabe", "frage"])
