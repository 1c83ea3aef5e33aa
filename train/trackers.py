"""Metrics to the trackers that a config names, each behind an extra of its own: metrics.jsonl is always written."""

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import TrainConfig
from tutelage.train.progress import Tracker


def require_trackers(names: Sequence[str]) -> None:
    """Raises ConfigError where one is not installed: before anything is read, not after the first step."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"trackers: {name} is not installed; pip install 'tutelage[{name}]', or take it out")


def open_trackers(config: TrainConfig, folder: Path, tell: Callable[[str], None]) -> list[Tracker]:
    """Of a config that `require_trackers` had nothing to say of. Raises ConfigError where one will not begin; one that
    fails later is told of."""
    with contextlib.ExitStack() as begun:
        found: list[Tracker] = []
        for name in config.trackers:
            found.append(_Asked(name, config, folder, tell))
            begun.callback(found[-1].close)
        begun.pop_all()
    return found


class _Asked:
    """A tracker that may fail, but can't end a training, nor write between the lines of --json."""

    def __init__(self, name: str, config: TrainConfig, folder: Path, tell: Callable[[str], None]) -> None:
        self._name, self._tell = name, tell
        try:
            with contextlib.redirect_stdout(sys.stderr):
                self._tracker: Tracker | None = _OPEN[name](config, folder)
        except Exception as error:  # no account, no network: each has errors of its own
            raise ConfigError(f"trackers: {name} would not begin ({error}); set it up, or take it out") from error

    def log(self, values: dict[str, float], step: int) -> None:
        self._ask(lambda tracker: tracker.log(values, step))

    def close(self) -> None:
        self._ask(lambda tracker: tracker.close())

    def _ask(self, what: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            with contextlib.redirect_stdout(sys.stderr):
                what(self._tracker)
        except Exception as error:  # noqa: BLE001 - whatever it was, the training goes on
            self._tracker = None
            self._tell(
                f"trackers: {self._name} failed ({error}) and is not asked again; metrics.jsonl has every number"
            )


class _TensorBoard:
    def __init__(self, _: TrainConfig, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def log(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Run:
    """trackio and wandb, which share an interface. We give them numbers and the student's name; what they add of the
    machine, and where they send it, is their own settings' affair."""

    def __init__(self, module: Any, config: TrainConfig, **settings: Any) -> None:
        self._module = module
        module.init(project="tutelage", name=config.student.name, **settings)

    def log(self, values: dict[str, float], step: int) -> None:
        self._module.log(values, step=step)

    def close(self) -> None:
        self._module.finish()


def _trackio(config: TrainConfig, _: Path) -> Tracker:
    import trackio

    return _Run(trackio, config)


def _wandb(config: TrainConfig, _: Path) -> Tracker:
    import wandb

    quiet = wandb.Settings(
        console="off", disable_code=True, disable_git=True, x_disable_stats=True, x_save_requirements=False
    )
    return _Run(wandb, config, settings=quiet)


_OPEN: dict[str, Any] = {"tensorboard": _TensorBoard, "trackio": _trackio, "wandb": _wandb}
