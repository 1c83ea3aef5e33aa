"""The terms gate of a curation: decides again, today, of what was harvested under the terms of its day."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.pipelines.parents import Parent
from tutelage.schemas.errors import ConfigError, PolicyRefused
from tutelage.schemas.manifest import SealedTerms
from tutelage.schemas.receipt import TeacherTerms
from tutelage.schemas.terms_entry import PROMPTS_CHANNEL
from tutelage.schemas.terms_policy import TermsPolicy
from tutelage.schemas.terms_register import Register
from tutelage.schemas.terms_resolution import SealedUse, TeacherFacts, TermsDecision, decide, most_restrictive

BATCH_ROWS = 65_536
_APART = "\x1f"


class Stamp(NamedTuple):
    """All of a row that its terms follow from, beside its parent's run record."""

    run_id: str
    teacher: str
    model_requested: str
    revision: str | None
    channel: str
    prompt_license: str
    terms_id: str
    train_use: str
    obligations: tuple[str, ...]


class Ruling(NamedTuple):
    """The decision on the rows of one stamp in one parent."""

    parent: int
    stamp: Stamp
    decision: TermsDecision
    rows: int

    @property
    def refusal(self) -> str:
        """Why not: what refuses, and which signature falls short; not what every entry says. Empty where permitted."""
        marks = () if self.decision.permitted else ("refused: ", "override by ")
        return "; ".join(reason for reason in self.decision.reasons if reason.startswith(marks))


class CurateGate(NamedTuple):
    """Rulings by parent and stamp; rows of teachers that the policy leaves out have none. `teachers` names all."""

    rulings: dict[tuple[int, Stamp], Ruling]
    teachers: tuple[str, ...]
    register: Register

    def require(self, named: Sequence[str] | None) -> None:
        """Raises PolicyRefused where a teacher that the policy names has no row that may be used, or nobody has."""
        by_teacher: dict[str, list[Ruling]] = {}
        for ruling in self.rulings.values():
            by_teacher.setdefault(ruling.stamp.teacher, []).append(ruling)
        closed = {
            teacher: rulings
            for teacher, rulings in sorted(by_teacher.items())
            if not any(ruling.decision.permitted for ruling in rulings)
        }
        if not closed or (named is None and len(closed) < len(by_teacher)):
            return
        lines = []
        for teacher, rulings in closed.items():
            use = most_restrictive(ruling.decision.train_use for ruling in rulings)
            reasons = sorted({ruling.refusal for ruling in rulings})
            lines.append(f"teacher {teacher}: {use}: {'; '.join(reasons)} ({sum(r.rows for r in rulings):,} rows)")
        advice = (
            "nothing was written. Choose teachers whose terms allow training (policy.teachers), say what the student "
            "is for (policy.terms), or have an override signed off (policy.terms.overrides: approver, reason, scope, "
            "expires); `tutelage terms show ID` says what an entry rests on"
        )
        raise PolicyRefused("\n".join([*lines, advice]))

    def sealed(self, rows: Mapping[tuple[int, Stamp], int], parents: Sequence[Parent]) -> "SealedGate":
        """What the curated set seals, of the rulings that its rows rest on."""
        used = [self.rulings[key] for key in sorted(rows, key=_order) if rows[key]]
        groups: dict[tuple[str, str], list[Ruling]] = {}
        for ruling in used:
            override = ruling.decision.override
            groups.setdefault((ruling.stamp.teacher, override.model_dump_json() if override else ""), []).append(ruling)
        counts = [sum(rows[ruling.parent, ruling.stamp] for ruling in group) for group in groups.values()]
        terms = tuple(_merged(group) for group in groups.values())
        digests = {digest for item in terms for digest in item.entries.values()}
        return SealedGate(
            terms=terms,
            teachers=tuple(_receipt(item, count) for item, count in zip(terms, counts, strict=True)),
            # What the rows were harvested under is told from what holds today by its digest.
            texts=dict(_texts_of_parents(parents, {item.teacher for item in terms}))
            | {digest: self.register.sealed_text(digest) for digest in sorted(digests)},
        )


class SealedGate(NamedTuple):
    terms: tuple[SealedTerms, ...]
    teachers: tuple[TeacherTerms, ...]
    texts: dict[str, bytes]


def open_curate_gate(
    parents: Sequence[Parent], teachers: Sequence[str] | None, terms: TermsPolicy, today: date
) -> CurateGate:
    """Decides for every stamp of the parents' rows, of the teachers that the policy lets pass."""
    register = Register.load([Path(terms.terms_register)] if terms.terms_register else [])
    rulings = {}
    names: set[str] = set()
    for place, parent in enumerate(parents):
        for stamp, rows in sorted(count_stamps(parent).items(), key=lambda item: _order((place, item[0]))):
            names.add(stamp.teacher)
            if teachers is None or stamp.teacher in teachers:
                decision = _decide(parent, stamp, register, terms, today)
                rulings[place, stamp] = Ruling(place, stamp, decision, rows)
    return CurateGate(rulings, tuple(sorted(names)), register)


