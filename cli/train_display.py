"""What a training shows while it runs: a live table on a terminal, a plain line now and then where output is piped.

Always on stderr: stdout belongs to the result.
"""

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tutelage.cli.display import duration, harmless

if TYPE_CHECKING:
    from tutelage.train.progress import Watcher

LINE_EVERY_S = 10.0
RATE_OVER_STEPS = 20
PHASES = {
    "tokens": "tokens of the rows",
    "model": "the base, and whether packed rows stay apart in it",
    "saving": "saving the student",
}
BARS = "▁▂▃▄▅▆▇█"


@contextmanager
def display(speaks: bool = True) -> Iterator["Watcher"]:
    """A watcher for `train`; the live table is gone when the context ends."""
    from rich.console import Console
    from rich.live import Live

    from tutelage.train.progress import Watcher

    if not speaks:
        yield Watcher()
        return
    console = Console(stderr=True)

    class Shown(Watcher):
        def __init__(self, live: Live | None) -> None:
            self._live = live
            self._line_at = -math.inf
            self._seen: deque[tuple[float, float, int]] = deque(maxlen=RATE_OVER_STEPS)
            self._losses: list[float] = []
            self._held_out = "-"

        def phase(self, name: str, detail: str = "") -> None:
            console.print(f"{PHASES.get(name, name)} …", style="dim", highlight=False)

        def note(self, text: str) -> None:
            console.print(harmless(text), highlight=False, markup=False, soft_wrap=True)

        def evaluated(self, line: dict[str, Any]) -> None:
            self._held_out = f"{line['loss']:.4f}"
            console.print(f"held out at step {line['step']:,}: loss {line['loss']:.4f}", highlight=False)

        def step(self, line: dict[str, Any], done: float) -> None:
            self._losses.append(line["loss"])
            self._seen.append((time.monotonic(), done, line["tokens"]))
            row = self._row(line, done)
            if self._live is not None:
                self._live.update(_table(row, self._losses))
            elif time.monotonic() - self._line_at >= LINE_EVERY_S:
                self._line_at = time.monotonic()
                text = ", ".join(f"{key} {value}" for key, value in row.items())
                console.print(text, markup=False, highlight=False, soft_wrap=True)

        def _row(self, line: dict[str, Any], done: float) -> dict[str, str]:
            (first_at, first_done, _), (last_at, _, _) = self._seen[0], self._seen[-1]
            elapsed = last_at - first_at
            rate = sum(tokens for _, _, tokens in list(self._seen)[1:]) / elapsed if elapsed else line["tokens_per_s"]
            left = elapsed * (1 - done) / (done - first_done) if done > first_done else None
            shown = {
                "step": f"{line['step']:,}",
                "done": f"{done:.0%}",
                "epoch": str(line["epoch"]),
                "loss": f"{line['loss']:.4f}",
                "held out": self._held_out,
                "tokens/s": f"{rate:,.0f}",
                "fill": f"{line['fill']:.1%}",
                "rate": f"{line['learning_rate']:.1e}",
                "memory": f"{line['memory_bytes'] / 1e9:.2f} GB",
                "left": "-" if left is None else duration(left),
            }
            if line.get("mfu") is not None:
                shown["MFU"] = f"{line['mfu']:.1%}"
            return shown

    if not console.is_terminal:
        yield Shown(None)
        return
    with Live(console=console, refresh_per_second=5, transient=True) as live:
        yield Shown(live)


def _table(row: dict[str, str], losses: list[float]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name in row:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*(Text(value) for value in row.values()))
    return Group(table, Text(f"loss {sparkline(losses)}", style="dim"))


def sparkline(values: list[float], width: int = 60) -> str:
    """The values as bars, averaged to at most `width` of them; the lowest is the lowest bar."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    size = max(1, -(-len(finite) // width))
    means = [sum(part) / len(part) for part in (finite[i : i + size] for i in range(0, len(finite), size))]
    low, high = min(means), max(means)
    steps = [round((len(BARS) - 1) * (value - low) / (high - low)) if high > low else 0 for value in means]
    return "".join(BARS[step] for step in steps)
