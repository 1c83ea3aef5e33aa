"""Word shingles of many texts at once, as 64-bit hashes: numpy over the flat bytes of an Arrow column.

A shingle is `width` words in a row with one space between them; a text of fewer words has one, all of it. About 25 us
for 2,000 characters, a fifth of what splitting in Python costs. `text.normalise` is the reference that tests hold
this against.
"""

import hashlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.schemas.text import fold

SHINGLE_FORM = "tutelage.shingles/1"
SHINGLE_WORDS = 5
"""Words in a shingle of the signatures and of the Jaccard similarity."""
BASE = 0x9E3779B97F4A7C15
BYTES_AT_ONCE = 1 << 17
"""What is worked on at once: few enough calls to numpy, and arrays that stay in the processor's cache."""
SCRATCH_SIZE = 1 << 18
LONGEST_POLYNOMIAL = 512
"""Bytes of a shingle from which on it is hashed by BLAKE2b: polynomials modulo 2**64 have known collisions from 1,024
bytes on, whatever the base (Thue-Morse strings)."""

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


class Shingles(NamedTuple):
    """`hashes[offsets[i]:offsets[i + 1]]` are those of text i, in its order, repeated where it repeats itself."""

    hashes: Hashes
    offsets: Places


class NormalTexts(NamedTuple):
    """Texts in normal form, flat: text i is `data[offsets[i]:offsets[i + 1]]`, UTF-8 with one space between words.

    Word j is `data[word_starts[j]:word_ends[j]]`; text i has the words `word_offsets[i]` up to `word_offsets[i + 1]`.
    """

    data: npt.NDArray[np.uint8]
    offsets: Places
    word_starts: Places
    word_ends: Places
    word_offsets: Places

    def text(self, number: int) -> bytes:
        return self.data[self.offsets[number] : self.offsets[number + 1]].tobytes()

    def sha256(self) -> list[str]:
        """SHA-256 of each normal form, in hex: equal for texts that are the same."""
        view, ends = self.data.data, self.offsets.tolist()
        return [hashlib.sha256(view[start:end]).hexdigest() for start, end in itertools.pairwise(ends)]

    def word_counts(self) -> Places:
        return np.diff(self.word_offsets)

    def shingles(self, width: int) -> Shingles:
        """Hashes of every run of `width` words; of the whole text where it has fewer, of none where it has no word."""
        counts = self.word_counts()
        shingle_counts = np.where(counts >= width, counts - width + 1, np.minimum(counts, 1))
        offsets = np.concatenate([[0], np.cumsum(shingle_counts)])
        # The first word of each shingle, and its last: the text's own last where it has fewer words than `width`.
        first = np.arange(offsets[-1]) + np.repeat(self.word_offsets[:-1] - offsets[:-1], shingle_counts)
        last = np.minimum(first + width, np.repeat(self.word_offsets[1:], shingle_counts)) - 1
        return Shingles(self._hashes(self.word_starts[first], self.word_ends[last]), offsets)

    def _hashes(self, starts: Places, ends: Places) -> Hashes:
        """(sum of byte * BASE**(place - start)) mod 2**64, mixed, from prefix sums over the flat bytes."""
        powers, inverse_powers = _powers_for(len(self.data))
        prefix = _scratch(len(self.data) + 1)
        prefix[0] = 0
        np.multiply(self.data, powers[: len(self.data)], out=prefix[1:], dtype=np.uint64)
        np.cumsum(prefix[1:], out=prefix[1:])
        hashes = _mixed((prefix[ends] - prefix[starts]) * inverse_powers[starts])
        for place in np.flatnonzero(ends - starts >= LONGEST_POLYNOMIAL).tolist():
            content = self.data[starts[place] : ends[place]].tobytes()
            hashes[place] = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
        return hashes


