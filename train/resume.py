"""Where a run goes on: the newest checkpoint that is whole, with the logs that belong to it."""

from pathlib import Path
from typing import Any

from tutelage.schemas.errors import ConfigError
from tutelage.train import checkpoint as checkpoints
from tutelage.train.checkpoint import Checkpoint
from tutelage.train.progress import METRICS, Watcher
from tutelage.train.record.row_log import Saved, log_damage
from tutelage.train.student_folder import CHECKPOINTS, ROW_LOG


def newest(folder: Path, identity: dict[str, Any], watcher: Watcher) -> Checkpoint | None:
    """The newest checkpoint that is whole, with the logs that belong to it. Raises ConfigError where it is of another
    run, or where there are some and none is whole."""
    where = folder / CHECKPOINTS
    checkpoints.remove_unfinished(where)
    names = checkpoints.steps_saved(where)
    for name in reversed(names):
        broken = checkpoints.damage(where / name)
        if broken is None:
            state = checkpoints.read_state(where / name)
            checkpoints.require_same_run(state["identity"], identity, where)
            broken = _logs_damage(folder, state)
        if broken is None:
            watcher.note(f"going on from step {state['step']}")
            return checkpoints.load(where / name)
        watcher.note(f"{where / name}: is damaged ({broken}); it is passed over")
    if names:
        raise ConfigError(
            f"{where}: holds {len(names)} checkpoints, and none is whole; restore one from a copy, or delete the "
            "folder to begin anew"
        )
    return None


def _logs_damage(folder: Path, state: dict[str, Any]) -> str | None:
    metrics = folder / METRICS
    size = metrics.stat().st_size if metrics.exists() else 0
    if size < state["metrics_bytes"]:
        return f"{METRICS} has {size} bytes of {state['metrics_bytes']}"
    return log_damage(folder / ROW_LOG, Saved(*state["row_log"]))
