"""`tutelage doctor` on a machine that lacks something: it says what, and fails only for what a harvest needs."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tutelage.cli import doctor
from tutelage.cli.main import app


def _checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, exit_code: int) -> dict[str, dict[str, object]]:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["doctor", "--json"])
    assert shown.exit_code == exit_code, shown.output
    return {check["name"]: check for check in json.loads(shown.stdout)["checks"]}


def test_a_machine_that_can_harvest_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 1)
    checks = _checks(monkeypatch, tmp_path, exit_code=0)
    assert all(check["ok"] for check in checks.values() if check["needed"])
    assert "apache-beam 2." in str(checks["[pipelines]"]["found"])


def test_a_missing_part_that_every_harvest_needs_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(doctor.PARTS, "pipelines", ("httpx", "no-such-part"))
    found = _checks(monkeypatch, tmp_path, exit_code=1)["[pipelines]"]
    assert not found["ok"]
    assert str(found["found"]).endswith("; missing: no-such-part")
    assert found["advice"] == "pip install 'tutelage[pipelines]'"


def test_a_missing_part_of_a_later_step_is_named_and_forgiven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(doctor.PARTS, "train", ("no-such-part",))
    monkeypatch.setattr("tutelage.pipelines.embedded_teacher.WEIGHTS_PACKAGE", "no_such_weights")
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 1)
    checks = _checks(monkeypatch, tmp_path, exit_code=0)
    assert not checks["[train]"]["ok"]
    assert "no package no_such_weights" in str(checks["embedded teacher"]["found"])


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    assert _checks(monkeypatch, tmp_path, exit_code=1)["disk"]["found"] == "0.0 GB free here"


def test_a_folder_that_may_not_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert _checks(monkeypatch, tmp_path, exit_code=1)["writable"]["found"] == str(tmp_path)


def test_the_table_says_missing_and_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setitem(doctor.PARTS, "pipelines", ("no-such-part",))
    shown = CliRunner().invoke(app, ["doctor"])
    [line] = [line for line in shown.stdout.splitlines() if "[pipelines]" in line and line.startswith("MISSING")]
    assert line.rstrip().endswith("pip install 'tutelage[pipelines]'")
