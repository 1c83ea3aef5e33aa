"""The seal: one manifest over every file and a Merkle root over every row: a change is seen, and a row is provable."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import orjson
import pyarrow.parquet as pq

from tutelage.pipelines.card import LICENSE_FILE, dataset_card
from tutelage.pipelines.croissant import croissant_of
from tutelage.pipelines.license_page import license_page
from tutelage.pipelines.plan import REJECTED_FILE, withdrawn_rows
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.table_file import TableFile
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contracts import (
    COMPLETIONS,
    FAILED,
    JOURNAL,
    LEDGER,
    PLAN,
    REJECTED,
    Contract,
    ContractWriter,
    open_parquet,
    rows_of,
)
from tutelage.schemas.errors import ConfigError, ContractError, SealBroken
from tutelage.schemas.identity import leaf_content, leaf_sha256
from tutelage.schemas.manifest import (
    MANIFEST,
    TOMBSTONES,
    FileEntry,
    Manifest,
    MerkleSummary,
    SealedTerms,
    Tombstone,
    newer_version,
)
from tutelage.schemas.merkle import inclusion_path, merkle_root
from tutelage.schemas.rows import Completion
from tutelage.schemas.version import CODE_VERSION

LEDGER_FILE, RUN_FILE, CARD_FILE, CROISSANT_FILE = "ledger.parquet", "run.json", "README.md", "croissant.json"
TABLES: tuple[tuple[str, Contract], ...] = (
    ("plan/*.parquet", PLAN),
    ("completions/*.parquet", COMPLETIONS),
    ("failed/*.parquet", FAILED),
    ("journal/part-*.parquet", JOURNAL),
    (LEDGER_FILE, LEDGER),
    (REJECTED_FILE, REJECTED),
)
OTHER_FILES = (RUN_FILE, CARD_FILE, LICENSE_FILE, CROISSANT_FILE, TOMBSTONES, "terms/*.txt", "manifests/*.json")
UNSEALED_SEGMENTS = "journal/*.seg"


class Leaf(NamedTuple):
    row_id: str
    sha256: str


class Verified(NamedTuple):
    """`problems` is empty where the dataset is what its manifest says; otherwise one sentence each."""

    manifest: Manifest
    rows: int
    problems: list[str]


def seal(
    folder: Folder,
    event: Literal["harvest", "reparse", "withdrawal"],
    run_ids: Sequence[str],
    terms: Sequence[SealedTerms],
    terms_texts: dict[str, bytes],
) -> Manifest:
    """Writes `terms/`, card and licence page, and last of all the manifest, chained to the one that it replaces."""
    previous = read_manifest(folder)
    for digest, text in terms_texts.items():
        folder.write(f"terms/{digest}.txt", text)
    if previous is not None:
        folder.write(f"manifests/{previous.sha256()}.json", previous.to_bytes())
    rows = count_rows(folder)
    folder.write(CARD_FILE, dataset_card(folder, rows, terms).encode())
    folder.write(LICENSE_FILE, license_page(folder, terms).encode())
    folder.write(CROISSANT_FILE, croissant_of(folder, terms))
    tombstones = withdrawn_rows(folder)
    leaves = _all_leaves(folder, tombstones)
    manifest = Manifest(
        created_at=datetime.now(UTC),
        code_version=CODE_VERSION,
        run_ids=tuple(run_ids),
        event=event,
        rows=dict(sorted(rows.items())),
        merkle=MerkleSummary(root=_root(leaves), leaves=len(leaves)),
        tombstones=len(tombstones),
        tombstones_sha256=sha256_hex(folder.read(TOMBSTONES)) if tombstones else None,
        terms=tuple(terms),
        files=tuple(_file_entries(folder)),
        previous_manifest_sha256=previous.sha256() if previous else None,
    )
    folder.write(MANIFEST, manifest.to_bytes())
    return manifest


def merge_ledger(folder: Folder) -> None:
    """Makes `ledger.parquet` of the shards' parts, and removes them."""
    parts = folder.list("ledger/part-*.parquet")
    if not parts:
        return
    with folder.replacing(LEDGER_FILE) as stream, ContractWriter(LEDGER, stream, folder.path(LEDGER_FILE)) as writer:
        for name in parts:
            with folder.open(name) as source:
                parquet = open_parquet(LEDGER, source, folder.path(name))
                for group in range(parquet.num_row_groups):
                    writer.write(parquet.read_row_group(group))
    for name in parts:
        folder.delete(name)


def read_manifest(folder: Folder) -> Manifest | None:
    """The manifest, or None where the folder has none; raises ContractError if it is of a newer version or damaged."""
    if not folder.exists(MANIFEST):
        return None
    path = folder.path(MANIFEST)
    try:
        document = orjson.loads(folder.read(MANIFEST))
        newer = newer_version(document)
    except (ValueError, AttributeError) as error:
        raise SealBroken(
            f"{path}: is no JSON ({error}); restore it from a copy, or harvest into a new folder"
        ) from error
    if newer is not None:
        raise ContractError(f"{path}: version {newer} is newer than this tutelage reads (1); upgrade tutelage")
    try:
        return Manifest.model_validate(document)
    except ValueError as error:
        raise SealBroken(f"{path}: is no manifest/1: {error}") from error


