"""`training_rows.parquet`: every reading of a row by the student, in order, under one Merkle root.

A leaf is the canonical JSON of [position, step, row_id, epoch, tokens_trained], hashed as RFC 6962 hashes leaves, so
that one reading can be proved without the others. The other columns are covered by the file's SHA-256.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.contract_files import ROWS_PER_GROUP, ContractWriter, open_parquet, rows_of, table_of
from tutelage.schemas.contracts import TRAINING_ROWS
from tutelage.schemas.errors import SealBroken
from tutelage.schemas.merkle import leaf_hash, merkle_root, node_hash
from tutelage.schemas.rows import TrainingRow
from tutelage.train.whole_file import replacing, sha256_of

_DIGEST_BYTES = 16


class TaughtBy(NamedTuple):
    """What the rows of one teacher under one stamp of terms taught: `rows` are counted once, `readings` each time."""

    teacher: str
    terms_id: str
    rows: int
    readings: int
    tokens_trained: int


class Written(NamedTuple):
    """What seals the file. `rows` are the table's: readings, which are the leaves of the tree."""

    rows: int
    distinct_rows: int
    merkle_root: str
    sha256: str
    taught_by: tuple[TaughtBy, ...]


class GrowingRoot:
    """`merkle_root` over leaves that come one by one: memory is a hash for each level of the tree."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []  # whole subtrees, each higher than the next

    def add(self, leaf: bytes) -> None:
        height, node = 0, leaf
        while self._peaks and self._peaks[-1][0] == height:
            node = node_hash(self._peaks.pop()[1], node)
            height += 1
        self._peaks.append((height, node))

    def root(self) -> bytes:
        if not self._peaks:
            return merkle_root([])
        node = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            node = node_hash(left, node)
        return node


def leaf_of(row: TrainingRow) -> bytes:
    return leaf_hash(canonical_json([row.position, row.step, row.row_id, row.epoch, row.tokens_trained]))


def write_training_rows(path: Path, rows: Iterable[TrainingRow]) -> Written:
    """Replaces the file at once; memory is a row group, and 16 to 48 bytes for each different row."""
    root, shares = GrowingRoot(), _Shares()
    with replacing(path) as stream, ContractWriter(TRAINING_ROWS, stream, str(path)) as writer:
        for group in _groups(rows):
            for place, row in enumerate(group, writer.rows):
                assert row.position == place, f"reading {place} says that it is number {row.position}"
                root.add(leaf_of(row))
                shares.add(row)
            writer.write(table_of(TRAINING_ROWS, group, str(path)))
    taught_by = shares.taught_by()
    return Written(
        rows=writer.rows,
        # A row has one teacher and one stamp.
        distinct_rows=sum(share.rows for share in taught_by),
        merkle_root=root.root().hex(),
        sha256=sha256_of(path),
        taught_by=taught_by,
    )


def read_training_rows(path: Path, wanted: Callable[[pa.Array], pa.Array] | None = None) -> Iterator[TrainingRow]:
    """All readings, or those where `wanted` says yes to their row ids; a row group in memory at a time.

    Raises SealBroken where the file can't be read.
    """
    try:
        with path.open("rb") as stream:
            parquet = open_parquet(TRAINING_ROWS, stream, str(path))
            for group in range(parquet.num_row_groups):
                found = parquet.read_row_group(group)
                yield from rows_of(TRAINING_ROWS, found.filter(wanted(found["row_id"])) if wanted else found)
    except (OSError, pa.ArrowException) as error:
        raise SealBroken(f"{path}: can't be read ({error}); restore it from a copy of the student") from error


def require_training_rows(path: Path, *, rows: int, merkle_root: str, sha256: str) -> tuple[TaughtBy, ...]:
    """Who taught how much, counted from the file. Raises SealBroken where it is not the one that a run record names;
    reads it twice."""
    advice = "restore both files from a copy of the student"
    if not path.is_file():
        raise SealBroken(f"{path}: is missing, and without it nobody knows which rows taught the student; {advice}")
    if sha256_of(path) != sha256:
        raise SealBroken(f"{path}: its bytes are not those that run.json names (SHA-256 {sha256[:12]}…); {advice}")
    root, count, shares = GrowingRoot(), 0, _Shares()
    for row in read_training_rows(path):
        root.add(leaf_of(row))
        shares.add(row)
        count += 1
    if (count, root.root().hex()) != (rows, merkle_root):
        raise SealBroken(
            f"{path}: holds {count:,} readings under the Merkle root {root.root().hex()[:12]}…, run.json names "
            f"{rows:,} under {merkle_root[:12]}…; {advice}"
        )
    return shares.taught_by()


class _Distinct:
    """Counts different texts by 128 bits of their SHA-256."""

    def __init__(self) -> None:
        self._known: npt.NDArray[np.bytes_] = np.array([], f"S{_DIGEST_BYTES}")
        self._new = bytearray()

    def add(self, text: str) -> None:
        self._new += hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]
        if len(self._new) > max(1 << 20, self._known.nbytes):
            self._merge()

    def __len__(self) -> int:
        self._merge()
        return len(self._known)

    def _merge(self) -> None:
        new = np.frombuffer(bytes(self._new), self._known.dtype)
        self._known, self._new = np.unique(np.concatenate([self._known, new])), bytearray()


class _Share:
    def __init__(self) -> None:
        self.distinct, self.readings, self.tokens_trained = _Distinct(), 0, 0

    def add(self, row: TrainingRow) -> None:
        self.distinct.add(row.row_id)
        self.readings += 1
        self.tokens_trained += row.tokens_trained


class _Shares:
    """Readings by teacher and stamp of terms."""

    def __init__(self) -> None:
        self._by_stamp: dict[tuple[str, str], _Share] = {}

    def add(self, row: TrainingRow) -> None:
        self._by_stamp.setdefault((row.teacher, row.terms_id), _Share()).add(row)

    def taught_by(self) -> tuple[TaughtBy, ...]:
        return tuple(
            TaughtBy(teacher, terms_id, len(share.distinct), share.readings, share.tokens_trained)
            for (teacher, terms_id), share in sorted(self._by_stamp.items())
        )


def _groups(rows: Iterable[TrainingRow]) -> Iterator[list[TrainingRow]]:
    remaining = iter(rows)
    while group := list(islice(remaining, ROWS_PER_GROUP)):
        yield group
