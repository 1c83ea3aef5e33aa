"""Files of the student's folder that are there whole or not at all, and what they are known by."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tutelage.schemas.storage_errors import storage_errors


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A stream that becomes the file when it is closed without an error, and leaves no trace of itself otherwise."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with storage_errors(str(path), "the checkpoints are safe"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