def required_manifest(folder: Folder) -> Manifest:
    manifest = read_manifest(folder)
    if manifest is None:
        raise ConfigError(f"{folder.uri}: has no {MANIFEST}, so it is no sealed dataset; `tutelage harvest` makes one")
    return manifest


def verify(folder: Folder) -> Verified:
    """Reads every byte: files against the manifest, rows against their leaves, leaves against the root, the chain."""
    manifest = required_manifest(folder)
    problems = list(_file_problems(folder, manifest))
    tombstones = withdrawn_rows(folder)
    leaves: list[Leaf] = [Leaf(stone.row_id, stone.leaf_sha256) for stone in tombstones]
    withdrawn = {stone.row_id for stone in tombstones}
    rows = 0
    for name in folder.list("completions/*.parquet"):
        try:
            for row in _completions(folder, name):
                rows += 1
                leaves.append(Leaf(row.row_id, row.leaf_sha256))
                if leaf_sha256(row) != row.leaf_sha256:
                    problems.append(f"{name}: row {row.row_id} is not what was sealed (its leaf differs)")
                if row.row_id in withdrawn:
                    problems.append(f"{name}: row {row.row_id} was withdrawn but is still there")
        except (ContractError, OSError) as error:
            problems.append(str(error))
    repeated = [row_id for row_id, count in Counter(leaf.row_id for leaf in leaves).items() if count > 1]
    problems += [f"row {row_id} stands in the dataset more than once" for row_id in repeated[:10]]
    if _root(sorted(leaves)) != manifest.merkle.root or len(leaves) != manifest.merkle.leaves:
        problems.append(
            f"the Merkle root over {len(leaves)} leaves is not the sealed one over {manifest.merkle.leaves}: "
            "rows were added, dropped or changed"
        )
    problems += _chain_problems(folder, manifest)
    return Verified(manifest, rows, problems)


def prove(folder: Folder, row_id: str) -> dict[str, Any]:
    """One row's proof, as JSON that `docs/verify_proof.py` checks with nothing but the standard library."""
    manifest = required_manifest(folder)
    tombstones = withdrawn_rows(folder)
    if any(stone.row_id == row_id for stone in tombstones):
        raise ConfigError(
            f"row {row_id} was withdrawn: its leaf still stands in the root, its content and salt are gone"
        )
    row = next(
        (row for name in folder.list("completions/*.parquet") for row in _completions(folder, name, row_id)), None
    )
    if row is None:
        raise ConfigError(f"{folder.uri}: has no row {row_id}; the column row_id of completions lists them")
    leaves = _all_leaves(folder, tombstones)
    index = next(place for place, leaf in enumerate(leaves) if leaf.row_id == row_id)
    proof = {
        "contract": "proof/1",
        "row": leaf_content(row),
        "salt": row.salt,
        "leaf_sha256": row.leaf_sha256,
        "leaf_index": index,
        "tree_size": len(leaves),
        "path": [node.hex() for node in inclusion_path([bytes.fromhex(leaf.sha256) for leaf in leaves], index)],
        "root": manifest.merkle.root,
        "manifest_sha256": manifest.sha256(),
    }
    if leaf_sha256(row) != row.leaf_sha256 or _root(leaves) != manifest.merkle.root:
        raise SealBroken(
            f"{folder.uri}: is not what its manifest says, so nothing can be proved; `tutelage verify` says more"
        )
    return proof


def withdraw(folder: Folder, row_ids: Sequence[str], reason: str) -> Manifest:
    """Erases rows: content and salt from completions, the raw answer from the journal, the prompt from the plan.

    The leaf and a tombstone stay, so the root still verifies. Safe to run again after it was cut off.
    """
    manifest = required_manifest(folder)
    if folder.list(UNSEALED_SEGMENTS):
        raise ConfigError(
            f"{folder.uri}: a harvest was cut off here; run `tutelage harvest` to finish it, then withdraw"
        )
    known = {stone.row_id: stone for stone in withdrawn_rows(folder)}
    wanted = set(row_ids) - set(known)
    now = datetime.now(UTC)
    for name in folder.list("completions/*.parquet"):
        for row in _completions(folder, name):
            if row.row_id in wanted:
                known[row.row_id] = Tombstone(
                    row_id=row.row_id,
                    request_id=row.request_id,
                    leaf_sha256=row.leaf_sha256,
                    reason=reason,
                    withdrawn_at=now,
                )
    missing = wanted - set(known)
    if missing:
        raise ConfigError(f"{folder.uri}: has no row {min(missing)}; nothing was withdrawn")
    # First what must never be forgotten, then the erasure: cut off in between, the next try erases the rest.
    folder.write(TOMBSTONES, b"".join(stone.model_dump_json().encode() + b"\n" for stone in known.values()))
    requests = {stone.request_id for stone in known.values()}
    for pattern, contract in TABLES:
        if contract in (COMPLETIONS, JOURNAL, PLAN):
            for name in folder.list(pattern):
                _erase(folder, name, contract, requests)
    return seal(folder, "withdrawal", manifest.run_ids, manifest.terms, {})


