"""Plain-text tables, goals beside what was measured, and the machine that it was measured on."""

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple, NoReturn


class Goal(NamedTuple):
    name: str
    found: float
    unit: str
    limit: float
    at_least: bool = False  # else at most

    @property
    def is_met(self) -> bool:
        return self.found >= self.limit if self.at_least else self.found <= self.limit


def spread(values: Sequence[float]) -> str:
    """`median [min-max]`."""
    return f"{median(values):,.0f} [{min(values):,.0f}-{max(values):,.0f}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([text[0], "  ".join("-" * width for width in widths), *text[1:], ""])


def goals_table(goals: Sequence[Goal]) -> str:
    rows = [
        [
            goal.name,
            f"{goal.found:,.2f} {goal.unit}",
            f"{'at least' if goal.at_least else 'at most'} {goal.limit:g} {goal.unit}",
            "met" if goal.is_met else "MISSED",
        ]
        for goal in goals
    ]
    return table(["figure", "found", "goal", ""], rows)


def machine() -> str:
    """Two lines: processor, CPUs and versions; and the load, which says whether the figures can be trusted."""
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    names = [fact.partition(":")[2].strip() for fact in facts if fact.startswith("model name")]
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, "
        f"Python {platform.python_version()}\nload before: {os.getloadavg()[0]:.2f}\n"
    )


def end_of_drill(broken: Sequence[str]) -> NoReturn:
    """Names each promise that was broken; exits 1 where one was."""
    for promise in broken:
        print(f"BROKEN: {promise}")
    sys.exit(1 if broken else 0)
