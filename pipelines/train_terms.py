"""What the terms of a curated set's rows say today, for the student that a training's config states."""

from collections.abc import Collection, Sequence
from datetime import date

import pyarrow as pa
from pydantic import ValidationError

from tutelage.pipelines.curate_gate import BATCH_ROWS, CurateGate, Ruling, Stamp, open_curate_gate, stamps_of
from tutelage.pipelines.dataset_files import RECEIPT_FILE
from tutelage.pipelines.parents import Parent
from tutelage.schemas.errors import ConfigError, PolicyRefused, SealBroken
from tutelage.schemas.receipt import Receipt
from tutelage.schemas.terms_policy import TermsPolicy
from tutelage.schemas.terms_resolution import Override, most_restrictive

SHOWN = 20
"""Problems and rows that a refusal names; it counts the others."""


def require_stated_use(dataset: str, terms: TermsPolicy, receipt: Receipt) -> None:
    """Raises PolicyRefused where the student is for more than the set was curated for."""
    keys = ("distributed", "competes_with_teacher")
    wider = [f"policy.{key}" for key in keys if getattr(terms, key) and not getattr(receipt.student, key)]
    if wider:
        are, were, them = ("is", "was", "it") if len(wider) == 1 else ("are", "were", "them")
        raise PolicyRefused(
            f"{dataset}: {' and '.join(wider)} {are} true here and {were} false when the set was curated, so its rows "
            f"were chosen for a narrower use. Set {them} to false in the config of train, if that is what the student "
            "is for, or curate anew for the wider use (policy.terms)"
        )


def decide_today(parent: Parent, receipt: Receipt, terms: TermsPolicy, today: date) -> CurateGate:
    """The gate's rulings on every row of the set. On held-out ones too: they choose which checkpoint is the student.

    An override that the receipt sealed holds on, within its scope and until it expires.
    """
    try:
        signed = [Override.model_validate(item.override) for item in receipt.teachers if item.override is not None]
    except ValidationError as error:
        raise SealBroken(
            f"{parent.name}: {RECEIPT_FILE} has an override that is none ({error}); curate anew"
        ) from error
    overrides = tuple(dict.fromkeys([*terms.overrides, *signed]))
    try:
        return open_curate_gate([parent], None, terms.model_copy(update={"overrides": overrides}), today)
    except ConfigError as error:
        raise ConfigError(f"{error} in a new curation: train takes a set whole") from error


def require_permitted(parent: Parent, gate: CurateGate) -> None:
    """Raises PolicyRefused, with the reasons and the rows of each teacher, where any row may not be used."""
    refused: dict[str, list[Ruling]] = {}
    for ruling in gate.rulings.values():
        if not ruling.decision.permitted:
            refused.setdefault(ruling.stamp.teacher, []).append(ruling)
    if not refused:
        return
    row_ids = _row_ids(parent, {ruling.stamp for rulings in refused.values() for ruling in rulings})
    lines = []
    for teacher, rulings in sorted(refused.items()):
        use = most_restrictive(ruling.decision.train_use for ruling in rulings)
        rows = sum(ruling.rows for ruling in rulings)
        reasons = "; ".join(sorted({ruling.refusal for ruling in rulings}))
        shown = [f"row {row_id}" for row_id in row_ids[teacher]]
        lines += [f"teacher {teacher}: {use}: {reasons} ({rows:,} rows)", listed(shown, rows)]
    raise PolicyRefused(
        "\n".join([f"{parent.name}: the terms, as they stand today, don't allow this training:", *lines])
        + "\nnothing was trained. Say what the student is for (policy.distributed, policy.competes_with_teacher), have "
        "an override signed off (policy.overrides: approver, reason, scope, expires), name the register that has your "
        "own entries (policy.terms_register), or curate anew without these rows; `tutelage terms show ID` says what an "
        "entry rests on"
    )


def listed(items: Sequence[str], count: int | None = None) -> str:
    """The first items, a line each, and how many more there are of `count`."""
    more = (len(items) if count is None else count) - len(items[:SHOWN])
    return "\n".join([*(f"- {item}" for item in items[:SHOWN]), *([f"- and {more:,} more"] if more > 0 else [])])


def _row_ids(parent: Parent, stamps: Collection[Stamp]) -> dict[str, list[str]]:
    """By teacher, the first SHOWN of the rows with one of these stamps."""
    found: dict[str, list[str]] = {stamp.teacher: [] for stamp in stamps}
    for batch in parent.batches(("row_id", *Stamp._fields), BATCH_ROWS):
        there, codes = stamps_of(batch)
        for code, stamp in enumerate(there):
            if stamp in stamps:
                first = pa.array((codes == code).nonzero()[0][: SHOWN - len(found[stamp.teacher])])
                found[stamp.teacher] += batch["row_id"].take(first).to_pylist()
        if all(len(row_ids) == SHOWN for row_ids in found.values()):
            break
    return found
