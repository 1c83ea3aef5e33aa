"""Packs: nothing lost, nothing twice, nothing too long, nearly full, and the same again from any state."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.train.rows.packing import Pack, PackStream, best_fit, steps_of

LENGTHS = st.lists(st.integers(1, 100), max_size=60)


def stream(lengths: list[int], **changed: object) -> PackStream:
    arguments: dict[str, object] = {"epochs": 1, "pack_tokens": 100, "window": 16, "seed": 0}
    every = np.array(lengths, np.int32)
    return PackStream(
        every,
        lambda epoch: np.random.default_rng(epoch).permutation(len(every)),
        **{**arguments, **changed},  # type: ignore[arg-type]
    )


@given(LENGTHS)
def test_every_length_is_in_one_pack_that_holds_it(lengths: list[int]) -> None:
    packs = best_fit(lengths, 100)
    assert sorted(place for pack in packs for place in pack) == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in pack) <= 100 for pack in packs)


@given(LENGTHS)
def test_best_fit_is_the_rule_done_slowly(lengths: list[int]) -> None:
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [place for place, room in enumerate(rooms) if room >= length]
        if fitting:
            rooms[min(fitting, key=lambda place: rooms[place])] -= length
        else:
            rooms.append(100 - length)
    found = [100 - sum(lengths[place] for place in pack) for pack in best_fit(lengths, 100)]
    assert sorted(found) == sorted(rooms)


@given(LENGTHS, st.integers(1, 20), st.sampled_from([0.5, 1.0, 2.0, 2.5]))
def test_an_epoch_reads_every_row_once(lengths: list[int], window: int, epochs: float) -> None:
    if not lengths:
        return
    packs = list(stream(lengths, window=window, epochs=epochs))
    read = sorted((item.epoch, item.row) for pack in packs for item in pack.documents)
    whole = [(epoch, row) for epoch in range(int(epochs)) for row in range(len(lengths))]
    assert read[: len(whole)] == whole
    assert len(read) == len(whole) + round(len(lengths) * (epochs % 1))
    assert all(pack.tokens <= 100 for pack in packs)


@given(LENGTHS, st.integers(1, 20), st.integers(0, 40))
def test_a_stream_goes_on_from_its_state_as_if_nothing_had_happened(lengths: list[int], window: int, cut: int) -> None:
    if not lengths:
        return
    undisturbed = list(stream(lengths, window=window, epochs=2))
    first = stream(lengths, window=window, epochs=2)
    begun: list[Pack] = []
    for pack in first:
        if len(begun) == cut:
            break
        begun.append(pack)
        state = json.loads(json.dumps(first.state()))
    if not begun or len(begun) < cut:
        return
    assert begun + list(stream(lengths, window=window, epochs=2, state=state)) == undisturbed


def test_instruction_data_fills_its_packs() -> None:
    random = np.random.default_rng(0)
    lengths = np.clip(np.exp(random.normal(np.log(150), 0.8, 5000)), 8, 1024).astype(int).tolist()
    packs = list(stream(lengths, pack_tokens=1024, window=1024))
    assert sum(lengths) / (1024 * len(packs)) > 0.99


def test_rows_that_never_fill_a_pack_are_not_carried_for_ever() -> None:
    packs = stream([60] * 100, window=4)
    most = 0
    for _ in packs:
        most = max(most, len(packs.state()["carry"]))
    assert most <= 4


def test_packs_are_not_in_the_order_of_their_lengths() -> None:
    packs = list(stream([90] * 50 + [20] * 50, window=100))
    kinds = [len(pack.documents) for pack in packs]
    assert kinds not in (sorted(kinds), sorted(kinds, reverse=True))


@pytest.mark.parametrize(("packs", "sizes"), [(7, [3, 3, 1]), (6, [3, 3]), (0, [])])
def test_the_last_step_may_be_short(packs: int, sizes: list[int]) -> None:
    assert [len(step) for step in steps_of(iter([Pack(())] * packs), 3)] == sizes
