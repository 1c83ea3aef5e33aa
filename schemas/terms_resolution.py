"""May what this teacher says be used for training? Pure rules over the register; no I/O.

docs/decisions/0010-terms-resolution.md says why each rule is as it is.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.terms_entry import TRAIN_USES, Obligation, TermsEntry, TrainUse
from tutelage.schemas.terms_hosts import host_of, is_private
from tutelage.schemas.terms_register import Register

OBLIGATIONS: tuple[Obligation, ...] = get_args(Obligation)
Signed = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Policy(BaseModel):
    """What the user says of the student to come; the defaults are the answers that permit least."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distributed: bool = True
    competes_with_teacher: bool = True


class Override(BaseModel):
    """A signed exception for one teacher's name or one terms id; it holds through the day it expires."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approver: Signed
    reason: Signed
    scope: Signed
    expires: date


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherFacts:
    """What a config claims of a teacher; base_url None where nothing is to be called."""

    name: str
    model: str
    channel: str
    revision: str | None = None
    base_url: str | None = None
    terms_ids: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()


class SealedUse(NamedTuple):
    """What rows were sealed with. It binds where it is stricter than what the register says today."""

    train_use: str
    obligations: tuple[str, ...]


class TermsDecision(BaseModel):
    """The gate's answer for one teacher. `train_use` stays what the terms say even where an override permits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str
    train_use: TrainUse
    obligations: tuple[Obligation, ...]
    permitted: bool
    entries: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]
    override: Override | None = None
    declaration: bool


class _Obstacle(NamedTuple):
    """One thing that refuses, and the terms id that an override could name to lift it, if it comes from one entry."""

    text: str
    terms_id: str = ""
    train_use: TrainUse = "unknown"


class _Gathered(NamedTuple):
    entries: list[TermsEntry]
    obstacles: list[_Obstacle]
    contradictions: list[str]


def decide(
    register: Register,
    teacher: TeacherFacts,
    prompt_licenses: Collection[str],
    policy: Policy,
    overrides: Sequence[Override],
    today: date,
    sealed: SealedUse | None = None,
) -> TermsDecision:
    """The most restrictive of everything that applies; raises ConfigError where the config contradicts the register.

    `sealed` is for rows that exist: what the terms said when they were asked for, whatever the terms say now.
    """
    in_force = register.in_force(today)
    entries, missing, contradictions = _gather(in_force, teacher, prompt_licenses)
    contradictions += [*_clashes_among(entries, policy), *_ambiguous_scopes(in_force, teacher, overrides)]
    if contradictions:
        raise ConfigError("\n- ".join([f"teacher {teacher.name!r} contradicts the terms register:", *contradictions]))
    said = [_said(entry) for entry in entries]
    uses = [*(claim.train_use for claim in said), *(obstacle.train_use for obstacle in missing)]
    if sealed is not None:
        unknown = list(_unknown_words(sealed))
        said = [*said, _sealed_claim(sealed, said, uses)]
        uses = [*uses, said[-1].train_use, *(obstacle.train_use for obstacle in unknown)]
        missing = [*missing, *unknown]
    obstacles = sorted({*missing, *(obstacle for claim in said for obstacle in _refusals(claim, policy))})
    override = next((o for o in overrides if not _shortfall(o, obstacles, teacher, today)), None) if obstacles else None
    refused = bool(obstacles) and override is None
    return TermsDecision(
        teacher=teacher.name,
        train_use=most_restrictive(uses),
        obligations=tuple(sorted({obligation for claim in said for obligation in claim.obligations})),
        permitted=not refused,
        entries=tuple((entry.id, entry.sha256) for entry in entries),
        reasons=(
            *(_entry_line(register, entry) for entry in entries),
            *(f"{'refused' if refused else 'overridden'}: {obstacle.text}" for obstacle in obstacles),
            *(_override_line(o, _shortfall(o, obstacles, teacher, today)) for o in (overrides if refused else [])),
            *([_override_line(override, "")] if override else []),
        ),
        override=override,
        declaration=any(entry.kind == "declaration" for entry in entries),
    )


def most_restrictive(uses: Iterable[TrainUse]) -> TrainUse:
    return max(uses, key=TRAIN_USES.index)


def _gather(register: Register, teacher: TeacherFacts, prompt_licenses: Collection[str]) -> _Gathered:
    host = None if teacher.base_url is None else host_of(teacher.base_url)
    named, unlisted = _look_up(register, teacher.terms_ids, "terms")
    matched = register.find(teacher.model, teacher.revision, teacher.channel, host)
    own = [*named, *matched]
    base_ids = [*teacher.base_models, *(base for entry in own for base in entry.base_terms)]
    bases, unlisted_bases = _bases(register, base_ids)
    prompts, unlisted_prompts = _prompts(register, prompt_licenses)
    entries = {entry.key: entry for entry in [*own, *bases, *prompts]}
    return _Gathered(
        entries=[entries[key] for key in sorted(entries)],
        obstacles=[*unlisted, *unlisted_bases, *unlisted_prompts, *_gaps(teacher, host, own)],
        contradictions=[*_uncovered(named, teacher), *_foreign_host(matched, teacher, host)],
    )


