"""`tutelage audit contamination`, as it is called."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_scene import dataset_of
from typer.testing import CliRunner, Result

from tutelage.cli import main
from tutelage.schemas.errors import ConfigError, SealBroken, TutelageError
from tutelage.schemas.rows import Completion

QUESTION = (
    "A lighthouse keeper climbs ninety eight steps every evening and lights seven lamps. How many go out by dawn?"
)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, completion: Callable[..., Completion]) -> str:
    monkeypatch.chdir(tmp_path)
    asked = completion(messages=[("user", QUESTION)], response="Two.")
    quoted = completion(messages=[("user", "Hello.")], response=f"Here is one for you: {QUESTION} Think about it.")
    dataset_of(Path("set"), [asked, quoted, completion(response="Nothing of it.")])
    Path("bench.jsonl").write_text(json.dumps({"id": "lamp", "question": QUESTION, "answer": "2"}))
    return "set"


def tutelage(*arguments: str, against: str = "bench.jsonl") -> Result:
    ended = CliRunner().invoke(main.app, ["audit", "contamination", *arguments, "--against", against])
    if isinstance(ended.exception, TutelageError):
        raise ended.exception
    return ended


def test_a_person_reads_what_was_found_and_what_was_not_looked_for(dataset: str) -> None:
    ended = tutelage(dataset)
    assert ended.exit_code == 0, ended.output
    assert "against    bench.jsonl: 1 items, 2 texts in question, answer" in ended.stdout
    assert "hits     1 exact, 1 ngram, 0 near; 2 rows hold some of it" in ended.stdout
    assert "unseen   1 texts are too short to be looked for" in ended.stdout


def test_json_is_one_object_and_nothing_else(dataset: str) -> None:
    found = json.loads(tutelage(dataset, "--json").stdout)
    assert (found["rows"], found["hits"], found["rows_hit"]) == (3, 2, 2)
    assert found["benchmarks"][0]["hits"] == {"exact": 1, "ngram": 1, "near": 0}
    assert found == json.loads(Path("set/audit/contamination.json").read_bytes())
    hits = pq.read_table(found["hits_file"]).to_pylist()
    assert [(hit["part"], hit["method"], hit["item_text"]) for hit in hits] == [
        ("prompt", "exact", QUESTION),
        ("response", "ngram", QUESTION),
    ]


@pytest.mark.parametrize(
    ("rule", "code"),
    [("contamination.exact", 3), ("contamination.exact>1", 0), ("contamination.near", 0), ("error", 3)],
)
def test_a_rule_fails_a_build(dataset: str, rule: str, code: int) -> None:
    assert tutelage(dataset, "--fail-on", rule).exit_code == code


def test_a_broken_seal_is_refused_and_insisted_on(dataset: str) -> None:
    Path("set/manifest.json").unlink()
    with pytest.raises(SealBroken):
        tutelage(dataset)
    assert tutelage(dataset, "--unsealed").exit_code == 0


def test_a_benchmark_without_text_says_what_its_fields_are(dataset: str) -> None:
    Path("scores.jsonl").write_text('{"score": 3}\n')
    with pytest.raises(ConfigError, match="its fields are score; name those that hold text with --text-field") as found:
        tutelage(dataset, against="scores.jsonl")
    assert found.value.exit_code == 2


def test_foreign_rows_of_invalid_utf_8_are_searched(dataset: str) -> None:
    broken = pa.array([b"caf\xe9 noir " + QUESTION.encode(), b"\xff\xfe"], pa.binary())
    texts = pa.StringArray.from_buffers(len(broken), *broken.buffers()[1:])
    pq.write_table(pa.table({"answer": texts}), "theirs.parquet")
    found = json.loads(tutelage("theirs.parquet", "--map", "response=answer", "--json").stdout)
    assert found["benchmarks"][0]["hits"] == {"exact": 0, "ngram": 1, "near": 0}


def test_the_text_field_is_the_one_that_is_named(dataset: str) -> None:
    found = json.loads(tutelage(dataset, "--text-field", "answer", "--json").stdout)
    assert (found["benchmarks"][0]["fields"], found["hits"]) == (["answer"], 0)
