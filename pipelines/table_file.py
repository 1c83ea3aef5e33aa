"""A Parquet file of the dataset that is filled row by row, and exists only if a row came."""

import contextlib
from types import TracebackType
from typing import Any, Self

from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import ContractWriter, table_of
from tutelage.schemas.contracts import Contract

ROWS_PER_FLUSH = 4096
BYTES_PER_FLUSH = 16 << 20


class TableFile:
    """Rows wait in memory until a row group is full (by rows, or by the bytes that the caller counts).

    Closed without an error, it replaces the file of that name; closed without rows, it removes it.
    """

    def __init__(self, contract: Contract, folder: Folder, name: str) -> None:
        self.contract, self.folder, self.name = contract, folder, name
        self.rows = 0
        self._waiting: list[Any] = []
        self._waiting_bytes = 0
        self._stack = contextlib.ExitStack()
        self._writer: ContractWriter | None = None

    def add(self, row: Any, size: int = 0) -> None:
        self._waiting.append(row)
        self._waiting_bytes += size
        self.rows += 1
        if len(self._waiting) >= ROWS_PER_FLUSH or self._waiting_bytes >= BYTES_PER_FLUSH:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        except BaseException as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)
        if kind is None and not self.rows:
            self.folder.delete(self.name)

    def _flush(self) -> None:
        if not self._waiting:
            return
        path = self.folder.path(self.name)
        if self._writer is None:
            stream = self._stack.enter_context(self.folder.replacing(self.name))
            self._writer = self._stack.enter_context(ContractWriter(self.contract, stream, path))
        self._writer.write(table_of(self.contract, self._waiting, path))
        self._waiting, self._waiting_bytes = [], 0
