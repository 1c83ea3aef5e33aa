"""Quality, of the harvest as a whole: its seal, what it says of its origin, what is missing of its plan, its cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tutelage.audit.findings import finding
from tutelage.audit.inputs import AuditInput
from tutelage.schemas.rows import Finding

Row = Mapping[str, Any]

PROVENANCE = (
    *("teacher", "model_requested", "model_reported", "revision", "channel", "created_at", "sampling", "prompt_source"),
    *("prompt_license", "terms_id", "train_use", "outcome", "salt", "leaf_sha256"),
)
"""The columns that say where an answer comes from, under which terms, and prove it."""
WASTED_SHARE = 0.2
WASTED_SOURCE = "a convention of this audit, from no study: one dollar in five"


def seal_findings(inputs: Sequence[AuditInput]) -> Iterator[Finding]:
    """An error for a dataset of ours; a foreign table never had a seal to break, so that is a warning."""
    for item in inputs:
        if not item.sealed:
            what = "no seal stands behind it" if item.mapped else "the seal does not hold"
            yield finding(
                "quality",
                "quality.unsealed",
                "warning" if item.mapped else "error",
                item.name,
                f"{what}, so nothing here is known to be what was harvested: "
                + ("; ".join(item.problems[:3]) or "no reason was given"),
                (),
                {"problems": list(item.problems)},
                rows=len(item.problems),
                threshold=0,
                threshold_source="any: a seal holds for all files or for none",
                cannot_tell="what the rows were before; only an intact copy can",
            )


def provenance_findings(inputs: Sequence[AuditInput], columns: Sequence[Row]) -> Iterator[Finding]:
    """Which columns a foreign table does not have, or fills in some rows only."""
    known = {row["dataset"]: row for row in columns}
    for item in inputs:
        if not item.mapped:
            continue
        counts = known.get(item.name, {})
        rows = counts.get("rows", 0)
        absent = [name for name in PROVENANCE if name not in item.mapped or counts.get(name) == 0]
        partly = {
            name: rows - counts[name] for name in PROVENANCE if name not in absent and counts.get(name, rows) < rows
        }
        said = [f"says nothing of {', '.join(absent)}"] if absent else []
        said += [f"leaves out {', '.join(partly)} in up to {max(partly.values()):,} rows"] if partly else []
        if said:
            yield finding(
                "quality",
                "quality.absent_provenance",
                "warning",
                item.name,
                f"a foreign table that {' and '.join(said)}",
                (),
                {"absent": absent, "rows_without": partly, "mapped": sorted(item.mapped)},
                rows=rows if absent else max(partly.values()),
                threshold=0,
                threshold_source="any: what is null here can't be checked",
                cannot_tell="who answered, when, or under which terms the rows came: what is absent can't be audited",
            )


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
