"""How the lineage page says things: verdicts as sentences, what each signal looks at, numbers."""

from collections.abc import Sequence
from math import isfinite
from typing import TypeGuard

from tutelage.audit.charts import signed
from tutelage.audit.lineage.result import Calibration, SuspectResult, Verdict
from tutelage.audit.markup import Html, cut, element, joined, label
from tutelage.audit.report_figures import plural

SENTENCE_SHOWN = 600
NAMES_SHOWN = 12
VERDICT_WORDS: dict[Verdict, str] = {
    "consistent-with-training-on-outputs": "consistent with training on outputs",
    "same-model-or-variant": "same model or a variant",
    "same-maker-style": "style of the same maker",
    "not-distinguishable": "not distinguishable from controls",
    "underpowered": "too little to tell",
}
SIGNALS = {
    "opening": "How far two answers to a prompt begin with the same words.",
    "ending": "The last words and signs of an answer: closing formulas and offers of more help.",
    "templates": "How sentences are built: their small words and punctuation, with every other word blanked.",
    "lexical": "Words and runs of characters over the whole answer.",
    "phrases": "Phrases that both answers share word for word and that hardly any other model writes on that prompt.",
    "layout": "Habits of format: headings, lists, bold type, and how the first lines follow one another.",
    "format": "Habits of format: headings, lists, bold type, and how lines follow one another.",
    "classifier": "Whether a classifier that knows the teachers' answers from all others takes these for a teacher's.",
    "embedding": "Nearness in meaning and manner, as a small language model places whole answers.",
}
"""What each known signal looks at. One that is not here is shown by its name."""


def is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and isfinite(value)


def number(value: float | None, places: int = 2) -> Html:
    """A score. Every number is either known or a dash, never NaN."""
    return joined(signed(value, f".{places}f")) if is_known(value) else _absent()


def p_value(value: float | None) -> Html:
    if not is_known(value):
        return _absent()
    if value >= 0.001 or value <= 0:
        return joined(f"{value:.3f}" if value > 0 else "0")
    digits, power = f"{value:.1e}".split("e")
    exponent = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return joined(f"{digits}\u00a0×\u00a010{exponent}")


def rate(value: float) -> str:
    """A share as a percentage, with a decimal only where it says something."""
    return f"{100 * value:.1f}".removesuffix(".0") + "\u00a0%"


def count_of(value: int | None, absent: str) -> Html:
    return element("span", absent, class_="absent") if value is None else joined(f"{value:,}")


def several(names: Sequence[str]) -> Html:
    """Names that somebody chose, as a sentence has them: A, B and C."""
    shown: list[Html | str] = [label(name) for name in names[:NAMES_SHOWN]]
    if len(names) > NAMES_SHOWN:
        shown.append(plural(len(names) - NAMES_SHOWN, "other"))
    parts: list[Html | str] = []
    for place, name in enumerate(shown):
        parts += [" and " if place == len(shown) - 1 else ", "] if place else []
        parts.append(name)
    return joined(parts)


def sentences(texts: Sequence[str], most: int) -> Html | None:
    """Sentences that the audit wrote, as a list. None where there are none."""
    if not texts:
        return None
    shown = [element("li", element("bdi", cut(text, SENTENCE_SHOWN))) for text in texts[:most]]
    left_out = len(texts) - len(shown)
    more = element("p", f"{plural(left_out, 'more is', 'more are')} in the JSON.", class_="more") if left_out else None
    return joined([element("ul", shown), more])


def is_withheld(suspect: SuspectResult, calibration: Calibration) -> bool:
    """Would the verdict be that it was taught, if this panel's error rate allowed one? A rate of false alarms takes
    nothing away from the other verdicts."""
    if suspect.verdict == "underpowered":
        return calibration.withheld and bool(_beyond_controls(suspect, calibration.nominal))
    return calibration.withheld and suspect.verdict == "consistent-with-training-on-outputs"


def sources(suspect: SuspectResult, nominal: float) -> tuple[str, ...]:
    """The family that the verdict names; or those beyond controls that can't be told apart."""
    if suspect.verdict in ("not-distinguishable", "underpowered"):
        return ()
    if suspect.attributed_family is not None:
        return (suspect.attributed_family,)
    if suspect.verdict != "consistent-with-training-on-outputs":
        return ()
    beyond = _beyond_controls(suspect, nominal)
    return tuple(family for family in suspect.indistinguishable if family in beyond) or suspect.indistinguishable