def count_stamps(parent: Parent) -> Counter[Stamp]:
    counts = Counter[Stamp]()
    for batch in parent.batches(Stamp._fields, BATCH_ROWS):
        stamps, codes = stamps_of(batch)
        counts.update(dict(zip(stamps, np.bincount(codes, minlength=len(stamps)).tolist(), strict=True)))
    return counts


def stamps_of(batch: pa.RecordBatch) -> tuple[list[Stamp], npt.NDArray[np.int64]]:
    """The different stamps of a batch, and which of them each row has."""
    columns = [batch[name] for name in Stamp._fields]
    flat = [pc.binary_join(column, "\n") if pa.types.is_list(column.type) else column for column in columns]
    keys = pc.binary_join_element_wise(*flat, _APART, null_handling="replace", null_replacement="\x00")
    codes = keys.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    _, firsts = np.unique(codes, return_index=True)
    found = pa.table(columns, names=list(Stamp._fields)).take(pa.array(firsts))
    return [Stamp(**{**row, "obligations": tuple(row["obligations"])}) for row in found.to_pylist()], codes


def _decide(parent: Parent, stamp: Stamp, register: Register, terms: TermsPolicy, today: date) -> TermsDecision:
    sealed = SealedUse(stamp.train_use, stamp.obligations)
    facts = _facts(parent, stamp, register.in_force(today))
    try:
        return decide(register, facts, [stamp.prompt_license], terms.student, terms.overrides, today, sealed)
    except ConfigError as error:
        raise ConfigError(f"{parent.name}: {error}\nor leave the teacher out (policy.teachers)") from error


def _facts(parent: Parent, stamp: Stamp, register: Register) -> TeacherFacts:
    """What the run that asked claimed of the teacher; without its record, what the row's own stamp names."""
    record = _asked(parent, stamp)
    return TeacherFacts(
        name=stamp.teacher,
        model=stamp.model_requested,
        channel=stamp.channel,
        revision=stamp.revision,
        base_url=record["base_url"] if record else None,
        **({name: tuple(record[key]) for name, key in _CLAIMS.items()} if record else _named(stamp, register)),
    )


_CLAIMS = {"terms_ids": "terms", "base_models": "base_models"}


def _asked(parent: Parent, stamp: Stamp) -> dict[str, Any] | None:
    run = parent.runs.get(stamp.run_id)
    teachers = run["config"]["teachers"] if run else []
    return next((teacher for teacher in teachers if teacher["name"] == stamp.teacher), None)


def _named(stamp: Stamp, register: Register) -> dict[str, tuple[str, ...]]:
    """The stamp's terms ids, sorted into what the gate takes them for; none that could refuse is lost."""
    terms_ids, base_models = [], []
    for terms_id in filter(None, stamp.terms_id.split(";")):
        entry = register.get(terms_id)
        if entry is None or (
            entry.covers_channel(stamp.channel) and entry.covers_model(stamp.model_requested, stamp.revision)
        ):
            terms_ids.append(terms_id)
        elif not entry.covers_channel(PROMPTS_CHANNEL):
            base_models.append(terms_id)
    return {"terms_ids": tuple(terms_ids), "base_models": tuple(base_models)}


def _merged(rulings: Sequence[Ruling]) -> SealedTerms:
    """One decision for rulings of one teacher that rest on one override, or on none: the strictest of all."""
    decisions = [ruling.decision for ruling in rulings]
    override = decisions[0].override
    return SealedTerms(
        teacher=decisions[0].teacher,
        train_use=most_restrictive(decision.train_use for decision in decisions),
        obligations=tuple(sorted({duty for decision in decisions for duty in decision.obligations})),
        entries=dict(sorted({entry for decision in decisions for entry in decision.entries})),
        reasons=tuple(dict.fromkeys(reason for decision in decisions for reason in decision.reasons)),
        declared_by_user=any(decision.declaration for decision in decisions),
        override={key: str(value) for key, value in override.model_dump(mode="json").items()} if override else None,
    )


def _receipt(terms: SealedTerms, rows: int) -> TeacherTerms:
    return TeacherTerms(
        teacher=terms.teacher,
        rows=rows,
        permitted=True,
        train_use=terms.train_use,
        obligations=terms.obligations,
        declared_by_user=terms.declared_by_user,
        override=terms.override,
    )


def _texts_of_parents(parents: Sequence[Parent], teachers: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    wanted = set(teachers)
    for parent in parents:
        for terms in parent.manifest.terms:
            for digest in sorted(terms.entries.values()) if terms.teacher in wanted else ():
                yield digest, parent.folder.read(f"terms/{digest}.txt")


def _order(key: tuple[int, Stamp]) -> tuple[Any, ...]:
    parent, stamp = key
    return parent, stamp._replace(revision=stamp.revision or "")
