"""`tutelage trace`: what is in a student, and which of the rows that it has seen were withdrawn since."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from tutelage.pipelines.withdrawn import Withdrawals, WithdrawnRow
    from tutelage.train.record.run_record import StudentRun
    from tutelage.train.record.trace import TaughtRow

ROWS_SHOWN = 20
READINGS_SHOWN = 12


def show_trace(student: Path, row: str | None, as_json: bool) -> int:
    """Exit 4 where the training rows or the weights are not those of the student's record."""
    from tutelage.cli.main import print_json
    from tutelage.pipelines.withdrawn import find_withdrawals
    from tutelage.schemas.manifest import ParentEntry
    from tutelage.train.record.trace import checked_run, row_of, rows_among

    run = checked_run(student)
    taught = None if row is None else row_of(student, row)
    dataset = ParentEntry(
        uri=run.dataset.uri, manifest_sha256=run.dataset.manifest_sha256, merkle_root=run.dataset.merkle_root
    )
    withdrawn = find_withdrawals([dataset, *run.dataset.parents])
    if row is not None:
        # An id that it never saw can have been withdrawn all the same.
        prefixed = [stone for row_id, stone in withdrawn.rows.items() if row_id.startswith(row)]
        whole = withdrawn.rows.get(row if taught is None else taught.row_id)
        stone = whole if taught is not None or len(prefixed) != 1 else prefixed[0]
        answer = {"student": run.student.name, "row": row} | _row(taught, stone) | _looked(withdrawn)
        print_json(answer) if as_json else _print_row(run, row, taught, stone, withdrawn)
        return 0
    seen = rows_among(student, withdrawn.rows)
    if as_json:
        print_json(_student(student, run, seen, withdrawn) | _looked(withdrawn))
    else:
        _print_student(run, seen, withdrawn)
    return 0


def _student(
    folder: Path, run: "StudentRun", seen: Mapping[str, "TaughtRow"], withdrawn: "Withdrawals"
) -> dict[str, Any]:
    found = run.model_dump(mode="json")
    return {
        "student": run.student.name,
        "folder": str(folder),
        "verified": True,
        **{key: found[key] for key in ("base", "dataset", "steps", "trained_tokens", "training_rows", "teachers")},
        "exported_step": run.student.exported_step,
        "duties": found["duties"],
        "seen_and_withdrawn": [
            _row(row, withdrawn.rows[row_id]) for row_id, row in sorted(seen.items(), key=lambda item: item[0])
        ],
    }


def _row(taught: "TaughtRow | None", stone: "WithdrawnRow | None") -> dict[str, Any]:
    found: dict[str, Any] = {"taught": taught is not None}
    if taught is not None:
        found |= {
            "row_id": taught.row_id,
            "teacher": taught.teacher,
            "terms_id": taught.terms_id,
            "tokens_trained": taught.tokens_trained,
            "readings": [reading._asdict() for reading in taught.readings],
        }
    gone = stone and {"from": stone.dataset, "reason": stone.reason, "at": stone.withdrawn_at.isoformat()}
    return found | {"withdrawn": gone}


def _looked(withdrawn: "Withdrawals") -> dict[str, Any]:
    return {
        "looked_for_withdrawals_in": list(withdrawn.looked_at),
        "not_looked_at": [*withdrawn.unreachable, *withdrawn.damaged],
        "notes": list(withdrawn.notes),
    }


def _print_student(run: "StudentRun", seen: Mapping[str, "TaughtRow"], withdrawn: "Withdrawals") -> None:
    seal, dataset = run.training_rows, run.dataset
    _say("student", f"{run.student.name}, weights after step {run.student.exported_step:,} of {run.steps:,}")
    _say("base", run.base.description)
    _say("dataset", f"{dataset.uri}, Merkle root {dataset.merkle_root}")
    _say("taught by", f"{seal.distinct_rows:,} rows in {seal.rows:,} readings, Merkle root {seal.merkle_root}")
    for item in run.teachers:
        signed = f", under the override of {item.override['approver']}" if item.override else ""
        terms = f"{item.train_use} by {', '.join(item.terms_ids)}{signed}"
        _say("", f"{item.teacher}: {item.rows:,} rows, {item.tokens_trained:,} trained tokens; {terms}")
    for duty in run.duties:
        _say("duty", f"{duty.obligation}{f' ({duty.detail})' if duty.detail else ''}, for {', '.join(duty.teachers)}")
    if seen:
        _say("withdrawn", f"it has seen {len(seen):,} rows that are withdrawn today, and they are in its weights:")
    elif not (withdrawn.unreachable or withdrawn.damaged):
        _say("withdrawn", "none of the rows that it has seen")
    elif withdrawn.looked_at:
        _say("withdrawn", "none of the rows that it has seen, as far as could be looked at")
    else:
        _say("withdrawn", "not known: nothing that its rows came from could be looked at")
    for row_id in sorted(seen)[:ROWS_SHOWN]:
        row, stone = seen[row_id], withdrawn.rows[row_id]
        _say("", f"{row_id}: {len(row.readings):,} readings, {row.tokens_trained:,} tokens; {_stone(stone)}")
    if len(seen) > ROWS_SHOWN:
        _say("", f"and {len(seen) - ROWS_SHOWN:,} more; --json has all of them")
    _print_looked(withdrawn)


def _print_row(
    run: "StudentRun",
    asked: str,
    taught: "TaughtRow | None",
    stone: "WithdrawnRow | None",
    withdrawn: "Withdrawals",
) -> None:
    if taught is None:
        rows = f"{run.training_rows.distinct_rows:,} rows"
        _say("row", f"{asked}: no, it was not among the {rows} that taught {run.student.name}")
    else:
        _say("row", f"{taught.row_id}: yes, it taught {run.student.name}")
        _say("teacher", f"{taught.teacher}, under {', '.join(taught.terms_id.split(';'))}")
        _say("read", f"{len(taught.readings):,} times, {taught.tokens_trained:,} tokens trained")
        for reading in taught.readings[:READINGS_SHOWN]:
            _say("", f"epoch {reading.epoch}, step {reading.step:,}: {reading.tokens_trained:,} tokens")
        if len(taught.readings) > READINGS_SHOWN:
            _say("", f"and {len(taught.readings) - READINGS_SHOWN:,} more; --json has all of them")
    if stone is not None:
        _say("withdrawn", _stone(stone))
    _print_looked(withdrawn)


def _print_looked(withdrawn: "Withdrawals") -> None:
    for uri in withdrawn.looked_at:
        _say("looked at", uri)
    for said in (*withdrawn.unreachable, *withdrawn.damaged):
        _say("not known", said)
    for note in withdrawn.notes:
        _say("note", note)


def _stone(stone: "WithdrawnRow") -> str:
    return f"withdrawn from {stone.dataset} on {stone.withdrawn_at:%Y-%m-%d} ({stone.reason})"


def _say(title: str, text: str) -> None:
    """One line on the terminal, whatever a teacher's name or a reason holds."""
    from tutelage.schemas.markdown import one_line

    typer.echo(f"{title:<11}{one_line(text)}")
