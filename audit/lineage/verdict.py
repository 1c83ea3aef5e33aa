"""From figures to one of five verdicts: a table of cases, the first that applies.

| verdict | when |
| --- | --- |
| underpowered | too few prompts, or no p-value could be had |
| same-model-or-variant | nearer to one model than siblings are to each other |
| same-maker-style | beyond controls for its own maker's family, no nearer than that maker's models are to each other |
| consistent-with-training-on-outputs | beyond controls, matched ones too, and measured rates allow a verdict |
| underpowered | nothing beyond controls, and this panel would have missed most known students |
| not-distinguishable | nothing beyond controls; or that fails matched controls; or another family is nearer still |
"""

from collections.abc import Sequence
from typing import NamedTuple

from tutelage.audit.lineage.matches import Match
from tutelage.audit.lineage.result import Verdict


class Figures(NamedTuple):
    """What the cases look at.

    `leading` is the family with the smallest adjusted p, None where no p could be had; `most_alike` are families that
    can't be told apart, the most alike first, and `candidates` those of them that controls are beaten for.
    `students_seen` is the share of known students that reach what is needed.
    """

    prompts: int
    least_prompts: int
    leading: str | None
    p_adjusted: float | None
    nominal: float
    candidates: tuple[str, ...]
    most_alike: tuple[str, ...]
    nearest: str | None
    same_model: bool
    same_model_family: str | None
    own_maker: bool
    nearer_than_makers_models: bool
    matches: Sequence[Match]
    withheld: str | None
    students_seen: float | None


class Decision(NamedTuple):
    verdict: Verdict
    family: str | None
    reasons: tuple[str, ...]


def decide(figures: Figures) -> Decision:
    if figures.prompts < figures.least_prompts:
        return Decision(
            "underpowered",
            None,
            (f"It shares {figures.prompts} prompts with the panel; under {figures.least_prompts} decide nothing.",),
        )
    if figures.same_model:
        return Decision(
            "same-model-or-variant",
            figures.same_model_family,
            (f"It is nearer to {figures.nearest} than models of one cluster or family are to each other.",),
        )
    if figures.leading is None or figures.p_adjusted is None:
        return Decision(
            "underpowered", None, ("There is no p-value: there aren't enough controls, or it answered too little.",)
        )
    if figures.p_adjusted > figures.nominal:
        return _nothing_found(figures)
    assert not figures.candidates or figures.leading == figures.candidates[0], "said of one family, and named another"
    beyond = (
        f"It is more like {figures.leading} than controls are (p {figures.p_adjusted:.3g} after correction, at a "
        f"nominal {figures.nominal:.0%})."
    )
    if figures.own_maker and not figures.nearer_than_makers_models:
        return Decision(
            "same-maker-style",
            None,
            (
                beyond,
                f"{figures.leading} is its own maker's, and that maker's other models are as near to one another.",
            ),
        )
    if figures.withheld is not None:
        return Decision("underpowered", None, (beyond, figures.withheld))
    if not figures.candidates:
        return Decision(
            "not-distinguishable",
            None,
            (beyond, f"But it is more like {figures.most_alike[0]} still, and no more so than controls are."),
        )
    failed = [match.sentence for match in figures.matches if not match.holds]
    if failed:
        return Decision(
            "not-distinguishable",
            None,
            (beyond, *failed, "So capability, era or base model explain it as well as training on outputs would."),
        )
    held = tuple(match.sentence for match in figures.matches)
    if len(figures.most_alike) > 1:
        apart = f"Families that can't be told apart as its source: {', '.join(figures.most_alike)}."
        return Decision("consistent-with-training-on-outputs", None, (beyond, *held, apart))
    return Decision("consistent-with-training-on-outputs", figures.leading, (beyond, *held))


def _nothing_found(figures: Figures) -> Decision:
    nothing = (
        f"It is not more like any family than controls are (smallest p {figures.p_adjusted:.3g} after correction, "
        f"{figures.leading})."
    )
    if figures.students_seen is not None and figures.students_seen < 0.5:
        return Decision(
            "underpowered",
            None,
            (nothing, f"This panel sees only {figures.students_seen:.0%} of its known students at this level."),
        )
    return Decision("not-distinguishable", None, (nothing,))
