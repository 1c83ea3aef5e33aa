"""The sections of the report that follow time: under which terms, in which runs, as which model a teacher answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.audit import charts
from tutelage.audit.charts import Point
from tutelage.audit.markup import Column, Html, element, folded, joined, label, table
from tutelage.audit.report_figures import (
    CHART,
    ID,
    NUMBER,
    Figures,
    at_limit,
    count,
    instant,
    names,
    plural,
    several_datasets,
    share,
    sql_under,
    who,
)

USES = ("allow", "allow_with", "deny_competing", "deny")
SPANS, DRIFT_SPANS = 48, 24
"""As in sql/report/06, 23 and 24, which stand on the page and so hold their numbers themselves."""


def provenance(figures: Figures) -> Html:
    timeline = figures["06_terms_over_time"].rows
    seals = table(
        "Seals",
        [
            *(Column("Dataset"), Column("Seal"), Column("Sealed at"), Column("By"), Column("Leaves", NUMBER)),
            *(Column("Withdrawn", NUMBER), Column("Merkle root", ID), Column("Manifest's SHA-256", ID)),
        ],
        [
            [
                label(row["dataset"]),
                element("span", "holds", class_="good")
                if row["sealed"]
                else element("strong", "NOT sealed", class_="bad"),
                instant(row["sealed_at"]),
                label(row["event"], "–"),
                count(row["leaves"]),
                count(row["tombstones"]),
                label(row["merkle_root"], "–"),
                label(row["manifest_sha256"], "–"),
            ]
            for row in figures["02_seals"].rows
        ],
    )
    lanes = table(
        "Under which terms each teacher answered, over time",
        [
            *(Column("Teacher"), Column("Model reported"), Column("Terms"), Column("Training"), Column("Obligations")),
            *(Column("Rows", NUMBER), Column(_axis(figures), CHART), Column("When", "when")),
        ],
        [
            [
                who(figures, row),
                label(row["model_reported"]),
                label(row["terms_id"]),
                element("span", label(row["train_use"]), class_=f"use {_use(row['train_use'])}"),
                names(row["obligations"]),
                count(row["rows"]),
                charts.strip(_pairs(row["spans"]), SPANS, _use(row["train_use"])),
                _when(row["first_at"], row["last_at"]),
            ]
            for row in timeline
        ],
    )
    return joined(
        [
            element("h3", "Terms timeline"),
            element(
                "p",
                "Each strip is the whole time in 48 equal spans, the darker the busier. A teacher with two strips "
                "answered under two terms, or as two models.",
            ),
            lanes,
            at_limit(timeline, 60),
            sql_under(figures, "06_terms_over_time"),
            element("h3", "Seals and terms as they were sealed"),
            seals,
            sql_under(figures, "02_seals"),
            _sealed_terms(figures),
            element("h3", "Runs"),
            _runs(figures),
        ]
    )


def _sealed_terms(figures: Figures) -> Html:
    rows = figures["07_sealed_terms"].rows
    shown = table(
        "What was decided before a call was made",
        [
            *(Column("Teacher"), Column("Training"), Column("Obligations"), Column("Reasons")),
            *(Column("By"), Column("Exception")),
        ],
        [
            [
                who(figures, row),
                element("span", label(row["train_use"]), class_=f"use {_use(row['train_use'])}"),
                names(row["obligations"]),
                names(row["reasons"]),
                "the user's word" if row["declared_by_user"] else "the register",
                label(row["override"], "none"),
            ]
            for row in rows
        ],
    )
    nothing = element("p", "No manifest names a decision on terms.", class_="absent")
    return joined([shown if rows else nothing, sql_under(figures, "07_sealed_terms")])


def _runs(figures: Figures) -> Html:
    rows = figures["08_runs"].rows
    several = several_datasets(figures)
    shown = table(
        "Which runs made the rows",
        [
            *(Column("Run"), *([Column("Dataset")] if several else []), Column("When", "when")),
            *(Column("Rows", NUMBER), Column("Code")),
        ],
        [
            [
                label(row["run_id"]),
                *([label(row["dataset"])] if several else []),
                _when(row["started_at"], row["ended_at"]),
                count(row["rows"]),
                label(row["code_version"]),
            ]
            for row in rows
        ],
    )
    return joined([shown, at_limit(rows, 60), sql_under(figures, "08_runs")])


def drift(figures: Figures) -> Html:
    identities = figures["23_identity"].rows
    who_said = table(
        "Which model each teacher said it was, over time",
        [
            *(
                Column("Teacher"),
                Column("Requested"),
                Column("Reported"),
                Column("Fingerprint"),
                Column("Rows", NUMBER),
            ),
            *(Column(_axis(figures), CHART), Column("When", "when")),
        ],
        [
            [
                who(figures, row),
                label(row["model_requested"]),
                label(row["model_reported"]),
                label(row["system_fingerprint"]),
                count(row["rows"]),
                charts.strip(_pairs(row["spans"]), SPANS, "main"),
                _when(row["first_at"], row["last_at"]),
            ]
            for row in identities
        ],
    )
    unshown = (identities[0]["identities"] if identities else 0) - len(identities)
    more = element("p", f"{plural(unshown, 'rarer identity is', 'rarer identities are')} not shown.", class_="more")
    rows = figures["24_drift"].rows
    trends = [_trends(figures, row) for row in rows]
    return joined(
        [
            *(who_said, more if unshown > 0 else None, sql_under(figures, "23_identity")),
            element("h3", "Responses over each teacher's time"),
            element("p", "Each teacher's time in 24 equal spans; a span in which nothing was asked has no point."),
            trends or element("p", "No row says when it was asked.", class_="absent"),
            *(at_limit(rows, 12), sql_under(figures, "24_drift")),
        ]
    )


def _trends(figures: Figures, row: Mapping[str, Any]) -> Html:
    spans = row["spans"]
    ends = ((row["first_at"] or "")[:16], (row["last_at"] or "")[:16])
    ok = [Point(_place(item), item["useful_rows"] / item["rows"]) for item in spans]
    long = [Point(_place(item), item["chars_median"]) for item in spans if item["chars_median"] is not None]
    top = max((point.value for point in long), default=0)
    ok_said = ", ".join(share(item["useful_rows"], item["rows"]) for item in spans)
    long_said = ", ".join(f"{point.value:,.0f}" for point in long)
    as_table = table(
        "Spans with rows in them",
        [Column("Span"), Column("Rows", NUMBER), Column("Useful", NUMBER), Column("Median characters", NUMBER)],
        [
            [
                f"{item['span'] + 1} of {DRIFT_SPANS}",
                count(item["rows"]),
                count(item["useful_rows"]),
                count(item["chars_median"]),
            ]
            for item in spans
        ],
    )
    return element(
        "div",
        element("h4", who(figures, row), element("small", plural(row["rows"], "row"))),
        element(
            "div",
            element(
                "figure",
                element("figcaption", "Useful rows, 0 to 100 %"),
                charts.trend(ok, ends, f"Share of useful rows over time: {ok_said}", most=1.0),
            ),
            element(
                "figure",
                element("figcaption", f"Median length, 0 to {top:,.0f} characters"),
                charts.trend(long, ends, f"Median characters of the responses over time: {long_said}"),
            ),
            class_="multiples",
        ),
        folded("The same as a table", as_table),
        class_="lane",
    )


def _use(train_use: str | None) -> str:
    """The class of a use, known ones only: what a foreign table says is not put into a class."""
    return train_use if train_use in USES else "unknown"


def _pairs(spans: Sequence[Mapping[str, int]] | None) -> list[tuple[int, int]]:
    return [(item["span"], item["rows"]) for item in spans or ()]


def _axis(figures: Figures) -> Html:
    all_ = figures["01_overview"].one
    if not all_["first_at"]:
        return joined("When")
    return element(
        "span",
        element("span", all_["first_at"][:10]),
        element("span", "→"),
        element("span", all_["last_at"][:10]),
        class_="axis",
    )


def _when(first: str | None, last: str | None) -> Html:
    """From when until when, on two lines."""
    return instant(first) if first == last else joined([instant(first), instant(last)])


def _place(item: Mapping[str, int]) -> float:
    return (item["span"] + 0.5) / DRIFT_SPANS
