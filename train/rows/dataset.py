"""A sealed dataset's folder as training reads it: file by file, through any fsspec URI."""

from collections.abc import Iterator, Sequence
from typing import Any

import fsspec
import pyarrow as pa

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contract_files import open_parquet
from tutelage.schemas.contracts import COMPLETIONS, Contract
from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.manifest import MANIFEST, Manifest

BATCH_ROWS = 4096
_TO_CURATE = "curate one with `policy.held_out: {share: 0.1, seed: 7}`, and name its folder as `dataset`"


class Dataset:
    """A sealed dataset's folder, read file by file."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") or uri
        self._fs, self._root = fsspec.core.url_to_fs(self.uri)
        content = self._manifest_bytes()
        try:
            self.manifest = Manifest.model_validate_json(content)
        except ValueError as error:
            raise SealBroken(f"{uri}/{MANIFEST}: is no manifest/1 ({error}); restore it from a copy") from error
        self.manifest_sha256 = sha256_hex(content)

    def files(self, split: str) -> list[str]:
        return sorted(entry.path for entry in self.manifest.files if entry.path.startswith(f"completions/{split}-"))

    def require_sealed(self, names: Sequence[str]) -> None:
        """Raises SealBroken where a file is not the one that was sealed."""
        sealed = {entry.path: entry.sha256 for entry in self.manifest.files}
        for name in names:
            if sha256_hex(self.read(name)) != sealed[name]:
                raise SealBroken(
                    f"{self.uri}/{name}: is not the file that was sealed; `tutelage verify {self.uri}` tells more"
                )

    def read(self, name: str) -> bytes:
        with self._open(name) as stream:
            return bytes(stream.read())

    def batches(self, contract: Contract, names: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for name in names:
            with self._open(name) as stream:
                yield from open_parquet(contract, stream, f"{self.uri}/{name}").iter_batches(BATCH_ROWS, columns)

    def batches_of(self, split: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        return self.batches(COMPLETIONS, self.files(split), columns)

    def has(self, name: str) -> bool:
        return any(entry.path == name for entry in self.manifest.files)

    def _open(self, name: str) -> Any:
        try:
            return self._fs.open(f"{self._root}/{name}", "rb")
        except FileNotFoundError as error:
            raise SealBroken(f"{self.uri}/{name}: is missing, and the manifest names it; restore it") from error

    def _manifest_bytes(self) -> bytes:
        try:
            with self._fs.open(f"{self._root}/{MANIFEST}", "rb") as stream:
                return bytes(stream.read())
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self.uri}: holds no {MANIFEST}; a curated, sealed dataset was wanted: {_TO_CURATE}"
            ) from error
