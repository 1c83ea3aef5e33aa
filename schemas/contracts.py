"""The Arrow schemas of every Parquet file, each with its name and version, and the one writer and reader of them.

A footer holds `tutelage.contract` (`completions/1`). A reader refuses a newer version and a schema that differs; a
writer refuses a table that differs. Both name the file, the column, what was found and what was wanted.
"""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tutelage.schemas import rows
from tutelage.schemas.errors import ContractError

FOOTER_KEY = b"tutelage.contract"
ROWS_PER_GROUP = 8192
MAX_CELL_BYTES = 2**31 - 1

MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string(), False), pa.field("content", pa.string(), False)]))
TOKENS = pa.list_(pa.struct([("id", pa.int32()), ("text", pa.string()), ("logprob", pa.float32())]))
TOP_LOGPROBS = pa.list_(pa.list_(pa.struct([("id", pa.int32()), ("logprob", pa.float32())])))
_STRINGS = pa.list_(pa.string())
USD = pa.decimal128(20, 12)
INSTANT = pa.timestamp("us", tz="UTC")


class Contract(NamedTuple):
    """A table's name, version, row class and schema. Columns stand in the row class's order."""

    name: str
    version: int
    row: type[Any]
    schema: pa.Schema

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"


def _contract(name: str, version: int, row: type[Any], columns: dict[str, pa.DataType], nullable: str = "") -> Contract:
    optional = set(nullable.split())
    fields = [pa.field(column, kind, column in optional) for column, kind in columns.items()]
    schema = pa.schema(fields, metadata={FOOTER_KEY: f"{name}/{version}".encode()})
    return Contract(name, version, row, schema)


_PROMPT_ORIGIN = {"prompt_source": pa.string(), "prompt_source_row": pa.int64()}
_USAGE = dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"), pa.int64())

