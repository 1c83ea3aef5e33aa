"""Where the results of audits go: `audit/` in the dataset's folder, or any folder that the user names."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from tutelage.schemas.contract_files import ROWS_PER_GROUP, ContractWriter, open_parquet, table_of
from tutelage.schemas.contracts import Contract
from tutelage.schemas.errors import StorageError

FINDINGS_FILE = "findings.parquet"
RESULTS = {
    "duplicate_pairs": "duplicate_pairs.parquet",
    "duplicate_clusters": "duplicate_clusters.parquet",
    "prompt_pairs": "prompt_pairs.parquet",
    "prompt_clusters": "prompt_clusters.parquet",
    "contamination_hits": "contamination_hits.parquet",
    "findings": FINDINGS_FILE,
}
"""The tables that audits leave behind, by the name under which SQL sees them."""


class AuditFolder:
    """Writes replace a file whole or not at all; a reader never sees half of one."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") or uri
        self.fs, self.root = fsspec.core.url_to_fs(self.uri)

    def path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        with self.fs.open(self.path(name), "rb") as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes) -> None:
        with self.replacing(name) as stream:
            stream.write(content)

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    def write_rows(self, contract: Contract, name: str, rows: Iterable[Any]) -> int:
        """A Parquet file of the contract, streamed; returns how many rows it has."""
        rows = iter(rows)

        def tables() -> Iterator[pa.Table]:
            while batch := list(islice(rows, ROWS_PER_GROUP)):
                yield table_of(contract, batch, self.path(name))

        return self.write_tables(contract, name, tables())

    def write_tables(self, contract: Contract, name: str, tables: Iterable[pa.Table]) -> int:
        with self.replacing(name) as stream, ContractWriter(contract, stream, self.path(name)) as writer:
            for table in tables:
                writer.write(table)
        return writer.rows

    def read_table(self, contract: Contract, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        with self.fs.open(self.path(name), "rb") as stream:
            return open_parquet(contract, stream, self.path(name)).read(columns)

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[IO[bytes]]:
        """A stream that becomes the file when it is closed without an error, and leaves nothing behind otherwise."""
        path = self.path(name)
        local = isinstance(self.fs, LocalFileSystem)
        try:
            if local:
                os.makedirs(os.path.dirname(path), exist_ok=True)
            with tempfile.NamedTemporaryFile(
                prefix=".unfinished-", dir=os.path.dirname(path) if local else None, delete=False
            ) as stream:
                try:
                    yield stream
                    stream.flush()
                    if local:
                        os.chmod(stream.name, 0o644)
                        os.replace(stream.name, path)
                    else:
                        self.fs.put_file(stream.name, path)
                finally:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(stream.name)
        except OSError as error:
            if error.errno is None:
                raise
            raise StorageError(
                f"{path}: {error.strerror or error}; make room, mend the permission, or name another folder with --out"
            ) from error
