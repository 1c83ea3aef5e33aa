"""The pictures of the lineage page: a suspect's mark among the dots of controls, placebos and known students."""

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import NamedTuple

from tutelage.audit import charts
from tutelage.audit.lineage.report_words import is_known
from tutelage.audit.lineage.result import FamilyScore, LineageResult, SuspectResult
from tutelage.audit.markup import Html, element, joined, label
from tutelage.audit.report_figures import plural

KINDS = {
    "control": ("controls", "control", "models that were not taught by the family, as far as known"),
    "placebo": ("placebos", "placebo", "models that the family's teacher can't have taught"),
    "student": ("known students", "known student", "models that were taught by the family"),
}
FAMILIES_SHOWN, LEADING = 12, 3
FEW_SUSPECTS = 8
"""Of so many suspects, all families are drawn; of more, the leading ones."""
BEYOND = 1.25
"""An axis goes a quarter farther than the panel does; a suspect beyond that stands at its end, with an arrow."""


class Picture(NamedTuple):
    """What all pictures of the page have in common. `dots` are the panel's scores, by family, then by kind;
    `most_dots` bounds a lane of them, `families` how many are drawn of one suspect."""

    dots: Mapping[str, Mapping[str, Sequence[float]]]
    ends: tuple[float, float]
    most_dots: int
    families: int


def picture_of(result: LineageResult, most_dots_in_all: int) -> Picture:
    """One axis for the whole page, so that pictures can be compared. Each lane has its share of the dots."""
    dots: dict[str, dict[str, list[float]]] = {}
    for dot in result.calibration.panel_scores:
        if isfinite(dot.score):
            dots.setdefault(dot.family, {}).setdefault(dot.kind, []).append(dot.score)
    families = FAMILIES_SHOWN if len(result.suspects) <= FEW_SUSPECTS else LEADING
    drawn = [item.family for suspect in result.suspects for item in leading(suspect)[:families]]
    lanes = [len(values) for family in drawn for values in dots.get(family, {}).values()]
    return Picture(dots, _ends(result), _fitting(lanes, most_dots_in_all), families)


def leading(suspect: SuspectResult) -> list[FamilyScore]:
    """The families, the most alike first; those without a score last."""
    return sorted(suspect.families, key=lambda item: -item.score if is_known(item.score) else inf)


def pictures(suspect: SuspectResult, families: Sequence[FamilyScore], picture: Picture) -> Html:
    pictured = [item for item in families if is_known(item.score) or item.family in picture.dots]
    meaning = element("a", "What the numbers mean", href="#reading")
    if not pictured:
        return element("p", "No score could be computed, and there is nothing to draw. ", meaning, ".")
    return joined(
        [
            element(
                "p",
                "Each dot is a model of the panel; the farther right, the more it is like the family. The line is the "
                "suspect. One step on the axis is one standard deviation of the controls. ",
                *(meaning, "."),
            ),
            _legend(suspect, pictured, picture),
            element("div", [_figure(suspect, item, picture) for item in pictured], class_="stands"),
            _thinned(pictured, picture),
        ]
    )


def _ends(result: LineageResult) -> tuple[float, float]:
    panel = [dot.score for dot in result.calibration.panel_scores]
    needed = [suspect.power.detectable_score for suspect in result.suspects]
    own = [item.score for suspect in result.suspects for item in suspect.families]
    # Without a panel to show, the suspects alone say how far the axis goes.
    reach = [value for value in [*panel, *needed, *([] if panel else own)] if is_known(value)]
    return min([-1.0, *reach]) * BEYOND, max([1.0, *reach]) * BEYOND


def _legend(suspect: SuspectResult, pictured: Sequence[FamilyScore], picture: Picture) -> Html:
    there = {kind for item in pictured for kind in picture.dots.get(item.family, {})}
    keys = [
        element("li", name, element("small", meaning), class_=f"key key-{kind}")
        for kind, (name, _, meaning) in KINDS.items()
        if kind in there
    ]
    keys.append(element("li", "the suspect", class_="key key-suspect"))
    if is_known(suspect.power.detectable_score):
        keys.append(element("li", "the score that a verdict of teaching needs", class_="key key-needed"))
    return element("ul", keys, class_="legend")


def _figure(suspect: SuspectResult, item: FamilyScore, picture: Picture) -> Html:
    dots = picture.dots.get(item.family, {})
    lanes = [(kind, even_ranks(dots[kind], picture.most_dots)) for kind in KINDS if kind in dots]
    marks = []
    if is_known(item.score):
        marks.append(charts.Mark(item.score, f"suspect {charts.signed(item.score, '.2f')}", "suspect"))
    needed = suspect.power.detectable_score
    if is_known(needed):
        marks.append(charts.Mark(needed, f"needed {charts.signed(needed, '.2f')}", "needed"))
    told = _compared(item, dots)
    said = f"{_of(dots)}. {'; '.join(mark.said for mark in marks)}. {told or ''}"
    return element(
        "figure",
        element("figcaption", element("b", label(item.family)), element("small", told) if told else None),
        charts.dot_strip(lanes, marks, picture.ends, f"Against {item.family[:60]}: {said}".strip()),
    )


def _compared(item: FamilyScore, dots: Mapping[str, Sequence[float]]) -> str | None:
    """How many of the panel's models score at least as high, in words."""
    score = item.score
    if not is_known(score):
        return "not computed"
    told = []
    for kind, (many, one, _) in KINDS.items():
        if kind in dots:
            higher = sum(value >= score for value in dots[kind])
            told.append(f"{higher:,} of {plural(len(dots[kind]), one, many)}")
    return f"At least as high: {', '.join(told)}" if told else None


def _of(dots: Mapping[str, Sequence[float]]) -> str:
    told = [
        f"{plural(len(dots[kind]), one, many)} from {min(dots[kind]):.2f} to {max(dots[kind]):.2f}"
        for kind, (many, one, _) in KINDS.items()
        if kind in dots
    ]
    return ", ".join(told) or "no model of the panel"


def even_ranks(values: Sequence[float], most: int) -> list[float]:
    """At most so many of the values, at even ranks, the least and the largest always among them."""
    ordered = sorted(values)
    if len(ordered) <= most:
        return ordered
    return [ordered[round(place * (len(ordered) - 1) / (most - 1))] for place in range(most)]


def _fitting(lanes: Sequence[int], most: int) -> int:
    """The longest that a lane may be if all of them together are to have `most` dots: short ones leave room."""
    allowed, left = max(lanes, default=0), most
    for place, length in enumerate(sorted(lanes)):
        fair = left // (len(lanes) - place)
        if length > fair:
            allowed = fair
            break
        left -= length
    return max(2, allowed)


def _thinned(pictured: Sequence[FamilyScore], picture: Picture) -> Html | None:
    lanes = [lane for item in pictured for lane in picture.dots.get(item.family, {}).values()]
    if all(len(lane) <= picture.most_dots for lane in lanes):
        return None
    said = f"To keep the page small, a row of dots has {picture.most_dots} at most, at even ranks."
    return element("p", said, class_="more")
