"""Where a suspect stands in numbers: the picture with the table behind it, and what each signal adds."""

from collections.abc import Sequence
from math import isfinite

from tutelage.audit import charts
from tutelage.audit.lineage.report_picture import FAMILIES_SHOWN, KINDS, LEADING, Picture, leading, pictures
from tutelage.audit.lineage.report_words import SIGNALS, is_known, number, p_value
from tutelage.audit.lineage.result import FamilyScore, PanelScore, SuspectResult
from tutelage.audit.markup import Column, Html, element, joined, label, table
from tutelage.audit.report_figures import CHART, NUMBER, plural

P_KINDS = {"rank": "by rank", "parametric-tail": "fitted tail", "none": ""}
SIGNALS_SHOWN, MODELS_LISTED = 24, 300


def standing(suspect: SuspectResult, picture: Picture) -> Html:
    families = leading(suspect)
    shown = families[:FAMILIES_SHOWN]
    if not families:
        return element("p", "It was compared with no family.")
    left_out = len(families) - len(shown)
    return joined(
        [
            pictures(suspect, shown[: picture.families], picture),
            _numbers(shown),
            element("p", f"{plural(left_out, 'more family is', 'more families are')} in the JSON.", class_="more")
            if left_out
            else None,
        ]
    )


def signals(suspect: SuspectResult) -> Html:
    """What each signal says of the leading families, as bars with their numbers."""
    shown = [item for item in leading(suspect) if item.signals][:LEADING]
    names = list(dict.fromkeys(name for item in shown for name in item.signals))
    if not names:
        return element("p", "No signal could be computed.")
    kept = names[:SIGNALS_SHOWN]
    values = [value for item in shown for value in item.signals.values() if isfinite(value)]
    ends = (min([0.0, *values]), max([0.0, *values]))
    columns = [Column("Signal"), *(Column(label(item.family), "part") for item in shown)]
    rows = [[_signal(name), *(_part(item.signals.get(name), ends) for item in shown)] for name in kept]
    left_out = len(names) - len(kept)
    return joined(
        [
            element(
                "p",
                "The parts of the score for the families that are most alike, in standard deviations of the controls; "
                "how much each counts stands under ",
                *(element("a", "Calibration", href="#calibration"), ". "),
                "Bars to the left of the tick speak against likeness.",
            ),
            table("What each signal looks at, and what it found", columns, rows, class_="signals"),
            element("p", f"{plural(left_out, 'more signal is', 'more signals are')} in the JSON.", class_="more")
            if left_out
            else None,
        ]
    )


def panel_table(scores: Sequence[PanelScore]) -> Html | None:
    """The dots by name: one row a model, one column a family."""
    families = list(dict.fromkeys(dot.family for dot in scores))[:FAMILIES_SHOWN]
    models = list(dict.fromkeys(dot.model for dot in scores))
    by_pair: dict[tuple[str, str], list[PanelScore]] = {}
    for dot in scores:
        by_pair.setdefault((dot.model, dot.family), []).append(dot)
    if not models:
        return None

    def cell(model: str, family: str) -> Html:
        found = by_pair.get((model, family), [])
        return joined([[number(dot.score), element("small", KINDS[dot.kind][1])] for dot in found])

    rows = [[label(model), *(cell(model, family) for family in families)] for model in models[:MODELS_LISTED]]
    left_out = len(models) - len(rows)
    more = f"; {plural(left_out, 'more model is', 'more models are')} not listed" if left_out else ""
    columns = [Column("Model"), *(Column(label(family), NUMBER) for family in families)]
    return table(f"The panel's scores, each with its own cluster left out{more}", columns, rows)


def _numbers(families: Sequence[FamilyScore]) -> Html:
    limits = [limit for item in families for limit in (item.contrast_low, item.contrast_high)]
    known = [limit for limit in limits if is_known(limit)]
    ends = (min([0.0, *known]), max([0.0, *known]))
    return table(
        "The numbers behind the picture, the most alike first",
        [
            *(Column("Family"), Column("Score", NUMBER), Column("p", NUMBER), Column("p, adjusted", NUMBER)),
            Column("Lead over the best other, 95\u00a0% interval", f"{NUMBER} lead"),
            Column("Interval and zero", CHART),
        ],
        [
            [
                *(label(item.family), number(item.score), _p(item), p_value(item.p_adjusted)),
                *_contrast(item, ends),
            ]
            for item in families
        ],
    )


def _p(item: FamilyScore) -> Html:
    how = P_KINDS[item.p_kind] if is_known(item.p_value) else ""
    return joined([p_value(item.p_value), element("small", how) if how else None])


def _contrast(item: FamilyScore, ends: tuple[float, float]) -> tuple[Html, Html | None]:
    low, high = item.contrast_low, item.contrast_high
    if not (is_known(low) and is_known(high)):
        return number(None), None
    return joined([number(low), " to ", number(high)]), charts.interval(low, high, ends)


def _signal(name: str) -> Html:
    if name not in SIGNALS:
        return label(name)
    return joined([element("b", name), element("span", SIGNALS[name], class_="dataset")])


def _part(value: float | None, ends: tuple[float, float]) -> Html:
    if not is_known(value):
        return number(None)
    return joined([number(value), charts.interval(0, value, ends, "main" if value >= 0 else "invalid")])
