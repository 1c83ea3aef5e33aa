"""Curating: a policy and what audits found decide of every row of some datasets; what may stay is a sealed set.

    check_output -> choose -> copy the kept rows -> decisions, policy, receipt -> seal, manifest last

Everything that can refuse comes before the first write. No clock and no chance: the same parents and policy give the
same bytes. docs/curate.md is the guide, docs/decisions/0013-curate.md says why.
"""

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tutelage.pipelines.audit_results import AuditResults
from tutelage.pipelines.curate_gate import CurateGate
from tutelage.pipelines.curate_policy import CurateConfig
from tutelage.pipelines.curate_rows import CurateRows, Numbers
from tutelage.pipelines.curate_rules import Choice, choose
from tutelage.pipelines.dataset_files import DECISIONS_FILE, PATTERNS, POLICY_FILE, RECEIPT_FILE, digest_of
from tutelage.pipelines.erasure import delete_unfinished
from tutelage.pipelines.parents import Parent, merged_runs
from tutelage.pipelines.run_record import write_runs
from tutelage.pipelines.seal import read_manifest, seal_curated
from tutelage.pipelines.sealed_rows import leaves_of, root_of
from tutelage.pipelines.sorted_copy import NewFile, copy_rows
from tutelage.pipelines.storage import LOCK, Folder
from tutelage.schemas.contract_files import ROWS_PER_GROUP, ContractWriter
from tutelage.schemas.contracts import DECISIONS
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.manifest import MANIFEST, Manifest, MerkleSummary
from tutelage.schemas.receipt import HELD_OUT, TRAIN, EvaluationSet, Receipt, Student
from tutelage.schemas.version import CODE_VERSION


class Curated(NamedTuple):
    """What came of it: the receipt says it all, the manifest seals it."""

    dataset: str
    receipt: Receipt
    manifest: Manifest

    def to_json(self) -> dict[str, Any]:
        receipt = self.receipt
        return {
            "dataset": self.dataset,
            "rows_in": receipt.rows_in,
            "rows_out": receipt.rows_out,
            "reasons": receipt.reasons,
            "splits": receipt.splits,
            "policy_sha256": receipt.policy_sha256,
            "merkle_root": receipt.merkle.root,
            "manifest_sha256": self.manifest.sha256(),
            "receipt": f"{self.dataset.rstrip('/')}/{RECEIPT_FILE}",
            "decisions": f"{self.dataset.rstrip('/')}/{DECISIONS_FILE}",
            "parents": [parent.model_dump() for parent in receipt.parents],
            "teachers": [teacher.model_dump() for teacher in receipt.teachers],
        }


def require_teachers(config: CurateConfig, found: Sequence[str]) -> None:
    """Raises ConfigError where the policy names a teacher that no row is of: a mistyped name would empty the set."""
    named = {"policy.teachers": config.policy.teachers or ()}
    if config.policy.dedupe is not None:
        named["policy.dedupe.preferred_teachers"] = config.policy.dedupe.preferred_teachers
    for place, names in named.items():
        for name in names:
            if name not in found:
                near = difflib.get_close_matches(name, found, 1, 0.5)
                known = f"did you mean {near[0]!r}?" if near else f"they are of {', '.join(sorted(found)) or 'nobody'}"
                raise ConfigError(f"{place}: no row of the datasets is of {name!r}; {known}")


def check_output(config: CurateConfig, parents: Sequence[Parent]) -> None:
    """Raises ConfigError where the output folder holds anything but this very curation, finished or cut off."""
    folder, uri = Folder(config.output.uri), config.output.uri
    manifest = read_manifest(folder)
    if manifest is None:
        others = [name for pattern in (*PATTERNS, "journal/*", "*") for name in folder.list(pattern)]
        others = [name for name in others if name != LOCK]
        if others and not folder.exists(POLICY_FILE):
            raise ConfigError(
                f"{uri}: holds {others[0]} and neither {MANIFEST} nor {POLICY_FILE}, so it is no curated set that was "
                "cut off; name an empty output.uri"
            )
        return
    if not manifest.is_curated:
        raise ConfigError(f"{uri}: holds a harvest, which a curation would replace; name another output.uri")
    if manifest.tombstones:
        raise ConfigError(
            f"{uri}: rows were withdrawn from it, and a rebuild could bring them back; withdraw them from the datasets "
            "that they came from, and name another output.uri"
        )
    if manifest.policy_sha256 != config.policy_sha256():
        raise ConfigError(f"{uri}: was curated by another policy ({POLICY_FILE} has it); name another output.uri")
    if manifest.parents != tuple(parent.entry for parent in parents):
        raise ConfigError(
            f"{uri}: was curated from other datasets, or from these before they were sealed anew ({RECEIPT_FILE} pins "
            "them); name another output.uri, or delete the folder"
        )


