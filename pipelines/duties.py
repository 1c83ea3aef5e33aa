"""What terms ask of whoever has a student that their rows taught, in the words of the entries that ask it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from tutelage.pipelines.curate_gate import CurateGate, Ruling
from tutelage.pipelines.parents import Parent
from tutelage.pipelines.sealed_rows import damage_named
from tutelage.schemas.errors import PolicyRefused
from tutelage.schemas.permit import Duty
from tutelage.schemas.terms_register import Register

NAME_PREFIX = "name_prefix"


def duties_of(parent: Parent, gate: CurateGate) -> tuple[Duty, ...]:
    """Every obligation of every row, once for each way in which it is worded.

    The words are those of the entries in force; of an obligation that only the rows' seal knows, those of the entries
    sealed with them.
    """
    sealed = list(_sealed_entries(parent))
    found: dict[tuple[str, str | None], list[_Asked]] = {}
    for ruling in gate.rulings.values():
        for obligation in ruling.decision.obligations:
            for asked in _asked(obligation, ruling, gate.register, sealed):
                found.setdefault((obligation, asked.detail), []).append(asked)
    return tuple(
        Duty(
            obligation,
            detail,
            teachers=tuple(sorted({asked.teacher for asked in group})),
            terms_ids=tuple(sorted({terms_id for asked in group for terms_id in asked.terms_ids})),
            urls=tuple(sorted({asked.url for asked in group if asked.url})),
        )
        for (obligation, detail), group in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    )


def require_name(name: str, duties: Iterable[Duty]) -> None:
    """Raises PolicyRefused, with a name that would do, where the student's does not begin as terms ask."""
    asking = [duty for duty in duties if duty.obligation == NAME_PREFIX]
    for duty in asking:
        if duty.detail is None:
            raise PolicyRefused(
                f"{_who(duty)} ask that the student's name begins in a certain way, and no entry of the terms "
                "register says how; add obligation_details.name_prefix to an entry of your own "
                "(policy.terms_register), or curate without these rows"
            )
    prefixes = {duty.detail: duty for duty in asking if duty.detail is not None}
    broken = [prefix for prefix in prefixes if not name.startswith(prefix)]
    if not broken:
        return
    longest = max(prefixes, key=len)
    if clash := [prefix for prefix in prefixes if not longest.startswith(prefix)]:
        raise PolicyRefused(
            f"no student's name can begin with {longest!r}, as {_who(prefixes[longest])} ask, and with {clash[0]!r}, "
            f"as {_who(prefixes[clash[0]])} ask; curate two sets, and train two students"
        )
    wanted = max(broken, key=len)
    raise PolicyRefused(
        f"student.name is {name!r}, and {_who(prefixes[wanted])} ask that it begins with {wanted!r}, in just these "
        f"letters; name it {_renamed(name, longest)!r}, or curate without these rows"
    )


def _renamed(name: str, prefix: str) -> str:
    if name.casefold().startswith(prefix.casefold()):
        return prefix + name[len(prefix) :]
    return f"{prefix}-{name}"


def _who(duty: Duty) -> str:
    return f"the terms of {', '.join(duty.teachers)} ({', '.join(duty.terms_ids)})"


class _Asked(NamedTuple):
    detail: str | None
    teacher: str
    terms_ids: tuple[str, ...]
    url: str | None


def _asked(obligation: str, ruling: Ruling, register: Register, sealed: Sequence[dict[str, Any]]) -> list[_Asked]:
    digests = {digest for _, digest in ruling.decision.entries}
    asking = [
        entry.model_dump(mode="json")
        for entry in register.entries
        if entry.sha256 in digests and obligation in entry.obligations
    ]
    stamped = ruling.stamp.terms_id.split(";")
    asking = asking or [entry for entry in sealed if entry["id"] in stamped and obligation in entry["obligations"]]
    teacher = ruling.stamp.teacher
    return [
        _Asked(entry["obligation_details"].get(obligation), teacher, (entry["id"],), entry["url"]) for entry in asking
    ] or [_Asked(None, teacher, tuple(stamped), None)]


def _sealed_entries(parent: Parent) -> Iterator[dict[str, Any]]:
    for name in parent.folder.list("terms/*.txt"):
        with damage_named(parent.folder.path(name)):
            yield orjson.loads(parent.folder.read(name))
