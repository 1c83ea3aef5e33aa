"""Every exception that tutelage raises on purpose, and the exit code that it ends a command with.

TutelageError (1)
├── ConfigError (2)       the config or an argument is not usable
├── PolicyRefused (3)     the terms gate or a sealed policy says no
├── SealBroken (4)        a dataset is not what its manifest says
├── ContractError (1)     a file does not keep the contract of its name and version
├── TeacherError (1)      a teacher can't be asked at all (nothing listens, the key is refused)
│   └── HarvestStopped    the same, midway; carries the report of what was sealed (pipelines/harvest.py)
├── StorageError (1)      a folder or object store refused a write (full disk, no permission)
├── DatasetHeld (1)       another run holds the output folder
├── QueryStopped (1)      a query ran into its time or memory limit (audit/sql_query.py)
└── TrainingStopped (1)   a training came to a loss that is no number; nothing was changed by it (train/loop.py)

Data failures never raise: they become rows. These are for broken contracts and unusable surroundings.
"""


class TutelageError(Exception):
    """The base of the tree; its text says what was found, what was needed and what to do."""

    exit_code = 1


class ConfigError(TutelageError):
    exit_code = 2


class PolicyRefused(TutelageError):
    exit_code = 3


class SealBroken(TutelageError):
    exit_code = 4


class ContractError(TutelageError):
    pass


class TeacherError(TutelageError):
    pass


class StorageError(TutelageError):
    pass


class DatasetHeld(TutelageError):
    pass


class TrainingStopped(TutelageError):
    pass


DONE_WITH_FAILED_ROWS = 5
"""Exit code of a command that ended well but left rows in `failed` or `rejected`."""
