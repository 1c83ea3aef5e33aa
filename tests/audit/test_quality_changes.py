"""A change midway is told from two of a kind that take turns."""

import itertools
import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.audit.changes import FALSE_ALARMS, chance_of_wait, changes_among


def values_of(order: Sequence[str]) -> list[dict[str, Any]]:
    """What quality/09_reported tells of rows in this order, one a second."""
    found = []
    for value in dict.fromkeys(order):
        places = [place for place, other in enumerate(order) if other == value]
        first, last = places[0], places[-1]
        waits = {"rows_before": first, "rows_after": len(order) - 1 - last}
        found.append({"value": value, "rows": len(places), "first_at": first, "last_at": last, **waits})
    return found


def told(order: str, **how: bool) -> list[tuple[str, str, int]]:
    return [(change.value, change.event, change.at) for change in changes_among(values_of(order), len(order), **how)]


@pytest.mark.parametrize(
    ("rows", "all_rows", "waited", "chance"),
    [(1, 2, 1, 1 / 2), (5, 10, 5, 1 / 252), (2, 4, 1, 1 / 2), (3, 10, 0, 1.0), (3, 10, 8, 0.0), (1, 1000, 999, 0.001)],
)
def test_the_chance_by_hand(rows: int, all_rows: int, waited: int, chance: float) -> None:
    assert chance_of_wait(rows, all_rows, waited) == pytest.approx(chance)


@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 8))
def test_the_chance_is_that_of_all_orders(rows: int, others: int, waited: int) -> None:
    n = rows + others
    orders = list(itertools.combinations(range(n), rows))
    share = Fraction(sum(min(places) >= waited for places in orders), len(orders))
    assert chance_of_wait(rows, n, min(waited, n)) == pytest.approx(float(share))


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("a" * 20 + "b" * 20, [("a", "went", 19), ("b", "came", 20)]),
        ("a" * 20 + "ab" * 10 + "b" * 20, [("b", "came", 21), ("a", "went", 38)]),
        ("a" * 30 + "ab" * 15, [("b", "came", 31)]),
        ("ab" * 20, []),
        ("aab" * 20, []),
        ("aaab" + "baab" * 10, []),
        ("a" * 40, []),
        ("ab", []),
        ("aaabbb", []),  # 1 of 10 orders of six would look like this by chance
        ("a" * 60 + "b", []),
        ("", []),
    ],
)
def test_a_change_by_hand(order: str, wanted: list[tuple[str, str, int]]) -> None:
    assert told(order) == wanted


def test_what_is_set_and_not_drawn_changes_even_in_few_rows() -> None:
    assert told("aab") == []
    assert told("aab", certain=True) == [("b", "came", 2)]
    assert told("aba", certain=True) == []


def test_two_behind_a_load_balancer_are_called_a_change_as_rarely_as_is_said() -> None:
    """2,000 of the 20,000 simulated teachers behind quality_changes.DRIFT_ERROR_RATE."""
    draw, alarms = random.Random(11), 0
    for _ in range(2000):
        share, rows = draw.random(), int(20 * 100 ** draw.random())
        order = ["a" if draw.random() < share else "b" for _ in range(rows)]
        alarms += bool(changes_among(values_of(order), rows))
    assert alarms / 2000 <= FALSE_ALARMS
