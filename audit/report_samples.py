"""The sections of the report that show texts beside one another: duplicates and contamination.

One rule says how much is shown: texts are cut to 2,000 characters, the SELECT's LIMIT bounds their number, and samples
are taken in the SELECT's order while they fit a number of bytes. What is left out is counted on the page.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tutelage.audit.markup import Column, Html, cut, element, folded, joined, label, table
from tutelage.audit.report_figures import (
    ID,
    NUMBER,
    Figures,
    count,
    plural,
    record,
    several_datasets,
    sql_under,
)
from tutelage.audit.side_by_side import Side, side_by_side

_COUNTED = {"exact_clusters", "near_clusters", "rows_in_clusters", "pairs", "rows_hit", "hits"}
BYTES_OF_PAIRS, BYTES_OF_PROMPT_PAIRS, BYTES_OF_HITS = 700_000, 200_000, 700_000


def duplicates(figures: Figures, settings: Mapping[str, Any] | None, part: float) -> Html:
    counts = table(
        "What repeats",
        [
            *(Column("Texts"), Column("Clusters of equal texts", NUMBER), Column("Rows in them", NUMBER)),
            *(Column("Clusters of near-equal texts", NUMBER), Column("Rows in them", NUMBER), Column("Pairs", NUMBER)),
        ],
        [
            [
                row["part"],
                *(count(row[name]) for name in ("exact_clusters", "exact_rows", "near_clusters", "near_rows", "pairs")),
            ]
            for row in figures["17_duplicates"].rows
        ],
    )
    largest = figures["18_largest_clusters"].rows
    clusters = table(
        "The largest clusters of responses",
        [
            *(Column("Opening of its first row", "wide"), Column("Rows", NUMBER), Column("Texts"), Column("Teacher")),
            *(Column("First row", ID), *([Column("Datasets", NUMBER)] if several_datasets(figures) else [])),
        ],
        [
            [
                label(row["opening"], "the row is gone"),
                count(row["rows"]),
                "equal" if row["kind"] == "exact" else "near-equal",
                label(row["teacher"]),
                label(row["cluster_id"][:12]),
                *([count(row["datasets"])] if several_datasets(figures) else []),
            ]
            for row in largest
        ],
    )
    totals = {row["part"]: row["pairs"] for row in figures["17_duplicates"].rows}
    return joined(
        [
            *(counts, sql_under(figures, "17_duplicates"), _how(settings, "duplicates.json")),
            [clusters, sql_under(figures, "18_largest_clusters")] if largest else None,
            _pairs(
                figures,
                "19_duplicate_pairs",
                "Pairs of responses",
                totals["responses"],
                int(BYTES_OF_PAIRS * part),
            ),
            _pairs(
                figures,
                "20_prompt_pairs",
                "Pairs of prompts",
                totals["prompts"],
                int(BYTES_OF_PROMPT_PAIRS * part),
            ),
        ]
    )


def _pairs(figures: Figures, name: str, title: str, total: int, most: int) -> Html | None:
    rows = figures[name].rows
    if not rows:
        return None
    several = several_datasets(figures)
    shown = list(within((_pair(row, several) for row in rows), most))
    return joined(
        [
            element("h3", title),
            _marked_note(),
            shown,
            _unshown(total - len(shown), "pair is", "pairs are"),
            sql_under(figures, name),
        ]
    )


def _pair(row: Mapping[str, Any], several: bool) -> Html:
    def side(which: str) -> Side:
        dataset = [" in ", label(row[f"{which}_dataset"])] if several else []
        teacher = label(row[f"{which}_teacher"], "teacher not recorded")
        heading = joined([teacher, element("small", "row ", label(row[f"{which}_id"][:12]), dataset)])
        return Side(heading, row[f"{which}_text"], row[f"{which}_length"] or 0)

    likeness = "equal" if row["jaccard"] == 1 else f"{row['jaccard']:.3f} alike"
    opening = cut(" ".join((row["left_text"] or "").split()), 90)
    summary = [element("b", likeness), " ", element("bdi", opening, class_="opening")]
    return folded(summary, side_by_side(side("left"), side("right")), class_="pair")


def contamination(figures: Figures, settings: Mapping[str, Any] | None, part: float) -> Html:
    rows = figures["21_contamination"].rows
    if not rows:
        said = (
            "No row holds text of the evaluation sets that were given."
            if settings is not None
            else "Not looked for: give evaluation sets with --against."
        )
        return joined(
            [element("p", said), _how(settings, "contamination.json"), sql_under(figures, "21_contamination")]
        )
    counts = table(
        "Rows that hold text of evaluation sets",
        [
            *(
                Column("Evaluation set"),
                Column("Found in"),
                Column("By"),
                Column("Rows", NUMBER),
                Column("Items", NUMBER),
            ),
            *(Column("Hits", NUMBER), Column("Share of the item", NUMBER)),
        ],
        [
            [
                *(label(row["benchmark"]), label(row["part"]), label(row["method"]), count(row["rows"])),
                *(count(row["items"]), count(row["hits"]), _range(row["least_share"], row["most_share"])),
            ]
            for row in rows
        ],
    )
    several = several_datasets(figures)
    hits = list(
        within((_hit(hit, several) for hit in figures["22_contamination_hits"].rows), int(BYTES_OF_HITS * part))
    )
    total = rows[0]["all_hits"]
    return joined(
        [
            *(counts, _left_out(settings), sql_under(figures, "21_contamination")),
            _how(settings, "contamination.json"),
            *(element("h3", "Hits, the largest share first"), _marked_note(), hits),
            *(_unshown(total - len(hits), "hit is", "hits are"), sql_under(figures, "22_contamination_hits")),
        ]
    )


def _hit(row: Mapping[str, Any], several: bool) -> Html:
    dataset = [" in ", label(row["dataset"])] if several else []
    ours = Side(
        joined([label(row["part"]), element("small", "row ", label(row["row_id"][:12]), dataset)]),
        row["row_text"],
        row["row_length"],
    )
    theirs = Side(
        joined(
            [label(row["benchmark"]), element("small", "item ", label(row["item_id"]), ", ", label(row["item_field"]))]
        ),
        row["item_text"],
        row["item_length"],
    )
    opening = cut(" ".join(row["item_text"].split()), 90)
    summary = [
        element("b", f"{100 * row['share']:.0f}\u00a0% of the item"),
        *(" ", element("small", f"{cut(row['method'], 20)}, {cut(row['part'], 20)}")),
        *(" ", element("bdi", opening, class_="opening")),
    ]
    return folded(summary, side_by_side(ours, theirs), class_="pair")


def _left_out(settings: Mapping[str, Any] | None) -> Html | None:
    """Says so where the audit found more hits than it keeps."""
    benchmarks = (settings or {}).get("benchmarks", [])
    number = sum(item.get("hits_left_out", 0) for item in benchmarks if isinstance(item, dict))
    if not number:
        return None
    said = f"The audit keeps no more than these: {plural(number, 'further hit')} can only be counted."
    return element("p", said, class_="more")


def _marked_note() -> Html:
    return element(
        "p",
        element("mark", "Marked"),
        " is what both texts have: runs of five words or more. Each text is cut to 2,000 characters.",
    )


def _unshown(number: int, one: str, many: str) -> Html | None:
    return element("p", f"{plural(number, one, many)} not shown.", class_="more") if number > 0 else None


def _how(settings: Mapping[str, Any] | None, source: str) -> Html | None:
    """What an audit says of its own search, but neither what the tables above count already nor paths: where results
    lie says nothing of what was found."""
    if not settings:
        return None
    note = element("p", f"From {source} in the folder of results, as the audit wrote it.", class_="more")
    return folded("How it was searched", record(_without_counts(settings)), note)


def _without_counts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _without_counts(inner)
            for name, inner in value.items()
            if name not in _COUNTED and not name.endswith("_file")
        }
    return [_without_counts(inner) for inner in value] if isinstance(value, list) else value


def _range(least: float, most: float) -> str:
    low, high = f"{100 * least:.0f}", f"{100 * most:.0f}"
    return f"{low}\u00a0%" if low == high else f"{low} to {high}\u00a0%"


def within(items: Iterable[Html], most: int) -> Iterator[Html]:
    """The first of the items, as many as have `most` bytes together."""
    size = 0
    for item in items:
        size += len(item.encode())
        if size > most:
            return
        yield item
