"""The tables of one or more datasets as SQL views, and the steps that read them.

Tables come in as Arrow datasets: any fsspec URI can be read, and a stranger's query needs no access to files.
"""

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.dataset as ds

from tutelage.audit.folder import RESULTS, AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contracts import (
    ADOPTED,
    COMPLETIONS,
    CONTAMINATION_HITS,
    DUPLICATE_CLUSTERS,
    DUPLICATE_PAIRS,
    FAILED,
    FINDINGS,
    FINGERPRINTS,
    INSTANT,
    LEDGER,
    PLAN,
    REJECTED,
    Contract,
)
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.manifest import MANIFEST, TOMBSTONES

TABLES: dict[str, tuple[str, Contract]] = {
    "completions": ("completions/*.parquet", COMPLETIONS),
    "failed": ("failed/*.parquet", FAILED),
    "ledger": ("ledger.parquet", LEDGER),
    "plan": ("plan/*.parquet", PLAN),
    "rejected": ("rejected.parquet", REJECTED),
    "fingerprints": ("fingerprints/*.parquet", FINGERPRINTS),
}
RESULT_CONTRACTS = {
    "duplicate_pairs": DUPLICATE_PAIRS,
    "duplicate_clusters": DUPLICATE_CLUSTERS,
    "prompt_pairs": DUPLICATE_PAIRS,
    "prompt_clusters": DUPLICATE_CLUSTERS,
    "contamination_hits": CONTAMINATION_HITS,
    "findings": FINDINGS,
}
_TEXT, _STRINGS = pa.string(), pa.list_(pa.string())
_RECORD_COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "terms": {
        "teacher": _TEXT,
        "train_use": _TEXT,
        "obligations": _STRINGS,
        "entries": _TEXT,
        "reasons": _STRINGS,
        "declared_by_user": pa.bool_(),
        "override": _TEXT,
    },
    "runs": {"run_id": _TEXT, "started_at": INSTANT, "ended_at": INSTANT, "code_version": _TEXT},
    "manifests": {
        "sealed": pa.bool_(),
        "problems": _STRINGS,
        "manifest_sha256": _TEXT,
        "created_at": INSTANT,
        "event": _TEXT,
        "merkle_root": _TEXT,
        "leaves": pa.int64(),
        "tombstones": pa.int64(),
        "rows": _TEXT,
        "code_version": _TEXT,
    },
    "tombstones": {
        "row_id": _TEXT,
        "request_id": _TEXT,
        "leaf_sha256": _TEXT,
        "reason": _TEXT,
        "withdrawn_at": INSTANT,
    },
}
RECORDS = {name: pa.schema({"dataset": _TEXT, **columns}) for name, columns in _RECORD_COLUMNS.items()}
"""Tables that are no Parquet files: what manifest, run record and tombstones say."""
PROMPT = "array_to_string([message.content FOR message IN messages IF message.role = 'user'], chr(10))"
"""What the user said, as fingerprints have it."""


def connect(
    inputs: Sequence[AuditInput],
    out: AuditFolder | None = None,
    *,
    memory_limit: str = "2GB",
    locked: bool = False,
) -> duckdb.DuckDBPyConnection:
    """A connection with a view for every table, `dataset` first; a table without a file is a view without rows.

    `locked`: what is asked may neither touch files, network and extensions, nor change a setting, nor see this
    process's own variables.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        # Where DuckDB spills to; without it, a folder `.tmp` wherever the command was called.
        "temp_directory": os.path.join(tempfile.gettempdir(), f"tutelage-{secrets.token_hex(8)}"),
        "python_enable_replacements": False,
        "python_scan_all_frames": False,
    }
    try:
        connection = duckdb.connect(":memory:", config=config)
    except duckdb.Error as error:
        raise ConfigError(f"memory limit {memory_limit!r}: {error}; give one like 2GB or 500MB") from error
    # Times are UTC in every column; a condition on a day must not mean another one on another machine.
    connection.execute("SET TimeZone = 'UTC'")
    for table, (pattern, contract) in TABLES.items():
        _views(connection, table, pattern, contract, inputs)
    for table, schema in RECORDS.items():
        rows = [row for item in inputs for row in _records(table, item)]
        connection.register(table, pa.Table.from_pylist(rows, schema=schema))
    for table, contract in RESULT_CONTRACTS.items():
        found = out is not None and out.exists(RESULTS[table])
        connection.register(
            table,
            ds.dataset(out.path(RESULTS[table]), filesystem=out.fs, format="parquet")
            if out is not None and found
            else contract.schema.empty_table(),
        )
    if locked:
        # What a stranger asks may spill, but not fill the disk.
        connection.execute("SET max_temp_directory_size = '16GB'")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    return connection


@cache
def statement(name: str) -> str:
    """The text of `audit/sql/<name>.sql`."""
    return files("tutelage.audit").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")


def run(connection: duckdb.DuckDBPyConnection, name: str, **values: Any) -> duckdb.DuckDBPyConnection:
    """Runs a step with its values bound by name; one that it does not ask for is an error."""
    with memory_named():
        return connection.execute(statement(name), values or None)


def fetch(connection: duckdb.DuckDBPyConnection, name: str, **values: Any) -> list[dict[str, Any]]:
    """The rows of a step, as dictionaries."""
    found = run(connection, name, **values)
    names = [column[0] for column in found.description or ()]
    with memory_named():
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def write(
    connection: duckdb.DuckDBPyConnection, out: AuditFolder, contract: Contract, name: str, step: str, **values: Any
) -> int:
    """Streams the rows of a step into a result's file; says how many there are."""
    with memory_named():
        reader = connection.sql(statement(step), params=values or None).to_arrow_reader(8192)
        tables = (pa.Table.from_batches([batch]).cast(contract.schema) for batch in reader if batch.num_rows)
        return out.write_tables(contract, name, tables)


