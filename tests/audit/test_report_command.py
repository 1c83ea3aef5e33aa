import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit_scene import dataset_of

from tutelage.cli.audit_report import run_report
from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.rows import Completion

SAME = "The tide turns twice a day, and the boats in the bay turn with it, whoever watches from the pier."


def report(*datasets: str, **options: Any) -> int:
    defaults: dict[str, Any] = {"against": (), "maps": (), "unsealed": False, "out": None, "as_json": False}
    return run_report(datasets, **defaults | {"fail_on": (), "memory_limit": "1GB"} | options)


@pytest.fixture(name="rows")
def _rows(completion: Callable[..., Completion]) -> list[Completion]:
    return [completion(response=SAME if number < 3 else f"Answer {number} of its own.") for number in range(6)]


def test_a_report_runs_the_audits_and_says_where_it_is(
    tmp_path: Path, rows: list[Completion], capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = dataset_of(tmp_path / "set", rows)
    assert report(dataset) == 0
    printed = capsys.readouterr().out
    path = tmp_path / "set" / "audit" / "report.html"
    assert f"report    {path}" in printed
    page = path.read_text()
    assert "3 responses" in page
    assert "duplicates.response_exact" in page


def test_json_is_one_object_with_the_page_and_the_findings(
    tmp_path: Path, rows: list[Completion], capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = dataset_of(tmp_path / "set", rows)
    report(dataset, as_json=True, out=str(tmp_path / "out"))
    found = json.loads(capsys.readouterr().out)
    assert found["report"] == str(tmp_path / "out" / "report.html")
    assert found["bytes"] == (tmp_path / "out" / "report.html").stat().st_size
    assert found["datasets"] == [dataset]
    assert found["sealed"] is True
    counts = found["findings"]
    assert counts["total"] == counts["error"] + counts["warning"] + counts["info"] > 0


def test_the_same_inputs_give_the_same_page(tmp_path: Path, rows: list[Completion]) -> None:
    dataset = dataset_of(tmp_path / "set", rows)
    for out in ("one", "two"):
        report(dataset, out=str(tmp_path / out))
    assert (tmp_path / "one" / "report.html").read_bytes() == (tmp_path / "two" / "report.html").read_bytes()


def test_a_seal_that_does_not_hold_stops_it_unless_one_insists_and_then_the_page_says_so(
    tmp_path: Path, rows: list[Completion]
) -> None:
    dataset = dataset_of(tmp_path / "set", rows, sealed=False)
    with pytest.raises(SealBroken):
        report(dataset)
    assert report(dataset, unsealed=True) == 0
    assert "NOT sealed" in (tmp_path / "set" / "audit" / "report.html").read_text()


def test_a_broken_rule_fails_it_after_the_page_is_written(
    tmp_path: Path, rows: list[Completion], capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = dataset_of(tmp_path / "set", rows)
    assert report(dataset, fail_on=["duplicates.response_exact"]) == 3
    assert "duplicates.response_exact" in capsys.readouterr().err
    assert (tmp_path / "set" / "audit" / "report.html").exists()


def test_a_rule_that_is_none_is_refused_before_anything_is_done(tmp_path: Path, rows: list[Completion]) -> None:
    dataset = dataset_of(tmp_path / "set", rows)
    with pytest.raises(ConfigError, match="--fail-on"):
        report(dataset, fail_on=["dupes"])
    assert not (tmp_path / "set" / "audit").exists()
