"""Verifying: is a dataset what its manifest says?"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from tutelage.pipelines.dataset_files import COMPLETIONS_FILES, PATTERNS, UNSEALED_SEGMENTS, digest_of
from tutelage.pipelines.erasure import left_behind
from tutelage.pipelines.seal import read_manifest, required_manifest
from tutelage.pipelines.sealed_rows import Leaf, completions_of, keeps_its_leaf, root_of, tombstones_of
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.verify_curation import curation_problems
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ContractError, SealBroken
from tutelage.schemas.manifest import MANIFEST, TOMBSTONES, Manifest


class Verified(NamedTuple):
    """`problems` is empty where the dataset is what its manifest says; otherwise one sentence each."""

    manifest: Manifest
    rows: int
    problems: list[str]


def verify(folder: Folder) -> Verified:
    """Reads every byte: files against the manifest, rows against their leaves, leaves against the root, the chain."""
    manifest = required_manifest(folder)
    problems = list(_file_problems(folder, manifest))
    try:
        tombstones = tombstones_of(folder)
    except SealBroken as error:
        problems.append(str(error))
        tombstones = []
    withdrawn = {stone.row_id for stone in tombstones}
    leaves = [Leaf(stone.row_id, stone.leaf_sha256) for stone in tombstones]
    outcomes: Counter[str] = Counter()
    for name in folder.list(COMPLETIONS_FILES):
        try:
            for row in completions_of(folder, name):
                outcomes[row.outcome] += 1
                leaves.append(Leaf(row.row_id, row.leaf_sha256))
                if not keeps_its_leaf(row):
                    problems.append(f"{name}: row {row.row_id} is not what was sealed (its leaf differs)")
                if row.row_id in withdrawn:
                    problems.append(f"{name}: row {row.row_id} was withdrawn but is still there")
        except (ContractError, SealBroken) as error:
            problems.append(f"{name}: {error}")
    repeated = [row_id for row_id, count in Counter(leaf.row_id for leaf in leaves).items() if count > 1]
    problems += [f"row {row_id} stands in the dataset more than once" for row_id in repeated[:10]]
    problems += _root_problems(leaves, outcomes, manifest)
    problems += left_behind(folder, tombstones)
    problems += _chain_problems(folder, manifest)
    problems += curation_problems(folder, manifest, withdrawn)
    return Verified(manifest, outcomes.total(), problems)


def seal_problems(folder: Folder) -> list[str]:
    """Whether the files are those that were sealed, byte for byte; quicker than `verify`, which reads every row too.

    Equal bytes are equal rows, so it misses nothing that happened after the seal; it does not check the seal itself.
    """
    try:
        manifest = read_manifest(folder)
    except (SealBroken, ContractError) as error:
        return [str(error)]
    return list(_file_problems(folder, manifest)) if manifest else [f"{MANIFEST}: is missing, so it was never sealed"]


def _file_problems(folder: Folder, manifest: Manifest) -> Iterator[str]:
    listed = {entry.path: entry for entry in manifest.files}
    for name, entry in listed.items():
        if not folder.exists(name):
            yield f"{name}: is missing ({entry.bytes:,} bytes were sealed)"
        elif digest_of(folder, name) != (entry.bytes, entry.sha256):
            yield f"{name}: its bytes are not those that were sealed"
    for name in sorted({name for pattern in PATTERNS for name in folder.list(pattern)} - set(listed)):
        yield f"{name}: is not in the manifest"
    if folder.list(UNSEALED_SEGMENTS):
        yield "journal: a harvest was cut off after the seal; run `tutelage harvest` to finish it"
    for terms in manifest.terms:
        for terms_id, digest in terms.entries.items():
            text = listed.get(f"terms/{digest}.txt")
            if text is None or text.sha256 != digest:
                yield f"terms/{digest}.txt: is not sealed, and {terms_id} for {terms.teacher} rests on it"


def _root_problems(leaves: list[Leaf], outcomes: Counter[str], manifest: Manifest) -> Iterator[str]:
    try:
        same = root_of(sorted(leaves)) == manifest.merkle.root and len(leaves) == manifest.merkle.leaves
    except SealBroken as error:
        yield str(error)
        same = True
    if not same:
        yield (
            f"the Merkle root over {len(leaves)} leaves is not the sealed one over {manifest.merkle.leaves}: "
            "rows were added, dropped or changed"
        )
    sealed = {outcome: rows for outcome, rows in manifest.rows.items() if outcome not in ("failed", "rejected")}
    if sealed != dict(outcomes):
        yield f"{MANIFEST}: counts {sealed}, the completions are {dict(sorted(outcomes.items()))}"
    withdrawn = len(leaves) - outcomes.total()
    if manifest.tombstones != withdrawn:
        yield f"{TOMBSTONES}: {manifest.tombstones} withdrawals were sealed, {withdrawn} are listed"


def _chain_problems(folder: Folder, manifest: Manifest) -> Iterator[str]:
    wanted, seen = manifest.previous_manifest_sha256, set[str]()
    event, merkle = str(manifest.event), manifest.merkle.model_dump()
    while wanted is not None and wanted not in seen:
        seen.add(wanted)
        name = f"manifests/{wanted}.json"
        if not folder.exists(name):
            yield f"{name}: the manifest before is missing, so the chain ends there"
            return
        content = folder.read(name)
        if sha256_hex(content) != wanted:
            yield f"{name}: is not the manifest that the next one names"
            return
        before = orjson.loads(content)
        if event == "withdrawal" and before["merkle"] != merkle:
            yield f"{name}: the withdrawal after it changed the Merkle root, which no withdrawal does"
        wanted, event, merkle = before["previous_manifest_sha256"], before["event"], before["merkle"]
