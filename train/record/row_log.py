"""Which rows taught the student, in order, as it happens: 20 bytes for each reading of a row, on disk with each
checkpoint. At the end of the run it becomes training_rows.parquet."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tutelage.schemas.storage_errors import storage_errors
from tutelage.train.rows.batches import Rows
from tutelage.train.rows.packing import Pack

READING = np.dtype([("step", "<i4"), ("row", "<i4"), ("epoch", "<i4"), ("tokens_trained", "<i4"), ("tokens", "<i4")])
READ_AT_ONCE = 65_536
KEPT = "the checkpoints are safe"


class Saved(NamedTuple):
    """How much of the log a checkpoint knows of, and the SHA-256 of that much."""

    bytes: int
    sha256: str


NOTHING = Saved(0, hashlib.sha256().hexdigest())


class RowLog:
    """Goes on after `begin`; what an unfinished run wrote behind it is cut off."""

    def __init__(self, path: Path, begin: Saved = NOTHING) -> None:
        self._path, self._digest = path, _digest_of(path, begin.bytes)
        with storage_errors(str(path), KEPT):
            self._stream = path.open("ab")
            self._stream.truncate(begin.bytes)
            self._stream.seek(begin.bytes)

    def write(self, step: int, packs: Sequence[Pack], rows: Rows) -> None:
        readings = [
            (step, item.row, item.epoch, item.length - int(rows.first_trained[item.row]), item.length)
            for pack in packs
            for item in pack.documents
        ]
        content = np.array(readings, READING).tobytes()
        self._digest.update(content)
        with storage_errors(str(self._path), KEPT):
            self._stream.write(content)

    def saved(self) -> Saved:
        """All of it, on the disk."""
        with storage_errors(str(self._path), KEPT):
            self._stream.flush()
            os.fsync(self._stream.fileno())
        return Saved(self._stream.tell(), self._digest.hexdigest())

    def close(self) -> None:
        with storage_errors(str(self._path), KEPT):
            self._stream.close()


def log_damage(path: Path, saved: Saved) -> str | None:
    """What is wrong with the part of a log that a checkpoint knows of, or None."""
    size = path.stat().st_size if path.exists() else 0
    if size < saved.bytes:
        return f"{path.name} has {size} bytes of {saved.bytes}"
    if _digest_of(path, saved.bytes).hexdigest() != saved.sha256:
        return f"{path.name} is not what was logged"
    return None


def _digest_of(path: Path, size: int) -> Any:
    digest = hashlib.sha256()
    if size:
        with path.open("rb") as stream:
            while size and (block := stream.read(min(size, 1 << 20))):
                digest.update(block)
                size -= len(block)
    return digest


def readings(path: Path, last_step: int) -> Iterator[np.void]:
    """Readings up to a step; steps stand in order."""
    with path.open("rb") as stream:
        while block := stream.read(READ_AT_ONCE * READING.itemsize):
            for reading in np.frombuffer(block, READING):
                if reading["step"] > last_step:
                    return
                yield reading
