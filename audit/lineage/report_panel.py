"""The parts of the lineage page beside the scores: the nearest model, what a suspect says of itself, power,
calibration, and what nothing here can tell."""

from math import isfinite

from tutelage.audit import charts
from tutelage.audit.lineage.report_standing import SIGNALS_SHOWN, panel_table
from tutelage.audit.lineage.report_words import (
    SENTENCE_SHOWN,
    count_of,
    error_rate,
    is_known,
    number,
    p_value,
    rate,
    sentences,
)
from tutelage.audit.lineage.result import Calibration, LineageResult, SuspectResult
from tutelage.audit.markup import Child, Column, Html, cut, element, folded, joined, label, table
from tutelage.audit.report_figures import CHART, NUMBER, plural, share

LABELS_SHOWN, SENTENCES_SHOWN = 12, 60
_READING = (
    (
        "Score",
        "How much more alike suspect and family are than models that were not taught by it, in standard deviations of "
        "those controls: 0 is about an average control, and higher is more alike.",
    ),
    (
        "p",
        "How often a model that was not taught by the family would score as high. By rank: 1 and the controls that "
        "score at least as high, divided by 1 and all controls. Fitted tail: too few controls for a rank that small, "
        "so the tail of a curve through them (Student's t), which is as good as the curve.",
    ),
    (
        "p, adjusted",
        "The same, made larger for having tried several families (Holm) and several suspects (Benjamini and Hochberg).",
    ),
    (
        "Lead, 95\u00a0% interval",
        "This family's score less the best other family's; the interval comes from drawing clusters of prompts anew, "
        "and holds for all families at once. A family is named only where all of the interval is above zero.",
    ),
    (
        "Same-model score",
        "How near the nearest model is, measured by how near siblings are to each other (models of this panel that "
        "share a cluster): 0 is as near as siblings mostly are, and one step is their usual spread.",
    ),
    (
        "Dose",
        "A share of the likeness that a typical known student of this panel has: 1 is such a student, 0 is a control.",
    ),
    (
        "Cluster",
        "Models that share a base or an origin. Whatever is measured of a model is measured with its cluster left out.",
    ),
)

_UNIFORMITY = "Kolmogorov-Smirnov test; a small p says that they are not spread evenly from 0 to 1, as they should be"


def nearest(suspect: SuspectResult) -> Html:
    score = suspect.same_model_score
    return _facts(
        [
            ("Nearest model", label(suspect.nearest_model, "none was found")),
            (
                "Same-model score",
                _noted(
                    number(score), "0 is as near as siblings of this panel mostly are to each other, higher is nearer"
                )
                if is_known(score)
                else element("span", "not computed", class_="absent"),
            ),
        ]
    )


def of_itself(suspect: SuspectResult) -> Html:
    """What makers a suspect names: kept apart from all evidence."""
    said = suspect.self_identification
    note = element(
        "p",
        "This is not part of any score: a model may call itself another because it read pages that quote that one, "
        "and a prompt can make it say so.",
    )
    labels = sorted(said.labels.items(), key=lambda item: (-item[1], item[0]))
    if not labels:
        asked = f"It names no maker as its own, on {plural(said.prompts, 'prompt')}."
        return joined([note, element("p", asked if said.prompts else "It was not looked for.")])
    shown = labels[:LABELS_SHOWN]
    rows = [
        [label(maker), f"{times:,}", share(times, said.prompts), charts.bar(min(1.0, times / max(1, said.prompts)))]
        for maker, times in shown
    ]
    columns = [Column("Maker"), Column("Prompts", NUMBER), Column("Of all", NUMBER), Column("Compared", CHART)]
    more = f", and {len(labels) - len(shown):,} more makers" if len(labels) > len(shown) else ""
    return joined([note, table(f"Makers that it names as its own, on {said.prompts:,} prompts{more}", columns, rows)])


