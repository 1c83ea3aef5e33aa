"""Which rows taught the student, in order, as it happens: 20 bytes for each reading of a row, on disk with each
checkpoint. At the end of the run it becomes training_rows.parquet."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tutelage.train.rows.batches import Rows
from tutelage.train.rows.packing import Pack

READING = np.dtype([("step", "<i4"), ("row", "<i4"), ("epoch", "<i4"), ("tokens_trained", "<i4"), ("tokens", "<i4")])
READ_AT_ONCE = 65_536


class RowLog:
    def __init__(self, path: Path, begin_at: int = 0) -> None:
        self._stream = path.open("ab")
        self._stream.truncate(begin_at)
        self._stream.seek(begin_at)

    def write(self, step: int, packs: Sequence[Pack], rows: Rows) -> None:
        readings = [
            (step, item.row, item.epoch, item.length - int(rows.first_trained[item.row]), item.length)
            for pack in packs
            for item in pack.documents
        ]
        self._stream.write(np.array(readings, READING).tobytes())

    def saved(self) -> int:
        """Bytes, all of them on the disk."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()


def readings(path: Path, last_step: int) -> Iterator[np.void]:
    """Readings up to a step; steps stand in order."""
    with path.open("rb") as stream:
        while block := stream.read(READ_AT_ONCE * READING.itemsize):
            for reading in np.frombuffer(block, READING):
                if reading["step"] > last_step:
                    return
                yield reading