def _beyond_controls(suspect: SuspectResult, nominal: float) -> set[str]:
    return {item.family for item in suspect.families if is_known(item.p_adjusted) and item.p_adjusted <= nominal}


def verdict_words(suspect: SuspectResult, calibration: Calibration) -> str:
    return "withheld" if is_withheld(suspect, calibration) else VERDICT_WORDS[suspect.verdict]


def verdict_block(suspect: SuspectResult, calibration: Calibration) -> Html:
    """The verdict in a sentence, the error rate that stands behind it, and the reasons."""
    said = _withheld(suspect, calibration) if is_withheld(suspect, calibration) else _verdict(suspect, calibration)
    also = calibration.withheld and suspect.verdict == "same-model-or-variant"
    withheld = [", with ", element("code", "withheld"), " in the calibration"] if calibration.withheld else None
    return element(
        "div",
        element("p", element("strong", said)),
        element("p", error_rate(calibration)),
        element("p", "Whether it was taught is another question, and its answer is withheld.") if also else None,
        element("p", "In the JSON: ", element("code", suspect.verdict), withheld, class_="more"),
        sentences(suspect.reasons, 20),
        class_="status verdict" + (" bad" if is_withheld(suspect, calibration) else ""),
    )


def error_rate(calibration: Calibration) -> Html:
    nominal = rate(calibration.nominal)
    if calibration.false_positive_rate is None:
        measured = "This panel could not measure how often it rejects where nothing was taught: there is no error rate."
    else:
        found = rate(calibration.false_positive_rate)
        measured = f"At a nominal {nominal}, this panel rejected {found} of pairs where nothing was taught."
    if calibration.placebo_rate is None:
        return joined(measured)
    pairs = plural(calibration.placebo_pairs, "pair")
    found = rate(calibration.placebo_rate)
    return joined(f"{measured} Of {pairs} in which the teacher can't have taught, it rejected {found}.")


def _verdict(suspect: SuspectResult, calibration: Calibration) -> Html:
    who, families = label(suspect.model), sources(suspect, calibration.nominal)
    if suspect.verdict == "consistent-with-training-on-outputs":
        if len(families) == 1:
            return joined([who, " is consistent with training on outputs of ", label(families[0]), "."])
        if families:
            alike = [who, " is consistent with training on outputs of one or more of ", several(families)]
            return joined([*alike, ", which this panel can't tell apart."])
        return joined([who, " is consistent with training on outputs of a family that this panel can't name."])
    if suspect.verdict == "same-model-or-variant":
        nearest = label(suspect.nearest_model, "a model of this panel")
        return joined(
            [
                *(who, " answers as ", nearest, " itself or a variant of it would: "),
                "the two are nearer than siblings are to each other.",
            ]
        )
    if suspect.verdict == "same-maker-style":
        of = [label(families[0]), ", "] if families else []
        return joined(
            [
                *(who, " is like ", *of, "a family of its own maker, no more than that maker's models are like each "),
                "other: a style in common, and no sign of teaching.",
            ]
        )
    if suspect.verdict == "not-distinguishable":
        return joined(
            [
                *(who, " can't be told from models that were not taught by any family here. "),
                "That doesn't show that it wasn't taught.",
            ]
        )
    return joined(["There is too little to tell whether ", who, " was taught by a family of this panel."])


def _withheld(suspect: SuspectResult, calibration: Calibration) -> Html:
    most = 2 * calibration.nominal
    beyond = f"more than twice the nominal {rate(calibration.nominal)}."
    if calibration.placebo_rate is not None and calibration.placebo_rate > most:
        found = rate(calibration.placebo_rate)
        why = f"this panel rejected {found} of pairs in which the teacher can't have taught, {beyond}"
    elif calibration.false_positive_rate is not None and calibration.false_positive_rate > most:
        found = rate(calibration.false_positive_rate)
        why = f"this panel rejected {found} of pairs where nothing was taught, {beyond}"
    else:
        why = "this panel's own check of its error rate did not hold."
    return joined(["The verdict on ", label(suspect.model), " is withheld: ", why])


def _absent() -> Html:
    return element("span", "–", class_="absent")
