"""What `audit who-wrote` finds, the JSON of it, and the sentences that a terminal shows."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tutelage.audit.lineage.panel import named
from tutelage.audit.lineage.reliability import Measured, Reliability

CANNOT_TELL = (
    "Whether a single text's author is none of the panel's models: its probabilities are shared out among them alone.",
    "Whether a suspect is a model or one that was trained to write as it does: see `audit lineage`.",
    "Who wrote a text that was rewritten, translated or cut off after it was written.",
)


@dataclass(frozen=True, slots=True)
class TextGuess:
    """`model` is None where nobody is named; `probability` is the most probable model's, None for an empty text."""

    prompt_id: str
    model: str | None
    probability: float | None


@dataclass(frozen=True, slots=True)
class Authorship:
    """A suspect as a whole, and its texts.

    `nearest` is the model that its texts make most probable together, whether it can be named or not. `ahead` is the
    share of bootstrap draws, over clusters of prompts, in which no other model was more probable; `likeness` how alike
    the two's habits are (1: like a model and itself), and `outside_p` the share of panel models, with the suspect,
    that are as like another one when they and their clusters are left out of the panel: small, if one of them wrote it.
    `model` is named with `confidence`, the lesser of `ahead` and 1 - `outside_p`; a family alone likewise, with the
    share of draws in which one of its models was the most probable for `ahead`. Where no model is named, `reason`
    says why. `shares` are those of texts with any word, by their most probable model.
    """

    suspect: str
    model: str | None
    family: str | None
    confidence: float | None
    reason: str | None
    nearest: str | None
    ahead: float | None
    likeness: float | None
    outside_p: float | None
    texts: int
    abstained: int
    shares: Mapping[str, float]
    guesses: tuple[TextGuess, ...]


@dataclass(frozen=True, slots=True)
class WhoWroteResult:
    """`reason` says why nothing is named of anybody, if so; `reliability` is None where nothing was measured."""

    suspects: tuple[Authorship, ...]
    classes: tuple[str, ...]
    prompts: int
    reliability: Reliability | None
    reason: str | None
    cannot_tell: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    def sentences(self) -> list[str]:
        """What the texts support: of each suspect, then how often this panel's models are told apart rightly."""
        return [*map(_sentence, self.suspects), *_reliability_sentences(self)]


def _sentence(found: Authorship) -> str:
    who = named([found.suspect])
    if found.model is not None and found.confidence is not None:
        of = f" (of {named([found.family])})" if found.family else ""
        said = (
            f"{who} writes as {named([found.model])}{of} or another of its cluster does, among these models "
            f"(confidence {percent(found.confidence)})."
        )
    elif found.family is not None and found.confidence is not None:
        said = (
            f"{who} writes as a model of {named([found.family])} does, among these models (confidence "
            f"{percent(found.confidence)}): {found.reason}."
        )
    else:
        near = f" The nearest is {named([found.nearest])}." if found.nearest else ""
        said = f"Who wrote {who} can't be told: {found.reason}.{near}"
    if not found.texts:
        return said
    if found.abstained == found.texts:
        return f"{said} None of its {found.texts:,} texts can be told on its own."
    rest = "" if found.model else ", and the others' names hold only if a model of the panel wrote them"
    return f"{said} Of its {found.texts:,} texts, {found.abstained:,} can't be told on their own{rest}."


def _reliability_sentences(result: WhoWroteResult) -> Iterator[str]:
    found = result.reliability
    if found is None:
        yield "How often this panel's models are told apart rightly was not measured."
        return
    yield (
        f"Of {found.texts:,} texts of {found.classes:,} models of the panel, on prompts held out, "
        f"{_within(found.accuracy)} are told rightly, against {percent(found.chance)} by chance; stated probabilities "
        f"are off by {_within(found.calibration_error)} on average."
    )
    aim = f"Aiming at no more than {percent(found.stated_error)} wrong"
    if found.accuracy_named.value is None:
        yield f"{aim}, no text can be named on its own."
    else:
        yield f"{aim}, {_within(found.coverage)} of them are named, {_within(found.accuracy_named)} of those rightly."


def _within(found: Measured) -> str:
    if found.value is None:
        return "an unknown share"
    return f"{percent(found.value)} ({percent(found.low)} to {percent(found.high)})"


def percent(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f}".removesuffix(".0") + "%"
