"""`tutelage audit report`: runs the audits, and writes the page that shows what they found."""

from collections.abc import Sequence

import typer


def run_report(
    datasets: Sequence[str],
    *,
    against: Sequence[str],
    maps: Sequence[str],
    unsealed: bool,
    out: str | None,
    as_json: bool,
    fail_on: Sequence[str],
    memory_limit: str,
) -> int:
    """Looks for contamination where `against` names evaluation sets; what an earlier run found stays on the page."""
    from tutelage.audit.contamination import audit_contamination
    from tutelage.audit.duplicates import audit_duplicates
    from tutelage.audit.findings import read_findings
    from tutelage.audit.quality import audit_quality
    from tutelage.audit.report import REPORT_FILE, write_report
    from tutelage.cli.audit_input import conclude, prepared
    from tutelage.cli.main import print_json
    from tutelage.schemas.rows import FINDING_RULES, SEVERITIES

    found = prepared(datasets, maps=maps, unsealed=unsealed, out=out, fail_on=fail_on, audits=tuple(FINDING_RULES))
    if against:  # first: an evaluation set that is none must not cost the other audits
        audit_contamination(found.inputs, against, found.out, memory_limit=memory_limit)
    audit_duplicates(found.inputs, found.out, memory_limit=memory_limit)
    audit_quality(found.inputs, found.out, memory_limit=memory_limit)
    path = write_report(found.inputs, found.out, memory_limit=memory_limit)
    findings = read_findings(found.out)
    counts = {severity: sum(item.severity == severity for item in findings) for severity in reversed(SEVERITIES)}
    if as_json:
        print_json(
            {
                "report": path,
                "bytes": len(found.out.read(REPORT_FILE)),
                "datasets": [item.name for item in found.inputs],
                "sealed": all(item.sealed for item in found.inputs),
                "findings": {"total": len(findings), **counts},
                "findings_file": found.out.path("findings.parquet"),
            }
        )
    else:
        told = ", ".join(f"{number} {severity}" for severity, number in counts.items() if number) or "none"
        typer.echo(f"findings  {told}")
        typer.echo(f"report    {path}")
    return conclude(found, findings, fail_on)
