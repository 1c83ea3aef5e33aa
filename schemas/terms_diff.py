"""What changed between two states of the terms, field by field."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.terms_entry import TermsEntry
from tutelage.schemas.terms_register import Register, parse_entries

Side = dict[str, dict[str, Any]]
"""Entries as JSON by their id (`id@version` where a side has two versions), since an older seal may lack fields."""


class Difference(NamedTuple):
    """A field that differs; the field `entry` where a whole entry is on one side only."""

    terms_id: str
    field: str
    left: Any
    right: Any


def differences(left: Side, right: Side) -> list[Difference]:
    """Matched by id; one entry on each side is compared whatever the two are called."""
    if len(left) == len(right) == 1 and left.keys() != right.keys():
        (left_id, left_entry), (right_id, right_entry) = *left.items(), *right.items()
        return _fields(f"{left_id} → {right_id}", left_entry, right_entry)
    found: list[Difference] = []
    for terms_id in sorted(left.keys() | right.keys()):
        if terms_id in left and terms_id in right:
            found += _fields(terms_id, left[terms_id], right[terms_id])
        else:
            known = left.get(terms_id), right.get(terms_id)
            found.append(Difference(terms_id, "entry", *(side and side["version"] for side in known)))
    return found


def read_side(what: str, register: Register) -> Side:
    """A terms id (`id` or `id@version`), a YAML file of entries, or a dataset folder with its sealed terms."""
    path = Path(what)
    if path.is_dir():
        return _by_id(_sealed(path))
    if path.is_file():
        entries = parse_entries(path.read_text(encoding="utf-8", errors="replace"), what)
        return _by_id([entry.model_dump(mode="json") for entry in entries])
    terms_id, _, version = what.partition("@")
    for entry in register.entries:
        if version and entry.key == (terms_id.casefold(), version.casefold()):
            return {what: entry.model_dump(mode="json")}
    newest = None if version else register.get(terms_id)
    if newest is None:
        raise ConfigError(f"{what!r} is no terms id, file or dataset folder{register.nearest(terms_id)}")
    return {newest.id: newest.model_dump(mode="json")}


def current_side(of: Side, register: Register) -> Side:
    """What the register says today of the entries on the other side."""
    current = {key: register.get(key.partition("@")[0]) for key in of}
    return {key: entry.model_dump(mode="json") for key, entry in current.items() if entry is not None}


def _sealed(dataset: Path) -> list[dict[str, Any]]:
    entries = []
    for path in sorted((dataset / "terms").glob("*.txt")):
        text = path.read_bytes()
        if sha256_hex(text) != path.stem:
            raise SealBroken(f"{path} has the sha256 {sha256_hex(text)}, its name says another; restore the dataset")
        entries.append(json.loads(text))
    if not entries:
        raise ConfigError(f"{dataset} holds no terms/<sha256>.txt; name a harvested dataset's folder")
    return entries


def _by_id(entries: list[dict[str, Any]]) -> Side:
    ids = [entry["id"] for entry in entries]
    return {e["id"] if ids.count(e["id"]) == 1 else f"{e['id']}@{e['version']}": e for e in entries}


def _fields(terms_id: str, left: dict[str, Any], right: dict[str, Any]) -> list[Difference]:
    return [
        Difference(terms_id, field, left.get(field), right.get(field))
        for field in dict.fromkeys([*TermsEntry.model_fields, *left, *right])
        if field != "id" and left.get(field) != right.get(field)
    ]
