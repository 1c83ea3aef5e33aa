"""The audit commands as a user meets them: exit codes, bad input, one JSON object."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_scene import dataset_of
from typer.testing import CliRunner, Result

from tutelage.audit.findings import read_findings
from tutelage.audit.folder import AuditFolder
from tutelage.cli.main import app
from tutelage.schemas.errors import ConfigError, SealBroken, TutelageError
from tutelage.schemas.rows import Completion

Build = Callable[..., Completion]
LONG = "the quick brown fox jumps over the lazy dog and runs into the forest where it sleeps until the morning comes"


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["audit", "duplicates", *arguments])
    if isinstance(result.exception, TutelageError):
        raise result.exception
    return result


def printed(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call(*arguments, "--json").stdout)
    return found


@pytest.fixture
def dataset(tmp_path: Path, completion: Build) -> str:
    texts = [LONG, LONG, LONG.replace("comes", "came"), "no", ""]
    return dataset_of(tmp_path / "set", [completion(response=text) for text in texts])


def test_duplicates_prints_one_object_with_the_promised_keys(dataset: str) -> None:
    found = printed(dataset)
    promised = {
        "documents": 4,
        "exact_clusters": 1,
        "near_clusters": 1,
        "pairs": 3,
        "bands": 16,
        "rows_per_band": 7,
        "expected_recall": 0.976851,
        "oversized_buckets": 0,
        "pairs_file": f"{dataset}/audit/duplicate_pairs.parquet",
        "clusters_file": f"{dataset}/audit/duplicate_clusters.parquet",
    }
    assert {name: found[name] for name in promised} == promised
    assert pq.read_schema(found["pairs_file"]).names[:3] == ["left_id", "right_id", "jaccard"]


def test_duplicates_says_it_in_words_too(dataset: str) -> None:
    text = call(dataset).stdout
    assert "4 compared, and 1 without a word" in text
    assert "97.7% expected of pairs at the threshold itself" in text


def test_a_broken_seal_is_refused_and_insisted_on(dataset: str) -> None:
    file = next(Path(dataset, "completions").glob("*.parquet"))
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    with pytest.raises(SealBroken, match="its bytes are not those that were sealed") as refusal:
        call(dataset)
    assert refusal.value.exit_code == 4
    assert "--unsealed" in str(refusal.value)
    insisted = call(dataset, "--unsealed")
    assert insisted.exit_code == 0
    assert "its seal does not hold" in insisted.stderr
    [found] = [item for item in read_findings(AuditFolder(f"{dataset}/audit")) if item.rule == "duplicates.unsealed"]
    assert (found.severity, found.dataset) == ("error", dataset)
    assert call(dataset, "--unsealed", "--fail-on", "error").exit_code == 3
    bench = Path(dataset).with_name("bench.jsonl")
    bench.write_text('{"question": "Why is the sky so very blue in the summer?"}')
    arguments = ["audit", "contamination", dataset, "--against", str(bench), "--unsealed", "--fail-on", "error"]
    assert CliRunner().invoke(app, arguments).exit_code == 3


def test_an_unsealed_dataset_is_audited_when_asked_for(tmp_path: Path, completion: Build) -> None:
    uri = dataset_of(tmp_path / "set", [completion(), completion()], sealed=False)
    with pytest.raises(SealBroken, match="it was never sealed"):
        call(uri)
    assert printed(uri, "--unsealed")["documents"] == 2


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "is no dataset"),
        (lambda path: (path.mkdir(), (path / "notes.txt").write_text("hi")), "is no dataset"),
        (
            lambda path: (path.mkdir(), pq.write_table(pa.table({"x": [1]}), path / "x.parquet")),
            "--map response=answer",
        ),
        (lambda path: pq.write_table(pa.table({"x": [1]}), path), "--map response=answer"),
    ],
)
def test_what_is_no_dataset_is_refused(tmp_path: Path, make: Callable[[Path], Any], complaint: str) -> None:
    make(tmp_path / "it")
    with pytest.raises(ConfigError, match=complaint) as refusal:
        call(str(tmp_path / "it"))
    assert refusal.value.exit_code == 2


def test_foreign_parquet_is_audited_through_a_map(tmp_path: Path) -> None:
    source = tmp_path / "theirs.parquet"
    pq.write_table(pa.table({"answer": [LONG, LONG, "x"], "q": ["a", "b", "c"]}), source)
    found = printed(str(source), "--map", "response=answer", "--map", "prompt=q")
    assert (found["documents"], found["pairs"], found["prompts"]["documents"]) == (3, 1, 3)
    [pair] = pq.read_table(found["pairs_file"]).to_pylist()
    assert (pair["left_id"], pair["right_id"]) == ("theirs#0", "theirs#1")
    assert found["pairs_file"] == f"{tmp_path}/theirs.audit/duplicate_pairs.parquet"
    findings = {item.rule: item for item in read_findings(AuditFolder(f"{tmp_path}/theirs.audit"))}
    assert "says nothing of teacher" in findings["duplicates.absent_provenance"].message
    assert findings["duplicates.unsealed"].severity == "info"
    assert call(str(source), "--map", "response=answer", "--fail-on", "error").exit_code == 0


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows_are_audited(tmp_path: Path, rows: int) -> None:
    source = tmp_path / "theirs.parquet"
    pq.write_table(pa.table({"answer": pa.array(["x"] * rows, pa.string())}), source)
    assert printed(str(source), "--map", "response=answer")["documents"] == rows


@pytest.mark.parametrize("threshold", ["0", "1.5", "-1"])
def test_a_threshold_outside_is_refused_before_any_work(dataset: str, threshold: str) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        call(dataset, "--threshold", threshold)
    assert not Path(dataset, "fingerprints").exists()


def test_a_dataset_named_twice_is_refused(dataset: str) -> None:
    with pytest.raises(ConfigError, match="named twice"):
        call(dataset, "--across", f"{dataset}/")


@pytest.mark.parametrize("command", ["duplicates", "quality", "contamination", "report"])
def test_a_rule_that_is_none_is_refused_before_any_work(dataset: str, tmp_path: Path, command: str) -> None:
    (tmp_path / "bench.jsonl").write_text('{"question": "Why is the sky so very blue in the summer?"}')
    against = [] if command in ("duplicates", "quality") else ["--against", str(tmp_path / "bench.jsonl")]
    result = CliRunner().invoke(app, ["audit", command, dataset, *against, "--fail-on", "bad"])
    assert isinstance(result.exception, ConfigError)
    assert "needed a severity" in str(result.exception)
    assert not Path(dataset, "fingerprints").exists()
    assert result.stdout == ""


@pytest.mark.parametrize(("rule", "code"), [("duplicates", 3), ("error", 0), ("duplicates.response_near>100", 0)])
def test_a_fail_rule_decides_the_exit_code(dataset: str, rule: str, code: int) -> None:
    assert call(dataset, "--fail-on", rule).exit_code == code


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("duplicates.response_exakt", "did you mean duplicates.response_exact"),
        ("duplicates.near>100", "duplicates has no rule 'near'"),
        ("contamination.exact", "an audit that runs here"),
    ],
)
def test_a_rule_that_could_never_fail_is_refused(dataset: str, rule: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        call(dataset, "--fail-on", rule)


def test_too_little_memory_is_told_with_what_helps(dataset: str) -> None:
    with pytest.raises(ConfigError, match="give more, like --memory-limit 4GB"):
        call(dataset, "--memory-limit", "1MB")


@pytest.mark.parametrize("uri", ["zzz://x/y", "nosuchscheme://x"])
def test_a_uri_that_nobody_can_open_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="can't be opened"):
        call(uri)


def test_results_go_where_they_are_wanted(dataset: str, tmp_path: Path) -> None:
    printed(dataset, "--out", str(tmp_path / "results"))
    assert (tmp_path / "results/findings.parquet").exists()
    assert not Path(dataset, "audit").exists()


def test_fingerprint_makes_what_is_missing(dataset: str) -> None:
    runner = CliRunner()
    first = json.loads(runner.invoke(app, ["fingerprint", dataset, "--json"]).stdout)
    assert first == {"datasets": [{"dataset": dataset, "files": 1, "reused": 0}]}
    assert "0 files fingerprinted, 1 were there" in runner.invoke(app, ["fingerprint", dataset]).stdout
