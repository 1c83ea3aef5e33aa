"""What the gate of a training hands over: a sealed, curated set whose rows may teach the student that was stated."""

from typing import NamedTuple

from tutelage.schemas.manifest import Manifest, SealedTerms
from tutelage.schemas.receipt import Receipt


class Duty(NamedTuple):
    """What terms ask of whoever has the student. `detail` is the entry's own words: the text to show, how a name has to
    begin; None where the entry has none. `urls` lead to the terms themselves."""

    obligation: str
    detail: str | None
    teachers: tuple[str, ...]
    terms_ids: tuple[str, ...]
    urls: tuple[str, ...] = ()


class Permit(NamedTuple):
    """`terms` were decided on the day of the training, for the use that its config states.

    `tombstone_head` is the SHA-256 of the set's tombstones, None where it has none; `withdrawn` are the rows that they
    name. `notes` say what could not be looked at.
    """

    dataset: str
    manifest: Manifest
    manifest_sha256: str
    tombstone_head: str | None
    receipt: Receipt
    terms: tuple[SealedTerms, ...]
    duties: tuple[Duty, ...]
    withdrawn: tuple[str, ...]
    notes: tuple[str, ...]
