"""What a run tells whoever watches, and what it writes down of each step."""

import json
import os
from pathlib import Path
from typing import Any, Protocol

from tutelage.schemas.storage_errors import storage_errors

METRICS = "metrics.jsonl"
KEPT = "the checkpoints are safe"


class Watcher:
    """Hears of a run; does nothing. `line` is a line of metrics.jsonl, and what else a display wants beside it."""

    def phase(self, name: str, detail: str = "") -> None: ...

    def note(self, text: str) -> None: ...

    def step(self, line: dict[str, Any], done: float) -> None:
        """After each step; `done` is the share of the run."""

    def evaluated(self, line: dict[str, Any]) -> None: ...


class Tracker(Protocol):
    def log(self, values: dict[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class Metrics:
    """`metrics.jsonl`, a line a step or evaluation. A resumed run cuts off what came after its checkpoint."""

    def __init__(self, path: Path, begin_at: int = 0) -> None:
        self._path = path
        with storage_errors(str(path), KEPT):
            self._stream = path.open("ab")
            self._stream.truncate(begin_at)
            self._stream.seek(begin_at)

    def write(self, line: dict[str, Any]) -> None:
        with storage_errors(str(self._path), KEPT):
            self._stream.write(json.dumps(line).encode() + b"\n")
            self._stream.flush()

    def saved(self) -> int:
        """Bytes, all of them on the disk."""
        with storage_errors(str(self._path), KEPT):
            self._stream.flush()
            os.fsync(self._stream.fileno())
        return self._stream.tell()

    def close(self) -> None:
        with storage_errors(str(self._path), KEPT):
            self._stream.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Whole lines of metrics.jsonl; one that a kill tore is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
