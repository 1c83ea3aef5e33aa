"""What an audit has to say of its inputs before all else: no seal stands behind them, or nothing of their origin."""

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


def input_findings(audit: str, inputs: Sequence[AuditInput]) -> list[Finding]:
    """Both, for an audit that reads no column of provenance itself."""
    return [*seal_findings(audit, inputs), *provenance_findings(audit, inputs)]


def seal_findings(audit: str, inputs: Sequence[AuditInput]) -> Iterator[Finding]:
    """An error for a dataset of ours; a foreign table never had a seal to break."""
    for item in inputs:
        if not item.sealed:
            what = "no seal stands behind it" if item.mapped else "the seal does not hold"
            yield finding(
                audit,
                f"{audit}.unsealed",
                _of_foreign(audit) if item.mapped else "error",
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


def provenance_findings(audit: str, inputs: Sequence[AuditInput], columns: Sequence[Row] = ()) -> Iterator[Finding]:
    """Which columns a foreign table does not have; with `columns` (rows of `quality/14_columns`) also those that it
    fills in some rows only."""
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
                audit,
                f"{audit}.absent_provenance",
                _of_foreign(audit),
                item.name,
                f"a foreign table that {' and '.join(said)}",
                (),
                {"absent": absent, "rows_without": partly, "mapped": sorted(item.mapped)},
                rows=rows if absent else max(partly.values()),
                threshold=0,
                threshold_source="any: what is null here can't be checked",
                cannot_tell="who answered, when, or under which terms the rows came: what is absent can't be audited",
            )


def _of_foreign(audit: str) -> str:
    """A warning where quality is asked for; elsewhere a note, or `duplicates` fails every foreign table."""
    return "warning" if audit == "quality" else "info"
