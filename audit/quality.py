"""`audit quality`: what the rows of a harvest are like, and what changed while it ran.

A few passes over small rows in SQL (sql/quality), one over the texts in Python. Every finding says its threshold, where
that comes from, how often it was wrong where that was measured, and what it can't tell.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb

from tutelage.audit import quality_changes, quality_rows, quality_sources
from tutelage.audit.findings import write_findings
from tutelage.audit.folder import AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.provenance import provenance_findings, seal_findings
from tutelage.audit.tables import connect, fetch, run, statement
from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.rows import MAX_FINDING_ROW_IDS, SEVERITIES, Finding

TEXTS_AT_ONCE = 4096
QUALITY_FILE = "quality.json"


class QualityReport(NamedTuple):
    """`tables` are the figures by dataset and teacher, under the names of the SQL that made them."""

    rows: int
    tables: dict[str, list[dict[str, Any]]]
    findings: list[Finding]

    def to_json(self) -> dict[str, Any]:
        severities = Counter(item.severity for item in self.findings)
        figures: dict[str, Any] = {
            "rows": self.rows,
            **self.tables,
            "findings": {severity: severities[severity] for severity in SEVERITIES},
            "rules": [
                {name: getattr(item, name) for name in ("rule", "severity", "dataset", "rows", "message")}
                for item in self.findings
            ],
        }
        return json.loads(json.dumps(figures, default=str))  # type: ignore[no-any-return]  # moments as text


def audit_quality(inputs: Sequence[AuditInput], out: AuditFolder, *, memory_limit: str = "2GB") -> QualityReport:
    """Runs every check; writes the findings and `quality.json`."""
    with connect(inputs, memory_limit=memory_limit) as connection:
        run(connection, "quality/01_answers")
        report = _report(connection, inputs)
    write_findings(out, ["quality"], report.findings)
    out.write(QUALITY_FILE, canonical_json(report.to_json()) + b"\n")
    return report


def _report(connection: duckdb.DuckDBPyConnection, inputs: Sequence[AuditInput]) -> QualityReport:
    ids = MAX_FINDING_ROW_IDS

    def step(name: str, **values: Any) -> list[dict[str, Any]]:
        return fetch(connection, f"quality/{name}", **values)

    outcomes, failed, empty = step("02_outcomes", ids=ids), step("03_failed"), step("04_empty", ids=ids)
    totals: dict[tuple[str, str], int] = Counter()
    for row in outcomes:
        totals[row["dataset"], row["teacher"]] += row["rows"]
    lengths = step("05_lengths")
    outliers = step(
        "06_length_outliers",
        ids=ids,
        fences=quality_rows.FENCES,
        least_rows=quality_rows.LEAST_ROWS_FOR_FENCES,
    )
    texts = connection.sql(statement("quality/07_texts")).to_arrow_reader(TEXTS_AT_ONCE)
    facts = quality_rows.read_texts(texts, totals)
    languages = step(
        "08_languages",
        ids=ids,
        prompt_words=quality_rows.LEAST_PROMPT_WORDS,
        response_words=quality_rows.LEAST_RESPONSE_WORDS,
        about_languages=quality_rows.ABOUT_LANGUAGES,
    )
    reported, held = step("09_reported", ids=ids), step("10_terms", ids=ids)
    samples = step("11_samples", ids=ids, least_chars=quality_rows.LEAST_EQUAL_CHARS)
    costs, unaccounted, columns = step("12_cost"), step("13_unaccounted", ids=ids), step("14_columns")
    findings = [
        *seal_findings("quality", inputs),
        *provenance_findings("quality", inputs, columns),
        *quality_sources.plan_findings(unaccounted),
        *quality_rows.outcome_findings(outcomes, failed, totals),
        *quality_rows.empty_findings(empty, totals),
        *quality_rows.length_findings(outliers),
        *quality_rows.text_findings(facts),
        *quality_rows.language_findings(languages),
        *quality_rows.sample_findings(samples),
        *quality_changes.teacher_findings(reported),
        *quality_changes.terms_findings(held),
        *quality_sources.cost_findings(costs),
    ]
    tables = {
        "outcomes": outcomes,
        "failed": failed,
        "empty": empty,
        "lengths": lengths,
        "outliers": outliers,
        "refusals": [item._asdict() for item in facts.refused],
        "loops": [item._asdict() for item in facts.looped],
        "languages": languages,
        "reported": reported,
        "terms": held,
        "samples": samples,
        "costs": [{"dataset": row["dataset"], **quality_sources.cost_of(row)} for row in costs],
        "unaccounted": unaccounted,
    }
    return QualityReport(sum(totals.values()), {name: _without_ids(rows) for name, rows in tables.items()}, findings)


def _without_ids(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures only: which rows they are of is the findings' business."""
    return [{name: value for name, value in row.items() if not name.endswith("_ids")} for row in rows]
