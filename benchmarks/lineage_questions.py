"""What the development data are asked, and a goal beside what was found, with its interval."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from lineage_data import (
    WEAK_CONTROLS,
    Development,
    Pair,
    capable_pairs,
    control_pairs,
    controls,
    students,
    taught_pairs,
)
from lineage_measures import Estimate, Scored, estimate
from lineage_methods import Method
from report import table

NOMINAL = 0.05
SFT, PREFERENCE = "sft-distilled", "preference-distilled"
LOW_LEFT_OUT, WEAK, CAPABLE = "low left out", "weak controls", "capable teachers"


class Question(NamedTuple):
    """Pairs that were taught, and pairs that were not as far as known, of the same families."""

    taught: tuple[Pair, ...]
    untaught: tuple[Pair, ...]

    def of_family(self, family: str) -> "Question":
        taught, untaught = (tuple(pair for pair in pairs if pair.family == family) for pairs in self)
        return Question(taught, untaught)

    def families(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(pair.family for pair in self.taught))


class Claim(NamedTuple):
    """`beside` says what a simpler method reaches, where that says something."""

    name: str
    found: Estimate
    limit: float
    at_least: bool
    beside: str = ""

    @property
    def is_met(self) -> bool:
        return self.found.found >= self.limit if self.at_least else self.found.found <= self.limit


def questions(data: Development) -> dict[str, Question]:
    sft = taught_pairs(data, students(data, SFT))
    sure = taught_pairs(data, students(data, SFT, low=False))
    preference = taught_pairs(data, students(data, PREFERENCE))
    weak = tuple(name for name in WEAK_CONTROLS if name in data.models)
    return {
        SFT: Question(sft, control_pairs(data, controls(data), _families(sft))),
        LOW_LEFT_OUT: Question(sure, control_pairs(data, controls(data, low=False), _families(sure))),
        PREFERENCE: Question(preference, control_pairs(data, controls(data), _families(preference))),
        WEAK: Question(sft, control_pairs(data, weak, _families(sft))),
        CAPABLE: Question(sft, capable_pairs(data, _families(sft))),
    }


def scored(data: Development, method: Method, pairs: Sequence[Pair]) -> Scored:
    return Scored(
        np.array([method.score(pair.model, pair.family) for pair in pairs], np.float64),
        tuple(data.models[pair.model].cluster for pair in pairs),
    )


def exactly(value: float) -> Estimate:
    """A figure that has no interval: it was measured once, or counted."""
    return estimate(value, np.empty(0))


def shown(found: Estimate) -> str:
    """`0.970 [0.940, 0.990]`, the interval only where there is one."""
    if np.isnan(found.found):
        return "-"
    return f"{found.found:.3f}" if np.isnan(found.low) else str(found)


def claims_table(claims: Sequence[Claim]) -> str:
    rows = [
        [
            claim.name,
            shown(claim.found),
            f"{'at least' if claim.at_least else 'at most'} {claim.limit:g}",
            "not measured" if np.isnan(claim.found.found) else "met" if claim.is_met else "MISSED",
            claim.beside,
        ]
        for claim in claims
    ]
    return table(["figure", "found [95 %]", "goal", "", "beside it"], rows)


def counts(data: Development, pairs: Sequence[Pair]) -> str:
    """`35 pairs of 26 models in 14 clusters`."""
    models = {pair.model for pair in pairs}
    return (
        f"{len(pairs)} pairs of {len(models)} models in {len({data.models[name].cluster for name in models})} clusters"
    )


def _families(pairs: Sequence[Pair]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pair.family for pair in pairs))
