"""Did something change midway, or were there two of it all along? A test of order that needs no model of the values.

If a value of a teacher's rows had come in any order alike, how likely were as many rows before its first, or after its
last? Two fingerprints behind a load balancer take turns, and neither waits long; one that came with an update does.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

FALSE_ALARMS = 0.01
"""Share of owners (one teacher's one field) in which values that only take turns are called a change, at most: it is
divided among the 2 ends of each value (Bonferroni), and the chance is exact for rows in any order alike."""


class Change(NamedTuple):
    """A value that came or went midway. `at` is its first or last row's time; `chance`, how likely by order alone."""

    value: str
    event: str
    at: Any
    rows: int
    chance: float


def chance_of_wait(rows: int, all_rows: int, waited: int) -> float:
    """How likely none of a value's `rows` of `all_rows` stands among the first `waited`: C(n - w, m) / C(n, m).

    The hypergeometric chance of drawing none; the same holds for the last rows.
    """
    if waited > all_rows - rows:
        return 0.0
    log_chance = (
        math.lgamma(all_rows - waited + 1)
        - math.lgamma(all_rows - waited - rows + 1)
        - math.lgamma(all_rows + 1)
        + math.lgamma(all_rows - rows + 1)
    )
    return min(math.exp(log_chance), 1.0)


def changes_among(values: Sequence[Mapping[str, Any]], all_rows: int, *, certain: bool = False) -> list[Change]:
    """What came or went midway, in order of time; none where values only took turns, or too few rows tell.

    `values` have value, rows, first_at, last_at, rows_before, rows_after. `certain`: the values are set by us and not
    drawn, so that one that ends before another begins is a change however few the rows.
    """
    found: dict[tuple[str, str], Change] = {}
    for value in values:
        for event, waited, at in (
            ("came", value["rows_before"], value["first_at"]),
            ("went", value["rows_after"], value["last_at"]),
        ):
            chance = chance_of_wait(value["rows"], all_rows, waited)
            if waited and chance < FALSE_ALARMS / (2 * len(values)):
                found[value["value"], event] = Change(value["value"], event, at, value["rows"], chance)
    if certain and not found and _one_after_another(values):
        for value in values[1:]:
            chance = chance_of_wait(value["rows"], all_rows, value["rows_before"])
            found[value["value"], "came"] = Change(value["value"], "came", value["first_at"], value["rows"], chance)
    return sorted(found.values(), key=lambda change: (change.at is None, change.at, change.event, change.value))


def _one_after_another(values: Sequence[Mapping[str, Any]]) -> bool:
    pairs = list(itertools.pairwise(values))
    known = all(value["first_at"] is not None for value in values)
    return bool(pairs) and known and all(left["last_at"] < right["first_at"] for left, right in pairs)
