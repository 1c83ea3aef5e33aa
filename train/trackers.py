"""Metrics to the trackers that a config names, each behind an extra of its own: metrics.jsonl is always written."""

from pathlib import Path
from typing import Any

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import TrainConfig
from tutelage.train.progress import Tracker


def open_trackers(config: TrainConfig, folder: Path) -> list[Tracker]:
    """Raises ConfigError where one is not installed."""
    found: list[Tracker] = []
    for name in config.trackers:
        try:
            found.append(_OPEN[name](config, folder))
        except ImportError as error:
            raise ConfigError(
                f"trackers: {name} is not installed ({error}); pip install 'tutelage[{name}]', or take it out"
            ) from error
    return found


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
    """trackio and wandb, which share an interface. Nothing is sent but numbers and the student's name."""

    def __init__(self, module: Any, config: TrainConfig) -> None:
        self._module = module
        module.init(project="tutelage", name=config.student.name)

    def log(self, values: dict[str, float], step: int) -> None:
        self._module.log(values, step=step)

    def close(self) -> None:
        self._module.finish()


def _trackio(config: TrainConfig, _: Path) -> Tracker:
    import trackio

    return _Run(trackio, config)


def _wandb(config: TrainConfig, _: Path) -> Tracker:
    import wandb

    return _Run(wandb, config)


_OPEN: dict[str, Any] = {"tensorboard": _TensorBoard, "trackio": _trackio, "wandb": _wandb}