def _look_up(register: Register, ids: Iterable[str], what: str) -> tuple[list[TermsEntry], list[_Obstacle]]:
    found = {terms_id: register.get(terms_id) for terms_id in ids}
    return [entry for entry in found.values() if entry is not None], [
        _Obstacle(f"{what} {terms_id!r} is not in the register{register.nearest(terms_id)}", terms_id)
        for terms_id, entry in found.items()
        if entry is None
    ]


def _bases(register: Register, ids: Iterable[str]) -> tuple[list[TermsEntry], list[_Obstacle]]:
    """The base models' entries, and their own bases' down to the first model."""
    entries: dict[tuple[str, str], TermsEntry] = {}
    obstacles = []
    ids = list(ids)
    while ids:
        found, unlisted = _look_up(register, ids, "base model terms")
        obstacles += unlisted
        fresh = [entry for entry in found if entry.key not in entries]
        entries |= {entry.key: entry for entry in fresh}
        ids = [base for entry in fresh for base in entry.base_terms]
    return list(entries.values()), obstacles


def _prompts(register: Register, licenses: Iterable[str]) -> tuple[list[TermsEntry], list[_Obstacle]]:
    found = {license_id: register.prompt_license(license_id) for license_id in licenses}
    return [entry for entry in found.values() if entry is not None], [
        _Obstacle(
            f"{license_id!r} is no prompt licence in the register{register.nearest(license_id)}; "
            "for prompts of your own write own-prompts",
            license_id,
        )
        for license_id, entry in found.items()
        if entry is None
    ]


def _gaps(teacher: TeacherFacts, host: str | None, own: list[TermsEntry]) -> Iterator[_Obstacle]:
    """What no entry answers for: the channel, the model's licence, the machine."""
    family = teacher.channel.partition(":")[0]
    licences = [entry for entry in own if entry.kind in ("model", "declaration")]
    if family != "weights" and not any(entry.kind in ("channel", "host") for entry in own):
        yield _Obstacle(f"no entry covers the channel {teacher.channel!r}; unlisted is refused")
    if family in ("weights", "host") and not licences:
        yield _Obstacle(
            f"no entry covers the model {teacher.model!r} over {teacher.channel!r}; "
            "name its licence in terms (weights-apache-2.0, weights-mit, own-model) or add an entry"
        )
    declared = family == "weights" and any(entry.kind == "declaration" for entry in own)
    if host is not None and not is_private(host) and not declared and not any(entry.covers_host(host) for entry in own):
        yield _Obstacle(
            f"no entry says whose machine {host!r} is; add an entry of kind channel that lists it under hosts "
            f"and {teacher.channel!r} under channels"
        )


def _uncovered(named: Iterable[TermsEntry], teacher: TeacherFacts) -> Iterator[str]:
    for entry in named:
        if not entry.covers_channel(teacher.channel):
            yield (
                f"terms {entry.id!r} covers the channels {', '.join(entry.channels)}; "
                f"the config says {teacher.channel!r}: correct one of the two"
            )
        elif not entry.covers_model(teacher.model, teacher.revision):
            yield (
                f"terms {entry.id!r} covers {', '.join(entry.models)} (revision {', '.join(entry.revisions)}); "
                f"the config says {teacher.model!r} (revision {teacher.revision}): name that model's terms"
            )


def _foreign_host(matched: Iterable[TermsEntry], teacher: TeacherFacts, host: str | None) -> Iterator[str]:
    """Where the register knows whose machine it is, the config can't call it another's.

    One of the host's entries has to cover the channel (a gateway may serve several); for weights all have to, since
    what answers where somebody else's service answers is not known to be the user's copy.
    """
    served = [entry for entry in matched if host is not None and entry.covers_host(host)]
    fits = all if teacher.channel.startswith("weights:") else any
    if served and not fits(entry.covers_channel(teacher.channel) for entry in served):
        owners = ", ".join(f"{entry.id} ({', '.join(entry.channels)})" for entry in served)
        yield f"base_url is on {host}, the host of {owners}; the config says {teacher.channel!r}: correct one of them"


