"""Metrics to the trackers that a config names, each behind an extra of its own: metrics.jsonl is always written."""

import importlib.util
from collections.abc import Sequence
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


def open_trackers(config: TrainConfig, folder: Path) -> list[Tracker]:
    """Of a config that `require_trackers` had nothing to say of."""
    return [_OPEN[name](config, folder) for name in config.trackers]


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

    quiet = wandb.Settings(console="off", disable_code=True, disable_git=True, x_disable_stats=True)
    return _Run(wandb, config, settings=quiet)


_OPEN: dict[str, Any] = {"tensorboard": _TensorBoard, "trackio": _trackio, "wandb": _wandb}
