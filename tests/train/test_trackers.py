"""Trackers get the numbers of metrics.jsonl; one that fails is told of, and ends no training."""

import importlib.util
import json
import sqlite3
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import TrainConfig
from tutelage.train.trackers import open_trackers, require_trackers


def parsed(name: str) -> TrainConfig:
    least = {"version": 1, "dataset": "d", "output": {"folder": "f"}, "trackers": [name]}
    return TrainConfig.model_validate({**least, "student": {"name": "s", "base": {"gguf": "embedded"}}})


def installed(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"needs {name}; `make extras` installs it")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where every tracker is told to keep what it hears; nothing is sent anywhere."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    yield tmp_path
    if "wandb" in sys.modules:  # it reads its surroundings once a session
        sys.modules["wandb"].teardown()


def of_tensorboard(folder: Path) -> Iterator[tuple[str, int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    for name in read.Tags()["scalars"]:
        yield from ((name, event.step, event.value) for event in read.Scalars(name))


def of_trackio(folder: Path) -> Iterator[tuple[str, int, float]]:
    with sqlite3.connect(folder / "trackio" / "tutelage.db") as database:
        for student, step, numbers in database.execute("SELECT run_name, step, metrics FROM metrics"):
            assert student == "s"
            yield from ((name, step, value) for name, value in json.loads(numbers).items())


def of_wandb(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Its file is a LevelDB log after seven bytes: a checksum, a length and a type before each record."""
    from wandb.proto.wandb_internal_pb2 import Record

    sys.modules["wandb"].teardown()  # a process of its own writes the file
    [path] = folder.glob("wandb/offline-run-*/*.wandb")
    kept, at, students = path.read_bytes(), 7, set()
    while at < len(kept):
        length, whole = struct.unpack_from("<HB", kept, at + 4)
        assert whole == 1, "a record in pieces, which this reader does not know"
        record = Record.FromString(kept[at + 7 : at + 7 + length])
        at += 7 + length
        if record.HasField("run"):
            students.add(record.run.display_name)
        values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        step = values.pop("_step", None)
        yield from ((name, step, value) for name, value in values.items() if not name.startswith("_"))
    assert students == {"s"}


@pytest.mark.parametrize(
    ("name", "read"),
    [
        pytest.param("tensorboard", of_tensorboard, marks=installed("tensorboard")),
        pytest.param("trackio", of_trackio, marks=installed("trackio")),
        pytest.param("wandb", of_wandb, marks=installed("wandb")),
    ],
)
def test_a_tracker_keeps_the_numbers_under_the_students_name_and_stdout_is_left_alone(
    name: str, read: Any, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    [tracker] = open_trackers(parsed(name), folder, print)
    tracker.log({"step/loss": 1.5, "step/tokens": 20.0}, 3)
    tracker.log({"step/loss": 1.25}, 4)
    tracker.close()
    assert sorted(read(folder)) == [("step/loss", 3, 1.5), ("step/loss", 4, 1.25), ("step/tokens", 3, 20.0)]
    assert capfd.readouterr().out == ""


@installed("wandb")
def test_wandb_keeps_no_code_no_packages_and_no_output_of_the_machine(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    begin, told = wandb.init, []

    def init(**facts: Any) -> Any:
        told.append(facts["settings"])
        return begin(**facts)

    monkeypatch.setattr(wandb, "init", init)
    [tracker] = open_trackers(parsed("wandb"), folder, print)
    tracker.close()
    [settings] = told
    assert (settings.console, settings.disable_code, settings.disable_git, settings.x_disable_stats) == (
        "off",
        True,
        True,
        True,
    )
    [run] = folder.glob("wandb/offline-run-*")
    kept = {path.name for path in run.rglob("*") if path.is_file()}
    assert not {name for name in kept if name.endswith((".py", ".patch")) or name in {"output.log", "requirements.txt"}}


@installed("wandb")
def test_a_tracker_without_an_account_is_told_before_the_first_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"wandb would not begin .*; set it up, or take it out"):
        open_trackers(parsed("wandb"), folder, print)


class Failing(ModuleType):
    """A tracker that takes a step and then no more."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.heard: list[int] = []

    def init(self, **_: Any) -> None: ...

    def log(self, _: dict[str, float], step: int) -> None:
        self.heard.append(step)
        if step > 1:
            raise OSError("the server is gone")

    def finish(self) -> None:
        raise AssertionError("it was to be asked no more")


def test_one_that_fails_on_the_way_is_told_once_and_asked_no_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing()
    monkeypatch.setitem(sys.modules, "trackio", failing)
    told: list[str] = []
    [tracker] = open_trackers(parsed("trackio"), folder, told.append)
    tracker.log({"step/loss": 1.0}, 1)
    assert told == []
    tracker.log({"step/loss": 1.0}, 2)
    tracker.log({"step/loss": 1.0}, 3)
    tracker.close()
    assert failing.heard == [1, 2]
    [said] = told
    assert said.startswith("trackers: trackio failed (the server is gone) and is not asked again")


def test_one_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.train.trackers.importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"trackio is not installed; pip install 'tutelage\[trackio\]'"):
        require_trackers(["trackio"])
