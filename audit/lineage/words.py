"""Texts as arrays of 64-bit hashes: words, words and punctuation, templates of function words, runs of characters.

Every signal is a bag of such hashes. One pass of a regular expression cuts a text; what a token is like is looked up
once a token, and the rest is numpy.
"""

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Bag = npt.NDArray[np.uint64] | npt.NDArray[np.uint32]
"""Features of a text, each as often as it has it."""

LONGEST_TEXT = 20_000
"""Characters of a response that are read: its first 12,000 and its last 8,000. A model that runs on is told by its
length, and 100,000 characters of it would only cost time."""
_HEAD = 12_000
_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]|\n+")
_ENDS = ".!?:…。！？।؟۔።։\n"
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SPREAD = np.uint64(0xBF58476D1CE4E5B9)

_LISTED = (
    "a an the and or but if then of to in on at by for with from as is are was were be been being am do does did "
    "have has had having can could will would should may might must shall it its this that these those i you he "
    "she they we me him her them us my your his their our not no yes so than too very just also there here what "
    "which who whom whose when where why how all any each few more most other some such only own same both about "
    "into over under again further once because while during before after above below between out up down off "
    "through against i'm it's don't can't let's here's that's there's "
)
FUNCTION_WORDS = frozenset(_LISTED.split())
"""English words of the closed classes (articles, pronouns, auxiliaries, prepositions, conjunctions)."""


class Tokens(NamedTuple):
    """One text's words and signs, in its order. `plain` ignores case; `template` keeps function words and signs, and
    makes one placeholder of every other word. `ends` marks what a sentence or a line ends with."""

    cased: Hashes
    plain: Hashes
    template: Hashes
    is_word: npt.NDArray[np.bool_]
    ends: npt.NDArray[np.bool_]

    def words(self) -> Hashes:
        return self.plain[self.is_word]


class _Vocabulary(dict[str, int]):
    """Numbers for tokens as they turn up, and what each is like in tables by that number."""

    def __init__(self) -> None:
        self.tables = _tables(1 << 12)

    def __missing__(self, piece: str) -> int:
        number = len(self)
        if number == len(self.tables.cased):
            larger = _tables(2 * number)
            for table, grown in zip(self.tables, larger, strict=True):
                grown[:number] = table
            self.tables = larger
        lower = piece.lower().replace("’", "'")
        is_word = piece[0].isalnum() or piece[0] == "_"
        kept = not is_word or lower in FUNCTION_WORDS
        row = (hashed(piece), hashed(lower), hashed(lower if kept else "@"), is_word, piece[0] in _ENDS)
        for table, value in zip(self.tables, row, strict=True):
            table[number] = value
        self[piece] = number
        return number


def _tables(size: int) -> Tokens:
    cased, plain, template = (np.zeros(size, np.uint64) for _ in range(3))
    return Tokens(cased, plain, template, np.zeros(size, np.bool_), np.zeros(size, np.bool_))


_VOCABULARY_SIZE = 1 << 20
_vocabulary = _Vocabulary()


def shown_part(text: str) -> str:
    """What is read of a text: all of it, or the head and the tail of one that is too long."""
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:_HEAD]}\n{text[_HEAD - LONGEST_TEXT :]}"


def tokens_of(text: str) -> Tokens:
    global _vocabulary
    if len(_vocabulary) > _VOCABULARY_SIZE:
        _vocabulary = _Vocabulary()
    pieces = _TOKEN.findall(text)
    numbers = np.fromiter(map(_vocabulary.__getitem__, pieces), np.int64, len(pieces))
    tables = _vocabulary.tables
    return Tokens(
        tables.cased[numbers],
        tables.plain[numbers],
        tables.template[numbers],
        tables.is_word[numbers],
        tables.ends[numbers],
    )


def runs(hashes: Hashes, length: int) -> Hashes:
    """A hash of every `length` items in a row; none where there are fewer."""
    count = len(hashes) - length + 1
    if count < 1:
        return np.empty(0, np.uint64)
    mixed = np.zeros(count, np.uint64)
    for step in range(length):
        mixed = mixed * _MIX + hashes[step : count + step] * _SPREAD + np.uint64(step + 1)
    return mixed ^ (mixed >> np.uint64(31))


def prefixes(hashes: Hashes, most: int) -> Hashes:
    """A hash of the first item, of the first two, and so on up to `most`: texts share as many as they begin alike."""
    first = hashes[:most]
    powers = _powers(most)[: len(first)]
    mixed = np.cumsum((first * _SPREAD + np.uint64(1)) * powers, dtype=np.uint64)
    mixed = mixed * _MIX
    return mixed ^ (mixed >> np.uint64(29))


def placed(hashes: Hashes) -> Hashes:
    """The items, each told apart by its place."""
    return hashes * _MIX + np.arange(1, len(hashes) + 1, dtype=np.uint64) * _SPREAD


def root_shares(places: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float32]:
    """Square roots of the shares that each of `size` buckets has of the places: a unit vector, or 0 of no place."""
    counts = np.bincount(places, minlength=size)
    found: npt.NDArray[np.float32] = np.sqrt(counts / max(counts.sum(), 1)).astype(np.float32)
    return found


def characters(text: str) -> npt.NDArray[np.uint32]:
    """Every four bytes in a row of the text in lower case, as a number."""
    data = np.frombuffer(text.lower().encode("utf-8", "replace"), np.uint8).astype(np.uint32)
    if len(data) < 4:
        return np.empty(0, np.uint32)
    found: npt.NDArray[np.uint32] = (
        data[:-3] | data[1:-2] << np.uint32(8) | data[2:-1] << np.uint32(16) | data[3:] << np.uint32(24)
    )
    return found


def hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


@lru_cache(8)
def _powers(count: int) -> Hashes:
    return np.cumprod(np.full(count, _MIX | np.uint64(1)), dtype=np.uint64)
