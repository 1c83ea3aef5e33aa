"""Which rows were withdrawn from datasets that others were chosen from, as far as those can be opened today."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from tutelage.pipelines.seal import read_manifest
from tutelage.pipelines.sealed_rows import tombstones_of
from tutelage.pipelines.storage import Folder
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ContractError, SealBroken
from tutelage.schemas.manifest import MANIFEST, TOMBSTONES, Manifest, ParentEntry, Tombstone


class WithdrawnRow(NamedTuple):
    """`dataset` is where it was withdrawn from: the first of them, where it was from several."""

    row_id: str
    dataset: str
    reason: str
    withdrawn_at: datetime


class Withdrawals(NamedTuple):
    """`rows` by row id. The others are sentences: what can't be opened, what is damaged, and what changed since it was
    pinned; nothing is known of withdrawals from what stands in the first two."""

    rows: dict[str, WithdrawnRow]
    looked_at: tuple[str, ...]
    unreachable: tuple[str, ...]
    damaged: tuple[str, ...]
    notes: tuple[str, ...]


def find_withdrawals(datasets: Iterable[ParentEntry]) -> Withdrawals:
    """Looks at these datasets, at those that they were chosen from, and so on up."""
    rows: dict[str, WithdrawnRow] = {}
    unreachable, damaged, notes = list[str](), list[str](), list[str]()
    queue, seen = list(datasets), dict[str, str]()
    while queue:
        entry = queue.pop(0)
        try:
            opened = _opened(entry)
            if opened.folder.root in seen:
                continue
            stones = _tombstones(opened, entry.uri)
            seen[opened.folder.root] = entry.uri
            notes += _changed(opened, entry)
        except _Unreachable as error:
            unreachable.append(f"{entry.uri}: {error}")
            continue
        except (SealBroken, ContractError) as error:
            damaged.append(f"{entry.uri}: {error}")
            continue
        for stone in stones:
            rows.setdefault(stone.row_id, WithdrawnRow(stone.row_id, entry.uri, stone.reason, stone.withdrawn_at))
        queue += opened.manifest.parents
    return Withdrawals(rows, tuple(seen.values()), *map(tuple, map(dict.fromkeys, (unreachable, damaged, notes))))


class _Unreachable(Exception):
    pass


class _Opened(NamedTuple):
    folder: Folder
    manifest: Manifest
    manifest_sha256: str


def _opened(entry: ParentEntry) -> _Opened:
    try:
        folder = Folder(entry.uri)
        manifest = read_manifest(folder)
        content = folder.read(MANIFEST) if manifest is not None else b""
    except (SealBroken, ContractError):
        raise
    except Exception as error:  # each kind of store raises what it likes where it can't be reached
        raise _Unreachable(f"can't be opened ({type(error).__name__}: {error})") from error
    if manifest is None:
        raise _Unreachable(f"has no {MANIFEST} (it was moved, or the path leads elsewhere from here)")
    return _Opened(folder, manifest, sha256_hex(content))


def _tombstones(opened: _Opened, uri: str) -> list[Tombstone]:
    """More than were sealed are those of a withdrawal that was cut off, and they count; fewer hide some."""
    stones = tombstones_of(opened.folder)
    if len(stones) < opened.manifest.tombstones:
        raise SealBroken(
            f"{opened.manifest.tombstones} withdrawals were sealed, {TOMBSTONES} lists {len(stones)}; restore it "
            "from a copy"
        )
    return stones


def _changed(opened: _Opened, entry: ParentEntry) -> Iterator[str]:
    if opened.manifest_sha256 == entry.manifest_sha256:
        return
    if opened.folder.exists(f"manifests/{entry.manifest_sha256}.json"):
        yield f"{entry.uri}: was sealed anew since (a harvest or a withdrawal); what it says today was looked at"
    else:
        yield (
            f"{entry.uri}: is not the dataset that was used, nor made from it (no {entry.manifest_sha256[:12]}… in its "
            "manifests); whether rows were withdrawn from that one is not known"
        )
