"""Copies chosen rows, whole, into new files in a given order, with little memory: a bucket sort by way of the disk.

One pass over the parents' files spreads the chosen rows over buckets by their place in the result (Arrow files in a
temporary folder); then each bucket is sorted in memory and written. Where a row group ends follows from the rows alone,
so that equal rows make equal files, however the parents' files were cut.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.pipelines.curate_rows import CurateRows, Numbers
from tutelage.pipelines.sealed_rows import damage_named
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import ROWS_PER_GROUP, CalmParquetFile, ContractWriter, open_parquet
from tutelage.schemas.contracts import COMPLETIONS

BYTES_AT_ONCE = 32 << 20
BUCKET_BYTES = 64 << 20
MOST_BUCKETS = 256
"""Each is an open file."""
_PLACE = "_place"


class NewFile(NamedTuple):
    """A file of the result: the rows from place `first` on."""

    name: str
    first: int
    rows: int


def copy_rows(rows: CurateRows, places: Numbers, files: Sequence[NewFile], into: Folder) -> None:
    """`places` has each row's place in the result, -1 where it is not in it; `files` follow one another."""
    total = sum(file.rows for file in files)
    if not total:
        return
    with tempfile.TemporaryDirectory(prefix="tutelage-") as directory:
        buckets = _Buckets(directory, rows, places, total)
        sizes = buckets.fill()
        groups = _groups(buckets.in_order(), [end for file in files for end in _group_ends(file, sizes)])
        for file in files:
            path = into.path(file.name)
            with into.replacing(file.name) as stream, ContractWriter(COMPLETIONS, stream, path) as writer:
                while writer.rows < file.rows:
                    writer.write(next(groups))


class _Buckets:
    """Files of chosen rows, each a range of places."""

    def __init__(self, directory: str, rows: CurateRows, places: Numbers, total: int) -> None:
        self.directory, self.rows, self.places, self.total = directory, rows, places, total
        by_size = BUCKET_BYTES // max(1, _row_bytes(rows))
        self.rows_each = max(1, by_size, -(-total // MOST_BUCKETS))
        self.count = -(-total // self.rows_each)

    def fill(self) -> Numbers:
        """Spreads the rows; returns about how many bytes each takes, by place."""
        sizes = np.zeros(self.total, np.int64)
        schema = COMPLETIONS.schema.with_metadata(None).append(pa.field(_PLACE, pa.int64()))
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(open(self._path(bucket), "wb")) for bucket in range(self.count)]
            writers = [stack.enter_context(pa.ipc.new_stream(stream, schema, options=options)) for stream in streams]
            for table, places in self._chosen():
                sizes[places] = _sizes(table)
                table = table.append_column(schema.field(_PLACE), pa.array(places))
                buckets = places // self.rows_each
                for bucket in np.unique(buckets).tolist():
                    writers[bucket].write_table(table.filter(pa.array(buckets == bucket)))
        return sizes

    def in_order(self) -> Iterator[pa.Table]:
        for bucket in range(self.count):
            with open(self._path(bucket), "rb") as stream, pa.ipc.open_stream(stream) as reader:
                table = reader.read_all()
            os.unlink(self._path(bucket))
            yield table.take(pc.sort_indices(table.column(_PLACE))).drop_columns([_PLACE])

    def _chosen(self) -> Iterator[tuple[pa.Table, Numbers]]:
        for file in self.rows.files:
            folder = self.rows.parents[file.parent].folder
            path = folder.path(file.name)
            places = self.places[file.first : file.first + file.rows]
            if not (places >= 0).any():
                continue
            with damage_named(path), folder.open(file.name) as stream:
                parquet, start = open_parquet(COMPLETIONS, stream, path), 0
                for batch in parquet.iter_batches(_rows_at_once(parquet)):
                    own = places[start : start + batch.num_rows]
                    start += batch.num_rows
                    if (own >= 0).any():
                        chosen = pa.Table.from_batches([batch.filter(pa.array(own >= 0))])
                        yield chosen.replace_schema_metadata(None), own[own >= 0]

    def _path(self, bucket: int) -> str:
        return os.path.join(self.directory, f"{bucket:05d}.arrow")


def _groups(tables: Iterator[pa.Table], ends: Sequence[int]) -> Iterator[pa.Table]:
    """The rows of the tables, cut anew at `ends`."""
    waiting, start = COMPLETIONS.schema.empty_table(), 0
    for end in ends:
        while waiting.num_rows < end - start:
            waiting = pa.concat_tables([waiting, next(tables).replace_schema_metadata(COMPLETIONS.schema.metadata)])
        # One chunk: where Arrow's chunks end, so do Parquet's pages.
        yield waiting.slice(0, end - start).combine_chunks()
        waiting, start = waiting.slice(end - start), end


def _group_ends(file: NewFile, sizes: Numbers) -> Iterator[int]:
    """Where the row groups of a file end: after ROWS_PER_GROUP rows, or after the row that fills BYTES_AT_ONCE."""
    totals = np.cumsum(sizes[file.first : file.first + file.rows])
    start = 0
    while start < file.rows:
        before = totals[start - 1] if start else 0
        full = int(np.searchsorted(totals, before + BYTES_AT_ONCE)) + 1
        start = min(start + ROWS_PER_GROUP, full, file.rows)
        yield file.first + start


def _sizes(table: pa.Table) -> Numbers:
    """About how many bytes a row's texts and logprobs take. It must not hang on how the rows came: no buffer's size."""
    total = np.full(table.num_rows, 256, np.int64)
    for name in ("response", "reasoning", "tool_calls"):
        total += _whole(pc.binary_length(table.column(name)))
    messages, tops = (table.column(name).combine_chunks() for name in ("messages", "top_logprobs"))
    total += _sums(messages, pc.binary_length(pc.struct_field(messages.flatten(), "content")))
    total += 24 * _whole(pc.list_value_length(table.column("tokens")))
    return total + 8 * _sums(tops, pc.list_value_length(tops.flatten()))


def _sums(lists: pa.ListArray, values: pa.Array) -> Numbers:
    """For each list, the sum of its items' values; `values` has one for each item of `lists.flatten()`."""
    lengths = _whole(pc.list_value_length(lists))
    totals = np.append(0, np.cumsum(_whole(values)))
    ends = np.cumsum(lengths)
    return np.asarray(totals[ends] - totals[ends - lengths], np.int64)


def _whole(counts: pa.Array | pa.ChunkedArray) -> Numbers:
    return np.asarray(pc.fill_null(counts, 0).to_numpy(zero_copy_only=False), np.int64)


def _row_bytes(rows: CurateRows) -> int:
    total = 0
    for file in rows.files:
        folder = rows.parents[file.parent].folder
        with folder.open(file.name) as stream:
            metadata = CalmParquetFile(stream).metadata
            total += sum(int(metadata.row_group(group).total_byte_size) for group in range(metadata.num_row_groups))
    return total // max(1, len(rows))


def _rows_at_once(parquet: CalmParquetFile) -> int:
    metadata = parquet.metadata
    size = sum(int(metadata.row_group(group).total_byte_size) for group in range(metadata.num_row_groups))
    return max(1, min(ROWS_PER_GROUP, BYTES_AT_ONCE * int(metadata.num_rows) // max(size, 1)))
