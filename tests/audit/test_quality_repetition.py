"""Loops are told from what only looks like one."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.audit import repetition
from tutelage.audit.repetition import (
    LEAST_CHARS,
    LEAST_LETTERS,
    LEAST_REPEATS,
    LEAST_REPEATS_OF_LONG,
    LEAST_SHARE,
    LONG_UNIT,
    loop_of,
)

SENTENCE = "I will be their nanny with a hug. "
PROSE = (
    "The harbour wakes before the sun. Nets are hauled in, gulls argue over every silver scale, and somebody at the "
    "far end of the pier sings to nobody in particular about a ship that never came home. By nine the ice is gone. "
)


@pytest.mark.parametrize(
    ("text", "unit", "repeats", "share", "at_end"),
    [
        (SENTENCE * 10, SENTENCE, 10, 1.0, True),
        (SENTENCE * 5 + "I wi", SENTENCE, 5, 1.0, True),  # cut off at its limit
        (PROSE + "ha" * 100, "ha", 100, 200 / (len(PROSE) + 200), True),
        ("no, " * 100 + PROSE, "no, ", 100, 400 / (400 + len(PROSE)), False),
        (PROSE[:150] + "la" * 150 + PROSE[:150], "la", 150, 0.5, False),
        ("哈" * 200, "哈", 200, 1.0, True),
        ("7 " * 100, "7 ", 100, 1.0, True),
        ("!" * 300, "!", 300, 1.0, True),
    ],
)
def test_a_loop_by_hand(text: str, unit: str, repeats: int, share: float, at_end: bool) -> None:
    loop = loop_of(text)
    assert loop is not None
    # A run's first whole piece may begin anywhere within it; it is the same piece, turned.
    assert loop.unit in unit * 2
    assert len(loop.unit) == len(unit)
    assert loop.repeats == pytest.approx(repeats, abs=1)
    assert loop.share == pytest.approx(share, abs=0.02)
    assert loop.at_end is at_end


def test_a_loop_that_counts_along_is_one() -> None:
    loop = loop_of("".join(f"{number}. Buy more milk at the shop.\n" for number in range(1, 60)))
    assert loop is not None
    assert loop.share > 0.8


def test_a_long_passage_said_three_times_is_a_loop_and_twice_is_not() -> None:
    assert loop_of(PROSE * 2) is None
    assert loop_of(PROSE * 3) is not None


def test_a_tail_loop_is_found_however_long_the_text_before_it() -> None:
    words = random.Random(5)
    before = " ".join("".join(words.choices("abcdefgh", k=6)) for _ in range(3000))
    loop = loop_of(f"{before} {SENTENCE * 5}")
    assert loop is not None
    assert loop.at_end
    assert loop.share < 0.05


def test_a_tail_loop_is_found_beside_a_longer_one_that_is_too_short_for_its_text() -> None:
    words = random.Random(6)
    text, other = (" ".join("".join(words.choices("abcdefgh", k=6)) for _ in range(count)) for count in (1200, 400))
    middle, tail = "and again " * 100, "no way out. " * 30
    assert loop_of(text + middle + other) is None
    loop = loop_of(text + middle + other + tail)
    assert loop is not None
    assert loop.at_end
    assert loop.chars == pytest.approx(len(tail), abs=12)


VERSES = (PROSE[place : place + 90] for place in (0, 40, 80, 120))
STEPS = ("Wash the rice", "Boil the water", "Add the salt", "Stir the pot", "Wait for a while", "Serve your guests")
PEOPLE = (("Ada", 36, "London"), ("Grace", 85, "Arlington"), ("Alan", 41, "Wilmslow"), ("Emmy", 53, "Bryn Mawr"))
BENIGN = {
    "a refrain between verses": "\n".join(f"{verse}\nOh, roll on, river!\nOh, roll on!" for verse in VERSES),
    "a numbered list": "\n".join(f"{number}. {step}." for number, step in enumerate(STEPS)),
    "a table": "| name | age | city |\n| --- | --- | --- |\n" + "\n".join(f"| {a} | {b} | {c} |" for a, b, c in PEOPLE),
    "code": "def f(x):\n    if x == 1:\n        return 'one'\n    elif x == 2:\n        return 'two'\n    pass\n",
    "a count to a hundred": ", ".join(str(number) for number in range(1, 101)),
    "a multiplication table": "\n".join(f"{a} x {b} = {a * b}" for a in range(1, 8) for b in range(1, 8)),
    "a rule under a heading": f"Report\n{'=' * 100}\n{PROSE}{PROSE[30:]}",
    "a drawn-out word": "That is sooooooooooooooooooooooooo good!",
    "a chorus at the end": PROSE + "Never let me go, never let me go, never let me go.",
    "one word": "Yes",
    "nothing": "",
    "nothing but blanks": " " * 1000,
}


@pytest.mark.parametrize("name", BENIGN)
def test_what_only_looks_like_a_loop_is_none(name: str) -> None:
    assert loop_of(BENIGN[name]) is None


def test_a_megabyte_takes_no_time_to_speak_of_and_keeps_its_loop() -> None:
    assert loop_of("".join(random.Random(3).choices("abcdefghijklmnop ", k=1_000_000))) is None
    loop = loop_of("spam and eggs, " * 70_000)
    assert loop is not None
    assert loop.repeats == 70_000


def longest_by_hand(text: str) -> list[tuple[int, int, int]]:
    """Every run that counts as a loop, by trying every period at every place."""
    found = []
    for period in range(1, len(text) // 3 + 1):
        start = 0
        while start < len(text) - period:
            end = start
            while end + period < len(text) and text[end] == text[end + period]:
                end += 1
            chars = end + period - start
            unit = text[start : start + period]
            least = LEAST_REPEATS_OF_LONG if period >= LONG_UNIT else LEAST_REPEATS
            if chars >= max(LEAST_CHARS, least * period) and any(map(str.isalnum, unit)):
                found.append((start, end + period, period))
            start = end + 1
    return found


LETTERS = st.text("abcde ", min_size=1, max_size=12)


@given(
    before=st.text("xyz .", max_size=60), unit=LETTERS, times=st.integers(1, 40), after=st.text("uvw .", max_size=60)
)
def test_as_many_loops_are_found_as_by_trying_everything(before: str, unit: str, times: int, after: str) -> None:
    text = before + unit * times + after
    runs = longest_by_hand(text)
    wanted = [run for run in runs if run[1] - run[0] >= LEAST_SHARE * len(text) or len(text) - run[1] < run[2]]
    loop = loop_of(text)
    if loop is None:
        assert wanted == []
    elif any(map(str.isalnum, loop.unit)):
        assert round(loop.share * len(text)) in {end - start for start, end, _ in wanted}


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_text_at_all_is_read(text: str) -> None:
    loop = loop_of(text)
    assert loop is None or 0 < loop.share <= 1


def test_digits_alone_do_not_make_a_piece_equal() -> None:
    few = "a" * (LEAST_LETTERS - 1)
    assert loop_of("".join(f"{few}{number:03d}" for number in range(100, 200))) is None


REAL = Path(__file__).parents[3] / "shared" / "data" / "lineage-dev" / "outputs.parquet"


@pytest.mark.skipif(not REAL.exists(), reason="shared/data is not here: real answers to measure on")
def test_real_answers_loop_as_rarely_as_was_measured() -> None:
    """427 of 97,397; read one by one in a sample, 8 of 94 were none (repetition.LOOP_ERROR_SOURCE)."""
    import pyarrow.parquet as pq

    texts = [text or "" for text in pq.read_table(REAL, columns=["response"])["response"].to_pylist()[::10]]
    assert 25 <= sum(loop_of(text) is not None for text in texts) <= 60
    assert pytest.approx(8 / 94, abs=0.001) == repetition.LOOP_ERROR_RATE
