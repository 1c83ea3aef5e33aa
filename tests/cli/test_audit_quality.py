"""`tutelage audit quality`, as it is called."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from audit_scene import dataset_of
from typer.testing import CliRunner, Result

from tutelage.cli import main
from tutelage.cli.audit_quality import run_quality
from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.rows import Completion


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, completion: Callable[..., Completion]) -> str:
    monkeypatch.chdir(tmp_path)
    rows = [completion(response="spam and eggs, " * 30, model_reported=f"\x1b[2Jv{n // 9}") for n in range(18)]
    dataset_of(Path("set"), rows)
    return "set"


def tutelage(*arguments: str) -> Result:
    return CliRunner().invoke(main.app, ["audit", "quality", *arguments])


def test_a_person_reads_the_gravest_first_and_no_control_of_a_teachers(dataset: str) -> None:
    ended = tutelage(dataset)
    assert ended.exit_code == 0, ended.output
    lines = ended.stdout.splitlines()
    assert lines[0] == "18 rows; 3 findings (set/audit/findings.parquet)"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["warning", "repetition"],
        ["warning", "teacher_drift"],
        ["info", "cost"],
    ]
    assert "\x1b" not in ended.stdout
    assert r"\x1b[2Jv0" in ended.stdout


def test_json_is_one_object_and_nothing_else(dataset: str) -> None:
    found = json.loads(tutelage(dataset, "--json").stdout)
    assert found["rows"] == 18
    assert found["findings"] == {"info": 1, "warning": 2, "error": 0}
    assert found == json.loads(Path("set/audit/quality.json").read_bytes())


@pytest.mark.parametrize(
    ("rule", "code"), [("quality.repetition", 3), ("quality.repetition>18", 0), ("warning", 3), ("error", 0)]
)
def test_a_rule_fails_a_build(dataset: str, rule: str, code: int) -> None:
    assert tutelage(dataset, "--fail-on", rule).exit_code == code


def test_a_broken_seal_is_refused_unless_one_insists_and_then_is_a_finding(dataset: str) -> None:
    Path("set/manifest.json").unlink()
    with pytest.raises(SealBroken):
        run_quality([dataset])
    ended = tutelage(dataset, "--unsealed", "--fail-on", "quality.unsealed")
    assert ended.exit_code == 3
    assert "ERROR    unsealed" in ended.stdout


def test_languages_are_compared_after_an_audit_that_needed_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, completion: Callable[..., Completion]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [("user", "Please describe in a few sentences how a small harbour wakes up in the morning.")]
    answered = (
        "Der Hafen erwacht, bevor die Sonne aufgeht. Die Fischer holen ihre Netze ein, und die Möwen streiten sich um "
        "jeden silbernen Fisch, der auf das Deck fällt, während am Ende des Piers jemand ein altes Lied singt."
    )
    dataset_of(Path("set"), [completion(messages=asked, response=answered)])
    assert CliRunner().invoke(main.app, ["audit", "duplicates", "set"]).exit_code == 0
    assert tutelage("set", "--fail-on", "quality.language_mismatch").exit_code == 3


@pytest.mark.parametrize("rule", ["nonsense", "quality.empty>", "speed.empty"])
def test_a_rule_that_is_none_costs_no_audit(dataset: str, rule: str) -> None:
    with pytest.raises(ConfigError, match="--fail-on"):
        run_quality([dataset], fail_on=[rule])
    assert not Path("set/audit").exists()


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no dataset"):
        run_quality([str(tmp_path)])


def test_results_go_where_one_says(dataset: str) -> None:
    assert tutelage(dataset, "--out", "elsewhere").exit_code == 0
    assert sorted(path.name for path in Path("elsewhere").iterdir()) == ["findings.parquet", "quality.json"]
