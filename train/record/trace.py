"""Where a student comes from: its record and its training rows, checked, and which of some rows were among them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.rows import TrainingRow
from tutelage.train.record.run_record import StudentRun, read_run_record
from tutelage.train.record.training_rows import TaughtBy, read_training_rows, require_training_rows
from tutelage.train.student_folder import TRAINING_ROWS
from tutelage.train.whole_file import sha256_of

LEAST_PREFIX = 8
"""Characters of a row id; 32 bits of a hash are told apart by few more."""
WEIGHTS = ".safetensors"


class Reading(NamedTuple):
    epoch: int
    step: int
    tokens_trained: int


class TaughtRow(NamedTuple):
    """A row that taught the student, with every reading of it, in order."""

    row_id: str
    teacher: str
    terms_id: str
    readings: tuple[Reading, ...]

    @property
    def tokens_trained(self) -> int:
        return sum(reading.tokens_trained for reading in self.readings)


def checked_run(folder: Path) -> StudentRun:
    """The student's record. Raises SealBroken where a file of the student is not the one that it names, or where the
    training rows are not, or say of a teacher what it doesn't."""
    run = read_run_record(folder)
    seal = run.training_rows
    counted = require_training_rows(
        folder / TRAINING_ROWS, rows=seal.rows, merkle_root=seal.merkle_root, sha256=seal.sha256
    )
    _require_ledger(folder, run, counted)
    if not any(name.endswith(WEIGHTS) for name in run.student.files):
        raise SealBroken(f"{folder}: run.json names no weights ({WEIGHTS}); restore it from a copy of the student")
    for name, digest in sorted(run.student.files.items()):
        found = sha256_of(folder / name) if (folder / name).is_file() else None
        if found != digest:
            state = "is missing" if found is None else f"has the SHA-256 {found[:12]}…"
            raise SealBroken(
                f"{folder / name}: {state}, run.json tells of {digest[:12]}…: this is not the student that the record "
                "tells of. Restore the file, or look for the record that belongs to these"
            )
    return run


def _require_ledger(folder: Path, run: StudentRun, counted: Sequence[TaughtBy]) -> None:
    teachers = {share.teacher for share in counted}
    found = {
        teacher: tuple(
            sum(getattr(share, name) for share in counted if share.teacher == teacher)
            for name in ("rows", "readings", "tokens_trained")
        )
        for teacher in teachers
    }
    told = {entry.teacher: (entry.rows, entry.readings, entry.tokens_trained) for entry in run.teachers}
    if found != told:
        differ = sorted(name for name in {*found, *told} if found.get(name) != told.get(name))
        raise SealBroken(
            f"{folder}: of teacher {differ[0]!r} run.json tells {told.get(differ[0])} (rows, readings, trained "
            f"tokens), {TRAINING_ROWS} has {found.get(differ[0])}; restore both from a copy of the student"
        )


def rows_among(folder: Path, row_ids: Collection[str]) -> dict[str, TaughtRow]:
    """Those of these rows that taught the student, by row id."""
    wanted = pa.array(sorted(row_ids), pa.string())
    return _gathered(read_training_rows(folder / TRAINING_ROWS, lambda ids: pc.is_in(ids, wanted))) if row_ids else {}


def row_of(folder: Path, text: str) -> TaughtRow | None:
    """The row of this id, or the only one whose id begins so; None where it was not among those that taught it."""
    if len(text) < LEAST_PREFIX:
        raise ConfigError(
            f"--row {text!r}: has {len(text)} characters; a row id, or at least its first {LEAST_PREFIX} characters, "
            "were wanted"
        )
    found = _gathered(read_training_rows(folder / TRAINING_ROWS, lambda ids: pc.starts_with(ids, text)))
    if text in found:
        return found[text]
    if len(found) > 1:
        some = ", ".join(sorted(found)[:3])
        raise ConfigError(f"--row {text!r}: begins the ids of {len(found):,} rows ({some} …); write more of it")
    return next(iter(found.values()), None)


def _gathered(rows: Iterable[TrainingRow]) -> dict[str, TaughtRow]:
    found: dict[str, list[TrainingRow]] = {}
    for row in rows:
        found.setdefault(row.row_id, []).append(row)
    return {
        row_id: TaughtRow(row_id, group[0].teacher, group[0].terms_id, tuple(_readings(group)))
        for row_id, group in found.items()
    }


def _readings(rows: Iterable[TrainingRow]) -> Iterator[Reading]:
    return (Reading(row.epoch, row.step, row.tokens_trained) for row in rows)
