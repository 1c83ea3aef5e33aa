"""What a curation decides by: some narrow columns of every row of every parent, and no text. About 300 bytes a row."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.pipelines.curate_gate import Stamp, stamps_of
from tutelage.pipelines.parents import Parent
from tutelage.pipelines.sealed_rows import damage_named
from tutelage.schemas.contract_files import open_parquet
from tutelage.schemas.contracts import COMPLETIONS, FINGERPRINTS
from tutelage.schemas.errors import ContractError

Numbers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

BATCH_ROWS = 65_536
OWN = ("row_id", "prompt_id", "outcome", "prompt_source", "cost_usd", "created_at")
FACTS = (
    *("response_chars", "response_words", "response_language", "self_identification"),
    *("prompt_sha256", "prompt_words"),
)


class RowFile(NamedTuple):
    """One file of completions; its first row has the number `first` among all rows of all parents."""

    parent: int
    name: str
    first: int
    rows: int


class CurateRows:
    """The rows of all parents, numbered in the order of the parents and their files."""

    def __init__(self, parents: Sequence[Parent]) -> None:
        self.parents = parents
        self.files: list[RowFile] = []
        self.stamps: list[tuple[int, Stamp]] = []
        tables, stamp_codes = [], []
        for place, parent in enumerate(parents):
            for name in parent.files:
                table, codes = self._read(place, parent, name)
                self.files.append(RowFile(place, name, sum(file.rows for file in self.files), table.num_rows))
                tables.append(table)
                stamp_codes.append(codes)
        schema = pa.schema([*(COMPLETIONS.schema.field(n) for n in Stamp._fields[1:2] + OWN), *_facts_schema()])
        self.table = pa.concat_tables(tables).combine_chunks() if tables else schema.empty_table()
        self.stamp: Codes = np.concatenate(stamp_codes) if stamp_codes else np.zeros(0, np.int32)
        ends = np.array([file.first + file.rows for file in self.files], np.int64)
        owners = np.array([file.parent for file in self.files], np.int32)
        self.parent: Codes = np.repeat(owners, np.diff(ends, prepend=0)) if len(ends) else np.zeros(0, np.int32)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.Array:
        return self.table.column(name).combine_chunks()

    def numbers(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(self.column(name).to_numpy(zero_copy_only=False))

    def codes(self, name: str) -> tuple[Codes, list[str | None]]:
        """A column of few values: the values, and which of them each row has."""
        encoded = pc.dictionary_encode(self.column(name), null_encoding="encode")
        return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32), encoded.dictionary.to_pylist()

    @cached_property
    def order(self) -> Numbers:
        """Each row's place among all, by row id, then by parent: the order that nothing but ids decides."""
        ids = pa.table({"row_id": self.column("row_id"), "parent": self.parent})
        sorted_ = pc.sort_indices(ids, sort_keys=[("row_id", "ascending"), ("parent", "ascending")]).to_numpy()
        places = np.empty(len(self), np.int64)
        places[sorted_] = np.arange(len(self))
        return places

    @cached_property
    def ids(self) -> Codes:
        """Equal numbers for equal row ids: only rows of different parents share one."""
        return np.asarray(self.column("row_id").dictionary_encode().indices.to_numpy(zero_copy_only=False), np.int32)

    @cached_property
    def prompts(self) -> Codes:
        """Equal numbers for rows that ask the same. A prompt without a word is told apart by its id and parent."""
        own = pc.binary_join_element_wise(pa.array(self.parent).cast(pa.string()), self.column("prompt_id"), " ")
        texts = pc.if_else(pc.greater(self.column("prompt_words"), 0), self.column("prompt_sha256"), own)
        return np.asarray(texts.dictionary_encode().indices.to_numpy(zero_copy_only=False), np.int32)

    def row_id(self, number: int) -> str:
        return str(self.table.column("row_id")[number].as_py())

    def dataset(self, number: int) -> str:
        return str(self.parents[self.parent[number]].name)

    def find(self, datasets: pa.ChunkedArray, row_ids: pa.ChunkedArray, path: str) -> Numbers:
        """The numbers of rows that an audit names; raises ContractError where it names others."""
        names = datasets.to_numpy(zero_copy_only=False)
        numbers = np.full(len(names), -1, np.int64)
        for place, parent in enumerate(self.parents):
            asked = np.flatnonzero(names == parent.name)
            mine = np.flatnonzero(self.parent == place)
            if len(asked) and len(mine):
                wanted = row_ids.take(pa.array(asked))
                here = pc.index_in(wanted, value_set=self.column("row_id").take(pa.array(mine)))
                found = pc.fill_null(here, -1).to_numpy(zero_copy_only=False)
                numbers[asked] = np.where(found >= 0, mine[found], -1)
        if (numbers < 0).any():
            first = int(np.flatnonzero(numbers < 0)[0])
            raise ContractError(
                f"{path}: names row {row_ids[first]} of {names[first]}, which no dataset of this curation has; "
                "the audit is of other rows: run it again"
            )
        return numbers

    def _read(self, place: int, parent: Parent, name: str) -> tuple[pa.Table, Codes]:
        known = {stamp: number for number, stamp in enumerate(self.stamps)}
        columns = list(dict.fromkeys([*OWN, *Stamp._fields]))
        batches, codes = [], []
        path = parent.folder.path(name)
        with damage_named(path), parent.folder.open(name) as stream:
            for batch in open_parquet(COMPLETIONS, stream, path).iter_batches(BATCH_ROWS, columns=columns):
                stamps, own = stamps_of(batch)
                numbers = [known.setdefault((place, stamp), len(known)) for stamp in stamps]
                codes.append(np.array(numbers, np.int32)[own])
                batches.append(batch.select(["teacher", *OWN]))
        self.stamps = list(known)
        schema = pa.schema([COMPLETIONS.schema.field(column) for column in ("teacher", *OWN)])
        rows = pa.Table.from_batches(batches, schema.with_metadata(None))
        facts = _fingerprints(parent, name, rows.column("row_id"))
        for column in facts.column_names:
            rows = rows.append_column(column, facts.column(column))
        return rows, np.concatenate(codes) if codes else np.zeros(0, np.int32)


def _fingerprints(parent: Parent, name: str, row_ids: pa.ChunkedArray) -> pa.Table:
    """The facts of a file's rows, in its order; raises ContractError where they are not of these rows."""
    made = f"fingerprints/{name.rpartition('/')[2]}"
    path = parent.folder.path(made)
    if not parent.folder.exists(made):
        raise ContractError(f"{path}: is missing; run `tutelage fingerprint {parent.name}`")
    with parent.folder.open(made) as stream:
        found = open_parquet(FINGERPRINTS, stream, path).read(columns=["row_id", *FACTS])
    if not found.column("row_id").equals(row_ids):
        raise ContractError(
            f"{path}: is not of the rows of {name}; delete it and run `tutelage fingerprint {parent.name}`"
        )
    said = pc.binary_join(found.column("self_identification"), ", ")
    return found.drop_columns(["row_id", "self_identification"]).append_column("said", said)


def _facts_schema() -> Iterator[pa.Field]:
    for name in FACTS:
        if name != "self_identification":
            yield FINGERPRINTS.schema.field(name)
    yield pa.field("said", pa.string())
