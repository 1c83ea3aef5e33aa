"""What `audit lineage` finds, and the JSON of it. The modules that compute it and the page that shows it meet here."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Verdict = Literal[
    "consistent-with-training-on-outputs",
    "same-model-or-variant",
    "same-maker-style",
    "not-distinguishable",
    "underpowered",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
PValueKind = Literal["rank", "parametric-tail", "none"]
"""`rank`: among controls. `parametric-tail`: too few controls for a rank that small, so Student's t through them."""


@dataclass(frozen=True, slots=True)
class FamilyScore:
    """A suspect against one family. None stands where there was nothing to compute it from.

    `score` is in standard deviations of the controls; `signals` are its parts, on the same scale. `p_adjusted` is
    Holm's within the suspect, then Benjamini and Hochberg's across suspects. The contrast is this family's score less
    the best other family's, with a simultaneous 95 % interval from a bootstrap over clusters of prompts.
    """

    family: str
    score: float | None
    p_value: float | None
    p_adjusted: float | None
    contrast_low: float | None
    contrast_high: float | None
    p_kind: PValueKind
    signals: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SelfIdentification:
    """A channel of its own: it is shown, and never part of a score. `labels` counts the makers it names, by prompt."""

    prompts: int
    labels: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TellingPrompt:
    """One prompt on which suspect and teacher are much more alike than others are on it.

    `surprise` is in nats: how rare what they share is among the controls on that prompt.
    """

    prompt_id: str
    prompt: str
    teacher: str
    suspect_response: str
    teacher_response: str
    surprise: float
    shared_phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Power:
    """What this panel could have seen. `dose` is a share of a known student's likeness: 1 is a typical known student.

    `detectable_score` is the score that the decision needs; `smallest_dose` the dose that reaches it in 4 of 5 cases,
    or None where no dose would. `prompts_needed` and `controls_needed` are for a typical known student.
    """

    detectable_score: float | None
    smallest_dose: float | None
    prompts: int
    prompts_needed: int | None
    controls: int
    controls_needed: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class SuspectResult:
    """`indistinguishable` holds families that can't be told apart from the best one, itself included."""

    model: str
    families: tuple[FamilyScore, ...]
    verdict: Verdict
    attributed_family: str | None
    indistinguishable: tuple[str, ...]
    nearest_model: str | None
    same_model_score: float | None
    power: Power
    reasons: tuple[str, ...]
    self_identification: SelfIdentification
    telling_prompts: tuple[TellingPrompt, ...] = ()


@dataclass(frozen=True, slots=True)
class PanelScore:
    """A panel model against one family, with its own cluster left out: a dot of the report's picture."""

    model: str
    family: str
    kind: Literal["control", "student", "placebo"]
    score: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Error rates as this panel measured them. None where it could not.

    `false_positive_rate`: share of (control, family) pairs rejected at `nominal`, each with its cluster left out.
    `placebo_rate`: share of rejections among teachers that can't have taught (released later, or held impossible).
    `uniformity_p`: Kolmogorov-Smirnov's, of the controls' p-values against the uniform distribution.
    """

    false_positive_rate: float | None
    placebo_rate: float | None
    placebo_pairs: int
    controls: int
    control_clusters: int
    nominal: float
    uniformity_p: float | None
    withheld: bool
    weights: Mapping[str, float]
    weights_from: str
    panel_scores: tuple[PanelScore, ...]


@dataclass(frozen=True, slots=True)
class LineageResult:
    """`notes` say what was left out of the input; `cannot_tell` what no figure here can settle."""

    suspects: tuple[SuspectResult, ...]
    calibration: Calibration
    cannot_tell: tuple[str, ...]
    notes: tuple[str, ...]
    prompts: int
    models: int

    def to_json(self) -> dict[str, Any]:
        """The same as JSON; what is only for the page (dots, texts) stays out."""
        content = asdict(self)
        content["calibration"].pop("panel_scores")
        for suspect in content["suspects"]:
            suspect.pop("telling_prompts")
        found: dict[str, Any] = json.loads(json.dumps(content))
        return found