PLAN = _contract(
    "plan",
    1,
    rows.PlannedRequest,
    {
        "request_id": pa.string(),
        "prompt_id": pa.string(),
        "teacher": pa.string(),
        "messages": MESSAGES,
        "sampling": pa.string(),
        "sample_index": pa.int32(),
        **_PROMPT_ORIGIN,
        "prompt_license": pa.string(),
        "estimated_prompt_tokens": pa.int64(),
    },
)
REJECTED = _contract(
    "rejected",
    1,
    rows.RejectedPrompt,
    {
        **_PROMPT_ORIGIN,
        "prompt_id": pa.string(),
        "cause": pa.string(),
        "detail": pa.string(),
        "duplicate_of": pa.string(),
    },
    nullable="prompt_id duplicate_of",
)
JOURNAL = _contract(
    "journal",
    1,
    rows.Call,
    {
        "call_id": pa.string(),
        "request_id": pa.string(),
        "teacher": pa.string(),
        "kind": pa.string(),
        "attempt": pa.int32(),
        "run_id": pa.string(),
        "sent_at": INSTANT,
        "latency_us": pa.int64(),
        "status": pa.int32(),
        "headers": pa.string(),
        "body": pa.binary(),
        "salt": pa.string(),
        "max_tokens": pa.int64(),
    },
    nullable="max_tokens",
)
COMPLETIONS = _contract(
    "completions",
    1,
    rows.Completion,
    {
        "row_id": pa.string(),
        "request_id": pa.string(),
        "prompt_id": pa.string(),
        "messages": MESSAGES,
        "response": pa.string(),
        "reasoning": pa.string(),
        "tool_calls": pa.string(),
        "outcome": pa.string(),
        "outcome_cause": pa.string(),
        "finish_reason": pa.string(),
        "teacher": pa.string(),
        "model_requested": pa.string(),
        "model_reported": pa.string(),
        "revision": pa.string(),
        "channel": pa.string(),
        "provider_request_id": pa.string(),
        "system_fingerprint": pa.string(),
        "sampling": pa.string(),
        "sample_index": pa.int32(),
        **_USAGE,
        "cost_usd": USD,
        "latency_ms": pa.int64(),
        "attempts": pa.int32(),
        "created_at": INSTANT,
        "run_id": pa.string(),
        **_PROMPT_ORIGIN,
        "prompt_license": pa.string(),
        "terms_id": pa.string(),
        "train_use": pa.string(),
        "obligations": pa.list_(pa.string()),
        "code_version": pa.string(),
        "tokens": TOKENS,
        "top_logprobs": TOP_LOGPROBS,
        "salt": pa.string(),
        "leaf_sha256": pa.string(),
    },
    nullable="reasoning tool_calls outcome_cause finish_reason model_reported revision provider_request_id"
    " system_fingerprint prompt_tokens completion_tokens cached_tokens reasoning_tokens cost_usd tokens top_logprobs",
)
FAILED = _contract(
    "failed",
    1,
    rows.FailedRequest,
    {
        "request_id": pa.string(),
        "prompt_id": pa.string(),
        "teacher": pa.string(),
        "sample_index": pa.int32(),
        "cause": pa.string(),
        "detail": pa.string(),
        "attempts": pa.int32(),
        "retryable": pa.bool_(),
        "last_status": pa.int32(),
        "last_attempt_at": INSTANT,
        **_PROMPT_ORIGIN,
    },
    nullable="detail last_status last_attempt_at",
)
LEDGER = _contract(
    "ledger",
    1,
    rows.LedgerEntry,
    {
        "call_id": pa.string(),
        "request_id": pa.string(),
        "teacher": pa.string(),
        "kind": pa.string(),
        "attempt": pa.int32(),
        "run_id": pa.string(),
        "sent_at": INSTANT,
        "latency_ms": pa.int64(),
        "status": pa.int32(),
        "cause": pa.string(),
        **_USAGE,
        "usd_per_million_input_tokens": pa.decimal128(20, 6),
        "usd_per_million_output_tokens": pa.decimal128(20, 6),
        "cost_usd": USD,
        "cost_basis": pa.string(),
    },
    nullable="prompt_tokens completion_tokens cached_tokens reasoning_tokens",
)
ADOPTED = Contract(
    "adopted",
    1,
    rows.Completion,
    pa.schema(
        [field if field.name == "row_id" else field.with_nullable(True) for field in COMPLETIONS.schema],
        metadata={FOOTER_KEY: b"adopted/1"},
    ),
)
"""A foreign table in the columns of completions: what it does not have is null, never made up."""
PERMUTATIONS = 112
SIGNATURE = pa.binary(4 * PERMUTATIONS)
_TEXT_FACTS = {"sha256": pa.string(), "chars": pa.int64(), "words": pa.int64(), "language": pa.string()}
FINGERPRINTS = _contract(
    "fingerprints",
    1,
    rows.Fingerprint,
    {
        "row_id": pa.string(),
        "prompt_id": pa.string(),
        "teacher": pa.string(),
        **{f"response_{fact}": kind for fact, kind in _TEXT_FACTS.items()},
        "response_signature": SIGNATURE,
        "opening": pa.string(),
        "self_identification": _STRINGS,
        **{f"prompt_{fact}": kind for fact, kind in _TEXT_FACTS.items()},
        "prompt_signature": SIGNATURE,
    },
    nullable="prompt_id teacher response_language response_signature self_identification prompt_language"
    " prompt_signature",
)
DUPLICATE_PAIRS = _contract(
    "duplicate-pairs",
    1,
    rows.DuplicatePair,
    {
        "left_id": pa.string(),
        "right_id": pa.string(),
        "jaccard": pa.float64(),
        "left_dataset": pa.string(),
        "right_dataset": pa.string(),
    },
)
DUPLICATE_CLUSTERS = _contract(
    "duplicate-clusters",
    1,
    rows.DuplicateMember,
    {
        "cluster_id": pa.string(),
        "dataset": pa.string(),
        "row_id": pa.string(),
        "kind": pa.string(),
        "size": pa.int64(),
    },
)
CONTAMINATION_HITS = _contract(
    "contamination-hits",
    1,
    rows.ContaminationHit,
    {
        **dict.fromkeys(("dataset", "row_id", "part", "benchmark", "item_id", "item_field", "method"), pa.string()),
        "share": pa.float64(),
        "row_text": pa.string(),
        "item_text": pa.string(),
    },
)
FINDINGS = _contract(
    "findings",
    1,
    rows.Finding,
    {
        **dict.fromkeys(("audit", "rule", "severity", "dataset", "message"), pa.string()),
        "rows": pa.int64(),
        "row_ids": _STRINGS,
        "evidence": pa.string(),
        "threshold": pa.string(),
        "threshold_source": pa.string(),
        "error_rate": pa.float64(),
        "error_rate_source": pa.string(),
        "cannot_tell": pa.string(),
        "code_version": pa.string(),
    },
    nullable="threshold threshold_source error_rate error_rate_source",
)
DECISIONS = _contract(
    "decisions",
    1,
    rows.Decision,
    dict.fromkeys(rows.Decision._fields, pa.string()),
    nullable="detail split prompt_cluster",
)
TRAINING_ROWS = _contract(
    "training-rows",
    1,
    rows.TrainingRow,
    {
        "position": pa.int64(),
        "step": pa.int32(),
        "row_id": pa.string(),
        "epoch": pa.int32(),
        "tokens_trained": pa.int32(),
        "tokens": pa.int32(),
        "teacher": pa.string(),
        "terms_id": pa.string(),
    },
)

CONTRACTS = {
    contract.name: contract
    for contract in (
        *(PLAN, REJECTED, JOURNAL, COMPLETIONS, FAILED, LEDGER),
        *(ADOPTED, FINGERPRINTS, DUPLICATE_PAIRS, DUPLICATE_CLUSTERS, CONTAMINATION_HITS, FINDINGS, DECISIONS),
        TRAINING_ROWS,
    )
}


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
    if pa.types.is_list(kind) and kind != _STRINGS:
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