def _clashes_among(entries: Sequence[TermsEntry], policy: Policy) -> Iterator[str]:
    """Share-alike forbids adding conditions, so that its result can't also be for noncommercial use only."""
    if not policy.distributed:
        return
    closed = [entry.id for entry in entries if "noncommercial" in entry.obligations]
    free = [e.id for e in entries if "share_alike" in e.obligations and "noncommercial" not in e.obligations]
    if closed and free:
        yield (
            f"{', '.join(free)} wants the result shared without further conditions, {', '.join(closed)} only for "
            "noncommercial use; harvest them as two jobs, or set policy.distributed to false"
        )


def _ambiguous_scopes(register: Register, teacher: TeacherFacts, overrides: Iterable[Override]) -> Iterator[str]:
    if any(override.scope == teacher.name for override in overrides) and register.get(teacher.name) is not None:
        yield (
            f"the override's scope {teacher.name!r} is this teacher's name and a terms id, "
            "which would carry it over to every teacher under those terms; rename the teacher"
        )


class _Claim(NamedTuple):
    """What one entry, or the rows' seal, says of training. `terms_id` is what an override could name to lift it."""

    name: str
    terms_id: str
    train_use: TrainUse
    obligations: tuple[Obligation, ...]
    exceptions: tuple[str, ...] = ()


def _said(entry: TermsEntry) -> _Claim:
    use: TrainUse = "deny_competing" if entry.train_use == "intersect" else entry.train_use
    return _Claim(entry.id, entry.id, use, entry.obligations, entry.competes_exceptions)


def _sealed_claim(sealed: SealedUse, said: Sequence[_Claim], uses: Sequence[TrainUse]) -> _Claim:
    """What the seal says beyond the entries; of that, only an override for the teacher's name lifts anything. Where the
    entries say as much, an override that lifts them is enough."""
    use: TrainUse = next((known for known in TRAIN_USES if known == sealed.train_use), "unknown")
    today = {obligation for claim in said for obligation in claim.obligations}
    beyond = tuple(known for known in OBLIGATIONS if known in sealed.obligations and known not in today)
    if uses and TRAIN_USES.index(use) <= TRAIN_USES.index(most_restrictive(uses)):
        use = "allow_with" if beyond else "allow"
    return _Claim("what the rows were sealed with", "", use, beyond)


def _unknown_words(sealed: SealedUse) -> Iterator[_Obstacle]:
    for word in (sealed.train_use, *sealed.obligations):
        if word not in TRAIN_USES and word not in OBLIGATIONS:
            yield _Obstacle(f"the rows were sealed with {word!r}, which this version of tutelage does not know")


def _refusals(claim: _Claim, policy: Policy) -> Iterator[_Obstacle]:
    name, terms_id, use = claim.name, claim.terms_id, claim.train_use
    if use == "deny":
        yield _Obstacle(f"{name} forbids training on it", terms_id, use)
    if use == "unknown":
        yield _Obstacle(f"what {name} says of training is unknown, and unknown is refused", terms_id, use)
    if use == "deny_competing" and policy.competes_with_teacher:
        exceptions = f" (excepted: {'; '.join(claim.exceptions)})" if claim.exceptions else ""
        yield _Obstacle(
            f"{name} forbids competing models{exceptions}, and policy.competes_with_teacher is true", terms_id, use
        )
    for obligation in ("internal_only", "no_redistribution"):
        if obligation in claim.obligations and policy.distributed:
            yield _Obstacle(f"{name} asks for {obligation}, and policy.distributed is true", terms_id, use)
    if "noncommercial" in claim.obligations and policy.distributed and policy.competes_with_teacher:
        yield _Obstacle(
            f"{name} asks for noncommercial, and a student that is distributed and competes with its teacher "
            "is taken for commercial",
            terms_id,
            use,
        )


def _shortfall(override: Override, obstacles: Sequence[_Obstacle], teacher: TeacherFacts, today: date) -> str:
    """Why this override does not permit, empty where it does: one signature has to lift everything that refuses."""
    if override.expires < today:
        return f"it expired on {override.expires} and today is {today}"
    if override.scope == teacher.name or all(
        override.scope.casefold() == obstacle.terms_id.casefold() for obstacle in obstacles
    ):
        return ""
    return f"it does not reach all of this; the scope {teacher.name!r} would"


def _entry_line(register: Register, entry: TermsEntry) -> str:
    obligations = f" ({', '.join(entry.obligations)})" if entry.obligations else ""
    shipped = register.replaced_by(entry)
    instead = (
        f" [{register.origins[entry.key].file}, in place of the shipped version {shipped.version}: {shipped.train_use}]"
        if shipped
        else ""
    )
    return f"{entry.id} {entry.version}: {entry.train_use}{obligations}. {entry.reason}{instead}"


def _override_line(override: Override, shortfall: str) -> str:
    signed = f"override by {override.approver} for {override.scope!r} until {override.expires} ({override.reason})"
    return f"{signed} does not help: {shortfall}" if shortfall else f"{signed} applies"
