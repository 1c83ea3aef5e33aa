"""Trackers get the numbers of metrics.jsonl; one that is missing is told before anything is read."""

import sys
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


class Made(ModuleType):
    """A tracker of the test's own under a real one's name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = None
        self.begun: dict[str, Any] = {}
        self.logged: list[tuple[dict[str, float], int]] = []
        self.finished = False

    def init(self, **facts: Any) -> None:
        self.begun = facts

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((values, step))

    def finish(self) -> None:
        self.finished = True

    def Settings(self, **settings: Any) -> dict[str, Any]:
        return settings


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_tracker_hears_the_students_name_and_the_numbers(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = Made(name)
    monkeypatch.setitem(sys.modules, name, made)
    monkeypatch.setattr("tutelage.train.trackers.importlib.util.find_spec", lambda _: object())
    [tracker] = open_trackers(parsed(name), tmp_path)
    tracker.log({"step/loss": 1.5}, 3)
    tracker.close()
    assert made.begun["name"] == "s"
    assert made.logged == [({"step/loss": 1.5}, 3)]
    assert made.finished


def test_wandb_is_told_to_keep_the_machine_to_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = Made("wandb")
    monkeypatch.setitem(sys.modules, "wandb", made)
    monkeypatch.setattr("tutelage.train.trackers.importlib.util.find_spec", lambda _: object())
    open_trackers(parsed("wandb"), tmp_path)
    settings = made.begun["settings"]
    assert settings == {"console": "off", "disable_code": True, "disable_git": True, "x_disable_stats": True}


def test_one_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.train.trackers.importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"trackio is not installed; pip install 'tutelage\[trackio\]'"):
        require_trackers(["trackio"])
