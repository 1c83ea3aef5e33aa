"""Withdrawing rows: what they held is erased, their leaves stay, and the root still verifies."""

from collections.abc import Sequence
from datetime import UTC, datetime

from tutelage.pipelines.dataset_files import UNSEALED_SEGMENTS
from tutelage.pipelines.seal import required_manifest, seal
from tutelage.pipelines.sealed_rows import Leaf, columns_of, leaves_of, root_of, tombstones_of
from tutelage.pipelines.storage import Folder
from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.manifest import TOMBSTONES, Manifest, Tombstone


def withdraw(folder: Folder, row_ids: Sequence[str], reason: str) -> Manifest:
    """Erases rows: content and salt from completions, the raw answer from the journal, the prompt from the plan.

    The leaf and a tombstone stay, so the root still verifies. Safe to run again after it was cut off.
    """
    manifest = required_manifest(folder)
    if folder.list(UNSEALED_SEGMENTS):
        raise ConfigError(
            f"{folder.uri}: a harvest was cut off here; run `tutelage harvest` to finish it, then withdraw"
        )
    stones = tombstones_of(folder)
    withdrawn = {stone.row_id for stone in stones}
    # Where a withdrawal was cut off, a row may stand beside its tombstone.
    rows = [leaf for leaf in leaves_of(folder, []) if leaf.row_id not in withdrawn]
    if root_of(sorted([*rows, *(Leaf(stone.row_id, stone.leaf_sha256) for stone in stones)])) != manifest.merkle.root:
        raise SealBroken(
            f"{folder.uri}: is not what its manifest says, and a withdrawal would seal it as it is; "
            "`tutelage verify` says what differs"
        )
    wanted = set(row_ids) - withdrawn
    now = datetime.now(UTC)
    for row_id, request_id, leaf in columns_of(folder, "row_id", "request_id", "leaf_sha256"):
        if row_id in wanted:
            wanted.remove(row_id)
            stones.append(
                Tombstone(row_id=row_id, request_id=request_id, leaf_sha256=leaf, reason=reason, withdrawn_at=now)
            )
    if wanted:
        raise ConfigError(f"{folder.uri}: has no row {min(wanted)}; nothing was withdrawn")
    # First what must never be forgotten, then the erasure: cut off in between, the next seal erases the rest.
    folder.write(TOMBSTONES, b"".join(stone.model_dump_json().encode() + b"\n" for stone in stones))
    return seal(folder, "withdrawal", manifest.run_ids, manifest.terms, {})
