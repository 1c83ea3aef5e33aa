"""Documents that look like text, with known near-copies: seeded, and made once a size under `.data/`.

Words follow Zipf's law over 50,000 made-up ones, lengths are lognormal, and one document in ten belongs to a cluster of
2 to 5 copies of one original in which words were replaced. The Jaccard similarity of the 5-word shingles is counted
for every pair of a cluster; any other pair is alike by chance only, and never nearly enough to count.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

DATA = Path(__file__).resolve().parent / ".data"
VERSION = 1  # a change of what is drawn makes the folders anew
SEED = 20_261_125

WORDS = 50_000
WORD_BITS, END_BITS = 0xFFFF, 2  # a token is a word's number, 2 bits of what follows it, and whether it has a capital
ENDS = ("", ",", ".", ".\n\n")
CAPITAL = 1 << (16 + END_BITS)
CHARACTERS_PER_TOKEN = 5.33  # as measured: a mean word, its space, and a mark now and then
SHINGLE_WORDS = 5

IN_CLUSTERS = 0.1
CLUSTER_SIZES = (2, 5)
COPY_JACCARD = (0.7, 0.98)
EXACT_COPIES = 0.1

CHARACTERS_PER_FILE = 100_000_000
ROWS_PER_GROUP = 10_000

Tokens = npt.NDArray[np.uint32]


class Corpus(NamedTuple):
    folder: Path  # `part-*.parquet` with `id` and `text`; the document's number is its place, and stands in its id
    documents: int
    characters: int
    truth: Path  # Parquet `left`, `right` (numbers, left < right), `jaccard`: every pair within a cluster


def corpus(documents: int, characters: int) -> Corpus:
    """That many documents of about that many characters each. The first time takes a minute for 2 GB of text."""
    place = DATA / f"{documents}x{characters}-v{VERSION}"
    made = Corpus(place / "documents", documents, characters, place / "pairs.parquet")
    if not place.is_dir():
        print(f"making {documents:,} documents of about {characters:,} characters ...", file=sys.stderr, flush=True)
        unfinished = place.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "documents").mkdir(parents=True)
        _write(unfinished, documents, characters)
        unfinished.rename(place)
    return made


def words(count: int) -> list[str]:
    """Lower-case words, all different, the frequent ones short."""
    draw = np.random.default_rng(SEED)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "ar", "en", "il", "on", "ur")]
    found: dict[str, None] = dict.fromkeys(draw.permutation(syllables)[:150].tolist())
    while len(found) < count:
        parts = 2 if len(found) < 8000 else 3
        found["".join(syllables[place] for place in draw.integers(0, len(syllables), parts))] = None
    return list(found)


class Writer:
    """Draws tokens, and spells them: every form of every word is kept as a string once, and looked up."""

    def __init__(self, seed: int, commonest: Sequence[str] = ()) -> None:
        """`commonest` are words to spell the most frequent tokens by, in place of invented ones."""
        self.draw = np.random.default_rng(seed)
        shares = 1 / np.arange(1, WORDS + 1)
        slots = np.maximum(1, np.round(shares / shares.sum() * (1 << 20))).astype(np.int64)
        self._by_share = np.repeat(np.arange(WORDS, dtype=np.uint32), slots)
        ends = np.zeros(256, dtype=np.uint32)  # one token in 13 has a comma, one in 15 ends a sentence
        ends[:20], ends[20:36], ends[36] = 1, 2, 3
        self._ends = ends << 16
        spelled = [*commonest, *words(WORDS)[len(commonest) :]]
        forms = [
            (word.capitalize() if capital else word) + end
            for capital in (False, True)
            for end in ENDS
            for word in [*spelled, *[""] * (WORD_BITS + 1 - WORDS)]
        ]
        self._forms = pa.array(forms)

    def words(self, count: int) -> Tokens:
        return self._by_share[self.draw.integers(0, len(self._by_share), count)]

    def tokens(self, count: int) -> Tokens:
        tokens = self.words(count) | self._ends[self.draw.integers(0, 256, count, dtype=np.uint8)]
        tokens[0] |= CAPITAL
        tokens[1:][tokens[:-1] >> 16 & 3 >= 2] |= CAPITAL
        return tokens

    def lengths(self, count: int, characters: int) -> npt.NDArray[np.int64]:
        """Tokens a document: lognormal, sigma 0.5."""
        mean = characters / CHARACTERS_PER_TOKEN
        drawn = self.draw.lognormal(np.log(mean) - 0.125, 0.5, count)
        return np.clip(drawn, max(2 * SHINGLE_WORDS, mean / 6), mean * 6).astype(np.int64)

    def copy_of(self, original: Tokens) -> Tokens:
        """A copy in which scattered words, or one passage, are other ones; now and then an exact one."""
        if self.draw.random() < EXACT_COPIES:
            return original
        wanted = self.draw.uniform(*COPY_JACCARD)
        shingles = len(original) - SHINGLE_WORDS + 1
        lost = shingles * (1 - wanted) / (1 + wanted)
        if self.draw.random() < 0.5:
            count = max(1, round(lost / SHINGLE_WORDS))
            places = self.draw.choice(len(original), count, replace=False)
        else:
            count = max(1, round(lost) - SHINGLE_WORDS + 1)
            places = self.draw.integers(0, len(original) - count + 1) + np.arange(count)
        copy = original.copy()
        copy[places] = copy[places] & ~np.uint32(WORD_BITS) | self.words(count)
        return copy

    def texts(self, tokens: Tokens, ends: npt.NDArray[np.int64]) -> pa.Array:
        offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
        return pc.binary_join(pa.ListArray.from_arrays(offsets, self._forms.take(pa.array(tokens))), " ")


def _write(place: Path, documents: int, characters: int) -> None:
    writer = Writer(SEED + documents)
    copies, truth = _clusters(writer, documents, characters)
    pq.write_table(truth, place / "pairs.parquet")
    per_file = CHARACTERS_PER_FILE // characters
    for part, first in enumerate(range(0, documents, per_file)):
        count = min(per_file, documents - first)
        schema = pa.schema([pa.field("id", pa.string(), False), pa.field("text", pa.string(), False)])
        ids = pa.array([f"d{number:09d}" for number in range(first, first + count)])
        texts = _documents(writer, copies, first, count, characters)
        with pq.ParquetWriter(
            place / "documents" / f"part-{part:05d}.parquet", schema, compression="zstd", compression_level=1
        ) as out:
            for offset, chunk in texts:
                rows = [ids.slice(offset, len(chunk)), chunk]
                out.write_table(pa.Table.from_arrays(rows, schema=schema), row_group_size=ROWS_PER_GROUP)


def _documents(
    writer: Writer, copies: dict[int, Tokens], first: int, count: int, characters: int
) -> Iterator[tuple[int, pa.Array]]:
    for offset in range(0, count, ROWS_PER_GROUP):
        numbers = range(first + offset, first + min(offset + ROWS_PER_GROUP, count))
        lengths = writer.lengths(len(numbers), characters)
        planted = [(place, copies[number]) for place, number in enumerate(numbers) if number in copies]
        for place, tokens in planted:
            lengths[place] = len(tokens)
        ends = np.cumsum(lengths)
        drawn = writer.tokens(int(ends[-1]))
        for place, tokens in planted:
            drawn[ends[place] - len(tokens) : ends[place]] = tokens
        yield offset, writer.texts(drawn, ends)


def _clusters(writer: Writer, documents: int, characters: int) -> tuple[dict[int, Tokens], pa.Table]:
    """The documents that belong to clusters, by number, and what every pair of a cluster has in common."""
    numbers = writer.draw.permutation(documents)[: round(documents * IN_CLUSTERS)].tolist()
    hashes = writer.draw.integers(1, 1 << 63, WORD_BITS + 1, dtype=np.uint64)
    copies: dict[int, Tokens] = {}
    pairs: list[tuple[int, int, float]] = []
    while len(numbers) >= CLUSTER_SIZES[0]:
        size = int(writer.draw.integers(CLUSTER_SIZES[0], CLUSTER_SIZES[1] + 1))
        members = numbers[-size:]
        del numbers[-size:]
        original = writer.tokens(int(writer.lengths(1, characters)[0]))
        texts = [original, *(writer.copy_of(original) for _ in members[1:])]
        copies.update(zip(members, texts, strict=True))
        sets = [_shingles(tokens, hashes) for tokens in texts]
        for (left, mine), (right, others) in combinations(zip(members, sets, strict=True), 2):
            shared = len(mine & others)
            pairs.append((min(left, right), max(left, right), shared / (len(mine) + len(others) - shared)))
    lefts, rights, jaccards = zip(*pairs, strict=True)
    return copies, pa.table({"left": lefts, "right": rights, "jaccard": jaccards})


def _shingles(tokens: Tokens, hashes: npt.NDArray[np.uint64]) -> set[int]:
    """The 5-word shingles as 64-bit numbers; words alone count, as capitals and marks do not."""
    hashed = hashes[tokens & WORD_BITS]
    rolled = hashed[: 1 - SHINGLE_WORDS].copy()
    for place in range(1, SHINGLE_WORDS):
        rolled *= np.uint64(0x9E3779B97F4A7C15)
        rolled += hashed[place : len(hashed) - SHINGLE_WORDS + 1 + place]
    return set(rolled.tolist())
