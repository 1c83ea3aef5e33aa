"""Evaluation sets made ready for the search: their texts in SQL, their words and 13-grams as hashes."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from tutelage.audit.benchmark_files import BenchmarkFile, Entry
from tutelage.audit.ngram_overlap import NGRAM_WORDS, NgramIndex, ngram_index
from tutelage.audit.postings import owners_of
from tutelage.audit.tables import run
from tutelage.audit.word_overlap import LONGEST_ITEM, NearIndex, near_index
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.shingles import Places, Shingles, normal_texts

LEAST_WORDS = 8
"""An entry of fewer words says nothing of its own: GPT-3's shortest n-gram (Brown et al. 2020, appendix C)."""
ENTRIES_AT_ONCE = 1024


class Benchmark(NamedTuple):
    """An evaluation set. Its entries are `first` up to `end`; texts of fewer than LEAST_WORDS are `too_short`, and not
    searched for. `without_rare_words` are not searched for by near overlap, `cut_entries` by their first words only."""

    uri: str
    items: int
    texts: int
    fields: list[str]
    undecodable: int
    too_short: int
    under_13_words: int
    boilerplate_13grams: int
    without_rare_words: int
    cut_texts: int


class Index(NamedTuple):
    """`numbers[i]` is the number of the entry that the two searches call i: those too short are not among them."""

    numbers: Places
    ngrams: NgramIndex
    near: NearIndex


class _Hashed(NamedTuple):
    """Entries of one evaluation set that are long enough."""

    numbers: Places
    items: Places
    lengths: Places
    words: Shingles
    grams: Shingles


def load_benchmarks(
    connection: duckdb.DuckDBPyConnection, uris: Sequence[str], text_fields: Sequence[str], seen: Shingles
) -> tuple[list[Benchmark], Index]:
    """Table `entries`, and the index. `seen` are words of the audited texts. Raises ConfigError as `BenchmarkFile`."""
    if not uris:
        raise ConfigError("--against: no evaluation set is named; name at least one file of items")
    if len(set(uris)) < len(uris):
        raise ConfigError(f"--against {', '.join(uris)}: an evaluation set is named twice; name each once")
    run(connection, "contamination/00_entries")
    files = [BenchmarkFile(uri, text_fields) for uri in uris]
    hashed: list[_Hashed] = []
    texts: list[int] = []
    for number, file in enumerate(files):
        found, count = _load(connection, file, number, sum(texts))
        hashed.append(found)
        texts.append(count)
    absent = [field for field in text_fields if not any(field in file.fields for file in files)]
    if absent:
        found_fields = sorted({field for file in files for field in file.fields})
        raise ConfigError(
            f"--text-field {', '.join(absent)}: no evaluation set has text in it; take it out (there is text in "
            f"{', '.join(found_fields)})"
        )
    grams = [ngram_index(some.grams, some.lengths, some.items) for some in hashed]
    near = near_index(_cut(joined([some.words for some in hashed])), seen)
    index = Index(np.concatenate([some.numbers for some in hashed]), _one(grams), near)
    return list(_benchmarks(files, texts, hashed, grams, near)), index


def _load(
    connection: duckdb.DuckDBPyConnection, file: BenchmarkFile, benchmark_no: int, first: int
) -> tuple[_Hashed, int]:
    hashed = []
    entry_no = first
    for some in _batches(file.entries()):
        texts = pa.array([entry.text for entry in some], pa.string())
        items = np.array([entry.item_no for entry in some])
        parts = list(normal_texts(texts))
        lengths = np.concatenate([part.word_counts() for part in parts])
        numbers = np.arange(entry_no, entry_no + len(some))
        arriving = {
            "entry_no": numbers,
            "benchmark_no": np.full(len(some), benchmark_no),
            "item_no": items,
            "item_id": [entry.item_id for entry in some],
            "field": [entry.field for entry in some],
            "text": texts,
            "words": lengths,
            "sha256": [digest for part in parts for digest in part.sha256()],
        }
        connection.register("arriving", pa.table(arriving))
        run(connection, "contamination/01_add_entries")
        connection.unregister("arriving")
        is_long = lengths >= LEAST_WORDS
        words, grams = (joined([part.shingles(width) for part in parts]) for width in (1, NGRAM_WORDS))
        hashed.append(
            _Hashed(
                numbers[is_long], items[is_long], lengths[is_long], _chosen(words, is_long), _chosen(grams, is_long)
            )
        )
        entry_no += len(some)
    numbers, items, lengths = (np.concatenate([getattr(some, name) for some in hashed]) for name in _Hashed._fields[:3])
    words, grams = (joined([getattr(some, name) for some in hashed]) for name in _Hashed._fields[3:])
    return _Hashed(numbers, items, lengths, words, grams), entry_no - first


def _batches(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    while some := list(islice(entries, ENTRIES_AT_ONCE)):
        yield some


def _benchmarks(
    files: Sequence[BenchmarkFile],
    texts: Sequence[int],
    hashed: Sequence[_Hashed],
    grams: Sequence[NgramIndex],
    near: NearIndex,
) -> Iterator[Benchmark]:
    first = 0
    for file, count, some, index in zip(files, texts, hashed, grams, strict=True):
        end = first + len(some.numbers)
        yield Benchmark(
            uri=file.uri,
            items=file.items,
            texts=count,
            fields=file.fields,
            undecodable=file.undecodable,
            too_short=count - len(some.numbers),
            under_13_words=int((some.lengths < NGRAM_WORDS).sum()),
            boilerplate_13grams=index.boilerplate,
            without_rare_words=int((near.needed[first:end] == 0).sum()),
            cut_texts=int((some.lengths > LONGEST_ITEM).sum()),
        )
        first = end


def _one(indexes: Sequence[NgramIndex]) -> NgramIndex:
    """Indexes of several evaluation sets as one: what is boilerplate was decided in each."""
    from tutelage.audit.postings import postings_of

    hashes, owners, first = [], [], 0
    for index in indexes:
        hashes.append(np.repeat(index.grams.hashes, np.diff(index.grams.offsets)))
        owners.append(index.grams.owners + first)
        first += len(index.counts)
    return NgramIndex(
        postings_of(np.concatenate(hashes), np.concatenate(owners)),
        np.concatenate([index.counts for index in indexes]),
        sum(index.boilerplate for index in indexes),
    )


def joined(parts: Sequence[Shingles]) -> Shingles:
    if not parts:
        return Shingles(np.empty(0, np.uint64), np.zeros(1, np.int64))
    counts: Any = np.concatenate([np.diff(part.offsets) for part in parts])
    return Shingles(np.concatenate([part.hashes for part in parts]), np.concatenate([[0], np.cumsum(counts)]))


def _chosen(shingles: Shingles, is_chosen: Any) -> Shingles:
    counts = np.diff(shingles.offsets)[is_chosen]
    hashes = shingles.hashes[is_chosen[owners_of(shingles.offsets)]]
    return Shingles(hashes, np.concatenate([[0], np.cumsum(counts)]))


def _cut(words: Shingles) -> Shingles:
    """Each text's first LONGEST_ITEM words."""
    places = np.arange(len(words.hashes)) - words.offsets[owners_of(words.offsets)]
    counts = np.minimum(np.diff(words.offsets), LONGEST_ITEM)
    return Shingles(words.hashes[places < LONGEST_ITEM], np.concatenate([[0], np.cumsum(counts)]))
