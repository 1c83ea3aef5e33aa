"""Reads prompt files and turns every row into messages, or into a reason why it can't be asked."""

import csv
import glob
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import fsspec
import jinja2
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tutelage.pipelines.config import PromptSource
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import RejectedPrompt

MAX_PROMPT_BYTES = 1 << 20
"""Larger prompts are rejected: no teacher's context holds a megabyte, and one such row is mostly a file in a cell."""
ROLES = ("system", "developer", "user", "assistant", "tool")


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
    """Every row of a source in file order, each as a prompt or as a rejected row; raises ConfigError if none can be read."""
    render = _renderer(source)
    for uri in _files(source):
        for number, found in _rows(uri):
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
    for uri in source.uris:
        fs, path = fsspec.core.url_to_fs(uri)
        if glob.has_magic(uri):
            matches = [str(fs.unstrip_protocol(name)) if "://" in uri else name for name in sorted(fs.glob(path))]
            if not matches:
                raise ConfigError(f"prompts: no file matches {uri}; check the folder and the pattern")
            found += [_as_written(name) for name in matches]
        elif not fs.exists(path):
            raise ConfigError(f"prompts: there is no file {uri}; check the path (it is read from where you run the command)")
        else:
            found.append(uri)
    for uri in found:
        if _format(uri) not in _READERS:
            raise ConfigError(f"prompts: {uri} is none of {', '.join(_READERS)} (each also as .gz); convert it or rename it")
    return found


def _as_written(name: str) -> str:
    # A glob gives absolute local paths; the row's provenance should read as the config does.
    return os.path.relpath(name) if os.path.isabs(name) and name.startswith(os.getcwd() + os.sep) else name


def _format(uri: str) -> str:
    suffixes = [suffix for suffix in PurePosixPath(uri).suffixes if suffix not in (".gz", ".bz2", ".xz", ".zst")]
    return suffixes[-1].lower() if suffixes else ""


def _rows(uri: str) -> Iterator[tuple[int, dict[str, Any] | _Unusable]]:
    yield from _READERS[_format(uri)](uri)


def _read_jsonl(uri: str) -> Iterator[tuple[int, dict[str, Any] | _Unusable]]:
    with fsspec.open(uri, "rb", compression="infer") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, _json_row(line)


def _json_row(line: bytes) -> dict[str, Any] | _Unusable:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _why_unreadable(line, error)
    if not isinstance(found, dict):
        return _Unusable("not_an_object", f"the line holds {type(found).__name__}, a JSON object was wanted")
    return found


def _why_unreadable(line: bytes, error: Exception) -> _Unusable:
    # orjson refuses lone surrogates together with broken JSON; the standard library tells the two apart.
    try:
        json.loads(line)
    except ValueError:
        return _Unusable("unreadable_json", f"the line is no JSON: {error}")
    return _Unusable("lone_surrogate", "the text holds half of a surrogate pair, which is no character")


def _read_csv(uri: str) -> Iterator[tuple[int, dict[str, Any] | _Unusable]]:
    with fsspec.open(uri, "rb", compression="infer") as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        csv.field_size_limit(1 << 30)
        for number, row in enumerate(csv.DictReader(text), 1):
            if None in row:
                yield number, _Unusable("unreadable_csv", "the record has more fields than the header")
            else:
                yield number, {key: value for key, value in row.items() if value is not None}


def _read_parquet(uri: str) -> Iterator[tuple[int, dict[str, Any] | _Unusable]]:
    with fsspec.open(uri, "rb") as stream:
        try:
            parquet = pq.ParquetFile(stream)
        except pa.ArrowInvalid as error:
            raise ConfigError(f"prompts: {uri} is not a readable Parquet file ({error})") from error
        number = 0
        for batch in parquet.iter_batches(batch_size=1024):
            try:
                rows = batch.to_pylist()
            except UnicodeDecodeError:
                rows = [_decoded(batch.slice(place, 1)) for place in range(batch.num_rows)]
            for row in rows:
                number += 1
                yield number, row


def _decoded(one_row: pa.RecordBatch) -> dict[str, Any] | _Unusable:
    try:
        return dict(one_row.to_pylist()[0])
    except UnicodeDecodeError as error:
        return _Unusable("invalid_utf8", f"a text column holds bytes that are no UTF-8: {error.reason}")


_READERS: dict[str, Callable[[str], Iterator[tuple[int, dict[str, Any] | _Unusable]]]] = {
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
        raise ConfigError(f"prompts: the template of {source.uri} can't be read: {error}") from error

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
        raise _Unusable("wrong_type", f"messages is {type(found).__name__}, a list of {{role, content}} was wanted")
    return found


def _message(entry: Any) -> dict[str, str]:
    if not isinstance(entry, dict) or not {"role", "content"} <= set(entry):
        raise _Unusable("wrong_type", "a message is no {role, content} object")
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
        return f"{PurePosixPath(uri).name}:{number}"
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise _Unusable("wrong_type", f"the id is {type(found).__name__}, text or an integer was wanted")
    text = str(found)
    if "\0" in text or not text.isprintable() or len(text) > 512:
        raise _Unusable("wrong_type", "the id is longer than 512 characters or holds ones that can't be printed")
    return text
