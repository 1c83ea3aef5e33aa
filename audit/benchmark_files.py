"""Evaluation sets as they are published: JSON lines, a JSON list, CSV, Parquet, read one item at a time."""

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple

import fsspec
import pyarrow as pa

from tutelage.schemas.contract_files import CalmParquetFile
from tutelage.schemas.errors import ConfigError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


QUESTION_FIELDS = _names(
    "prompt question text instruction instructions input inputs problem query context ctx passage sentence premise "
    "hypothesis goal story article document dialogue task turns messages stem"
)
ANSWER_FIELDS = _names(
    "answer answers response responses output outputs solution completion target targets canonical_solution reference "
    "references correct_answer best_answer explanation rationale chosen code"
)
ID_FIELDS = ("id", "item_id", "task_id", "question_id", "problem_id", "prompt_id", "uid", "qid", "_id", "idx", "index")
INSIDE = ("content", "text", "value", "stem")
"""Where an object holds its text: chat messages, choices and answers of well-known sets."""
ROWS_AT_ONCE = 256
_SURROGATES = re.compile("[\ud800-\udfff]+")
_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")


class Entry(NamedTuple):
    """One text of one item, by the field that holds it."""

    item_no: int
    item_id: str
    field: str
    text: str


class BenchmarkFile:
    """`entries` reads the file; what it counts is known when the last entry was taken.

    `undecodable` counts texts that were no valid UTF-8: U+FFFD stands in them where they were broken. Without
    `text_fields` a field holds text by its name (QUESTION_FIELDS, ANSWER_FIELDS) and by what stands in it.
    """

    def __init__(self, uri: str, text_fields: Sequence[str] = ()) -> None:
        self.uri, self.text_fields = uri, tuple(text_fields)
        self.items = self.undecodable = 0
        self.fields: list[str] = []

    def entries(self) -> Iterator[Entry]:
        """Raises ConfigError where the file can't be read, is empty, or holds no text."""
        seen: dict[str, None] = {}
        for item in self._items():
            seen.update(dict.fromkeys(item))
            item_no, self.items = self.items, self.items + 1
            item_id = _item_id(item, item_no)
            for field, value in item.items():
                text = _text_of(value) if self._is_wanted(field) else None
                if text is None:
                    continue
                if field not in self.fields:
                    self.fields.append(field)
                clean = _SURROGATES.sub("\ufffd", text)
                self.undecodable += clean != text
                yield Entry(item_no, item_id, field, clean)
        if not self.items:
            raise ConfigError(f"{self.uri}: holds no item; an evaluation set with at least one was wanted")
        if not self.fields:
            wanted = f"--text-field {', '.join(self.text_fields)}" if self.text_fields else "a field known to hold text"
            raise ConfigError(
                f"{self.uri}: {wanted}: none was found with text in it; its fields are {', '.join(seen) or 'none'}; "
                "name those that hold text with --text-field"
            )

    def _is_wanted(self, field: str) -> bool:
        if self.text_fields:
            return field in self.text_fields
        return field.lower() in QUESTION_FIELDS or field.lower() in ANSWER_FIELDS

    def _items(self) -> Iterator[dict[str, Any]]:
        suffixes = [suffix.lower() for suffix in PurePosixPath(self.uri).suffixes]
        suffix = ([""] + [suffix for suffix in suffixes if suffix not in _COMPRESSIONS])[-1]
        read = _READERS.get(suffix)
        if read is None:
            raise ConfigError(f"{self.uri}: an evaluation set ends in {', '.join(_READERS)}; convert it to one of them")
        try:
            fs, path = fsspec.core.url_to_fs(self.uri)
            if not fs.exists(path) or fs.isdir(path):
                found = "is a folder" if fs.exists(path) else "is not there"
                raise ConfigError(f"{self.uri}: {found}; --against wants a file of items: {', '.join(_READERS)}")
            with fsspec.open(self.uri, "rb", compression="infer") as stream:
                yield from read(self, stream)
        except (OSError, EOFError, pa.ArrowException) as error:
            raise ConfigError(f"{self.uri}: can't be read ({error}); check that the file is whole") from error

    def _read_json_lines(self, stream: IO[bytes]) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(stream, 1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape").strip()
            if text:
                yield _object(self._json(text, f"line {number:,}"))

    def _read_json(self, stream: IO[bytes]) -> Iterator[dict[str, Any]]:
        content = stream.read()
        text = content.decode("utf-8-sig", "surrogateescape").strip()
        lines = text.splitlines()
        if len(lines) > 1 and all(line.strip()[:1] == "{" and line.strip()[-1:] == "}" for line in lines[:2]):
            # Many a file of JSON lines is called .json.
            yield from self._read_json_lines(io.BytesIO(content))
            return
        found = self._json(text, "the file") if text else []
        if isinstance(found, dict):
            lists = [value for value in found.values() if isinstance(value, list)]
            found = lists[0] if len(lists) == 1 else found
        if not isinstance(found, list):
            raise ConfigError(f"{self.uri}: holds one {type(found).__name__}; a list of items was wanted")
        yield from map(_object, found)

    def _json(self, text: str, where: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{self.uri}: {where} is no JSON ({error}); mend it or take it out") from error

    def _read_csv(self, stream: IO[bytes]) -> Iterator[dict[str, Any]]:
        yield from self._read_records(stream, ",")

    def _read_tsv(self, stream: IO[bytes]) -> Iterator[dict[str, Any]]:
        yield from self._read_records(stream, "\t")

    def _read_records(self, stream: IO[bytes], delimiter: str) -> Iterator[dict[str, Any]]:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        csv.field_size_limit(1 << 30)
        # Strict: else a quote that is never closed makes one item of all the records after it.
        records = csv.DictReader(text, strict=True, delimiter=delimiter)
        try:
            for record in records:
                yield {name: value for name, value in record.items() if name is not None and value is not None}
        except csv.Error as error:
            raise ConfigError(
                f"{self.uri}: the record that ends in line {records.reader.line_num:,} is no CSV ({error}); mend it"
            ) from error
        finally:
            text.detach()

    def _read_parquet(self, stream: IO[bytes]) -> Iterator[dict[str, Any]]:
        parquet = CalmParquetFile(stream)
        names = parquet.schema_arrow.names
        # Other columns can be large (pictures), or hold what Python has no value for.
        columns = [name for name in names if self._is_wanted(name) or name.lower() in ID_FIELDS]
        absent = dict.fromkeys(name for name in names if name not in columns)
        if not columns:
            yield from itertools.repeat(absent, parquet.metadata.num_rows)
            return
        for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=columns):
            values = [_values(column) for column in batch.columns]
            for row in zip(*values, strict=True):
                yield dict(zip(columns, row, strict=True)) | absent


_READERS = {
    ".jsonl": BenchmarkFile._read_json_lines,
    ".ndjson": BenchmarkFile._read_json_lines,
    ".json": BenchmarkFile._read_json,
    ".csv": BenchmarkFile._read_csv,
    ".tsv": BenchmarkFile._read_tsv,
    ".parquet": BenchmarkFile._read_parquet,
}


def _object(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {"text": found}


def _item_id(item: dict[str, Any], number: int) -> str:
    """The item's own id, or its place in the file, counted from 0."""
    by_name = {field.lower(): value for field, value in reversed(item.items())}
    for name in ID_FIELDS:
        value = by_name.get(name)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return _SURROGATES.sub("\ufffd", str(value))
    return f"#{number}"


def _text_of(value: Any) -> str | None:
    """The text of a value: itself, or of its parts, joined by line breaks; None where it has none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, dict):
        value = [value[name] for name in INSIDE if name in value]
    if isinstance(value, list | tuple):
        parts = [text for part in value if (text := _text_of(part)) is not None]
        return "\n".join(parts) if parts else None
    return None


def _values(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return list(column.cast(_as_bytes(column.type)).to_pylist())


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The type with bytes in place of strings: Parquet's readers take any bytes for a string."""
    if pa.types.is_dictionary(kind):
        return _as_bytes(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.large_list(_as_bytes(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _as_bytes(field.type)) for field in kind])
    return kind
