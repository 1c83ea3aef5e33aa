"""Exact Jaccard similarity of candidate pairs, from the texts themselves, a bounded amount of them in memory."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tutelage.schemas.shingles import SHINGLE_WORDS, normal_texts

Numbers = npt.NDArray[np.int64]
BYTES_OF_SHINGLES = 768 << 20


class Texts(Protocol):
    """Where texts are read by number, in any batches: the numbers (ascending) and their texts."""

    def read(self, numbers: Numbers) -> Iterator[tuple[Numbers, pa.Array]]: ...


def exact_jaccard(pairs: Numbers, texts: Texts, shingle_counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Jaccard similarity of each pair (shape (pairs, 2), sorted by their left number) over sets of 5-word shingles.

    `shingle_counts[number]` is at least the number of shingles of that text: it says how many pairs fit into memory at
    once. Shingles are 64-bit hashes: two that differ count as equal once in 2**64.
    """
    similarities = np.empty(len(pairs), np.float64)
    for start, stop in _blocks(pairs, shingle_counts):
        block = pairs[start:stop]
        numbers = np.unique(block)
        sets: list[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)] * len(numbers)
        for found, some in texts.read(numbers):
            places = np.searchsorted(numbers, found).tolist()
            for place, shingles in zip(places, shingle_sets(some), strict=True):
                sets[place] = shingles
        lefts, rights = (np.searchsorted(numbers, block[:, side]).tolist() for side in (0, 1))
        for place, (left, right) in enumerate(zip(lefts, rights, strict=True)):
            similarities[start + place] = jaccard(sets[left], sets[right])
    return similarities


def shingle_sets(texts: pa.Array | Sequence[str]) -> Iterator[npt.NDArray[np.uint64]]:
    """The distinct shingles of each text, sorted."""
    for normal in normal_texts(texts):
        hashes, offsets = normal.shingles(SHINGLE_WORDS)
        places = offsets.tolist()
        for start, stop in itertools.pairwise(places):
            shingles = hashes[start:stop]
            shingles.sort()
            is_first = np.empty(len(shingles), bool)
            is_first[:1] = True
            np.not_equal(shingles[1:], shingles[:-1], out=is_first[1:])
            yield shingles[is_first]


def jaccard(left: npt.NDArray[np.uint64], right: npt.NDArray[np.uint64]) -> float:
    """Of two sorted sets; 0 where both are empty."""
    both = np.concatenate([left, right])
    both.sort(kind="stable")  # two sorted runs: a stable sort merges them
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared) if len(both) else 0.0


def _blocks(pairs: Numbers, shingle_counts: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Runs of pairs whose texts' shingles fit into BYTES_OF_SHINGLES together."""
    start = 0
    while start < len(pairs):
        stop = len(pairs)
        while stop - start > 1:
            size = int(shingle_counts[np.unique(pairs[start:stop])].sum()) * 8
            if size <= BYTES_OF_SHINGLES:
                break
            # At least halved, so that few sizes are tried.
            stop = start + max(1, min((stop - start) // 2, int((stop - start) * BYTES_OF_SHINGLES / size)))
        yield start, stop
        start = stop
