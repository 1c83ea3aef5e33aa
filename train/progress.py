"""What a run tells whoever watches, and what it writes down of each step."""

import json
from pathlib import Path
from typing import Any, Protocol

METRICS = "metrics.jsonl"


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


def metrics_line(line: dict[str, Any]) -> bytes:
    """A step or an evaluation, as `metrics.jsonl` has it."""
    return json.dumps(line).encode() + b"\n"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Whole lines of metrics.jsonl; one that a kill tore is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
