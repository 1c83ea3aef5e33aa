"""What `audit lineage` might find, made up: suspects of each verdict, a panel of dots, texts that attack the page."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from typing import Any

from report_scene import ATTACKS

from tutelage.audit.lineage.report import lineage_page
from tutelage.audit.lineage.result import (
    VERDICTS,
    Calibration,
    FamilyScore,
    LineageResult,
    PanelScore,
    Power,
    SelfIdentification,
    SuspectResult,
    TellingPrompt,
    Verdict,
)

FAMILIES = ("aurora", "borealis", "cirrus", "dune", "ember", "fjord")
SIGNALS = ("opening", "ending", "templates", "lexical", "phrases", "layout", "classifier", "embedding", "of-our-own")
SHARED = "Sure! Here is a short list of the things that the moon does to the sea every single day"


def result_of(
    suspects: Sequence[SuspectResult] = (), *, controls: int = 40, students: int = 9, **calibration: Any
) -> LineageResult:
    """A result with these suspects and a panel of so many controls and known students for each family."""
    return LineageResult(
        suspects=tuple(suspects),
        calibration=calibration_of(controls=controls, students=students, **calibration),
        cannot_tell=(
            "Whether a teacher's text reached the suspect through pages that quote it.",
            "Whether a family that is not in this panel taught it.",
        ),
        notes=("12 prompts of 817 were left out: not all models answered them.",),
        prompts=805,
        models=121,
    )


def calibration_of(*, controls: int = 40, students: int = 9, **changed: Any) -> Calibration:
    made = random.Random(4)
    dots = []
    for family in FAMILIES:
        dots += [PanelScore(f"control-{n}", family, "control", made.gauss(0, 1)) for n in range(controls)]
        dots += [PanelScore(f"{family}-student-{n}", family, "student", made.gauss(6, 2)) for n in range(students)]
        dots += [PanelScore(f"{family}-elder-{n}", family, "placebo", made.gauss(0.3, 1)) for n in range(controls // 4)]
    calibration = Calibration(
        false_positive_rate=0.04,
        placebo_rate=0.067,
        placebo_pairs=60,
        controls=controls,
        control_clusters=31,
        nominal=0.05,
        uniformity_p=0.43,
        withheld=False,
        weights={name: 1 / (place + 2) for place, name in enumerate(SIGNALS)},
        weights_from="known students, one cluster left out in turn",
        panel_scores=tuple(dots),
    )
    return replace(calibration, **changed)


def suspect_of(
    model: str = "nimbus-7b", verdict: Verdict = "consistent-with-training-on-outputs", seed: int = 1, **changed: Any
) -> SuspectResult:
    """A suspect that is most like `aurora`, as far as its verdict allows."""
    made = random.Random(seed)
    top = {"consistent-with-training-on-outputs": 5.2, "same-model-or-variant": 31.0, "same-maker-style": 2.9}
    scores = [top.get(verdict, 1.1), *(made.gauss(0, 1) for _ in FAMILIES[1:])]
    families = tuple(
        FamilyScore(
            family=family,
            score=score,
            p_value=2.3e-6 if score > 4 else max(1, 20 - 9 * score) / 41,
            p_adjusted=1.4e-5 if score > 4 else min(1.0, 6 * max(1, 20 - 9 * score) / 41),
            contrast_low=score - 2.1 if place == 0 else score - top.get(verdict, 1.1) - 1,
            contrast_high=score + 1.2 if place == 0 else score - top.get(verdict, 1.1) + 1,
            p_kind="parametric-tail" if score > 4 else "rank",
            signals={name: score * made.uniform(-0.2, 1.4) for name in SIGNALS},
        )
        for place, (family, score) in enumerate(zip(FAMILIES, scores, strict=True))
    )
    suspect = SuspectResult(
        model=model,
        families=families,
        verdict=verdict,
        attributed_family="aurora" if verdict in VERDICTS[:3] else None,
        indistinguishable=("aurora",),
        nearest_model="aurora-large",
        same_model_score=1.34,
        power=Power(
            detectable_score=3.1,
            smallest_dose=0.31,
            prompts=805,
            prompts_needed=240,
            controls=40,
            controls_needed=19,
            sentence="With 805 prompts and 40 controls, a dose of 0.31 is seen in 4 of 5 cases.",
        ),
        reasons=("aurora is ahead of every other family on all bootstrap draws.", "Its p-value is the tail's."),
        self_identification=SelfIdentification(805, {"OpenCloud": 14, "Aurora Labs": 3}),
        telling_prompts=tuple(telling_of(number, 9.8 - number) for number in range(5)),
    )
    return replace(suspect, **changed)


def telling_of(number: int, surprise: float, *, words: int = 260) -> TellingPrompt:
    filler = [f"bay{number}word{place}" for place in range(words)]
    return TellingPrompt(
        prompt_id=f"tides-{number:03}",
        prompt=f"What does the moon do to the sea of bay {number}? Explain it to a child.",
        teacher="aurora-large",
        suspect_response=f"{SHARED}, in bay {number}. {' '.join(filler)}",
        teacher_response=f"{' '.join(reversed(filler))}. {SHARED}.",
        surprise=surprise,
        shared_phrases=("a short list of the things", "does to the sea every single day"),
    )


def suspects_of_each_verdict() -> list[SuspectResult]:
    """One with each verdict, and one of which nothing is known."""
    found = [suspect_of(f"suspect-{place}-{verdict}", verdict, place) for place, verdict in enumerate(VERDICTS)]
    first, second, *others = suspect_of("two-families").families
    alike = suspect_of(
        "two-families",
        families=(first, replace(first, family=second.family), *others),
        attributed_family=None,
        indistinguishable=(first.family, second.family),
    )
    return [*found, alike, nothing_known()]


def nothing_known(model: str = "silent") -> SuspectResult:
    """A suspect with None wherever None is allowed."""
    return SuspectResult(
        model=model,
        families=tuple(FamilyScore(family, None, None, None, None, None, "none", {}) for family in FAMILIES[:2]),
        verdict="underpowered",
        attributed_family=None,
        indistinguishable=(),
        nearest_model=None,
        same_model_score=None,
        power=Power(None, None, 0, None, 0, None, ""),
        reasons=(),
        self_identification=SelfIdentification(0, {}),
    )


def nothing_measured() -> Calibration:
    """A panel without controls and known students."""
    return Calibration(None, None, 0, 0, 0, 0.05, None, False, {}, "", ())


def hostile(attack: str) -> LineageResult:
    """A result in which every text is the attack."""
    family = FamilyScore(attack, 4.2, 0.01, 0.02, 0.3, 1.9, "rank", {attack: 1.0, "opening": -0.5})
    telling = TellingPrompt(attack, attack, attack, f"{attack} {SHARED}", f"{SHARED} {attack}", 5.0, (attack,))
    suspect = suspect_of(
        attack,
        families=(family,),
        attributed_family=attack,
        indistinguishable=(attack,),
        nearest_model=attack,
        power=Power(3.0, 0.2, 10, 5, 10, 5, attack),
        reasons=(attack,),
        self_identification=SelfIdentification(10, {attack: 3}),
        telling_prompts=(telling,),
    )
    # A second one, so that the table of suspects and a set of families are attacked as well.
    other = replace(suspect, attributed_family=None, indistinguishable=(attack, attack))
    dots = tuple(PanelScore(attack, attack, kind, 0.5) for kind in ("control", "student", "placebo"))
    calibration = calibration_of(weights={attack: 1.0}, weights_from=attack, panel_scores=dots)
    return LineageResult((suspect, other), calibration, (attack,), (attack,), 10, 3)


HOSTILE = "\n".join(ATTACKS.values())


def page_of(result: LineageResult) -> str:
    return lineage_page(result, "outputs.parquet", "panel.csv").decode()


def text_of(page: str) -> str:
    """What stands on the page, without markup, style and script."""
    body = page[page.index("<body>") : page.index('<script type="application/json"')]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).replace("\u00a0", " ").split())
