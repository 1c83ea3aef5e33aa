"""Two harvested texts beside one another, with what they share marked."""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from tutelage.audit.markup import Html, element, joined
from tutelage.schemas.text import normalise

TEXT_SHOWN = 2_000
SHARED_WORDS = 5


def harvested(parts: Sequence[tuple[bool, str]], length: int, before: int = 0) -> Html:
    """A text that was harvested, as a block. `parts` are pieces of it, each with whether the other text has it as well;
    `length` is that of the whole and `before` what is left out before the pieces, both in characters."""
    if not length:
        return element("div", element("span", "empty", class_="absent"), class_="harvested")
    after = length - before - sum(len(piece) for _, piece in parts)
    marked = [element("mark", piece) if is_shared else piece for is_shared, piece in parts]
    return joined(
        [
            element("p", f"{before:,} characters before this are not shown", class_="more") if before else None,
            element("div", marked, class_="harvested", dir="auto"),
            element("p", f"{after:,} more characters are not shown", class_="more") if after > 0 else None,
        ]
    )


class Side(NamedTuple):
    """One of two texts that are laid beside one another. `length` is that of the whole text, of which `text` may be a
    part; None where the text is gone."""

    heading: Html
    text: str | None
    length: int


def side_by_side(left: Side, right: Side) -> Html:
    """Both texts, with what they share marked."""
    pieces = shared_parts(left.text or "", right.text or "")
    columns = [
        element("div", element("h4", side.heading), _side_text(side, part), class_="side")
        for side, part in zip((left, right), pieces, strict=True)
    ]
    return element("div", columns, class_="sides")


def _side_text(side: Side, parts: Sequence[tuple[bool, str]]) -> Html:
    if side.text is None:
        return element("p", "This row is no longer in the dataset.", class_="absent")
    before, shown = _window(parts, TEXT_SHOWN)
    return harvested(shown, side.length, before)


@lru_cache(maxsize=256)  # a page that did not fit is made anew, of the same texts
def shared_parts(left: str, right: str, width: int = SHARED_WORDS) -> tuple[list[tuple[bool, str]], ...]:
    """Both texts in pieces: True for what lies in a run of `width` words or more that the other text has as well.

    A text of fewer words is compared whole. Words are compared in their normal form.
    """
    sides = [_words(text) for text in (left, right)]
    width = max(1, min(width, *(len(words) for words in sides)))
    runs = [{tuple(word for _, _, word in words[i : i + width]) for i in _starts(words, width)} for words in sides]
    common = runs[0] & runs[1]
    return tuple(_pieces(text, words, common, width) for text, words in zip((left, right), sides, strict=True))


Word = tuple[int, int, str]
_WORD = re.compile(r"[^\W_]+")


def _words(text: str) -> list[Word]:
    """Where the words stand, and their normal forms; in scripts without spaces each character is a word."""
    found: list[Word] = []
    for match in _WORD.finditer(text):
        forms = normalise(match[0]).split(" ")
        if len(forms) == len(match[0]) > 1:
            found += [(match.start() + place, match.start() + place + 1, form) for place, form in enumerate(forms)]
        else:
            found.append((match.start(), match.end(), " ".join(forms)))
    return found


def _starts(words: Sequence[Word], width: int) -> range:
    return range(max(0, len(words) - width + 1))


def _pieces(text: str, words: list[Word], common: set[tuple[str, ...]], width: int) -> list[tuple[bool, str]]:
    spans: list[list[int]] = []
    covered = -1
    for i in _starts(words, width):
        if tuple(word for _, _, word in words[i : i + width]) in common:
            # Runs that overlap, or follow word upon word, are one.
            if spans and i <= covered + 1:
                spans[-1][1] = words[i + width - 1][1]
            else:
                spans.append([words[i][0], words[i + width - 1][1]])
            covered = i + width - 1
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    pieces = [(bool(number % 2), text[start:end]) for number, (start, end) in enumerate(pairwise(edges))]
    return [piece for piece in pieces if piece[1]]


def _window(parts: Sequence[tuple[bool, str]], most: int) -> tuple[int, list[tuple[bool, str]]]:
    """At most `most` characters, from a little before the first shared ones on, and how many are left out before."""
    before = 0
    if any(is_shared for is_shared, _ in parts) and sum(len(piece) for _, piece in parts) > most:
        before = max(0, (0 if parts[0][0] else len(parts[0][1])) - most // 10)
    shown: list[tuple[bool, str]] = []
    skip, left = before, most
    for is_shared, piece in parts:
        kept = piece[skip:][:left]
        skip = max(0, skip - len(piece))
        left -= len(kept)
        if kept:
            shown.append((is_shared, kept))
    return before, shown
