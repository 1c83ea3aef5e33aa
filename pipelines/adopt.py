"""Foreign Parquet in the columns of completions: renamed and cast, never made up. What it lacks is null."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.pipelines.dataset_files import COMPLETIONS_FILES
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import CalmParquetFile, ContractWriter
from tutelage.schemas.contracts import ADOPTED, MESSAGES, USD
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.mended import mended

PROMPT = "prompt"
"""A name beside our columns: a column of text that becomes the one user message of `messages`."""
ROWS_PER_FILE = 65_536
BATCH_ROWS = 2048
SOURCE_FILE = "source.json"


class Adopted(NamedTuple):
    """`undecodable` counts texts that were no valid UTF-8; they are kept, with U+FFFD where they were broken."""

    rows: int
    undecodable: int
    mapped: tuple[str, ...]


def parse_maps(maps: Sequence[str]) -> dict[str, str]:
    """`our=their` pairs, as `--map` gives them."""
    known = [*ADOPTED.schema.names, PROMPT]
    columns: dict[str, str] = {}
    for text in maps:
        ours, equals, theirs = text.partition("=")
        if not equals or not ours or not theirs:
            raise ConfigError(f"--map {text!r}: OUR_COLUMN=THEIR_COLUMN was wanted, like --map response=answer")
        if ours not in known:
            raise ConfigError(f"--map {text!r}: {ours!r} is no column of ours; they are {', '.join(known)}")
        if ours in columns:
            raise ConfigError(f"--map {text!r}: {ours!r} is mapped twice; take one out")
        columns[ours] = theirs
    if "response" not in columns:
        raise ConfigError("--map: no column is mapped to `response`, which is what audits read; add --map response=…")
    if PROMPT in columns and "messages" in columns:
        raise ConfigError("--map: `prompt` and `messages` are both mapped, and each says what was asked; take one out")
    return columns


def adopt(source: str, columns: Mapping[str, str], into: Folder) -> Adopted:
    """Writes `completions/part-*.parquet` of contract adopted/1; does nothing where that was done of the same files.

    A row without an id gets one from its file's name and its place.
    """
    files = _source_files(source)
    identity = {"columns": dict(columns), "files": [_stamp(folder, name) for folder, name in files]}
    if into.exists(SOURCE_FILE):
        done = json.loads(into.read(SOURCE_FILE))
        if done["identity"] == identity:
            return Adopted(done["rows"], done["undecodable"], tuple(done["mapped"]))
    for name in into.list(COMPLETIONS_FILES):
        into.delete(name)
    writing = _Writing(into, columns)
    for folder, name in files:
        writing.add_file(folder, name)
    adopted = writing.finish()
    into.write(SOURCE_FILE, json.dumps({"identity": identity, **adopted._asdict()}, indent=2).encode())
    return adopted


def parquet_files(source: str) -> list[tuple[Folder, str]]:
    """The Parquet files that a URI means: itself, or those that lie in the folder."""
    folder = Folder(source)
    if not folder.exists():
        raise ConfigError(f"{source}: there is no such file or folder; check its name")
    if folder.fs.isfile(folder.root):
        parent, _, name = source.rpartition("/")
        return [(Folder(parent or "."), name)]
    return [(folder, name) for name in folder.list("*.parquet")]


def _source_files(source: str) -> list[tuple[Folder, str]]:
    files = parquet_files(source)
    if not files:
        raise ConfigError(f"{source}: holds no *.parquet file; name a Parquet file or a folder of them")
    return files


def _stamp(folder: Folder, name: str) -> list[Any]:
    info = folder.fs.info(folder.path(name))
    return [name, folder.size(name), str(info.get("mtime") or info.get("ETag") or info.get("updated"))]


class _Writing:
    """The files being written: ROWS_PER_FILE rows each, so that fingerprints are made file by file."""

    def __init__(self, into: Folder, columns: Mapping[str, str]) -> None:
        self.into, self.columns = into, columns
        self.rows = self.undecodable = 0
        self._tables: list[pa.Table] = []
        self._waiting = 0

    def add_file(self, folder: Folder, name: str) -> None:
        path = folder.path(name)
        with folder.open(name) as stream:
            try:
                parquet = CalmParquetFile(stream)
            except (pa.ArrowException, OSError) as error:
                raise ConfigError(f"{path}: is no readable Parquet file ({error})") from error
            found = parquet.schema_arrow.names
            for ours, theirs in self.columns.items():
                if theirs not in found:
                    raise ConfigError(
                        f"{path}: --map {ours}={theirs}: it has no column {theirs!r}; it has {', '.join(found)}"
                    )
            row = 0
            for batch in parquet.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(self.columns.values()))):
                self._add(self._adopted(batch, path, f"{os.path.basename(name).removesuffix('.parquet')}#", row))
                row += batch.num_rows

    def finish(self) -> Adopted:
        self._flush()
        mapped = tuple("messages" if name == PROMPT else name for name in self.columns)
        return Adopted(self.rows, self.undecodable, mapped)

    def _add(self, table: pa.Table) -> None:
        self._tables.append(table)
        self._waiting += table.num_rows
        self.rows += table.num_rows
        # A gigabyte of waiting rows would be too much: rows of a megabyte make smaller files.
        if self._waiting >= ROWS_PER_FILE or sum(waiting.nbytes for waiting in self._tables) > (256 << 20):
            self._flush()

    def _flush(self) -> None:
        if not self._tables:
            return
        name = f"completions/part-{len(self.into.list(COMPLETIONS_FILES)):05d}.parquet"
        with self.into.replacing(name) as stream, _writer(stream, self.into.path(name)) as writer:
            writer.write(pa.concat_tables(self._tables))
        self._tables, self._waiting = [], 0

    def _adopted(self, batch: pa.RecordBatch, path: str, prefix: str, first_row: int) -> pa.Table:
        arrays = []
        for field in ADOPTED.schema:
            if field.name == "messages" and PROMPT in self.columns:
                arrays.append(_one_message(self._cast(batch, PROMPT, pa.string(), path)))
            elif field.name in self.columns:
                arrays.append(self._cast(batch, field.name, field.type, path))
            elif field.name == "row_id":
                numbers = np.arange(first_row, first_row + batch.num_rows)
                arrays.append(pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), ""))
            else:
                arrays.append(pa.nulls(batch.num_rows, field.type))
        return pa.Table.from_arrays(arrays, schema=ADOPTED.schema)

    def _cast(self, batch: pa.RecordBatch, ours: str, kind: pa.DataType, path: str) -> pa.Array:
        theirs = self.columns[ours]
        values = batch[theirs]
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        try:
            if kind == pa.string():
                values = self._text(values)
            if kind == USD:  # by way of more digits: any integer might need them, says Arrow
                values = values.cast(pa.decimal128(38, USD.scale))
            cast = values.cast(kind)
        except (pa.ArrowException, UnicodeError) as error:
            raise ConfigError(
                f"{path}: --map {ours}={theirs}: {theirs!r} is {batch[theirs].type}, and {ours} wants {kind} ({error})"
            ) from error
        if ours == "row_id" and cast.null_count:
            raise ConfigError(f"{path}: --map row_id={theirs}: {theirs!r} holds nulls, and every row needs an id")
        return cast

    def _text(self, values: pa.Array) -> pa.Array:
        """Text in valid UTF-8."""
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or _is_binary(values.type)):
            return values
        if not _is_binary(values.type):
            try:
                values.validate(full=True)
                return values
            except pa.ArrowInvalid:
                pass
        found = mended(values)
        self.undecodable += found.broken
        return pa.array(found.texts, pa.string())


def _writer(stream: IO[bytes], path: str) -> ContractWriter:
    return ContractWriter(ADOPTED, stream, path, working_copy=True)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _one_message(texts: pa.Array) -> pa.Array:
    roles = pa.array(["user"] * len(texts), pa.string())
    fields = list(MESSAGES.value_type)
    messages = pa.StructArray.from_arrays([roles, pc.fill_null(texts, "")], fields=fields)
    return pa.ListArray.from_arrays(pa.array(range(len(texts) + 1), pa.int32()), messages, type=MESSAGES)
