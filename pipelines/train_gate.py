"""The gate of a training: is this set what was sealed, and may its rows teach the student that the config states?

    opens -> receipt -> seal -> rows to train on -> withdrawals of its parents -> stated use -> today's terms -> name

It loads neither a model nor torch: what refuses does so before a weight is touched.
"""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from tutelage.pipelines.dataset_files import COMPLETIONS_FILES, RECEIPT_FILE, row_count
from tutelage.pipelines.duties import duties_of, require_name
from tutelage.pipelines.parents import Parent, parent_of
from tutelage.pipelines.seal import read_manifest
from tutelage.pipelines.sealed_rows import tombstones_of
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.train_terms import decide_today, listed, require_permitted, require_stated_use
from tutelage.pipelines.verify import verify
from tutelage.pipelines.withdrawn import WithdrawnRow, find_withdrawals
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError, PolicyRefused, SealBroken
from tutelage.schemas.manifest import MANIFEST, Manifest
from tutelage.schemas.permit import Permit
from tutelage.schemas.receipt import TRAIN, parse_receipt
from tutelage.schemas.terms_policy import TermsPolicy

BATCH_ROWS = 65_536


def open_train_gate(dataset: str, student_name: str, terms: TermsPolicy, today: date) -> Permit:
    """Raises PolicyRefused, SealBroken or ConfigError where the rows may not teach this student; reads every byte."""
    folder = _opened(dataset)
    manifest = _curated(folder)
    manifest_sha256 = sha256_hex(folder.read(MANIFEST))
    _require_seal(folder)
    parent = parent_of(folder.uri, folder, manifest, manifest_sha256)
    receipt = parse_receipt(folder.read(RECEIPT_FILE), folder.path(RECEIPT_FILE))
    _require_rows(folder, manifest)
    notes = _require_not_withdrawn(parent)
    require_stated_use(dataset, terms, receipt)
    gate = decide_today(parent, receipt, terms, today)
    require_permitted(parent, gate)
    duties = duties_of(parent, gate)
    require_name(student_name, duties)
    if sha256_hex(folder.read(MANIFEST)) != manifest_sha256:
        raise SealBroken(f"{dataset}: was sealed anew while it was checked (rows were withdrawn?); run train again")
    return Permit(
        dataset=dataset,
        manifest=manifest,
        manifest_sha256=manifest_sha256,
        tombstone_head=manifest.tombstones_sha256,
        receipt=receipt,
        terms=gate.sealed({key: ruling.rows for key, ruling in gate.rulings.items()}, [parent]).terms,
        duties=duties,
        withdrawn=tuple(stone.row_id for stone in tombstones_of(folder)),
        notes=notes,
    )


def _opened(dataset: str) -> Folder:
    try:
        folder = Folder(dataset)
        found = folder.exists()
    except Exception as error:  # each kind of store raises what it likes where it can't be reached
        raise ConfigError(f"{dataset}: can't be opened ({type(error).__name__}: {error}); correct `dataset`") from error
    if not found:
        raise ConfigError(f"{dataset}: there is no such folder; name the curated set that `tutelage curate` made")
    return folder


def _curated(folder: Folder) -> Manifest:
    manifest = read_manifest(folder)
    has_receipt = folder.exists(RECEIPT_FILE)
    if manifest is not None and manifest.is_curated and has_receipt:
        return manifest
    if manifest is None and has_receipt:
        raise SealBroken(
            f"{folder.uri}: has a {RECEIPT_FILE} and no {MANIFEST}, so nothing seals its rows (a curation was cut off, "
            "or the file was deleted); run `tutelage curate` with its config again"
        )
    if manifest is None and not folder.list(COMPLETIONS_FILES):
        raise ConfigError(
            f"{folder.uri}: has neither {MANIFEST} nor completions, so it is no dataset; name the curated set that "
            "`tutelage curate` made"
        )
    if manifest is not None and manifest.is_curated:
        found = "a curated set that lost it"
    else:
        found = "rows that were never sealed" if manifest is None else "a harvest"
    raise PolicyRefused(
        f"{folder.uri}: has no receipt ({RECEIPT_FILE}), it is {found}; so nothing says which of its rows were chosen, "
        "and that training on them is allowed. `tutelage curate` makes a set with a receipt: name that one as `dataset`"
    )


def _require_seal(folder: Folder) -> None:
    problems = verify(folder).problems
    if problems:
        raise SealBroken(
            f"{folder.uri}: is not what was sealed, in {len(problems):,} places:\n{listed(problems)}\n"
            "nothing was trained. Restore it from a copy, or delete it and run its curation again; "
            f"`tutelage verify {folder.uri}` checks it"
        )


def _require_rows(folder: Folder, manifest: Manifest) -> None:
    if not sum(row_count(folder, name) for name in folder.list(f"completions/{TRAIN}-*.parquet")):
        withdrawn = f" ({manifest.tombstones:,} rows were withdrawn)" if manifest.tombstones else ""
        raise ConfigError(
            f"{folder.uri}: has no row to train on, its split {TRAIN!r} is empty{withdrawn}; decisions.parquet says "
            "why rows are out. Curate with another policy, or from more datasets"
        )


def _require_not_withdrawn(parent: Parent) -> tuple[str, ...]:
    """Notes on what could not be looked at. A row goes by its id: another answer to the same request has the same."""
    found = find_withdrawals(parent.manifest.parents)
    if found.damaged:
        raise SealBroken(
            f"{parent.name}: whether its rows were withdrawn from what it was chosen from can't be told:\n"
            f"{listed(found.damaged)}\nnothing was trained. Restore that dataset from a copy, or move it away: that it "
            "could not be looked at is then noted in the student's record"
        )
    withdrawn = [found.rows[row_id] for row_id in _row_ids_among(parent, list(found.rows))]
    if withdrawn:
        raise PolicyRefused(
            f"{parent.name}: {len(withdrawn):,} of its rows were withdrawn from a dataset that it was chosen from:\n"
            f"{listed([_withdrawn(row) for row in withdrawn])}\nnothing was trained. Withdraw them here too "
            f"(`tutelage withdraw {parent.name} --where \"row_id IN ('…')\" --reason …`), or curate anew from the "
            "datasets as they are now"
        )
    return (*found.notes, *(f"{said}; whether rows were withdrawn from it is not known" for said in found.unreachable))


def _withdrawn(row: WithdrawnRow) -> str:
    return f"row {row.row_id}: from {row.dataset} on {row.withdrawn_at:%Y-%m-%d} ({row.reason})"


def _row_ids_among(parent: Parent, row_ids: Sequence[str]) -> list[str]:
    if not row_ids:
        return []
    wanted = pa.array(sorted(row_ids))
    return [
        row_id
        for batch in parent.batches(("row_id",), BATCH_ROWS)
        for row_id in batch["row_id"].filter(pc.is_in(batch["row_id"], wanted)).to_pylist()
    ]
