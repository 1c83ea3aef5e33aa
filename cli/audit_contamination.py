"""`tutelage audit contamination`: what a person reads of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tutelage.audit.contamination import ContaminationReport


def run_contamination(
    datasets: Sequence[str],
    against: Sequence[str],
    *,
    text_fields: Sequence[str],
    maps: Sequence[str],
    unsealed: bool,
    out: str | None,
    as_json: bool,
    fail_on: Sequence[str],
    memory_limit: str,
) -> int:
    from tutelage.audit.contamination import audit_contamination
    from tutelage.cli.audit_input import conclude, prepared
    from tutelage.cli.main import print_json

    found = prepared(
        datasets, maps=maps, unsealed=unsealed, out=out, likeness_only=True, fail_on=fail_on, audits=("contamination",)
    )
    report = audit_contamination(found.inputs, against, found.out, text_fields=text_fields, memory_limit=memory_limit)
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)
    return conclude(found, report.findings, fail_on)


def _show(report: "ContaminationReport") -> None:
    typer.echo(f"rows       {report.rows:,}: {report.prompts:,} distinct prompts, {report.responses:,} responses")
    for item in report.benchmarks:
        of = item.benchmark
        typer.echo(f"against    {of.uri}: {of.items:,} items, {of.texts:,} texts in {', '.join(of.fields)}")
        hits = ", ".join(f"{count:,} {method}" for method, count in item.hits.items())
        more = f" ({item.hits_left_out:,} more are not listed)" if item.hits_left_out else ""
        typer.echo(f"  hits     {hits}{more}; {item.rows_hit:,} rows hold some of it")
        if of.too_short or of.without_rare_words:
            typer.echo(
                f"  unseen   {of.too_short:,} texts are too short to be looked for, and {of.without_rare_words:,} have "
                "too few rare words for the search by word overlap"
            )
        if of.undecodable:
            typer.echo(f"  broken   {of.undecodable:,} texts were no valid UTF-8")
    typer.echo(f"hits file  {report.hits_file}: both texts side by side")
