"""What was measured of a student, for its card: evaluation.json in a table, or what the training itself measured."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.schemas.markdown import plain, table
from tutelage.train.record.run_record import StudentRun

MODELS = ("teacher", "student", "base")
TITLES = ("measured", "teacher", "student", "untaught base")
NOTES_SHOWN = 12
NOT_EVALUATED = (
    "Nobody has evaluated this student yet: `tutelage evaluate` puts it beside its untaught base and its teacher."
)
STALE = "`evaluation.json` is of other weights than these, so it is left out here; run `tutelage evaluate` again."


def measured(run: StudentRun, evaluation: Mapping[str, Any] | None) -> str:
    if evaluation is None:
        return f"{NOT_EVALUATED}\n\n{_in_training(run)}"
    if _at(evaluation, "student", "files") != run.student.files:
        return f"{STALE}\n\n{_in_training(run)}"
    rows = [*_held_out(evaluation), *_tasks(evaluation)]
    parts = [table(TITLES, rows) if rows else "The evaluation holds no figure."]
    held_out = _at(evaluation, "held_out")
    if _count(_at(held_out, "rows")) != "–":
        parts.append(
            f"On {_count(_at(held_out, 'rows'))} held-out rows in {_count(_at(held_out, 'groups'))} groups; intervals "
            "of 95 % in brackets. Tokens are each model's own, bits a byte compare models of different tokens."
        )
    minus = _figure(_at(held_out, "student_minus", "base", "bits_per_byte"), "+.4f")
    if minus != "–":
        parts.append(f"Student minus untaught base: {minus} bits a byte; below zero is better.")
    notes = _at(evaluation, "notes")
    lines = [f"- {plain(note)}" for note in (notes if isinstance(notes, list) else [])[:NOTES_SHOWN]]
    return "\n\n".join([*parts, *(["\n".join(lines)] if lines else [])])


def _held_out(evaluation: Mapping[str, Any]) -> list[Sequence[str]]:
    columns, agreement = _at(evaluation, "held_out", "columns"), _at(evaluation, "held_out", "agreement", "columns")
    wanted = [
        ("held-out loss, nats a token", columns, "loss_per_token", ".4f"),
        ("held-out bits a byte", columns, "bits_per_byte", ".4f"),
        ("first choice is the teacher's", agreement, "same_top", ".1%"),
        ("KL from the teacher, nats a token", agreement, "kl_nats", ".4f"),
    ]
    rows = [(title, *(_figure(_at(of, name, key), form) for name in MODELS)) for title, of, key, form in wanted]
    return [row for row in rows if set(row[1:]) != {"–"}]


def _tasks(evaluation: Mapping[str, Any]) -> list[Sequence[str]]:
    tasks = _at(evaluation, "tasks")
    return [
        (
            f"{_at(task, 'name')}: share right of {_count(_at(task, 'questions'))} questions",
            *(_figure(_at(task, "columns", name, "score"), ".1%") for name in MODELS),
        )
        for task in (tasks if isinstance(tasks, list) else [])
    ]


def _in_training(run: StudentRun) -> str:
    """The held-out loss that the training itself looked at; step 0 is the untaught base."""
    by_step = {item.get("step"): item for item in run.evaluations}
    steps = [step for step in (0, run.student.exported_step) if step in by_step]
    if len(steps) < 2 or steps[0] == steps[1]:
        return "The training measured no held-out loss."
    rows = [
        (
            "untaught base" if step == 0 else f"student, after step {step:,}",
            _number(by_step[step].get("bits_per_byte"), ".4f"),
            _number(by_step[step].get("loss"), ".4f"),
        )
        for step in steps
    ]
    return "Measured by the training itself, on the held-out rows:\n\n" + table(
        ("model", "held-out bits a byte", "held-out loss, nats a token"), rows
    )


def _figure(figure: Any, form: str) -> str:
    value = _number(_at(figure, "value"), form)
    ends = _at(figure, "interval")
    if value == "–" or not isinstance(ends, list) or len(ends) != 2:
        return value
    return f"{value} ({_number(ends[0], form)} to {_number(ends[1], form)})"


def _number(value: Any, form: str) -> str:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return format(value, form) if known else "–"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else "–"


def _at(document: Any, *keys: str) -> Any:
    """What lies under the keys, None where something on the way is no object or lacks its key."""
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document
