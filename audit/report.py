"""`audit report`: one HTML page of everything that the audits know of the datasets, and the SQL under every number.

Every figure comes from one SELECT of `audit/sql/report`, which is printed under it as it ran: it binds no value and
needs no table but the views that `tutelage audit sql` has.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from tutelage.audit import report_findings, report_provenance, report_samples, report_summary, report_teachers
from tutelage.audit.folder import AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.report_figures import FIGURES, Figure, Figures
from tutelage.audit.report_page import Section, body, page
from tutelage.audit.tables import connect, fetch, statement

REPORT_FILE = "report.html"
MAX_PAGE_BYTES = 5_000_000
SETTINGS = ("duplicates.json", "contamination.json")


def write_report(inputs: Sequence[AuditInput], out: AuditFolder, *, memory_limit: str = "2GB") -> str:
    """Writes the page into the folder of results and returns its path. The same inputs give the same bytes."""
    with connect(inputs, out, memory_limit=memory_limit) as connection:
        figures = collect(connection)
    out.write(REPORT_FILE, fitting_page(figures, _settings(out)))
    return out.path(REPORT_FILE)


def collect(connection: duckdb.DuckDBPyConnection) -> Figures:
    """Every figure of the page, by name."""
    found = {}
    for name in FIGURES:
        rows = fetch(connection, f"report/{name}")
        found[name] = Figure(rows, _as_typed(statement(f"report/{name}")))
    return found


def fitting_page(figures: Figures, settings: Mapping[str, Mapping[str, Any]], most: int = MAX_PAGE_BYTES) -> bytes:
    """The page with as many samples as keep it within `most` bytes: each time it does not fit, with half of
    them, or fewer."""
    share = 1.0
    while True:
        built = _page(figures, settings, share)
        if len(built) <= most or share == 0:
            return built
        share = share * min(0.5, most / len(built)) if share > 1 / 64 else 0.0


def _page(figures: Figures, settings: Mapping[str, Mapping[str, Any]], share: float) -> bytes:
    findings, rows = report_findings.findings_section(figures, share)
    ran = {name.removesuffix(".json") for name in settings}
    doubles = report_samples.duplicates(figures, settings.get("duplicates.json"), share)
    hits = report_samples.contamination(figures, settings.get("contamination.json"), share)
    sections = [
        Section("summary", "Summary", report_summary.summary(figures, ran)),
        Section("findings", "Findings", findings),
        Section("provenance", "Provenance and terms", report_provenance.provenance(figures)),
        Section("outcomes", "Teachers and outcomes", report_teachers.outcomes(figures)),
        Section("lengths", "Lengths", report_teachers.lengths(figures)),
        Section("tokens", "Tokens and cost", report_teachers.tokens_and_cost(figures)),
        Section("languages", "Languages", report_teachers.languages(figures)),
        Section("duplicates", "Duplicates", doubles),
        Section("contamination", "Contamination", hits),
        Section("drift", "Drift", report_provenance.drift(figures)),
        Section("limits", "What this page cannot tell", report_summary.limits(figures)),
    ]
    names = [seal["dataset"] for seal in figures["02_seals"].rows]
    framed = body(report_summary.heading(figures), sections, report_summary.colophon(figures))
    return page(f"Audit of {', '.join(names)}", framed, rows)


def _settings(out: AuditFolder) -> dict[str, dict[str, Any]]:
    """What the audits say of how they searched; absent where one has not run."""
    found = {}
    for name in SETTINGS:
        if out.exists(name):
            found[name] = dict(json.loads(out.read(name)))
    return found


def _as_typed(text: str) -> str:
    """A statement as one would type it: without the comment on top and the semicolon."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip().removesuffix(";")
