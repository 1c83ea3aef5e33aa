"""One dataset folder, local or on an object store (any fsspec URI), and the lock that keeps two runs out of it."""

import contextlib
import fcntl
import fnmatch
import functools
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tutelage.schemas.errors import DatasetHeld
from tutelage.schemas.storage_errors import storage_errors as refused_writes

LOCK = ".lock"

storage_errors = functools.partial(refused_writes, safe="what was journaled before is safe")


class Folder:
    """Reads and writes below one URI; pickles as that URI, so that a Beam worker opens its own connection."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        # No listings cache: what another process has just written must be seen, and sealed.
        self.fs, self.root = fsspec.core.url_to_fs(uri, use_listings_cache=False)

    def __reduce__(self) -> tuple[type["Folder"], tuple[str]]:
        return Folder, (self.uri,)

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    def path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def exists(self, name: str = "") -> bool:
        return bool(self.fs.exists(self.path(name)))

    def list(self, pattern: str) -> list[str]:
        """Names of files below the folder, sorted; only the last part of the pattern may hold wildcards.

        The folder's own path may hold anything, so it never becomes part of a glob.
        """
        directory, slash, wanted = pattern.rpartition("/")
        try:
            entries = self.fs.ls(self.path(directory), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = [entry["name"].rsplit("/", 1)[-1] for entry in entries if entry["type"] != "directory"]
        return sorted(f"{directory}{slash}{name}" for name in fnmatch.filter(names, wanted))

    def open(self, name: str) -> IO[bytes]:
        if self.is_local:
            return open(self.path(name), "rb")
        return self.fs.open(self.path(name), "rb")  # type: ignore[no-any-return]

    def read(self, name: str) -> bytes:
        with self.open(name) as stream:
            return stream.read()

    def size(self, name: str) -> int:
        return int(self.fs.size(self.path(name)))

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    def delete_tree(self, name: str) -> None:
        """A folder below this one, with all that is in it."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.path(name), recursive=True)

    def write(self, name: str, content: bytes) -> None:
        with self.replacing(name) as stream:
            stream.write(content)

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[IO[bytes]]:
        """A stream that becomes the file when it is closed without an error, and leaves no trace of itself otherwise.

        Locally through a rename after fsync. On an object store by one put of a finished file: a stream of the store
        would put what it has when an error closes it.
        """
        path = self.path(name)
        with storage_errors(path):
            if not self.is_local:
                with tempfile.NamedTemporaryFile(prefix="tutelage-") as stream:
                    yield stream
                    stream.flush()
                    self.fs.put_file(stream.name, path)
                return
            os.makedirs(os.path.dirname(path), exist_ok=True)
            unfinished = f"{path}.unfinished"
            try:
                with open(unfinished, "wb") as stream:
                    yield stream
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(unfinished, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(unfinished)
                raise

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other runs out while the body runs; raises DatasetHeld, naming the holder, where one is in."""
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat("T", "seconds"),
        }
        with self._held_locally(holder) if self.is_local else self._held_remotely(holder):
            yield

    @contextlib.contextmanager
    def _held_locally(self, holder: dict[str, Any]) -> Iterator[None]:
        with storage_errors(self.root):
            os.makedirs(self.root, exist_ok=True)
            stream = self._lock_file()
        with stream:
            stream.truncate(0)
            stream.write(json.dumps(holder))
            stream.flush()
            try:
                yield
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path(LOCK))

    def _lock_file(self) -> IO[str]:
        while True:
            # Opened for appending: the holder's words must still be there when we are refused.
            stream = open(self.path(LOCK), "a+")  # noqa: SIM115
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                text = stream.read()
                stream.close()
                raise DatasetHeld(self._held_by(text, "wait for it, or stop it")) from None
            # The last holder may have unlinked the file between our open and our lock: then it locks nobody out.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(stream.fileno()), os.stat(self.path(LOCK))):
                    return stream
            stream.close()

    @contextlib.contextmanager
    def _held_remotely(self, holder: dict[str, Any]) -> Iterator[None]:
        # An object store has no lock that ends with its holder, so a dead run's lock must be told from a live one's.
        if self.exists(LOCK):
            text = self.read(LOCK).decode()
            if not _dead_on_this_host(text):
                raise DatasetHeld(self._held_by(text, f"wait for it; if it died, delete {self.path(LOCK)}"))
        self.write(LOCK, json.dumps(holder).encode())
        try:
            yield
        finally:
            self.delete(LOCK)

    def _held_by(self, text: str, advice: str) -> str:
        try:
            found = json.loads(text)
            who = f"process {found['pid']} on {found['host']} since {found['since']}"
        except (ValueError, KeyError, TypeError):
            who = "another process"
        return f"{self.uri}: held by {who}; {advice}, or choose another output"


def _dead_on_this_host(text: str) -> bool:
    try:
        found = json.loads(text)
        if found["host"] != socket.gethostname():
            return False
        os.kill(int(found["pid"]), 0)
    except (ValueError, KeyError, TypeError, PermissionError):
        return False
    except ProcessLookupError:
        return True
    # Our own number: in a container, the run before us that died had it too.
    return int(found["pid"]) == os.getpid()
