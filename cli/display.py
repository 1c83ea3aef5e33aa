"""What a harvest shows while it runs: a live table on a terminal, a plain line now and then where output is piped.

Always on stderr: stdout belongs to the result.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unicodedata import category

if TYPE_CHECKING:
    from tutelage.pipelines.harvest import Watcher
    from tutelage.pipelines.plan import Plan

LINE_EVERY_S = 10.0
RATE_OVER_S = 30.0
OUTCOMES = ("ok", "truncated", "filtered", "refused", "invalid", "failed")
STEPS = {"plan": "planning", "probe": "asking each teacher what it can do", "ask": "asking", "seal": "sealing"}


@contextmanager
def display() -> Iterator["Watcher"]:
    """A watcher for `harvest`; the live table is gone when the context ends."""
    from rich.console import Console
    from rich.live import Live

    from tutelage.pipelines.harvest import Watcher

    console = Console(stderr=True)

    class Shown(Watcher):
        def __init__(self, live: Live | None) -> None:
            self._live = live
            self._rates: dict[str, _Rate] = {}
            self._line_at = -math.inf

        def phase(self, name: str, detail: str = "") -> None:
            console.print(f"{STEPS[name]} …", style="dim", highlight=False)

        def stopping(self) -> None:
            console.print(
                "stopping: draining what is in flight, then sealing. Ctrl-C again ends at once.", highlight=False
            )

        def progress(self, plan: "Plan", lanes: dict[str, Counter[str]]) -> None:
            rows = [self._row(name, plan, lanes.get(name, Counter())) for name in plan.teachers]
            if self._live is not None:
                self._live.update(_table(rows))
            elif time.monotonic() - self._line_at >= LINE_EVERY_S:
                self._line_at = time.monotonic()
                for row in rows:
                    line = ", ".join(f"{key} {value}" for key, value in row.items())
                    console.print(line, markup=False, highlight=False, soft_wrap=True)

        def _row(self, name: str, plan: "Plan", counts: Counter[str]) -> dict[str, str]:
            done = sum(counts[outcome] for outcome in OUTCOMES) + counts["reused"]
            planned = plan.teachers[name].requests
            rate = self._rates.setdefault(name, _Rate()).of(done - counts["reused"])
            left = (planned - done) / rate if rate else None
            return {
                "teacher": name + (" (paused)" if counts["paused"] else ""),
                "done": f"{done:,}/{planned:,}",
                "failed": f"{counts['failed']:,}",
                "in flight": f"{counts['in_flight']:,}/{counts['window']:,}",
                "a second": f"{rate:,.1f}",
                "429s": f"{counts['throttled']:,}",
                "tokens": f"{counts['prompt_tokens'] + counts['completion_tokens']:,}",
                "USD": f"{counts['cost_pico_usd'] / 1e12:,.4f}",
                "left": "-" if left is None or done >= planned else duration(left),
            }

    if not console.is_terminal:
        yield Shown(None)
        return
    with Live(console=console, refresh_per_second=5, transient=True) as live:
        yield Shown(live)


class _Rate:
    """Answers a second over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, done: int) -> float:
        now = time.monotonic()
        self._seen.append((now, done))
        while now - self._seen[0][0] > RATE_OVER_S:
            self._seen.popleft()
        first_at, first = self._seen[0]
        return (done - first) / (now - first_at) if now > first_at else 0.0


def _table(rows: list[dict[str, str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name in rows[0] if rows else ():
        is_teacher = name == "teacher"  # a long name gives way on a narrow terminal, a figure never does
        table.add_column(name, justify="left" if is_teacher else "right", no_wrap=not is_teacher, overflow="fold")
    for row in rows:
        table.add_row(*(Text(value) for value in row.values()))
    return table


def duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def harmless(text: str) -> str:
    """What came from a file or a server, for a terminal, which would obey control characters and not show them."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" or category(letter) == "Zs" else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )
