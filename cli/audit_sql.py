"""`tutelage audit sql`: the result of one SELECT as a table for people, or as csv, json or parquet."""

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from tutelage.schemas.errors import ConfigError, TutelageError

if TYPE_CHECKING:
    import pyarrow as pa

    from tutelage.cli.audit_input import Prepared

FORMATS = ("table", "csv", "json", "parquet")
TABLE_ROWS = 1000
CELL_WIDTH = 60
MADE_BY = {
    "duplicate_pairs": "audit duplicates DIR",
    "duplicate_clusters": "audit duplicates DIR",
    "prompt_pairs": "audit duplicates DIR",
    "prompt_clusters": "audit duplicates DIR",
    "contamination_hits": "audit contamination DIR --against BENCH",
    "findings": "audit quality DIR",
}
"""Tables that stay empty until an audit was run, and which audit."""

_UNPRINTABLE = re.compile(
    # Controls, and what reorders or hides text: a terminal would obey the first, an eye believe the second.
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_QUOTED_IN_CSV = re.compile(r'[",\r\n]|^\s|\s$|^$')


def run_sql(
    arguments: Sequence[str],
    *,
    format: str = "table",  # noqa: A002  (what the option is called)
    output: str | None = None,
    maps: Sequence[str] = (),
    unsealed: bool = False,
    out: str | None = None,
    memory_limit: str = "2GB",
    timeout_s: float = 60.0,
    as_json: bool = False,
) -> int:
    """Runs the last argument over the datasets before it."""
    from tutelage.audit.sql_query import run_query
    from tutelage.cli.audit_input import prepared

    if as_json and (output is not None or format not in ("table", "json")):
        raise ConfigError(
            "--json: prints one object; leave out --format and --output, or write --format json for a list"
        )
    kind = "object" if as_json else _format(format, output)
    *datasets, sql = arguments
    try:
        tables = _tables(datasets, sql)  # a typo is told before the seal is checked, which may take long
        found = prepared(datasets, maps=maps, unsealed=unsealed, out=out, fingerprints="fingerprints" in tables)
        with run_query(found.inputs, found.out, sql, memory_limit=memory_limit, timeout_s=timeout_s) as reader:
            _tell_of_audits_not_run(found, tables)
            if output is None:
                for text in _texts(kind, reader):
                    typer.echo(text, nl=False, color=True)  # or it would leave out what looks like a colour
            else:
                _write(kind, reader, output)
    except TutelageError as error:
        # DuckDB's errors quote the value that they stumbled over, and that is a teacher's.
        error.args = ("\n".join(map(shown, str(error).split("\n"))),)
        raise
    return 0


def _tables(datasets: Sequence[str], sql: str) -> frozenset[str]:
    from tutelage.audit.sql_names import check_query

    if not datasets:
        raise ConfigError(f'found one argument, {sql!r}; needed datasets and, last, a query: audit sql DIR "SELECT …"')
    try:
        return check_query(sql)
    except ConfigError as error:
        if os.path.exists(sql):
            raise ConfigError(
                f'{sql}: is a file or folder, where a query was needed; the query comes last: audit sql DIR "SELECT …"'
            ) from error
        raise


def _tell_of_audits_not_run(found: "Prepared", tables: frozenset[str]) -> None:
    """That no audit was run must not look like an audit that found nothing."""
    from tutelage.audit.folder import RESULTS

    for table in sorted(tables & MADE_BY.keys()):
        if not found.out.exists(RESULTS[table]):
            typer.echo(
                f"{table}: has no rows, as {found.out.uri} holds no {RESULTS[table]}; `tutelage {MADE_BY[table]}` "
                "writes it, or name its folder with --out",
                err=True,
            )


def _format(wanted: str, output: str | None) -> str:
    if wanted not in FORMATS:
        raise ConfigError(f"--format {wanted!r}: needed one of {', '.join(FORMATS)}")
    if output is None:
        if wanted == "parquet":
            raise ConfigError("--format parquet: is no text to print; name a file with --output FILE.parquet")
        return wanted
    if wanted == "table":
        wanted = output.rpartition(".")[2].lower()
        if wanted not in FORMATS[1:]:
            raise ConfigError(f"--output {output}: say with --format which of {', '.join(FORMATS[1:])} it is to be")
    return wanted


def _write(kind: str, reader: "pa.RecordBatchReader", output: str) -> None:
    from tutelage.audit.folder import AuditFolder

    place, slash, name = output.rpartition("/")
    if not name:
        raise ConfigError(f"--output {output}: is a folder; name a file")
    with AuditFolder(place or slash or ".").replacing(name) as stream:
        if kind == "parquet":
            _write_parquet(reader, stream)
        else:
            for text in _texts(kind, reader):
                stream.write(text.encode())


def _write_parquet(reader: "pa.RecordBatchReader", stream: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, _names(reader), strict=True)])
    try:
        with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
    except pa.ArrowNotImplementedError as error:
        raise ConfigError(f"--format parquet: {error}; cast that column to another type in the query") from error