def curate(
    config: CurateConfig,
    parents: Sequence[Parent],
    gate: CurateGate,
    audits: AuditResults,
    evaluation_sets: Sequence[EvaluationSet] = (),
) -> Curated:
    """Writes and seals the set. The caller holds the output folder, and has asked the gate (`gate.require`)."""
    rows = CurateRows(parents)
    choice = choose(rows, config.policy, gate, audits)
    check_output(config, parents)
    _require_unchanged(parents)
    folder = Folder(config.output.uri)
    _clear(folder)
    # First, so that a set that is cut off midway can be told from anything else.
    folder.write(POLICY_FILE, config.policy_bytes())
    files, places = _layout(rows, choice, config.output.shards)
    copy_rows(rows, places, files, folder)
    _write_decisions(rows, choice, folder)
    runs = merged_runs(parents)
    write_runs(folder, runs)
    kept = np.bincount(rows.stamp[choice.left], minlength=len(rows.stamps)).tolist()
    sealed = gate.sealed(dict(zip(rows.stamps, kept, strict=True)), parents)
    leaves = leaves_of(folder, [])
    terms = config.policy.terms
    receipt = Receipt(
        code_version=CODE_VERSION,
        policy_sha256=config.policy_sha256(),
        parents=tuple(parent.entry for parent in parents),
        evaluation_sets=tuple(evaluation_sets),
        student=Student(distributed=terms.distributed, competes_with_teacher=terms.competes_with_teacher),
        teachers=sealed.teachers,
        audits=audits.facts,
        rows_in=len(rows),
        rows_out=int(choice.left.sum()),
        reasons=choice.counts(),
        splits=_split_counts(choice),
        merkle=MerkleSummary(root=root_of(leaves), leaves=len(leaves)),
    )
    folder.write(RECEIPT_FILE, receipt.to_bytes())
    _require_unchanged(parents)
    manifest = seal_curated(
        folder,
        max(parent.manifest.created_at for parent in parents),
        [run["run_id"] for run in runs],
        sealed.terms,
        sealed.texts,
        receipt.parents,
        receipt.policy_sha256,
    )
    return Curated(config.output.uri, receipt, manifest)


def pinned(uris: Sequence[str]) -> list[EvaluationSet]:
    """The files that rows were compared with, by their bytes."""
    places = [(uri, uri.rpartition("/")) for uri in uris]
    return [
        EvaluationSet(uri=uri, **digest_of(Folder(f"{parent}{slash}" or "."), name)._asdict())
        for uri, (parent, slash, name) in places
    ]


def _require_unchanged(parents: Sequence[Parent]) -> None:
    for parent in parents:
        parent.require_unchanged()


def _clear(folder: Folder) -> None:
    """Takes away what an earlier curation left, the manifest first: without one, nothing here passes for sealed."""
    folder.delete(MANIFEST)
    delete_unfinished(folder)
    for pattern in PATTERNS:
        for name in folder.list(pattern):
            if name != POLICY_FILE:
                folder.delete(name)


def _layout(rows: CurateRows, choice: Choice, shards: int) -> tuple[list[NewFile], Numbers]:
    """The files of each split, equally long, and each row's place in them, -1 where it is out. Sorted by row id."""
    kept = np.flatnonzero(choice.left)
    held_out = choice.held_out[kept]
    sorted_ = kept[np.lexsort((rows.order[kept], held_out))]
    places = np.full(len(rows), -1, np.int64)
    places[sorted_] = np.arange(len(sorted_))
    files: list[NewFile] = []
    first = 0
    for split, count in ((TRAIN, int((~held_out).sum())), (HELD_OUT, int(held_out.sum()))):
        pieces = min(shards, count)
        for piece in range(pieces):
            size = count * (piece + 1) // pieces - count * piece // pieces
            files.append(NewFile(f"completions/{split}-{piece:05d}-of-{pieces:05d}.parquet", first, size))
            first += size
    return files, places


def _write_decisions(rows: CurateRows, choice: Choice, folder: Folder) -> None:
    """One row for every row of every parent, sorted by dataset and row id."""
    names = [parent.name for parent in rows.parents]
    by_name = np.array([sorted(names).index(name) for name in names], np.int64)
    sorted_ = np.lexsort((rows.order, by_name[rows.parent]))
    row_ids = rows.column("row_id")
    path = folder.path(DECISIONS_FILE)
    with folder.replacing(DECISIONS_FILE) as stream, ContractWriter(DECISIONS, stream, path) as writer:
        for start in range(0, max(1, len(sorted_)), ROWS_PER_GROUP):
            numbers = sorted_[start : start + ROWS_PER_GROUP]
            left, some = choice.left[numbers], numbers.tolist()
            splits = np.where(choice.held_out[numbers], HELD_OUT, TRAIN)
            columns = {
                "dataset": [names[parent] for parent in rows.parent[numbers].tolist()],
                "row_id": row_ids.take(pa.array(numbers)),
                "decision": np.where(left, "in", "out").tolist(),
                "reason": [choice.reason(number) for number in some],
                "detail": choice.details[numbers].tolist(),
                "split": [split if stays else None for split, stays in zip(splits.tolist(), left, strict=True)],
                "prompt_cluster": [choice.group_id(rows, number) for number in some],
            }
            writer.write(pa.table(list(columns.values()), schema=DECISIONS.schema))


def _split_counts(choice: Choice) -> dict[str, int]:
    held_out = int((choice.left & choice.held_out).sum())
    return {TRAIN: int(choice.left.sum()) - held_out, HELD_OUT: held_out}
