"""Outputs as they come: Parquet with a row for each response, or datasets of ours. Read in batches of one shape."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.audit.tables import TABLES, table_files
from tutelage.schemas.contract_files import CalmParquetFile, contract_of, open_parquet
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.mended import mended
from tutelage.schemas.prompt_text import prompt_texts

COLUMNS = ("model", "prompt_id", "prompt", "response")
SAMPLE = "sample_index"
_OF_DATASETS = ("teacher", "prompt_id", "messages", "response", SAMPLE)
_TEXT, _NUMBER = pa.large_string(), pa.int64()
_WANTED = {
    "model": "text",
    "prompt_id": "text or whole numbers",
    "prompt": "text",
    "response": "text",
    SAMPLE: "whole numbers",
}
BATCH_ROWS = 4096
"""With 100,000 characters a row, 400 MB at once."""


class OutputBatch(NamedTuple):
    """Columns `model, prompt_id, prompt, response` (text; the last two never null) and `sample_index` (int64).

    `undecodable` counts texts that were no valid UTF-8; they hold U+FFFD where they were broken.
    """

    rows: pa.Table
    undecodable: int


def is_dataset(uri: str) -> bool:
    """Is it a folder of ours, whose seal can be checked?"""
    return bool(_dataset_files(uri)[1])


def output_batches(uris: Sequence[str]) -> Iterator[OutputBatch]:
    """The rows of all of them, in order. Raises ConfigError where one can't be read, lacks a column or has no row."""
    for uri in uris:
        found = 0
        for path, table in _tables(uri, (*COLUMNS, SAMPLE)):
            found += table.num_rows
            yield _normal(table, path)
        if not found:
            raise ConfigError(f"{uri}: holds no row; a row for each response was wanted")


def models_in(uris: Sequence[str]) -> dict[str, int]:
    """Rows by model, in order of first appearance; reads one column."""
    counts: Counter[str] = Counter()
    for uri in uris:
        for path, table in _tables(uri, ("model",)):
            models, _ = _text(table.column("model"), path, "model")
            for entry in pc.value_counts(_trimmed(models).combine_chunks()).to_pylist():
                if entry["values"]:
                    counts[entry["values"]] += entry["counts"]
    return dict(counts)


def _tables(uri: str, wanted: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Batches of the wanted columns as they come; `sample_index` is there only where the file has it."""
    fs, completions = _dataset_files(uri)
    if completions:
        for path in completions:
            yield from _completions(fs, path, wanted)
        return
    for path in _parquet_files(uri):
        with _open(fs, path) as stream:
            parquet = _checked(stream, path)
            present = [name for name in wanted if name in parquet.schema_arrow.names]
            for batch in _batches(parquet, path, present):
                yield path, pa.Table.from_batches([batch])


def _completions(fs: Any, path: str, wanted: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    columns = _OF_DATASETS if len(wanted) > 1 else _OF_DATASETS[:1]
    with _open(fs, path) as stream:
        for batch in _batches(open_parquet(COMPLETIONS, stream, path), path, columns):
            found = {"model" if name == "teacher" else name: batch.column(name) for name in columns}
            if "messages" in found:
                found["prompt"] = prompt_texts(found.pop("messages"))
            yield path, pa.table(found)


def _dataset_files(uri: str) -> tuple[Any, list[str]]:
    try:
        return table_files(uri, TABLES["completions"][0])
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"{uri}: can't be opened ({error}); check the URI, and install what its kind needs"
        ) from error


def _parquet_files(uri: str) -> list[str]:
    """The file itself, or those of the folder."""
    fs, path = fsspec.core.url_to_fs(uri)
    if fs.isdir(path):
        _, files = table_files(uri, "*.parquet")
        if not files:
            raise ConfigError(
                f"{uri}: holds neither *.parquet nor completions/*.parquet; name a Parquet file of "
                f"{', '.join(COLUMNS)}, or a dataset that `tutelage harvest` made"
            )
        return files
    if not fs.exists(path):
        raise ConfigError(f"{uri}: is not there; name a Parquet file of {', '.join(COLUMNS)}, or a dataset's folder")
    return [path]


def _open(fs: Any, path: str) -> Any:
    try:
        return fs.open(path, "rb")
    except OSError as error:
        raise ConfigError(f"{path}: can't be opened ({error}); mend the permission, or name another file") from error


def _batches(parquet: CalmParquetFile, path: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    batches = parquet.iter_batches(BATCH_ROWS, columns=columns)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ConfigError(f"{path}: can't be read ({error}); restore it from a copy, or write it anew") from error
        if batch is None:
            return
        yield batch


def _checked(stream: IO[bytes], path: str) -> CalmParquetFile:
    """The file, with its columns and their types as they have to be."""
    if contract_of(stream) == COMPLETIONS.name:
        raise ConfigError(f"{path}: is a file of a dataset; name the dataset's folder, so that its seal can be checked")
    try:
        parquet = CalmParquetFile(stream)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: is no readable Parquet file ({error}); write the outputs as Parquet: {', '.join(COLUMNS)}"
        ) from error
    schema = parquet.schema_arrow
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing:
        raise ConfigError(
            f"{path}: lacks the columns {', '.join(missing)}; found {', '.join(schema.names) or 'none'}; write one row "
            f"for each response, with {', '.join(COLUMNS)}"
        )
    for name in (*COLUMNS, SAMPLE):
        if schema.names.count(name) > 1:
            raise ConfigError(f"{path}: has the column {name!r} {schema.names.count(name)} times; rename the others")
        if name in schema.names and not _fits(name, schema.field(name).type):
            raise ConfigError(
                f"{path}: column {name!r} is {schema.field(name).type}, and {_WANTED[name]} was wanted; cast it"
            )
    return parquet


def _fits(name: str, kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if name == SAMPLE:
        return bool(pa.types.is_integer(kind) or pa.types.is_null(kind))
    if name == "prompt_id" and pa.types.is_integer(kind):
        return True
    return bool(is_text or (pa.types.is_null(kind) and name in ("prompt", "response")))


def _normal(table: pa.Table, path: str) -> OutputBatch:
    columns, undecodable = {}, 0
    for name in COLUMNS:
        columns[name], broken = _text(table.column(name), path, name)
        undecodable += broken
    columns["model"] = _trimmed(columns["model"])
    for name in ("prompt", "response"):
        columns[name] = pc.fill_null(columns[name], "")
    samples = table.column(SAMPLE) if SAMPLE in table.column_names else pa.nulls(table.num_rows, _NUMBER)
    columns[SAMPLE] = pc.fill_null(_cast(samples, _NUMBER, path, SAMPLE), 0)
    return OutputBatch(pa.table(columns), undecodable)


def _trimmed(models: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(models)


def _text(values: pa.ChunkedArray, path: str, name: str) -> tuple[pa.ChunkedArray, int]:
    """Text in valid UTF-8, and how many were not."""
    values = _cast(values, values.type.value_type, path, name) if pa.types.is_dictionary(values.type) else values
    try:
        values.validate(full=True)
        return _cast(values, _TEXT, path, name), 0
    except pa.ArrowInvalid:
        found = mended(values)
        return pa.chunked_array([pa.array(found.texts, _TEXT)]), found.broken


def _cast(values: Any, kind: pa.DataType, path: str, name: str) -> Any:
    try:
        return values.cast(kind)
    except pa.ArrowException as error:
        raise ConfigError(f"{path}: column {name!r} can't be read as {_WANTED[name]} ({error}); cast it") from error
