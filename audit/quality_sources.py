"""Quality, of the harvest as a whole: its seal, what it says of its origin, what is missing of its plan, its cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tutelage.audit.findings import finding
from tutelage.schemas.rows import Finding

Row = Mapping[str, Any]

WASTED_SHARE = 0.2
WASTED_SOURCE = "a convention of this audit, from no study: one dollar in five"


def plan_findings(unaccounted: Sequence[Row]) -> Iterator[Finding]:
    for dataset in sorted({row["dataset"] for row in unaccounted}):
        mine = [row for row in unaccounted if row["dataset"] == dataset]
        requests = sum(row["requests"] for row in mine)
        yield finding(
            "quality",
            "quality.unaccounted",
            "warning",
            dataset,
            f"{requests:,} planned requests have neither an answer, nor a failed row, nor a tombstone",
            (),
            {
                "teachers": [
                    {"teacher": row["teacher"], "requests": row["requests"], "request_ids": row["request_ids"][:100]}
                    for row in mine
                ]
            },
            rows=requests,
            threshold=0,
            threshold_source="every planned request ends in exactly one row (docs/outcomes.md)",
            cannot_tell="whether they were asked: see the ledger",
        )


def cost_findings(costs: Sequence[Row]) -> Iterator[Finding]:
    """What one useful row costs, and how much of the money is in no useful row."""
    for dataset in sorted({row["dataset"] for row in costs if row["usd"]}):
        mine = [row for row in costs if row["dataset"] == dataset and row["usd"]]
        usd, useful, rows = (sum(row[name] for row in mine) for name in ("usd", "useful_usd", "useful_rows"))
        wasted = 1 - min(useful / usd, 1.0)
        each = f"{usd / rows:.3g} USD a useful row" if rows else "not one useful row"
        yield finding(
            "quality",
            "quality.cost",
            "warning" if wasted > WASTED_SHARE else "info",
            dataset,
            f"{usd:.6f} USD in all, {each}; {wasted:.1%} went into no useful row",
            (),
            {"teachers": [cost_of(row) for row in mine]},
            rows=rows,
            threshold=WASTED_SHARE,
            threshold_source=WASTED_SOURCE,
            cannot_tell="what the provider really charged: costs are tokens times the prices in the config",
        )


def cost_of(row: Row) -> dict[str, Any]:
    """A row of quality/12_cost with its quotients: per useful row (outcome ok), and the share that is in none."""
    usd, useful = row["usd"] or 0.0, row["useful_usd"]
    return {
        **{name: value for name, value in row.items() if name != "dataset"},
        "usd": usd,
        "usd_per_useful_row": usd / row["useful_rows"] if row["useful_rows"] else None,
        "wasted_share": 1 - min(useful / usd, 1.0) if usd else None,
    }
