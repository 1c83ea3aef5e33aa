"""The terms register: entries shipped with the package, and those of a user's own folders."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.strict_yaml import load_strict_yaml
from tutelage.schemas.terms_entry import PROMPTS_CHANNEL, TermsEntry


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an entry was read, and whether it came with the package."""

    file: str
    shipped: bool = False


@dataclass(frozen=True, slots=True)
class Register:
    """Entries sorted by id and version, each with the file that it came from."""

    entries: tuple[TermsEntry, ...]
    origins: dict[tuple[str, str], Origin]

    @classmethod
    def load(cls, extra_dirs: Sequence[Path] = ()) -> "Register":
        """The shipped entries and those of `extra_dirs`; an id and version that two files define is an error."""
        return cls.of([*_shipped(), *(pair for folder in extra_dirs for pair in _in_folder(folder))])

    @classmethod
    def of(cls, pairs: Iterable[tuple[TermsEntry, Origin]]) -> "Register":
        origins: dict[tuple[str, str], Origin] = {}
        entries = []
        for entry, origin in pairs:
            if entry.key in origins:
                raise ConfigError(
                    f"terms {entry.id!r} version {entry.version!r} stands in {origins[entry.key].file} "
                    f"and again in {origin.file}; remove one, or give the changed terms a version of their own"
                )
            origins[entry.key] = origin
            entries.append(entry)
        return cls(tuple(sorted(entries, key=lambda entry: entry.key)), origins)

    def get(self, terms_id: str) -> TermsEntry | None:
        """The newest version of an id, whatever its case; `in_force` first, to leave out what is still to come."""
        versions = [entry for entry in self.entries if entry.key[0] == terms_id.casefold()]
        return max(versions, key=lambda entry: (entry.effective or entry.seen, entry.seen, entry.version), default=None)

    def in_force(self, today: date) -> "Register":
        """One version an id: the newest whose effective date has come."""
        begun = Register(tuple(e for e in self.entries if e.effective is None or e.effective <= today), self.origins)
        return Register(tuple(entry for entry in begun.entries if entry is begun.get(entry.id)), self.origins)

    def find(self, model: str, revision: str | None, channel: str, host: str | None) -> tuple[TermsEntry, ...]:
        """What holds for a teacher without being named: entries for its model and channel, and for its host."""
        return tuple(
            entry
            for entry in self.entries
            if (host is not None and entry.covers_host(host))
            or (not entry.holds_when_named and entry.covers_channel(channel) and entry.covers_model(model, revision))
        )

    def prompt_license(self, license_id: str) -> TermsEntry | None:
        entry = self.get(license_id)
        return entry if entry is not None and entry.covers_channel(PROMPTS_CHANNEL) else None

    def is_shipped(self, entry: TermsEntry) -> bool:
        return self.origins[entry.key].shipped

    def replaced_by(self, entry: TermsEntry) -> TermsEntry | None:
        """The shipped entry that a user's entry of the same id stands in for."""
        if self.is_shipped(entry):
            return None
        return Register(tuple(e for e in self.entries if self.is_shipped(e)), self.origins).get(entry.id)

    def sealed_text(self, sha256: str) -> bytes:
        """The canonical text behind a digest that a decision names."""
        return next(entry.canonical_text() for entry in self.entries if entry.sha256 == sha256)

    def nearest(self, terms_id: str) -> str:
        """The ending of a message about an id that is not here: the ids that look like it."""
        ids = {entry.id.casefold(): entry.id for entry in self.entries}
        close = [ids[key] for key in difflib.get_close_matches(terms_id.casefold(), ids, n=3)]
        return f"; nearest known: {', '.join(close)}" if close else "; `tutelage terms list` shows what is known"


def parse_entries(text: str, origin: str) -> list[TermsEntry]:
    """The entries of one YAML file: a list of them, or one alone."""
    try:
        found = load_strict_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{origin}: not readable as YAML ({error}); write a list of terms entries") from error
    items = found if isinstance(found, list) else [found]
    if not items or not all(isinstance(item, dict) for item in items):
        raise ConfigError(
            f"{origin}: found {type(found).__name__}, needed a list of terms entries (docs/terms.md has one)"
        )
    return [_validated(item, origin) for item in items]


def _validated(item: dict[str, Any], origin: str) -> TermsEntry:
    try:
        return TermsEntry.model_validate(item)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'entry'}: {problem['msg']}" for problem in error.errors()
        )
        raise ConfigError(f"{origin}: terms entry {item.get('id', '(no id)')!r}: {problems}") from error


def _shipped() -> Iterator[tuple[TermsEntry, Origin]]:
    for item in sorted(files("tutelage.schemas").joinpath("terms").iterdir(), key=lambda item: item.name):
        if item.name.endswith(".yaml"):
            origin = Origin(f"tutelage/schemas/terms/{item.name}", shipped=True)
            for entry in parse_entries(item.read_text(encoding="utf-8"), origin.file):
                yield entry, origin


def _in_folder(folder: Path) -> Iterator[tuple[TermsEntry, Origin]]:
    if not folder.is_dir():
        raise ConfigError(f"the terms register {folder} is not a folder; name the one that `tutelage terms add` made")
    for path in sorted(folder.glob("*.yaml")):
        for entry in parse_entries(path.read_text(encoding="utf-8"), str(path)):
            yield entry, Origin(str(path))
