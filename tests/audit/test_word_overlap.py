"""The longest common subsequence of words, and which windows of a text are worth it."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.audit.word_overlap import LEAST_SHARE, common_words, near_index, near_matches
from tutelage.schemas.shingles import shingles_of

WORDS = st.lists(st.integers(2, 6), max_size=150)


def by_dynamic_programming(left: list[int], right: list[int]) -> int:
    row = [0] * (len(right) + 1)
    for a in left:
        before = 0
        for place, b in enumerate(right):
            above = row[place + 1]
            row[place + 1] = before + 1 if a == b else max(above, row[place])
            before = above
    return row[-1]


def lengths_of(pairs: list[tuple[list[int], list[int]]]) -> list[int]:
    lefts, rights = ([pair[side] for pair in pairs] for side in (0, 1))
    flat = [np.array([word for text in texts for word in text], np.uint64) for texts in (lefts, rights)]
    sizes = [np.array([len(text) for text in texts]) for texts in (lefts, rights)]
    starts = [np.cumsum(size) - size for size in sizes]
    return common_words(flat[0], starts[0], sizes[0], flat[1], starts[1], sizes[1]).tolist()


@pytest.mark.parametrize(
    ("left", "right", "common"),
    [
        ([2, 3, 4], [2, 3, 4], 3),
        ([2, 3, 4], [4, 3, 2], 1),
        ([2, 3, 2, 4], [3, 4, 2], 2),
        ([2] * 70, [2] * 65, 65),
        ([2], [3], 0),
    ],
)
def test_common_words_by_hand(left: list[int], right: list[int], common: int) -> None:
    assert lengths_of([(left, right)]) == [common]


@given(st.lists(st.tuples(WORDS.filter(bool), WORDS.filter(bool)), min_size=1, max_size=6))
def test_common_words_are_those_of_dynamic_programming(pairs: list[tuple[list[int], list[int]]]) -> None:
    assert lengths_of(pairs) == [by_dynamic_programming(left, right) for left, right in pairs]


ITEM = (
    "Gretchen collects copper lanterns and sells every third lantern to a museum in Lisbon. If the museum pays forty "
    "crowns for each lantern, how many crowns does Gretchen earn from ninety lanterns?"
)
FILLER = "Every autumn the orchard keeper gathers apples, stores them in wooden crates and waits for the first frost. "


def share_in(text: str, item: str = ITEM) -> float:
    seen = shingles_of([FILLER * 5], 1)
    found = near_matches(near_index(shingles_of([item], 1), seen), shingles_of([text], 1))
    return float(found.shares[0]) if len(found.shares) else 0.0


def with_words_replaced(text: str, share: float, seed: int) -> str:
    drawn = random.Random(seed)
    words = text.split()
    for place in drawn.sample(range(len(words)), round(share * len(words))):
        words[place] = drawn.choice(FILLER.split())
    return " ".join(words)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("replaced", [0.0, 0.2, 0.4])
def test_an_item_is_found_within_a_long_text_though_words_were_replaced(replaced: float, seed: int) -> None:
    share = share_in(FILLER * 20 + with_words_replaced(ITEM, replaced, seed) + FILLER * 20)
    assert share >= 1 - replaced - 0.04
    assert share >= LEAST_SHARE


@pytest.mark.parametrize(
    "text",
    [
        "",
        FILLER * 40,
        # The same kind of question about something else.
        "Marco buys old maps and sells every fourth map to a library in Porto. If the library pays thirty francs for "
        "each map, how many francs does Marco get for eighty maps?",
        # Its rare words, scattered over a long text.
        "".join(f"{word} {FILLER * 4}" for word in ("Gretchen", "copper", "lanterns", "museum", "Lisbon", "crowns")),
        "How many are there? If so, how many does each of them have, and how many are left in all?",
    ],
)
def test_look_alikes_are_not_the_item(text: str) -> None:
    assert share_in(text) == 0.0


def test_an_item_of_common_words_alone_is_not_looked_for() -> None:
    item = "how many of them are there and what do they have in all of it"
    assert share_in(FILLER + item, item) == 0.0
    assert near_index(shingles_of([item], 1), shingles_of([FILLER], 1)).needed.tolist() == [0]
