import io
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutelage.schemas.contract_files import (
    ROWS_PER_GROUP,
    CalmParquetFile,
    ContractWriter,
    open_parquet,
    rows_of,
    table_of,
)
from tutelage.schemas.contracts import COMPLETIONS, CONTRACTS, FOOTER_KEY, LEDGER, Contract
from tutelage.schemas.errors import ContractError
from tutelage.schemas.rows import Completion

MakeRow = Callable[..., Completion]
PATH = "completions/part-00000.parquet"


def _written(table: pa.Table, contract: Contract = COMPLETIONS) -> bytes:
    stream = io.BytesIO()
    with ContractWriter(contract, stream, PATH) as writer:
        writer.write(table)
    return stream.getvalue()


class _Watched(io.BytesIO):
    """Notes which threads read it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.readers: set[int] = set()

    def read(self, size: int | None = -1) -> bytes:
        self.readers.add(threading.get_ident())
        return super().read(size)


@pytest.mark.parametrize(
    "read",
    [
        lambda parquet: parquet.read(),
        lambda parquet: parquet.read(columns=["a"]),
        lambda parquet: parquet.read_row_group(0),
        lambda parquet: list(parquet.iter_batches(batch_size=10)),
    ],
    ids=["read", "columns", "row group", "batches"],
)
def test_a_file_is_read_in_the_thread_that_asks(read: Callable[[CalmParquetFile], object]) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({name: range(1000) for name in "abcdefgh"}), stream)
    calm, usual = _Watched(stream.getvalue()), _Watched(stream.getvalue())
    read(CalmParquetFile(calm))
    assert calm.readers == {threading.get_ident()}
    pq.ParquetFile(usual).read()
    assert len(usual.readers) > 1, "Arrow does not use threads of its own any more: CalmParquetFile can go"


def _parquet(table: pa.Table) -> io.BytesIO:
    """A file that somebody else wrote, with no check at all."""
    stream = io.BytesIO()
    pq.write_table(table, stream)
    stream.seek(0)
    return stream


def _retyped(table: pa.Table, column: str, kind: pa.DataType) -> pa.Table:
    place = table.schema.get_field_index(column)
    field = pa.field(column, kind, table.schema.field(column).nullable)
    return table.set_column(place, field, table.column(column).cast(kind)).replace_schema_metadata(
        table.schema.metadata
    )


def _labelled(table: pa.Table, label: str | None) -> pa.Table:
    return table.replace_schema_metadata({} if label is None else {FOOTER_KEY: label.encode()})


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.label)
def test_the_row_class_has_the_columns_of_the_schema_in_their_order(contract: Contract) -> None:
    assert list(contract.row._fields) == contract.schema.names


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.label)
def test_an_empty_table_keeps_its_contract(contract: Contract) -> None:
    data = _written(table_of(contract, []), contract)
    assert open_parquet(contract, io.BytesIO(data), PATH).metadata.num_rows == 0


def test_rows_come_back_as_they_were_written(completion: MakeRow) -> None:
    rows = [
        completion(),
        completion(messages=[], obligations=["attribution", "share_alike"], tokens=[], top_logprobs=[]),
        completion(
            messages=[("system", "s"), ("user", "")],
            cost_usd=Decimal("99999999.999999999999"),
            tokens=[(1, "a", -0.5), (None, "b", None)],
            top_logprobs=[[], [(1, -0.5), (None, -1.0)]],
            created_at=datetime(2026, 11, 23, 12, 0, 0, 123_456, UTC),
        ),
        completion(response="", reasoning="", cost_usd=None),
    ]
    data = _written(table_of(COMPLETIONS, rows))
    assert list(rows_of(COMPLETIONS, open_parquet(COMPLETIONS, io.BytesIO(data), PATH).read())) == rows


def test_a_slice_of_a_table_gives_the_rows_of_that_slice(completion: MakeRow) -> None:
    rows = [completion(tokens=[(n, "t", -0.5)] * n, top_logprobs=[[(n, -1.0)]] * n) for n in range(5)]
    rows[3] = completion(tokens=None, top_logprobs=None)
    table = table_of(COMPLETIONS, rows)
    assert [list(rows_of(COMPLETIONS, table.slice(start, 2))) for start in range(4)] == [
        rows[start : start + 2] for start in range(4)
    ]


def test_the_file_is_plain_parquet_with_the_contract_in_its_footer(completion: MakeRow) -> None:
    data = _written(table_of(COMPLETIONS, [completion()] * (ROWS_PER_GROUP + 1)))
    parquet = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
    assert parquet.schema_arrow.metadata[FOOTER_KEY] == b"completions/1"
    assert parquet.schema_arrow.equals(COMPLETIONS.schema)
    assert parquet.num_row_groups == 2
    group = parquet.metadata.row_group(0)
    assert {group.column(place).compression for place in range(group.num_columns)} == {"ZSTD"}
    assert parquet.read(["response"]).num_rows == ROWS_PER_GROUP + 1


def test_a_damaged_page_is_seen(completion: MakeRow) -> None:
    data = bytearray(_written(table_of(COMPLETIONS, [completion()])))
    column = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(5)
    assert column.path_in_schema == "response"
    data[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 1
    parquet = open_parquet(COMPLETIONS, io.BytesIO(data), PATH)
    with pytest.raises(OSError, match="checksum"):
        parquet.read()


CHANGES: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "no contract": (
        lambda table: _labelled(table, None),
        "its footer names no contract, completions/1 was wanted; was it written by tutelage?",
    ),
    "another contract": (
        lambda table: _labelled(table, "ledger/1"),
        "its footer says 'ledger/1', completions/1 was wanted; was it written by tutelage?",
    ),
    "a newer version": (
        lambda table: _labelled(table, "completions/2"),
        "contract completions/2 is newer than this tutelage reads (completions/1); upgrade tutelage",
    ),
    "no version": (
        lambda table: _labelled(table, "completions"),
        "its footer says 'completions', completions/1 was wanted; was it written by tutelage?",
    ),
    "a column less": (
        lambda table: table.drop_columns(["response"]),
        "column 'response' is missing, contract completions/1 wants string; write the file anew",
    ),
    "a column more": (
        lambda table: table.append_column("mood", pa.array(["fine"])),
        "column 'mood' is not in contract completions/1; drop it or rename it",
    ),
    "another type": (
        lambda table: _retyped(table, "created_at", pa.int64()),
        "column 'created_at' is int64, contract completions/1 wants timestamp[us, tz=UTC]; write the file anew",
    ),
    "another unit": (
        lambda table: _retyped(table, "created_at", pa.timestamp("ms", tz="UTC")),
        "column 'created_at' is timestamp[ms, tz=UTC], contract completions/1 wants timestamp[us, tz=UTC]",
    ),
    "another precision": (
        lambda table: _retyped(table, "cost_usd", pa.decimal128(38, 12)),
        "column 'cost_usd' is decimal128(38, 12), contract completions/1 wants decimal128(20, 12)",
    ),
    "room for nulls": (
        lambda table: table.cast(
            pa.schema([field.with_nullable(True) for field in table.schema], metadata=table.schema.metadata)
        ),
        "column 'row_id' may hold nulls, contract completions/1 wants string not null",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_reader_names_file_column_found_and_wanted(change: str, completion: MakeRow) -> None:
    changed, complaint = CHANGES[change]
    stream = _parquet(changed(table_of(COMPLETIONS, [completion()])))
    with pytest.raises(ContractError, match=re.escape(f"{PATH}: {complaint}")):
        open_parquet(COMPLETIONS, stream, PATH)


@pytest.mark.parametrize("change", CHANGES)
def test_the_writer_refuses_the_same_and_writes_no_row(change: str, completion: MakeRow) -> None:
    changed, complaint = CHANGES[change]
    stream = io.BytesIO()
    with ContractWriter(COMPLETIONS, stream, PATH) as writer:
        with pytest.raises(ContractError, match=re.escape(f"{PATH}: {complaint}")):
            writer.write(changed(table_of(COMPLETIONS, [completion()])))
        assert writer.rows == 0
    assert pq.ParquetFile(io.BytesIO(stream.getvalue())).metadata.num_rows == 0


@pytest.mark.parametrize("older", ["completions/1", "completions/0"])
def test_this_version_and_older_ones_are_read(older: str, completion: MakeRow) -> None:
    stream = _parquet(_labelled(table_of(COMPLETIONS, [completion()]), older))
    assert open_parquet(COMPLETIONS, stream, PATH).metadata.num_rows == 1


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet" * 100], ids=["empty", "magic only", "text"])
def test_what_is_no_parquet_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(ContractError, match=f"{PATH}: not a readable Parquet file .*completions/1 was wanted"):
        open_parquet(COMPLETIONS, io.BytesIO(data), PATH)


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"response": 1}, "column 'response', row 1 holds int 1, contract completions/1 wants string"),
        ({"response": b"\xff"}, "column 'response', row 1 holds bytes b'\\xff', contract completions/1 wants string"),
        ({"response": "\ud800"}, "column 'response', row 1 holds str '\\ud800', contract completions/1 wants string"),
        ({"attempts": "2"}, "column 'attempts', row 1 holds str '2', contract completions/1 wants int32"),
        ({"attempts": 2**31}, "column 'attempts', row 1 holds int 2147483648, contract completions/1 wants int32"),
        (
            {"created_at": "today"},
            "column 'created_at', row 1 holds str 'today', contract completions/1 wants timestamp[us, tz=UTC]",
        ),
        (
            {"cost_usd": Decimal("0.0000000000001")},
            "column 'cost_usd', row 1 holds Decimal Decimal('1E-13'), contract completions/1 wants decimal128(20, 12)",
        ),
        ({"messages": "hello"}, "column 'messages', row 1 holds str 'hello', contract completions/1 wants list<"),
        ({"messages": [("user", "a", "b")]}, "column 'messages', row 1 holds list [('user', 'a', 'b')], contract"),
        ({"tokens": [("1", "a", -0.5)]}, "column 'tokens', row 1 holds list [('1', 'a', -0.5)], contract"),
    ],
)
def test_a_value_that_fits_no_column_is_refused_with_its_place(
    columns: dict[str, Any], complaint: str, completion: MakeRow
) -> None:
    rows = [completion(), completion()._replace(**columns)]
    with pytest.raises(ContractError, match=re.escape(f"{PATH}: {complaint}")):
        table_of(COMPLETIONS, rows, PATH)


@pytest.mark.parametrize(
    ("columns", "column"),
    [({"response": None}, "response"), ({"salt": None}, "salt"), ({"messages": [("user", None)]}, "content")],
)
def test_a_null_where_the_contract_has_none_is_refused(
    columns: dict[str, Any], column: str, completion: MakeRow
) -> None:
    table = table_of(COMPLETIONS, [completion()._replace(**columns)])
    stream = io.BytesIO()
    with (
        ContractWriter(COMPLETIONS, stream, PATH) as writer,
        pytest.raises(ContractError, match=f"{PATH}: Column '{column}' .*nulls; contract completions/1 was wanted"),
    ):
        writer.write(table)


def test_a_table_of_another_contract_is_refused() -> None:
    with ContractWriter(COMPLETIONS, io.BytesIO(), PATH) as writer, pytest.raises(ContractError, match="'ledger/1'"):
        writer.write(table_of(LEDGER, []))