def normal_texts(texts: Sequence[str] | pa.Array) -> Iterator[NormalTexts]:
    """Normal forms of texts, some of them at a time and in their order. A null counts as an empty text."""
    column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    column = _folded(column)
    sizes = pc.binary_length(column).to_numpy(zero_copy_only=False)
    ends = np.cumsum(sizes)
    start = 0
    while start < len(column):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + BYTES_AT_ONCE, side="right")), start + 1)
        yield _normal(column.slice(start, stop - start))
        start = stop


def shingles_of(texts: Sequence[str] | pa.Array, width: int) -> Shingles:
    """Shingles of all the texts together."""
    parts = [normal.shingles(width) for normal in normal_texts(texts)]
    if not parts:
        return Shingles(np.empty(0, np.uint64), np.zeros(1, np.int64))
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return Shingles(np.concatenate([part.hashes for part in parts]), np.concatenate([[0], np.cumsum(counts)]))


def _folded(column: pa.Array) -> pa.Array:
    """The column as large_string without nulls; texts beyond ASCII go through `fold`, one by one."""
    column = pc.fill_null(column.cast(pa.large_string()), "")
    beyond = pc.invert(pc.string_is_ascii(column))
    if not pc.any(beyond).as_py():
        return column
    folded = [fold(text) for text in column.filter(beyond).to_pylist()]
    return pc.replace_with_mask(column, beyond, pa.array(folded, pa.large_string()))


def _normal(column: pa.Array) -> NormalTexts:
    # A space behind every text: no word reaches over into the next one.
    offsets, data = _flat(pc.binary_join_element_wise(column, *_A_SPACE_BEHIND))
    # Unsigned bytes wrap around, so that one comparison tells a range: 20 times as quick as a table of 256.
    lower = data + ((data - ord("A")) < 26).view(np.uint8) * np.uint8(32)
    is_word = ((lower - ord("a")) < 26) | ((lower - ord("0")) < 10) | (lower >= 0x80)
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    if is_word[0]:
        edges = np.concatenate([[0], edges])
    starts, ends = edges[0::2], edges[1::2]
    word_offsets = np.searchsorted(starts, offsets)
    has_next = np.ones(len(starts), bool)
    has_next[word_offsets[1:][np.diff(word_offsets) > 0] - 1] = False
    # Kept are the words, and one byte after each that is not its text's last: it becomes the space.
    spaces = ends[has_next]
    is_word[spaces] = True
    lower[spaces] = ord(" ")
    new_ends = np.cumsum(ends - starts + has_next) - has_next
    new_starts = new_ends - (ends - starts)
    flat = lower[is_word]
    return NormalTexts(flat, np.append(new_starts, len(flat))[word_offsets], new_starts, new_ends, word_offsets)


def _flat(column: pa.Array) -> tuple[Places, npt.NDArray[np.uint8]]:
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[column.offset : column.offset + len(column) + 1]
    return offsets - offsets[0], np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]


def _mixed(hashes: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele et al. 2014): close polynomials become unrelated hashes."""
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)
    return hashes


_scratches = threading.local()


def _scratch(size: int) -> Hashes:
    """This thread's array for prefix sums, used again and again: fresh pages cost as much as the sums themselves."""
    if size > SCRATCH_SIZE:
        return np.empty(size, np.uint64)
    if not hasattr(_scratches, "prefix"):
        _scratches.prefix = np.empty(SCRATCH_SIZE, np.uint64)
    found: Hashes = _scratches.prefix[:size]
    return found


_powers: list[tuple[Hashes, Hashes]] = []


def _powers_for(size: int) -> tuple[Hashes, Hashes]:
    """BASE**i and its inverse modulo 2**64, for i below at least `size`."""
    if not _powers or len(_powers[0][0]) < size:
        both = []
        for base in (BASE, pow(BASE, -1, 1 << 64)):
            powers = np.full(max(size, BYTES_AT_ONCE) + 1, base, np.uint64)
            powers[0] = 1
            both.append(np.multiply.accumulate(powers))
        _powers[:] = [(both[0], both[1])]
    return _powers[0]


_A_SPACE_BEHIND = (pa.scalar("", pa.large_string()), pa.scalar(" ", pa.large_string()))
