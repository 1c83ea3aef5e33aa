"""The one writer and the one reader of Parquet files that have a contract.

A reader refuses a newer version and a schema that differs; a writer refuses a table that differs. Both name the file,
the column, what was found and what was wanted.
"""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tutelage.schemas.contracts import FOOTER_KEY, STRINGS, Contract
from tutelage.schemas.errors import ContractError

ROWS_PER_GROUP = 8192


def table_of(contract: Contract, records: Sequence[Any], path: str = "a table") -> pa.Table:
    """An Arrow table from row tuples, column by column (a tenth of the cost of one dictionary a row).

    `path` is where the table will be written, for the error that refuses a row.
    """
    columns = list(zip(*records, strict=True)) or [()] * len(contract.schema)
    try:
        arrays = [pa.array(column, field.type) for column, field in zip(columns, contract.schema, strict=True)]
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError) as error:
        raise ContractError(f"{path}: {_misfit(contract, columns, error)}") from error
    return pa.Table.from_arrays(arrays, schema=contract.schema)


def check_version(contract: Contract, found: pa.Schema, path: str) -> None:
    """Raises ContractError where a footer names another contract, none, or a newer version."""
    label = (found.metadata or {}).get(FOOTER_KEY, b"").decode(errors="replace")
    name, _, version = label.partition("/")
    if name != contract.name or not version.isdecimal():
        stated = f"says {label!r}" if label else "names no contract"
        raise ContractError(f"{path}: its footer {stated}, {contract.label} was wanted; was it written by tutelage?")
    if int(version) > contract.version:
        raise ContractError(
            f"{path}: contract {label} is newer than this tutelage reads ({contract.label}); upgrade tutelage"
        )


def check_schema(contract: Contract, found: pa.Schema, path: str) -> None:
    """Raises ContractError at the first difference: another contract, a newer version, a column more, less or other."""
    check_version(contract, found, path)
    for field in contract.schema:
        place = found.get_field_index(field.name)
        if place < 0:
            raise ContractError(
                f"{path}: column {field.name!r} is missing, contract {contract.label} wants {field.type}; "
                "write the file anew with this version of tutelage"
            )
        if not found.field(place).type.equals(field.type):
            raise ContractError(
                f"{path}: column {field.name!r} is {found.field(place).type}, "
                f"contract {contract.label} wants {field.type}; write the file anew with this version of tutelage"
            )
        if found.field(place).nullable and not field.nullable:
            raise ContractError(
                f"{path}: column {field.name!r} may hold nulls, contract {contract.label} wants {field.type} not null; "
                "write the file anew with this version of tutelage"
            )
    known = set(contract.schema.names)
    extra = [column for column in found.names if column not in known]
    if extra:
        raise ContractError(f"{path}: column {extra[0]!r} is not in contract {contract.label}; drop it or rename it")


class ContractWriter:
    """Writes one Parquet file of one contract: zstd, page checksums, at most `ROWS_PER_GROUP` rows a group.

    `working_copy` is for files that are made again at will: snappy costs a third of zstd's time and twice its space.
    """

    def __init__(self, contract: Contract, stream: IO[bytes], path: str, *, working_copy: bool = False) -> None:
        self.contract, self.path, self.rows = contract, path, 0
        self._writer = pq.ParquetWriter(
            stream,
            contract.schema,
            compression="snappy" if working_copy else "zstd",
            compression_level=None if working_copy else 1,
            write_page_checksum=True,
            store_schema=True,
            use_dictionary=_repeating(contract.schema),
        )

    def note(self, entries: dict[str, str]) -> None:
        """Puts entries of the caller's own into the footer, beside the contract."""
        self._writer.add_key_value_metadata(entries)

    def write(self, table: pa.Table) -> None:
        check_schema(self.contract, table.schema, self.path)
        try:
            self._writer.write_table(table, row_group_size=ROWS_PER_GROUP)
        except pa.ArrowInvalid as error:
            # What only the values tell, like a null where the contract has none; the error names the column.
            raise ContractError(f"{self.path}: {error}; contract {self.contract.label} was wanted") from error
        self.rows += table.num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()


def _repeating(schema: pa.Schema) -> bool | list[str]:
    """Where a dictionary is worth building: everywhere but in a table with signatures, which repeat nowhere."""
    repeating = [field.name for field in schema if not pa.types.is_fixed_size_binary(field.type)]
    return True if len(repeating) == len(schema) else repeating


class CalmParquetFile(pq.ParquetFile):  # type: ignore[misc]
    """Reads in the thread that asks.

    Arrow's pools let go of a Python stream in threads of their own, some time after the read. Where the interpreter
    ends just then, such a thread is ended inside C++, and the process aborts: one `verify` in twenty on a busy machine.
    """

    def __init__(self, stream: Any, *, page_checksum_verification: bool = False) -> None:
        super().__init__(stream, pre_buffer=False, page_checksum_verification=page_checksum_verification)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        return super().read(columns, use_threads=False)

    def read_row_group(self, i: int, columns: Sequence[str] | None = None) -> pa.Table:
        return super().read_row_group(i, columns, use_threads=False)

    def iter_batches(self, batch_size: int = 65536, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        return super().iter_batches(batch_size, columns=columns, use_threads=False)  # type: ignore[no-any-return]


def contract_of(stream: Any) -> str:
    """The name of the contract that a Parquet file's footer states, empty where it states none or can't be read."""
    try:
        label = (pq.read_schema(stream).metadata or {}).get(FOOTER_KEY, b"")
    except (pa.ArrowException, OSError, ValueError):
        return ""
    finally:
        stream.seek(0)
    return str(label.decode(errors="replace").partition("/")[0])


def open_parquet(contract: Contract, stream: Any, path: str) -> CalmParquetFile:
    """A Parquet file whose contract has been checked; read it by row group."""
    try:
        parquet = CalmParquetFile(stream, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ContractError(f"{path}: not a readable Parquet file ({error}); {contract.label} was wanted") from error
    check_schema(contract, parquet.schema_arrow, path)
    return parquet


def rows_of(contract: Contract, batch: pa.RecordBatch | pa.Table) -> Iterable[Any]:
    """Row tuples of a batch; nested structs come back as plain tuples in field order."""
    columns = [_values(batch.column(name), contract.schema.field(name).type) for name in contract.schema.names]
    return map(contract.row._make, zip(*columns, strict=True))


def _values(column: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> list[Any]:
    if pa.types.is_list(kind) and kind != STRINGS:
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        return [value for chunk in chunks for value in _lists(chunk)]
    return list(column.to_pylist())


def _lists(column: pa.ListArray) -> list[Any]:
    """Lists of tuples from a list column of structs (or of such lists), a tenth of the cost of `to_pylist`."""
    flat = column.flatten()
    if pa.types.is_list(flat.type):
        entries = _lists(flat)
    else:
        entries = list(zip(*(child.to_pylist() for child in flat.flatten()), strict=True))
    values: list[Any] = []
    start = 0
    for length in column.value_lengths().to_pylist():
        if length is None:
            values.append(None)
        else:
            values.append(entries[start : start + length])
            start += length
    return values


def _misfit(contract: Contract, columns: Sequence[Any], error: Exception) -> str:
    for column, field in zip(columns, contract.schema, strict=False):
        for row, value in enumerate(column):
            try:
                pa.array([value], field.type)
            except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError):
                return (
                    f"column {field.name!r}, row {row} holds {type(value).__name__} {value!r:.80}, "
                    f"contract {contract.label} wants {field.type}"
                )
    return f"{error}; contract {contract.label} was wanted"
