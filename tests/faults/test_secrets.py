"""Secrets never reach what a run leaves or says: a planted key is searched for in every byte of it.

The teachers here repeat the key wherever a teacher can: in answers, in errors and in headers, plain and compressed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest
import yaml
from harvest_scene import config_of, teacher
from stub_faults import Scheduled
from stub_teacher import StubTeacher

from tutelage.pipelines.harvest import HarvestOptions, harvest
from tutelage.schemas.errors import TeacherError

KEY = "sk-planted/0123456789+abcdef="
VARIABLE = "PLANTED_KEY"
SPELLINGS = {KEY, KEY.replace("/", "\\/"), urllib.parse.quote(KEY, safe=""), urllib.parse.quote(KEY)}
TELLTALES = [
    "[[fault:echo_key]]",
    "[[fault:echo_key status=400]]",
    "[[fault:echo_key status=500 times=1]]",
    "[[fault:echo_key status=403]]",
]


class Remains(NamedTuple):
    folder: Path
    said: str
    stub: StubTeacher


def everything_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file's bytes, and what the compressed pages of Parquet files hold, cell by cell."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                for row in pq.read_table(path).to_pylist():
                    for column, cell in row.items():
                        yield f"{path}, {column}", cell.decode("latin-1") if isinstance(cell, bytes) else str(cell)


def places_of(text: str, folder: Path) -> list[str]:
    return [place for place, content in everything_in(folder) if text in content]


def write_config(folder: Path, stub: StubTeacher, prompts: list[str]) -> None:
    changed = teacher(base_url=stub.base_url, api_key_env=VARIABLE)
    config = config_of(folder, prompts, teachers=[changed], retry={"max_attempts": 2, "timeout_s": 5})
    (folder / "harvest.yaml").write_text(yaml.safe_dump(json.loads(config.model_dump_json(exclude_defaults=True))))


def harvest_command(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from tutelage.cli.main import run; run()", "harvest", "harvest.yaml"],
        cwd=folder,
        env={**os.environ, VARIABLE: KEY, "TMPDIR": str(folder / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=["plain", "compressed"])
def remains(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Remains:
    """What two runs of the command leave, temporary files included: one ends well, the other with a refused key."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "tmp").mkdir()
    with StubTeacher(faults=["always:gzip"] if request.param == "compressed" else []) as stub:
        write_config(folder, stub, [*TELLTALES, "an honest question"])
        well = harvest_command(folder)
        stub.schedule.append(Scheduled.parse("always:echo_key status=401"))
        write_config(folder, stub, [*TELLTALES, "an honest question", "a question too many"])
        refused = harvest_command(folder)
    assert (well.returncode, refused.returncode) == (5, 1), well.stderr + refused.stderr
    return Remains(folder, well.stdout + well.stderr + refused.stdout + refused.stderr, stub)


def test_the_teacher_was_asked_with_the_key_and_did_repeat_it(remains: Remains) -> None:
    asked = {seen.headers["authorization"] for seen in remains.stub.seen}
    assert asked == {f"Bearer {KEY}"}
    assert remains.stub.asked("echo_key") >= len(TELLTALES) + 1


def test_the_key_is_in_no_byte_that_a_run_leaves(remains: Remains) -> None:
    for spelling in SPELLINGS:
        assert places_of(spelling, remains.folder) == []


def test_the_key_is_in_nothing_that_a_run_says(remains: Remains) -> None:
    assert [spelling for spelling in SPELLINGS if spelling in remains.said] == []
    assert "Incorrect API key provided: [redacted]" in remains.said


def test_where_the_key_was_repeated_it_says_so(remains: Remains) -> None:
    """The search above finds what it looks for: this is the same search for what stands in the key's place."""
    found = {place.rpartition(", ")[2] for place in places_of("[redacted]", remains.folder / "dataset")}
    assert {"response", "provider_request_id", "detail", "body", "headers"} <= found


def test_the_name_of_the_variable_is_recorded_and_not_its_value(remains: Remains) -> None:
    assert VARIABLE in (remains.folder / "dataset" / "run.json").read_text()


def test_an_error_that_repeats_the_key_ends_the_run_with_a_message_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    with StubTeacher(faults=["always:echo_key status=401"]) as stub:
        config = config_of(tmp_path, ["hello"], teachers=[teacher(base_url=stub.base_url, api_key_env=VARIABLE)])
        with pytest.raises(TeacherError, match=r"Incorrect API key provided: \[redacted\]") as raised:
            harvest(config, HarvestOptions())
    told = "".join(traceback.format_exception(raised.value))
    assert [spelling for spelling in SPELLINGS if spelling in told] == []
    assert places_of(KEY, tmp_path) == []
