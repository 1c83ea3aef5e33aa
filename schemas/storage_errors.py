"""What a refused write becomes, for everything that writes: datasets, checkpoints, students."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from tutelage.schemas.errors import StorageError

_NO_SUCH_PLACE = (errno.ENAMETOOLONG, errno.ELOOP, errno.EEXIST, errno.ENOTDIR)


@contextlib.contextmanager
def storage_errors(path: str, safe: str = "what was saved before is safe") -> Iterator[None]:
    """Turns a refused write (full disk, no permission) into a StorageError that says what is safe and what to do."""
    try:
        yield
    except OSError as error:
        # Without a number it is no refusal but, say, Arrow's word for a damaged page: room on the disk would not help.
        refused = error.errno is not None or isinstance(error, PermissionError)
        if not refused or isinstance(error, FileNotFoundError | ConnectionError):
            raise
        if isinstance(error, FileExistsError | NotADirectoryError) and (file := _file_on_the_way(error)):
            raise StorageError(
                f"{path}: the file {file} is in the way; {safe}. Name another place, or move it away, then run the "
                "same command again"
            ) from error
        if error.errno in _NO_SUCH_PLACE:
            raise StorageError(f"{path}: {error.strerror}; {safe}. Name another place") from error
        raise StorageError(
            f"{path}: {error.strerror or error}; {safe}. "
            "Make room or mend the permission, then run the same command again"
        ) from error


def _file_on_the_way(error: OSError) -> Path | None:
    place = Path(str(error.filename))
    return next((way for way in (place, *place.parents) if way.is_file()), None)
