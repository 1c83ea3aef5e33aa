"""What a refused write becomes, for everything that writes: datasets, checkpoints, students."""

import contextlib
from collections.abc import Iterator

from tutelage.schemas.errors import StorageError


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
        raise StorageError(
            f"{path}: {error.strerror or error}; {safe}. "
            "Make room or mend the permission, then run the same command again"
        ) from error
