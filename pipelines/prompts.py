"""Reads prompt files and turns every row into messages, or into a reason why it can't be asked."""

import csv
import glob
import io
import itertools
import json
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import fsspec
import jinja2
import orjson
import pyarrow as pa
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tutelage.pipelines.config import PromptSource
from tutelage.schemas.contract_files import CalmParquetFile
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import RejectedPrompt

MAX_PROMPT_BYTES = 1 << 20
"""Larger prompts are rejected: no teacher's context holds a megabyte, and one such row is mostly a file in a cell."""
ROLES = ("system", "developer", "user", "assistant", "tool")
CALL_KEYS = ("tool_calls", "tool_call_id", "function_call")
COMPRESSIONS = (".gz", ".bz2", ".xz")
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
"""What reading a damaged or forbidden file can raise."""


class Prompt(NamedTuple):
    """`row` counts from 1: lines of a jsonl file, records of a csv, rows of a parquet file."""

    source: str
    row: int
    prompt_id: str
    messages: list[dict[str, str]]
    text_bytes: int


class _Unusable(Exception):
    def __init__(self, cause: str, detail: str) -> None:
        self.cause, self.detail = cause, detail


def read_prompts(source: PromptSource) -> Iterator[Prompt | RejectedPrompt]:
    """Every row of a source in file order, as a prompt or as a rejected row; raises ConfigError for a broken file."""
    render = _renderer(source)
    for uri in _files(source):
        for number, found in _rows(uri, source):
            prompt_id = None
            try:
                if isinstance(found, _Unusable):
                    raise found
                prompt_id = _prompt_id(found, source.id_field, uri, number)
                messages = render(found)
                yield Prompt(uri, number, prompt_id, messages, _checked_size(messages))
            except _Unusable as problem:
                yield RejectedPrompt(uri, number, prompt_id, problem.cause, problem.detail, None)


def _files(source: PromptSource) -> list[str]:
    found: list[str] = []
    for uri in source.uri:
        try:
            fs, path = fsspec.core.url_to_fs(uri)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"prompts: {uri} can't be opened: {error}; install that, or copy the file here"
            ) from error
        if glob.has_magic(uri):
            matches = sorted(fs.glob(path))
            if not matches:
                raise ConfigError(f"prompts: no file matches {uri}; check the folder and the pattern")
            found += [_as_written(name, uri, fs) for name in matches]
        elif not fs.exists(path):
            raise ConfigError(
                f"prompts: there is no file {uri}; check the path, which starts where you run the command"
            )
        else:
            found.append(uri)
    for uri in found:
        if _format(uri) not in _READERS:
            raise ConfigError(
                f"prompts: {uri} is none of {', '.join(_READERS)} (jsonl and csv also as {', '.join(COMPRESSIONS)}); "
                "convert it, or name the files of a folder with a pattern like folder/*.jsonl"
            )
    return found


def _as_written(name: str, pattern: str, fs: Any) -> str:
    # A glob gives absolute local paths; a row's provenance should read as the config does.
    if "://" in pattern:
        return str(fs.unstrip_protocol(name))
    return name if os.path.isabs(pattern) else os.path.relpath(name)


def _format(uri: str) -> str:
    path = PurePosixPath(uri.lower())
    return path.with_suffix("").suffix if path.suffix in COMPRESSIONS else path.suffix


def _rows(uri: str, source: PromptSource) -> Iterator[tuple[int, dict[str, Any] | _Unusable]]:
    try:
        yield from _READERS[_format(uri)](uri, source)
    except UNREADABLE as error:
        raise ConfigError(
            f"prompts: {uri} can't be read to its end ({type(error).__name__}: {error}); make sure that it is "
            "whole and that you may read it"
        ) from error


def _read_jsonl(uri: str, source: PromptSource) -> Iterator[tuple[int, dict[str, Any] | _Unusable]]:
    with fsspec.open(uri, "rb", compression="infer") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, _json_row(line)


def _json_row(line: bytes) -> dict[str, Any] | _Unusable:
    found: Any
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        # orjson refuses a byte order mark, NaN and lone surrogates too: what is read here and unfit is rejected later.
        try:
            found = json.loads(line)
        except UnicodeDecodeError as wrong:
            return _Unusable("invalid_utf8", f"the line holds bytes that are no UTF-8: {wrong.reason}")
        except (ValueError, RecursionError):
            return _Unusable("unreadable_json", f"the line is no JSON: {error}")
    if not isinstance(found, dict):
        return _Unusable("not_an_object", f"the line holds {type(found).__name__}, a JSON object was wanted")
    return found


def _read_csv(uri: str, source: PromptSource) -> Iterator[tuple[int, dict[str, Any] | _Unusable]]:
    with fsspec.open(uri, "rb", compression="infer") as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        csv.field_size_limit(1 << 30)
        # Strict: else a quote that is never closed makes one prompt of all the records after it.
        records = csv.DictReader(text, strict=True)
        for number in itertools.count(1):
            try:
                row = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                yield (
                    number,
                    _Unusable("unreadable_csv", f"the record that ends in line {records.reader.line_num}: {error}"),
                )
                continue
            if None in row:
                yield number, _Unusable("unreadable_csv", "the record has more fields than the header")
            else:
                yield number, {key: value for key, value in row.items() if value is not None}