@contextlib.contextmanager
def memory_named() -> Iterator[None]:
    """Says which option helps where DuckDB may hold no more in memory."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"--memory-limit: {reason}; give more, like --memory-limit 4GB") from error


def table_files(uri: str, pattern: str) -> tuple[Any, list[str]]:
    """The file system and the paths of a table's files, in order; none where the folder is not there."""
    fs, root = fsspec.core.url_to_fs(uri)
    directory, _, name = f"{root.rstrip('/')}/{pattern}".rpartition("/")
    suffix = name.removeprefix("*")
    try:
        found = [entry["name"] for entry in fs.ls(directory, detail=True) if entry["type"] != "directory"]
    except (FileNotFoundError, NotADirectoryError):
        return fs, []
    return fs, sorted(path for path in found if path.endswith(suffix) and ("*" in name or path.endswith(f"/{name}")))


def _views(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    pattern: str,
    contract: Contract,
    inputs: Sequence[AuditInput],
) -> None:
    columns = ", ".join(f'"{name}"' for name in contract.schema.names)
    if table == "completions":
        columns += f", {PROMPT} AS prompt"
    parts = []
    for number, item in enumerate(inputs):
        fs, paths = table_files(item.uri, pattern)
        schema = ADOPTED.schema if table == "completions" and item.mapped else contract.schema
        content = ds.dataset(paths, schema=schema, filesystem=fs, format="parquet") if paths else schema.empty_table()
        connection.register(f"_{table}_{number}", content)
        name = item.name.replace("'", "''")
        parts.append(f"SELECT '{name}' AS dataset, {columns} FROM _{table}_{number}")
    if not parts:
        connection.register(f"_{table}", contract.schema.empty_table())
        parts = [f"SELECT '' AS dataset, {columns} FROM _{table}"]
    connection.execute(f"CREATE VIEW {table} AS {' UNION ALL '.join(parts)}")


def _records(table: str, item: AuditInput) -> Iterator[dict[str, Any]]:
    """The rows of a table that is no Parquet file: what manifest, run record and tombstones say."""
    fs, root = fsspec.core.url_to_fs(item.uri)

    def read(name: str) -> bytes | None:
        path = f"{root.rstrip('/')}/{name}"
        return fs.cat_file(path) if fs.exists(path) else None

    if table == "runs":
        document = _json(read("run.json"))
        for run_ in document.get("runs", []):
            yield {"dataset": item.name} | {
                name: _moment(run_.get(name)) if name.endswith("_at") else run_.get(name)
                for name in RECORDS["runs"].names[1:]
            }
    elif table == "tombstones":
        for line in (read(TOMBSTONES) or b"").splitlines():
            stone = _json(line)
            yield {"dataset": item.name, **stone, "withdrawn_at": _moment(stone.get("withdrawn_at"))}
    else:
        content = read(MANIFEST)
        manifest = _json(content)
        if table == "terms":
            yield from (_terms(item, terms) for terms in manifest.get("terms", []))
        else:
            yield _manifest(item, manifest, content)


def _terms(item: AuditInput, terms: dict[str, Any]) -> dict[str, Any]:
    as_text = {name: json.dumps(terms.get(name), sort_keys=True) for name in ("entries", "override")}
    return {"dataset": item.name, **terms, **{name: None if text == "null" else text for name, text in as_text.items()}}


def _manifest(item: AuditInput, manifest: dict[str, Any], content: bytes | None) -> dict[str, Any]:
    merkle = manifest.get("merkle", {})
    return {
        "dataset": item.name,
        "sealed": item.sealed,
        "problems": list(item.problems),
        "manifest_sha256": sha256_hex(content) if content else None,
        "created_at": _moment(manifest.get("created_at")),
        "event": manifest.get("event"),
        "merkle_root": merkle.get("root"),
        "leaves": merkle.get("leaves"),
        "tombstones": manifest.get("tombstones"),
        "rows": json.dumps(manifest["rows"], sort_keys=True) if "rows" in manifest else None,
        "code_version": manifest.get("code_version"),
    }


def _json(content: bytes | None) -> dict[str, Any]:
    """An object, or an empty one: a damaged record is for the seal to report, and no audit stops at it."""
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _moment(text: Any) -> Any:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
