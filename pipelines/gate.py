"""The terms gate of a harvest: decides before a call is made, and gives the rows their stamp."""

from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import NamedTuple

from tutelage.pipelines.config import HarvestConfig, Teacher
from tutelage.pipelines.job import TermsStamp
from tutelage.schemas.errors import PolicyRefused
from tutelage.schemas.manifest import SealedTerms
from tutelage.schemas.terms_register import Register
from tutelage.schemas.terms_resolution import TeacherFacts, TermsDecision, decide


class Gate(NamedTuple):
    """`decisions` hold for a teacher and all prompts together; `stamps` for a teacher and one prompt licence."""

    decisions: tuple[TermsDecision, ...]
    stamps: dict[str, dict[str, TermsStamp]]
    texts: dict[str, bytes]

    @property
    def refused(self) -> list[TermsDecision]:
        return [decision for decision in self.decisions if not decision.permitted]

    def require(self) -> None:
        """Raises PolicyRefused, with every reason, where a teacher may not be used for training."""
        if self.refused:
            refusals = [f"teacher {item.teacher}: {item.train_use}: {'; '.join(item.reasons)}" for item in self.refused]
            advice = (
                "no call was made. Choose a teacher whose terms allow training, or have an override signed off "
                "(overrides: approver, reason, scope, expires); `tutelage terms show ID` says what an entry rests on"
            )
            raise PolicyRefused("\n".join([*refusals, advice]))

    def sealed(self) -> tuple[SealedTerms, ...]:
        return tuple(
            SealedTerms(
                teacher=item.teacher,
                train_use=item.train_use,
                obligations=item.obligations,
                entries=dict(item.entries),
                reasons=item.reasons,
                declared_by_user=item.declaration,
                override=_signed(item),
            )
            for item in self.decisions
        )


def open_gate(config: HarvestConfig, licenses: Collection[str], today: date) -> Gate:
    """Resolves the terms of every teacher with every prompt licence of the plan."""
    register = Register.load([Path(config.terms_register)] if config.terms_register else [])
    every = sorted(licenses) or ["unknown"]

    def decided(teacher: Teacher, some: Collection[str]) -> TermsDecision:
        return decide(register, facts_of(teacher), some, config.policy, config.overrides, today)

    decisions = tuple(decided(teacher, every) for teacher in config.teachers)
    stamps = {
        teacher.name: {license_id: _stamp(decided(teacher, [license_id])) for license_id in every}
        for teacher in config.teachers
    }
    digests = {digest for decision in decisions for _, digest in decision.entries}
    return Gate(decisions, stamps, {digest: register.sealed_text(digest) for digest in digests})


def facts_of(teacher: Teacher) -> TeacherFacts:
    return TeacherFacts(
        name=teacher.name,
        model=teacher.model,
        channel=teacher.channel,
        revision=teacher.revision,
        base_url=teacher.base_url,
        terms_ids=teacher.terms,
        base_models=teacher.base_models,
    )


def _stamp(decision: TermsDecision) -> TermsStamp:
    return TermsStamp(";".join(entry_id for entry_id, _ in decision.entries), decision.train_use, decision.obligations)


def _signed(decision: TermsDecision) -> dict[str, str] | None:
    override = decision.override
    return {key: str(value) for key, value in override.model_dump(mode="json").items()} if override else None