def _read_parquet(uri: str, source: PromptSource) -> Iterator[tuple[int, dict[str, Any] | _Unusable]]:
    with fsspec.open(uri, "rb") as stream:
        parquet = CalmParquetFile(stream)
        number = 0
        for batch in parquet.iter_batches(batch_size=1024, columns=_columns(parquet.schema_arrow.names, source)):
            try:
                rows = batch.to_pylist()
            except (ValueError, OverflowError):
                rows = [_decoded(batch.slice(place, 1)) for place in range(batch.num_rows)]
            for row in rows:
                number += 1
                yield number, row


def _columns(names: list[str], source: PromptSource) -> list[str] | None:
    """What a row is made of: other columns can be large, or hold what Python has no value for. All for a template."""
    wanted = [name for name in (source.text_field, "messages") if name in names]
    return [*wanted, source.id_field] if wanted and source.template is None else None


def _decoded(one_row: pa.RecordBatch) -> dict[str, Any] | _Unusable:
    try:
        return dict(one_row.to_pylist()[0])
    except UnicodeDecodeError as error:
        return _Unusable("invalid_utf8", f"a text column holds bytes that are no UTF-8: {error.reason}")
    except (ValueError, OverflowError) as error:
        return _Unusable("unreadable_value", f"a column holds what Python has no value for: {error}")


_READERS: dict[str, Callable[[str, PromptSource], Iterator[tuple[int, dict[str, Any] | _Unusable]]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _renderer(source: PromptSource) -> Callable[[Mapping[str, Any]], list[dict[str, str]]]:
    system = [{"role": "system", "content": source.system}] if source.system else []
    if source.template is None:
        return lambda row: system + _messages(row, source.text_field)
    try:
        template = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined).from_string(source.template)
    except jinja2.TemplateError as error:
        raise ConfigError(f"prompts: the template of {', '.join(source.uri)} can't be read: {error}") from error

    def render(row: Mapping[str, Any]) -> list[dict[str, str]]:
        try:
            text = template.render(row)
        except Exception as error:  # a template runs the user's expressions: they can raise anything
            raise _Unusable("template_error", f"{type(error).__name__}: {error}") from error
        return [*system, {"role": "user", "content": text}]

    return render


def _messages(row: Mapping[str, Any], text_field: str) -> list[dict[str, str]]:
    if row.get(text_field) is None and row.get("messages") is not None:
        return [_message(entry) for entry in _list(row["messages"])]
    if text_field not in row:
        present = ", ".join(sorted(map(str, row))) or "none"
        raise _Unusable("no_text", f"no field {text_field!r} (fields found: {present}); set text_field or template")
    return [{"role": "user", "content": _string(row[text_field], text_field)}]


def _list(found: Any) -> list[Any]:
    if not isinstance(found, list) or not found:
        what = "empty" if found == [] else type(found).__name__
        raise _Unusable("wrong_type", f"messages is {what}, a list of {{role, content}} was wanted")
    return found


def _message(entry: Any) -> dict[str, str]:
    if not isinstance(entry, dict) or not {"role", "content"} <= set(entry):
        raise _Unusable("wrong_type", "a message is no {role, content} object")
    lost = [key for key in CALL_KEYS if entry.get(key)]
    if lost:
        raise _Unusable("wrong_type", f"a message has {lost[0]}, which would be lost: only role and content are asked")
    role = _string(entry["role"], "role")
    if role not in ROLES:
        raise _Unusable("wrong_type", f"the role {role!r} is none of {', '.join(ROLES)}")
    return {"role": role, "content": _string(entry["content"], "content")}


def _string(value: Any, field: str) -> str:
    if value is None:
        raise _Unusable("no_text", f"{field!r} is null")
    if not isinstance(value, str):
        raise _Unusable("wrong_type", f"{field!r} is {type(value).__name__}, text was wanted")
    return value


def _checked_size(messages: list[dict[str, str]]) -> int:
    size = 0
    for message in messages:
        text = message["content"]
        if "\0" in text:
            raise _Unusable("nul", "the text holds a NUL character")
        try:
            size += len(text.encode())
        except UnicodeEncodeError:
            raise _Unusable("lone_surrogate", "the text holds bytes or surrogates that are no character") from None
    if size > MAX_PROMPT_BYTES:
        raise _Unusable("too_large", f"{size:,} bytes of text, at most {MAX_PROMPT_BYTES:,} are asked")
    if not any(message["content"].strip() for message in messages if message["role"] != "system"):
        raise _Unusable("no_text", "the text is empty")
    return size


def _prompt_id(row: Mapping[str, Any], field: str, uri: str, number: int) -> str:
    found = row.get(field)
    if found is None or found == "":
        return f"{uri}:{number}"
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise _Unusable("wrong_type", f"the id is {type(found).__name__}, text or an integer was wanted")
    text = str(found)
    if "\0" in text or not text.isprintable() or len(text) > 512:
        raise _Unusable("wrong_type", "the id is longer than 512 characters or holds ones that can't be printed")
    return text
