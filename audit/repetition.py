"""Is a text, or its end, one piece said over and over? What a model falls into when it loops.

A run is a stretch that equals itself moved on by some period (Kolpakov and Kucherov 1999 call it a maximal repetition);
digits count as equal, so that a numbered loop is one, too. Of a run only the length against the text's decides, never a
list of phrases. A few places of the text are looked at, and how far each run around them reaches: microseconds, where
all runs of a text would cost milliseconds.
"""

from typing import NamedTuple

LOOP_ERROR_RATE = 0.085
LOOP_ERROR_SOURCE = (
    "121 models' answers to AlpacaEval's 805 prompts (2023-2025, evaluation only): of 94 drawn from 414 flagged of "
    "97,397, one reader found 8 that were no loops: music in letters, empty grids and forms, drawings; of 60 drawn "
    "again, 4; of 13 more that are flagged since, 1 (a song)"
)

LEAST_SHARE = 0.3
"""Rae et al. 2021 (Gopher, table A1) drop a document from 30 % repeated lines or paragraphs on."""
LEAST_REPEATS, LEAST_REPEATS_OF_LONG = 4, 3
"""Twice is a chorus, three times a figure of speech; a piece of LONG_UNIT characters said three times is neither."""
LONG_UNIT = 100
LEAST_CHARS = 80
"""A shorter run is a drawn-out word, a row of a table, a line of verse."""
LEAST_LETTERS = 8
"""In a piece with fewer letters digits do not count as equal: "0, 0, 0" is what a count to a hundred looks like."""
MARKS_SHARE = 0.5
"""Rules, dots and blanks are furniture; a text is nothing else where they are half of it."""

_GRAM = 16
_TRIES = 4
_MORE = 12
_LONGEST_UNIT = 4000
_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")


class Loop(NamedTuple):
    """`share` is that of the text's characters; `at_end`: the text ends in it."""

    unit: str
    repeats: int
    share: float
    at_end: bool
    chars: int


def loop_of(text: str) -> Loop | None:
    """The longest loop of those that were found. It may miss one of less than LEAST_SHARE in the midst of the text."""
    if text.isspace():
        return None  # an empty answer, which is found as such
    masked = text.encode().translate(_DIGITS_ALIKE).decode()
    runs = _runs(masked)
    found = [_loop(masked, run) for run in runs if _letters(masked, run) >= LEAST_LETTERS]
    if len(found) < len(runs):
        found += [_loop(text, run) for run in _runs(text)]
    return max(filter(_is_loop, found), key=lambda loop: loop.share, default=None)


def _letters(text: str, run: tuple[int, int, int]) -> int:
    start, _, period = run
    return sum(map(str.isalpha, text[start : start + period]))


def _loop(text: str, run: tuple[int, int, int]) -> Loop:
    start, end, period = run
    chars = end - start
    return Loop(text[start : start + period], chars // period, chars / len(text), len(text) - end < period, chars)


def _is_loop(loop: Loop) -> bool:
    least = LEAST_REPEATS_OF_LONG if len(loop.unit) >= LONG_UNIT else LEAST_REPEATS
    if loop.chars < LEAST_CHARS or loop.repeats < least:
        return False
    if not any(character.isalnum() for character in loop.unit):
        return loop.share >= MARKS_SHARE
    return loop.share >= LEAST_SHARE or loop.at_end


def _runs(text: str) -> list[tuple[int, int, int]]:
    """Start, end and period of the longest run through any of the places looked at; and of the one at the end, which
    counts however short it is beside the other."""
    if len(text) < LEAST_CHARS:
        return []
    # A run of LEAST_SHARE with three repeats has a place in its first two thirds, from which its period can be seen.
    step = max(int(len(text) * LEAST_SHARE / 2), _GRAM)
    best: tuple[int, int, int] | None = None
    for place in range(0, len(text) - _GRAM, step):
        if best is not None and best[0] <= place < best[1] - best[2] - _GRAM:
            continue
        best = _longer(best, _run_through(text, place, place + 1, 1))
    last = len(text) - _GRAM
    tail = _run_through(text, last, last - 1, -1) if best is None or best[1] < len(text) else None
    return [run for run in (best, tail) if run is not None]


def _run_through(text: str, place: int, other: int, direction: int) -> tuple[int, int, int] | None:
    """The longest run whose period is the distance to one of the next few places where the same characters stand."""
    gram, reach = text[place : place + _GRAM], min(len(text) // LEAST_REPEATS_OF_LONG, _LONGEST_UNIT)
    best: tuple[int, int, int] | None = None
    for _ in range(_TRIES):
        if direction > 0:
            other = text.find(gram, other, place + reach + _GRAM)
        else:
            other = text.rfind(gram, max(place - reach, 0), other + _GRAM)
        if other < 0:
            break
        if _goes_on(text, place, other):
            best = _longer(best, _run(text, min(place, other), abs(other - place)))
        other += direction
    return best


def _goes_on(text: str, place: int, other: int) -> bool:
    """Whether more than the characters looked for are the same: of most candidates that settles it."""
    ahead, back = _GRAM + _MORE, min(_MORE, place, other)
    return text[place : place + ahead] == text[other : other + ahead] or (
        back == _MORE and text[place - back : place] == text[other - back : other]
    )


def _run(text: str, place: int, period: int) -> tuple[int, int, int]:
    """How far text[i] == text[i + period] holds to both sides of a place."""
    end = place + period + _common(text, place, place + period, 1)
    start = place - _common(text, place, place + period, -1)
    return start, end, period


def _common(text: str, left: int, right: int, direction: int) -> int:
    """How many characters from two places on, or before them, are the same: by doubling, then by halving."""
    most = len(text) - right if direction > 0 else left
    low, step, grows = 0, 64, True
    while step and low < most:
        size = min(step, most - low)
        if direction > 0:
            same = text[left + low : left + low + size] == text[right + low : right + low + size]
        else:
            same = text[left - low - size : left - low] == text[right - low - size : right - low]
        low += size if same else 0
        grows = grows and same
        step = step * 2 if grows else step // 2
    return low


def _longer(one: tuple[int, int, int] | None, other: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
    if one is None or other is None:
        return one or other
    return other if other[1] - other[0] > one[1] - one[0] else one
