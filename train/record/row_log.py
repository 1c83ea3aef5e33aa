"""Which rows taught the student, in order, as it happens: 20 bytes for each reading of a row, on disk with each
checkpoint. At the end of the run it becomes training_rows.parquet."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tutelage.train.rows.batches import Rows
from tutelage.train.rows.packing import Pack

READING = np.dtype([("step", "<i4"), ("row", "<i4"), ("epoch", "<i4"), ("tokens_trained", "<i4"), ("tokens", "<i4")])
READ_AT_ONCE = 65_536


def readings_of(step: int, packs: Sequence[Pack], rows: Rows) -> bytes:
    """What a step adds to the log."""
    found = [
        (step, item.row, item.epoch, item.length - int(rows.first_trained[item.row]), item.length)
        for pack in packs
        for item in pack.documents
    ]
    return np.array(found, READING).tobytes()


def readings(path: Path, last_step: int) -> Iterator[np.void]:
    """Readings up to a step; steps stand in order."""
    with path.open("rb") as stream:
        while block := stream.read(READ_AT_ONCE * READING.itemsize):
            for reading in np.frombuffer(block, READING):
                if reading["step"] > last_step:
                    return
                yield reading
