"""The order of an epoch is a function of seed and epoch; a mix is met to the row."""

import hashlib
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import Mix
from tutelage.train.rows.order import check_mix, epoch_order, readings_in_all

GOLDEN = "93ee26ca9dde0221f557e68b80f568d19de9f6c2b509dbfbba21f6d6c8da22df"


def rows_of(*teachers: int) -> Any:
    """So many rows of teacher a, of b, and so on."""
    codes = np.repeat(np.arange(len(teachers), dtype=np.int16), teachers)
    names = tuple("abcdefgh"[: len(teachers)])
    return SimpleNamespace(
        rows=len(codes), teacher=codes, teachers=names, prompt_source=codes[::-1].copy(), prompt_sources=names
    )


def mix(by: Any = "teacher", **weights: float) -> Mix:
    return Mix(by=by, weights=weights)


@given(st.integers(0, 300), st.integers(0, 2**31 - 1), st.integers(0, 10_000))
def test_an_epoch_reads_every_row_once_in_an_order_of_its_own(rows: int, seed: int, epoch: int) -> None:
    store = rows_of(rows)
    order = epoch_order(store, seed, epoch, None)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(rows))
    assert (order == epoch_order(store, seed, epoch, None)).all()
    if rows > 30:
        assert (order != epoch_order(store, seed, epoch + 1, None)).any()
        assert (order != epoch_order(store, seed + 1, epoch, None)).any()


def test_the_order_is_the_same_for_ever() -> None:
    """A resume on another day, with another numpy, has to go on in it."""
    orders = [epoch_order(rows_of(500, 500), 7, epoch, mix(a=0.5)).astype("<i8").tobytes() for epoch in range(3)]
    assert hashlib.sha256(b"".join(orders)).hexdigest() == GOLDEN
    assert epoch_order(rows_of(8), 7, 0, None).tolist() == [0, 6, 3, 7, 1, 2, 4, 5]


def test_half_a_weight_reads_another_half_in_each_epoch() -> None:
    store = rows_of(1000, 50)
    first, second = (set(epoch_order(store, 0, epoch, mix(a=0.5)).tolist()) for epoch in (0, 1))
    halves = [{row for row in epoch if row < 1000} for epoch in (first, second)]
    assert 400 < len(halves[0]) < 600
    assert halves[0] & halves[1] == set()
    assert halves[0] | halves[1] == set(range(1000))
    assert first - halves[0] == second - halves[1] == set(range(1000, 1050)), "who is not named is read once"


def test_a_weight_of_two_reads_twice_and_of_zero_never() -> None:
    order = epoch_order(rows_of(3, 4, 5), 0, 0, mix(a=2, c=0))
    assert sorted(order.tolist()) == [0, 0, 1, 1, 2, 2, 3, 4, 5, 6]


@given(st.floats(0, 5, allow_subnormal=False), st.integers(1, 12), st.integers(0, 2**31 - 1))
def test_over_epochs_a_row_is_read_its_weight_times_but_for_a_fraction(weight: float, epochs: int, seed: int) -> None:
    store = rows_of(40, 1)
    counts = np.zeros(41)
    for epoch in range(epochs):
        counts += np.bincount(epoch_order(store, seed, epoch, mix(a=weight)), minlength=41)
    assert (np.abs(counts[:40] - weight * epochs) <= 1 + 1e-9).all()
    assert counts[40] == epochs


def test_a_mix_may_go_by_prompt_source() -> None:
    order = epoch_order(rows_of(2, 3), 0, 0, mix("prompt_source", a=0))
    assert sorted(order.tolist()) == [0, 1, 2], "sources stand in the opposite order here"


def test_a_name_that_no_row_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"names teacher 'z', the training rows have a, b; correct"):
        check_mix(rows_of(1, 1), mix(z=1, a=1))


def test_a_mix_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="gives every row weight 0"):
        epoch_order(rows_of(5), 0, 0, mix(a=0))


@given(
    st.integers(0, 40), st.integers(0, 40), st.floats(0.1, 20), st.sampled_from([0.02, 0.3, 0.5, 1.7, 3]), st.booleans()
)
def test_the_length_of_a_run_is_that_of_all_its_epochs(
    first: int, second: int, epochs: float, weight: float, mixed: bool
) -> None:
    store, by = rows_of(first, second + 1), mix(a=weight) if mixed and first else None
    each = [len(epoch_order(store, 5, epoch, by)) for epoch in range(math.ceil(epochs))]
    read = [round(rows * min(1.0, epochs - epoch)) for epoch, rows in enumerate(each)]
    assert readings_in_all(store, 5, epochs, by) == sum(read)