def count_rows(folder: Folder) -> Counter[str]:
    """Rows by outcome; failed and rejected ones under those names."""
    counts: Counter[str] = Counter()
    for name in folder.list("completions/*.parquet"):
        with folder.open(name) as stream:
            outcomes = open_parquet(COMPLETIONS, stream, folder.path(name)).read(columns=["outcome"]).column(0)
        counts.update({entry["values"]: entry["counts"] for entry in outcomes.value_counts().to_pylist()})
    for label, pattern in (("failed", "failed/*.parquet"), ("rejected", REJECTED_FILE)):
        total = sum(_row_count(folder, name) for name in folder.list(pattern))
        if total:
            counts[label] = total
    return counts


def _row_count(folder: Folder, name: str) -> int:
    with folder.open(name) as stream:
        return int(pq.ParquetFile(stream).metadata.num_rows)


def _completions(folder: Folder, name: str, row_id: str | None = None) -> Iterator[Completion]:
    with folder.open(name) as stream:
        parquet = open_parquet(COMPLETIONS, stream, folder.path(name))
        for group in range(parquet.num_row_groups):
            if row_id is not None:
                ids = parquet.read_row_group(group, columns=["row_id"]).column(0).to_pylist()
                if row_id not in ids:
                    continue
                yield from rows_of(COMPLETIONS, parquet.read_row_group(group).slice(ids.index(row_id), 1))
                return
            yield from rows_of(COMPLETIONS, parquet.read_row_group(group))


def _all_leaves(folder: Folder, tombstones: Sequence[Tombstone]) -> list[Leaf]:
    leaves = [Leaf(stone.row_id, stone.leaf_sha256) for stone in tombstones]
    for name in folder.list("completions/*.parquet"):
        with folder.open(name) as stream:
            columns = open_parquet(COMPLETIONS, stream, folder.path(name)).read(columns=["row_id", "leaf_sha256"])
        leaves += map(Leaf, columns.column(0).to_pylist(), columns.column(1).to_pylist())
    return sorted(leaves)


def _root(leaves: Sequence[Leaf]) -> str:
    return merkle_root([bytes.fromhex(leaf.sha256) for leaf in leaves]).hex()


def _file_entries(folder: Folder) -> Iterator[FileEntry]:
    for pattern, contract in TABLES:
        for name in folder.list(pattern):
            yield FileEntry(
                path=name, **digest_of(folder, name)._asdict(), contract=contract.label, rows=_row_count(folder, name)
            )
    for pattern in OTHER_FILES:
        for name in folder.list(pattern):
            yield FileEntry(path=name, **digest_of(folder, name)._asdict())


class Digest(NamedTuple):
    bytes: int
    sha256: str


def digest_of(folder: Folder, name: str) -> Digest:
    digest, size = hashlib.sha256(), 0
    with folder.open(name) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
    return Digest(size, digest.hexdigest())


def _file_problems(folder: Folder, manifest: Manifest) -> Iterator[str]:
    listed = {entry.path: entry for entry in manifest.files}
    for name, entry in listed.items():
        if not folder.exists(name):
            yield f"{name}: is missing ({entry.bytes:,} bytes were sealed)"
        elif digest_of(folder, name) != (entry.bytes, entry.sha256):
            yield f"{name}: its bytes are not those that were sealed"
    patterns = [pattern for pattern, _ in TABLES] + list(OTHER_FILES)
    for name in sorted({name for pattern in patterns for name in folder.list(pattern)} - set(listed)):
        yield f"{name}: is not in the manifest"
    if folder.list(UNSEALED_SEGMENTS):
        yield "journal: a harvest was cut off after the seal; run `tutelage harvest` to finish it"
    if manifest.tombstones and manifest.tombstones != len(withdrawn_rows(folder)):
        yield f"{TOMBSTONES}: {manifest.tombstones} withdrawals were sealed, {len(withdrawn_rows(folder))} are listed"


def _chain_problems(folder: Folder, manifest: Manifest) -> Iterator[str]:
    wanted, seen = manifest.previous_manifest_sha256, set[str]()
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
        wanted = orjson.loads(content)["previous_manifest_sha256"]


def _erase(folder: Folder, name: str, contract: Contract, requests: set[str]) -> None:
    with folder.open(name) as stream:
        parquet = open_parquet(contract, stream, folder.path(name))
        ids = parquet.read(columns=["request_id"]).column(0).to_pylist()
        if requests.isdisjoint(ids):
            return
        with TableFile(contract, folder, name) as kept:
            for group in range(parquet.num_row_groups):
                for row in rows_of(contract, parquet.read_row_group(group)):
                    if row.request_id not in requests:
                        kept.add(row, len(getattr(row, "body", b"")))
