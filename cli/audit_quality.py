"""`tutelage audit quality`: what a person reads of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tutelage.audit.quality import QualityReport

MARKS = {"error": "ERROR", "warning": "warning", "info": "info"}


def run_quality(
    datasets: Sequence[str],
    *,
    maps: Sequence[str] = (),
    unsealed: bool = False,
    out: str | None = None,
    as_json: bool = False,
    fail_on: Sequence[str] = (),
    memory_limit: str = "2GB",
) -> int:
    from tutelage.audit.quality import audit_quality
    from tutelage.cli.audit_input import conclude, prepared
    from tutelage.cli.main import print_json

    found = prepared(datasets, maps=maps, unsealed=unsealed, out=out, fail_on=fail_on, audits=("quality",))
    report = audit_quality(found.inputs, found.out, memory_limit=memory_limit)
    if as_json:
        print_json(report.to_json())
    else:
        _show(report, found.out.uri)
    return conclude(found, report.findings, fail_on)


def _show(report: "QualityReport", place: str) -> None:
    from tutelage.cli.audit_sql import shown

    typer.echo(f"{report.rows:,} rows; {len(report.findings):,} findings ({place}/findings.parquet)")
    several = len({item.dataset for item in report.findings}) > 1
    for severity, mark in MARKS.items():
        for item in report.findings:
            if item.severity == severity:
                where = f"{item.dataset}: " if several else ""
                # Messages quote what teachers said of themselves.
                typer.echo(f"  {mark:<8} {item.rule.partition('.')[2]:<20} {shown(where + item.message)}")
