"""The seal: one manifest over every file and a Merkle root over every row: a change is seen, and a row is provable."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from tutelage.pipelines.card import dataset_card
from tutelage.pipelines.croissant import croissant_of
from tutelage.pipelines.dataset_files import (
    CARD_FILE,
    COMPLETIONS_FILES,
    CROISSANT_FILE,
    FAILED_FILES,
    LEDGER_FILE,
    LICENSE_FILE,
    OTHER_FILES,
    REJECTED_FILE,
    TABLES,
    digest_of,
    row_count,
)
from tutelage.pipelines.erasure import delete_unfinished, erase_withdrawn
from tutelage.pipelines.license_page import license_page
from tutelage.pipelines.sealed_rows import leaves_of, root_of, tombstones_of
from tutelage.pipelines.storage import Folder
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contract_files import ContractWriter, open_parquet
from tutelage.schemas.contracts import COMPLETIONS, LEDGER
from tutelage.schemas.errors import ConfigError, ContractError, SealBroken
from tutelage.schemas.manifest import (
    MANIFEST,
    TOMBSTONES,
    Event,
    FileEntry,
    Manifest,
    MerkleSummary,
    ParentEntry,
    SealedTerms,
    Tombstone,
    newer_version,
)
from tutelage.schemas.version import CODE_VERSION


def seal(
    folder: Folder,
    event: Event,
    run_ids: Sequence[str],
    terms: Sequence[SealedTerms],
    terms_texts: dict[str, bytes],
) -> Manifest:
    """Writes `terms/`, card and licence page, and last of all the manifest, chained to the one that it replaces.

    Erases first what must not be sealed: rows with a tombstone, and files that a dead run left half written.
    """
    before = read_manifest(folder)
    previous = folder.read(MANIFEST) if before else None
    tombstones = tombstones_of(folder)
    erase_withdrawn(folder, tombstones)
    delete_unfinished(folder)
    if previous is not None:
        folder.write(f"manifests/{sha256_hex(previous)}.json", previous)
    return _sealed(
        folder,
        terms_texts,
        tombstones,
        created_at=datetime.now(UTC),
        run_ids=tuple(run_ids),
        event=event,
        terms=tuple(terms),
        previous_manifest_sha256=sha256_hex(previous) if previous else None,
        parents=before.parents if before else (),
        policy_sha256=before.policy_sha256 if before else None,
    )


def seal_curated(
    folder: Folder,
    created_at: datetime,
    run_ids: Sequence[str],
    terms: Sequence[SealedTerms],
    terms_texts: dict[str, bytes],
    parents: Sequence[ParentEntry],
    policy_sha256: str,
) -> Manifest:
    """The seal of a curated set: no clock and no chain, so that the same choice from the same parents is the same seal.

    The chain of its rows goes on in `parents`, each pinned by its manifest.
    """
    return _sealed(
        folder,
        terms_texts,
        [],
        created_at=created_at,
        run_ids=tuple(run_ids),
        event="curate",
        terms=tuple(terms),
        previous_manifest_sha256=None,
        parents=tuple(parents),
        policy_sha256=policy_sha256,
    )


def _sealed(
    folder: Folder, terms_texts: dict[str, bytes], tombstones: Sequence[Tombstone], *, terms: Any, **facts: Any
) -> Manifest:
    """Writes what the rows say of themselves, and the manifest over it all; `facts` are fields of the manifest."""
    for digest, text in terms_texts.items():
        folder.write(f"terms/{digest}.txt", text)
    rows = count_rows(folder)
    folder.write(CARD_FILE, dataset_card(folder, rows, terms).encode())
    folder.write(LICENSE_FILE, license_page(folder, terms).encode())
    folder.write(CROISSANT_FILE, croissant_of(folder, terms))
    leaves = leaves_of(folder, tombstones)
    manifest = Manifest(
        code_version=CODE_VERSION,
        rows=dict(sorted(rows.items())),
        merkle=MerkleSummary(root=root_of(leaves), leaves=len(leaves)),
        tombstones=len(tombstones),
        tombstones_sha256=sha256_hex(folder.read(TOMBSTONES)) if tombstones else None,
        terms=terms,
        files=tuple(_file_entries(folder)),
        **facts,
    )
    folder.write(MANIFEST, manifest.to_bytes())
    return manifest


def merge_ledger(folder: Folder) -> None:
    """Makes `ledger.parquet` of the shards' parts, and removes them; where no call was made it has no rows."""
    parts = folder.list("ledger/part-*.parquet")
    if not parts and folder.exists(LEDGER_FILE):
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


def count_rows(folder: Folder) -> Counter[str]:
    """Rows by outcome; failed and rejected ones under those names."""
    counts: Counter[str] = Counter()
    for name in folder.list(COMPLETIONS_FILES):
        with folder.open(name) as stream:
            outcomes = open_parquet(COMPLETIONS, stream, folder.path(name)).read(columns=["outcome"]).column(0)
        counts.update({entry["values"]: entry["counts"] for entry in outcomes.value_counts().to_pylist()})
    for label, pattern in (("failed", FAILED_FILES), ("rejected", REJECTED_FILE)):
        total = sum(row_count(folder, name) for name in folder.list(pattern))
        if total:
            counts[label] = total
    return counts


def _file_entries(folder: Folder) -> Iterator[FileEntry]:
    for pattern, contract in TABLES:
        for name in folder.list(pattern):
            yield FileEntry(
                path=name, **digest_of(folder, name)._asdict(), contract=contract.label, rows=row_count(folder, name)
            )
    for pattern in OTHER_FILES:
        for name in folder.list(pattern):
            yield FileEntry(path=name, **digest_of(folder, name)._asdict())