def power(suspect: SuspectResult) -> Html:
    found = suspect.power
    never = "not known, or no number would do"
    dose = found.smallest_dose
    no_dose = "not known" if found.detectable_score is None else "none: this panel would see no dose reliably"
    return joined(
        [
            element("p", element("bdi", cut(found.sentence, SENTENCE_SHOWN))) if found.sentence else None,
            _facts(
                [
                    (
                        "Smallest dose that would be seen",
                        _noted(number(dose), "seen in 4 of 5 cases; 1 is a typical known student")
                        if is_known(dose)
                        else element("span", no_dose, class_="absent"),
                    ),
                    ("Score that a verdict needs", number(found.detectable_score)),
                    ("Prompts", joined([f"{found.prompts:,}", _needed(found.prompts_needed, never)])),
                    ("Controls", joined([f"{found.controls:,}", _needed(found.controls_needed, never)])),
                ]
            ),
        ]
    )


def calibration(result: LineageResult) -> Html:
    found = result.calibration
    not_measured = "not measured"
    withheld = element(
        "p",
        element("strong", "Verdicts are withheld."),
        " The error rate that was measured is too high for a word on who was taught.",
        class_="status bad",
    )
    scores = panel_table(found.panel_scores)
    facts: list[tuple[str, Child]] = [
        ("Nominal error rate", rate(found.nominal)),
        ("False-positive rate", _rate(found.false_positive_rate, "of pairs of a control and a family were rejected")),
        (
            "Placebo rate",
            _rate(
                found.placebo_rate,
                f"of {found.placebo_pairs:,} pairs in which the teacher can't have taught were rejected: it was "
                "released later, or the panel holds it to be impossible",
            ),
        ),
        ("Controls", _noted(joined(f"{found.controls:,}"), f"in {found.control_clusters:,} clusters")),
        (
            "Controls' p uniform?",
            _noted(joined(["p\u00a0=\u00a0", p_value(found.uniformity_p)]), _UNIFORMITY)
            if is_known(found.uniformity_p)
            else element("span", not_measured, class_="absent"),
        ),
        ("Verdicts withheld", "yes" if found.withheld else "no"),
    ]
    return joined(
        [
            withheld if found.withheld else None,
            element("p", error_rate(found)),
            _facts(facts),
            _weights(found),
            folded("The panel's scores by name", scores) if scores else None,
        ]
    )


def reading() -> Html:
    return _facts([(name, meaning) for name, meaning in _READING])


def limits(result: LineageResult) -> Html:
    said = sentences(result.cannot_tell, SENTENCES_SHOWN)
    return joined([element("p", "A likeness of texts says that they are alike, not why."), said])


def left_out(result: LineageResult) -> Html:
    said = sentences(result.notes, SENTENCES_SHOWN)
    return said or element("p", "Nothing of the input was left out.")


def _weights(found: Calibration) -> Html:
    ordered = sorted(found.weights.items(), key=lambda item: (-abs(item[1]), item[0]))
    known = [(name, value) for name, value in ordered if isfinite(value)][:SIGNALS_SHOWN]
    most = max((abs(value) for _, value in known), default=0) or 1
    ends = (min(0.0, *(value / most for _, value in known), 0.0), 1.0)
    rows = [[label(name), number(value), charts.interval(0, value / most, ends)] for name, value in known]
    columns = [Column("Signal"), Column("Weight", NUMBER), Column("Compared", CHART)]
    where = element("p", "Where they come from: ", element("bdi", cut(found.weights_from, SENTENCE_SHOWN)))
    return joined(
        [
            element("h3", "Weights of the signals in a score"),
            where if found.weights_from else None,
            table("How much each signal counts", columns, rows) if rows else element("p", "There are none."),
        ]
    )


def _rate(value: float | None, meaning: str) -> Html:
    if value is None:
        return element("span", "not measured", class_="absent")
    return _noted(joined(rate(value)), meaning)


def _noted(value: Html, note: str) -> Html:
    return joined([value, element("small", note)])


def _needed(count: int | None, never: str) -> Html:
    return element("small", "needed for a typical known student: ", count_of(count, never))


def _facts(facts: list[tuple[str, Child]]) -> Html:
    return element(
        "dl", [element("div", element("dt", name), element("dd", value)) for name, value in facts], class_="facts"
    )
