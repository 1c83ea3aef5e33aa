"""The rows of a sealed dataset, their leaves and their Merkle root; what can't be read is named."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from tutelage.pipelines.dataset_files import COMPLETIONS_FILES
from tutelage.pipelines.plan import withdrawn_rows
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import open_parquet, rows_of
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.errors import SealBroken
from tutelage.schemas.identity import leaf_sha256
from tutelage.schemas.manifest import TOMBSTONES, Tombstone
from tutelage.schemas.merkle import merkle_root
from tutelage.schemas.rows import Completion


class Leaf(NamedTuple):
    row_id: str
    leaf_sha256: str


@contextlib.contextmanager
def damage_named(path: str) -> Iterator[None]:
    """Turns what a damaged file makes its readers raise into SealBroken, with the file's name."""
    try:
        yield
    except (OSError, pa.ArrowException, ValueError) as error:
        raise SealBroken(f"{path}: can't be read ({error}); restore it from a copy") from error


def tombstones_of(folder: Folder) -> list[Tombstone]:
    with damage_named(folder.path(TOMBSTONES)):
        return withdrawn_rows(folder)


def columns_of(folder: Folder, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Some columns of every completion, a file in memory at a time."""
    for name in folder.list(COMPLETIONS_FILES):
        with damage_named(folder.path(name)), folder.open(name) as stream:
            table = open_parquet(COMPLETIONS, stream, folder.path(name)).read(columns=columns)
        yield from zip(*(table.column(column).to_pylist() for column in columns), strict=True)


def completions_of(folder: Folder, name: str, row_id: str | None = None) -> Iterator[Completion]:
    """The rows of one file, a row group in memory at a time; of the one row, where its id is given."""
    with damage_named(folder.path(name)), folder.open(name) as stream:
        parquet = open_parquet(COMPLETIONS, stream, folder.path(name))
        for group in range(parquet.num_row_groups):
            if row_id is not None:
                ids = parquet.read_row_group(group, columns=["row_id"]).column(0).to_pylist()
                if row_id not in ids:
                    continue
                yield from rows_of(COMPLETIONS, parquet.read_row_group(group).slice(ids.index(row_id), 1))
                return
            yield from rows_of(COMPLETIONS, parquet.read_row_group(group))


def leaves_of(folder: Folder, tombstones: Sequence[Tombstone]) -> list[Leaf]:
    """Every leaf in the tree's order, by row_id: those of the rows and those of the withdrawn."""
    leaves = [Leaf(stone.row_id, stone.leaf_sha256) for stone in tombstones]
    leaves += map(Leaf._make, columns_of(folder, *Leaf._fields))
    return sorted(leaves)


def root_of(leaves: Sequence[Leaf]) -> str:
    try:
        return merkle_root([bytes.fromhex(leaf.leaf_sha256) for leaf in leaves]).hex()
    except ValueError as error:
        raise SealBroken(f"the column leaf_sha256 holds what is no SHA-256 ({error}); the rows were changed") from error


def keeps_its_leaf(row: Completion) -> bool:
    try:
        return leaf_sha256(row) == row.leaf_sha256
    except (ValueError, TypeError):
        return False  # a salt that is no hex, a null inside a list: nothing that was ever sealed
