"""A file that a run only adds to, of which each checkpoint knows how much there was and what it said.

What a killed run wrote behind its checkpoint is cut off; what was changed before it is found.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.schemas.storage_errors import storage_errors

KEPT = "the checkpoints are safe"


class Saved(NamedTuple):
    """How much of the file a checkpoint knows of, and the SHA-256 of that much."""

    bytes: int
    sha256: str


NOTHING = Saved(0, hashlib.sha256().hexdigest())


class AppendLog:
    """Goes on after `begin`."""

    def __init__(self, path: Path, begin: Saved = NOTHING) -> None:
        self._path, self._digest = path, _digest_of(path, begin.bytes)
        with storage_errors(str(path), KEPT):
            self._stream = path.open("ab")
            self._stream.truncate(begin.bytes)
            self._stream.seek(begin.bytes)

    def write(self, content: bytes) -> None:
        self._digest.update(content)
        with storage_errors(str(self._path), KEPT):
            self._stream.write(content)

    def flush(self) -> None:
        """Others can read it."""
        with storage_errors(str(self._path), KEPT):
            self._stream.flush()

    def saved(self) -> Saved:
        """All of it, on the disk."""
        self.flush()
        with storage_errors(str(self._path), KEPT):
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
