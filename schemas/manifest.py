"""What a sealed dataset says of itself: `manifest.json` and the tombstones of withdrawn rows."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tutelage.schemas.canonical import canonical_json, sha256_hex

MANIFEST = "manifest.json"
TOMBSTONES = "tombstones.jsonl"
MERKLE_ALGORITHM = "RFC 6962 SHA-256 over salted leaves sorted by row_id"


Event = Literal["harvest", "reparse", "withdrawal", "curate"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Record):
    """One file of the dataset. `rows` is null for files that are no tables."""

    path: str
    bytes: int
    sha256: str
    contract: str | None = None
    rows: int | None = None


class MerkleSummary(_Record):
    """`leaves` counts tombstones too: a withdrawn row keeps its leaf."""

    algorithm: str = MERKLE_ALGORITHM
    root: str
    leaves: int


class Tombstone(_Record):
    """What stays of a withdrawn row: what keeps the root verifying, and the request from being asked again."""

    row_id: str
    request_id: str
    leaf_sha256: str
    reason: str
    withdrawn_at: datetime


class SealedTerms(_Record):
    """The terms decision for one teacher, as it stood when the run began. `entries` names `terms/<sha256>.txt`."""

    teacher: str
    train_use: str
    obligations: tuple[str, ...]
    entries: dict[str, str]
    reasons: tuple[str, ...]
    declared_by_user: bool
    override: dict[str, str] | None


class ParentEntry(_Record):
    """A dataset that a curated set was chosen from, pinned by its manifest as it stood then."""

    uri: str
    manifest_sha256: str
    merkle_root: str


class Manifest(_Record):
    """`contract` and `version` come first: a reader looks at them before anything else.

    The seal proves that these rows are the rows that were sealed. It proves neither that they are all that was asked,
    nor that the provider really said it. `parents` and `policy_sha256` are a curated set's; a withdrawal keeps them.
    """

    contract: Literal["manifest"] = "manifest"
    version: Literal[1] = 1
    created_at: datetime
    code_version: str
    run_ids: tuple[str, ...]
    event: Event
    rows: dict[str, int]
    merkle: MerkleSummary
    tombstones: int
    tombstones_sha256: str | None
    terms: tuple[SealedTerms, ...]
    files: tuple[FileEntry, ...]
    previous_manifest_sha256: str | None
    parents: tuple[ParentEntry, ...] = ()
    policy_sha256: str | None = None

    @property
    def is_curated(self) -> bool:
        return self.policy_sha256 is not None

    def to_bytes(self) -> bytes:
        """Canonical JSON and a newline; its SHA-256 is what the next manifest chains to."""
        return canonical_json(self.model_dump(mode="json")) + b"\n"

    def sha256(self) -> str:
        return sha256_hex(self.to_bytes())


def newer_version(document: dict[str, Any]) -> int | None:
    """The version of a manifest that this code is too old to read, or None."""
    version = document.get("version")
    return version if isinstance(version, int) and version > 1 else None
