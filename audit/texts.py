"""The texts behind fingerprints, read by number: a row's place among all rows of all datasets, in the files' order."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tutelage.audit.inputs import AuditInput
from tutelage.audit.tables import TABLES, table_files
from tutelage.schemas.contract_files import CalmParquetFile, open_parquet
from tutelage.schemas.contracts import ADOPTED, COMPLETIONS, FINGERPRINTS, PERMUTATIONS
from tutelage.schemas.errors import ContractError
from tutelage.schemas.prompt_text import prompt_texts

Numbers = npt.NDArray[np.int64]
BATCH_ROWS = 16_384


class _File(NamedTuple):
    fs: Any
    path: str
    adopted: bool
    first: int
    rows: int


class DatasetTexts:
    """Responses or prompts of all datasets; `part` is `response` or `prompt`."""

    def __init__(self, inputs: Sequence[AuditInput], part: str) -> None:
        self.part = part
        self._files = list(_files(inputs))

    def read(self, numbers: Numbers) -> Iterator[tuple[Numbers, pa.Array]]:
        """The texts of these rows (numbers ascending), a row group in memory at a time."""
        for file in self._files:
            wanted = numbers[np.searchsorted(numbers, file.first) : np.searchsorted(numbers, file.first + file.rows)]
            if not len(wanted):
                continue
            with file.fs.open(file.path, "rb") as stream:
                parquet = open_parquet(ADOPTED if file.adopted else COMPLETIONS, stream, file.path)
                yield from self._read_groups(parquet, wanted, file.first)

    def _read_groups(self, parquet: CalmParquetFile, wanted: Numbers, first: int) -> Iterator[tuple[Numbers, pa.Array]]:
        column = "response" if self.part == "response" else "messages"
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            here = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, first + rows)]
            if len(here):
                values = parquet.read_row_group(group, [column]).column(0).combine_chunks().take(pa.array(here - first))
                yield here, values if self.part == "response" else prompt_texts(values)
            first += rows


def fingerprint_batches(
    inputs: Sequence[AuditInput], columns: Sequence[str]
) -> Iterator[tuple[int, int, pa.RecordBatch]]:
    """Fingerprints as (number of the dataset, number of the first row, batch), in the order that numbers the rows.

    Raises ContractError where a file of completions has no fingerprint of as many rows.
    """
    number = {item.name: place for place, item in enumerate(inputs)}
    for item in inputs:
        for file in _files([item], start=0):
            path = file.path.replace("/completions/", "/fingerprints/")
            if not file.fs.exists(path):
                raise ContractError(f"{file.path}: has no fingerprint; run `tutelage fingerprint {item.name}`")
            with file.fs.open(path, "rb") as stream:
                parquet = open_parquet(FINGERPRINTS, stream, path)
                if parquet.metadata.num_rows != file.rows:
                    raise ContractError(
                        f"{path}: holds {parquet.metadata.num_rows:,} rows, the completions {file.rows:,}; delete it "
                        f"and run `tutelage fingerprint {item.name}`"
                    )
                first = _first_number(inputs, item) + file.first
                for batch in parquet.iter_batches(BATCH_ROWS, columns=columns):
                    yield number[item.name], first, batch
                    first += batch.num_rows


def signatures_of(column: pa.Array) -> npt.NDArray[np.uint32]:
    """A column of signatures as an array of shape (rows, PERMUTATIONS); what stands where it is null has no meaning."""
    packed = np.frombuffer(column.buffers()[1], "<u4").reshape(-1, PERMUTATIONS)
    return packed[column.offset : column.offset + len(column)]


def _first_number(inputs: Sequence[AuditInput], wanted: AuditInput) -> int:
    before = inputs[: [item.name for item in inputs].index(wanted.name)]
    return sum(file.rows for file in _files(before))


def _files(inputs: Sequence[AuditInput], start: int = 0) -> Iterator[_File]:
    first = start
    for item in inputs:
        fs, paths = table_files(item.uri, TABLES["completions"][0])
        for path in paths:
            with fs.open(path, "rb") as stream:
                rows = int(CalmParquetFile(stream).metadata.num_rows)
            yield _File(fs, path, bool(item.mapped), first, rows)
            first += rows