def _texts(kind: str, reader: "pa.RecordBatchReader") -> Iterator[str]:
    return {"table": _table, "csv": _csv, "json": _json, "object": _object}[kind](reader)


def _object(reader: "pa.RecordBatchReader") -> Iterator[str]:
    """One object, as `--json` prints everywhere."""
    yield '{"rows": '
    for text in _json(reader):
        yield text.removesuffix("]\n") + "]}\n" if text.endswith("]\n") else text


def _json(reader: "pa.RecordBatchReader") -> Iterator[str]:
    """An array of one object a row, a row a line."""
    names, before = _names(reader), "["
    for row in _rows(reader):
        text = _as_json(dict(zip(names, row, strict=True)))
        yield f"{before}\n{_UNPRINTABLE.sub(_json_escape, text)}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _csv(reader: "pa.RecordBatchReader") -> Iterator[str]:
    """RFC 4180 with line feeds; a null is nothing, an empty text is `""`."""
    yield ",".join(map(_csv_cell, _names(reader))) + "\n"
    for row in _rows(reader):
        yield ",".join(map(_csv_cell, row)) + "\n"


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    text = _text(value)
    return '"' + text.replace('"', '""') + '"' if _QUOTED_IN_CSV.search(text) else text


def _table(reader: "pa.RecordBatchReader") -> Iterator[str]:
    """The first rows in columns. What is cut is cut visibly."""
    from rich.cells import cell_len

    lines, more = [[_cell(name) for name in _names(reader)]], False
    for row in _rows(reader):
        if more := len(lines) > TABLE_ROWS:
            break
        lines.append(["" if value is None else _cell(_text(value)) for value in row])
    if len(lines) == 1:
        typer.echo("the query ran; no row came of it", err=True)
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip() + "\n"
        if number == 0:
            yield "  ".join("-" * width for width in widths) + "\n"
    if more:
        typer.echo(f"the first {TABLE_ROWS:,} rows; --format csv, json or parquet has them all", err=True)


def shown(text: str) -> str:
    """Text for a terminal: hostile as it may be, it is only looked at."""
    return _UNPRINTABLE.sub(_python_escape, text)


def _cell(text: str) -> str:
    return shown(text if len(text) <= CELL_WIDTH else text[: CELL_WIDTH - 1] + "…")


def _rows(reader: "pa.RecordBatchReader") -> Iterator[tuple[Any, ...]]:
    for batch in reader:
        yield from zip(*map(_values, batch.columns), strict=True)


def _values(column: "pa.Array") -> list[Any]:
    import pyarrow as pa

    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # a moment that Python's calendar does not reach
        return list(column.cast(pa.string()).to_pylist())


def _names(reader: "pa.RecordBatchReader") -> list[str]:
    """Column names, each once: a name that comes again gets a number."""
    names: list[str] = []
    for name in reader.schema.names:
        free, number = name, 0
        while free in names:
            number += 1
            free = f"{name}_{number}"
        names.append(free)
    return names


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return _as_json(value)
    return str(_plain(value))


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, default=_plain, allow_nan=False)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become text."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    """What JSON has no word for, as text: decimals to their last digit, times in ISO 8601, bytes in hex."""
    if isinstance(value, bytes):
        return value.hex()
    return (
        value.isoformat() if hasattr(value, "isoformat") else format(value, "f") if _is_decimal(value) else str(value)
    )


def _is_decimal(value: Any) -> bool:
    from decimal import Decimal

    return isinstance(value, Decimal)


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def _python_escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
