"""A user's own register folder: adding entries to it without hiding what is already known."""

from pathlib import Path
from typing import NamedTuple

import yaml

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.terms_entry import TermsEntry
from tutelage.schemas.terms_register import Origin, Register, parse_entries

DEFAULT_FOLDER = Path("tutelage-terms")


class Added(NamedTuple):
    entry: TermsEntry
    path: Path
    replaces: TermsEntry | None


def add_entries(file: Path, folder: Path, *, text: Path | None = None, supersede: bool = False) -> list[Added]:
    """Checks every entry of `file`, then writes each as a YAML of its own; nothing is written if one is refused.

    `text` is the terms' full text: it is kept beside the entry by its digest.
    """
    register = Register.load([folder] if folder.is_dir() else [])
    entries = parse_entries(_read(file).decode("utf-8", "replace"), str(file))
    held = None if text is None else _read(text)
    if held is not None:
        entries = [_with_text(entries, held, text)]
    additions = []
    for entry in entries:
        path = folder / f"{entry.id}-{entry.version}.yaml"
        replaces = register.get(entry.id)
        register = _extended(register, entry, path, supersede)
        additions.append(Added(entry, path, replaces))
    folder.mkdir(parents=True, exist_ok=True)
    if held is not None:
        texts = folder / "texts"
        texts.mkdir(exist_ok=True)
        (texts / f"{sha256_hex(held)}.txt").write_bytes(held)
    for entry, path, _ in additions:
        path.write_text(yaml.safe_dump([entry.model_dump(mode="json")], sort_keys=False, allow_unicode=True))
    return additions


def _extended(register: Register, entry: TermsEntry, path: Path, supersede: bool) -> Register:
    known = register.get(entry.id)
    pairs = [(other, register.origins[other.key]) for other in register.entries]
    wider = Register.of([*pairs, (entry, Origin(str(path)))])
    if unknown := [base for base in entry.base_terms if wider.get(base) is None]:
        raise ConfigError(f"terms {entry.id!r} rests on {unknown[0]!r}, which is not in the register; add that first")
    if known is None:
        return wider
    where = register.origins[known.key].file
    if not supersede:
        raise ConfigError(
            f"terms {known.id!r} version {known.version} ({known.train_use}) is already in {where}, and adding "
            f"version {entry.version} ({entry.train_use}) would hide it; give the entry an id of its own, or look at "
            "`tutelage terms diff` and pass --supersede"
        )
    if wider.get(entry.id) is not entry:
        raise ConfigError(
            f"terms {entry.id!r} version {entry.version} would not take the place of version {known.version} "
            f"in {where}, which is in effect later ({known.effective or known.seen}); correct `effective` or `seen`"
        )
    return wider


def _with_text(entries: list[TermsEntry], held: bytes, text: Path | None) -> TermsEntry:
    if len(entries) != 1:
        raise ConfigError(f"--text gives one text, and the file has {len(entries)} entries; add them one by one")
    digest = sha256_hex(held)
    if entries[0].text_sha256 not in (None, digest):
        raise ConfigError(
            f"{text} has the sha256 {digest}, and terms {entries[0].id!r} says {entries[0].text_sha256}; "
            "give the text that the entry was written from, or remove text_sha256"
        )
    return entries[0].model_copy(update={"text_sha256": digest})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} can't be read ({error.strerror}); name an existing file") from error
