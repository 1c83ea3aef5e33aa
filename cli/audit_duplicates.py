"""`tutelage audit duplicates`: what a person reads of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tutelage.audit.duplicates import DuplicatesReport, PartReport


def run_duplicates(
    datasets: Sequence[str],
    *,
    threshold: float,
    within: str,
    across: Sequence[str],
    maps: Sequence[str],
    unsealed: bool,
    out: str | None,
    as_json: bool,
    fail_on: Sequence[str],
    memory_limit: str,
) -> int:
    from tutelage.audit.banding import choose_banding
    from tutelage.audit.duplicates import audit_duplicates
    from tutelage.cli.audit_input import conclude, prepared
    from tutelage.cli.main import print_json

    choose_banding(threshold)  # a threshold that is none must not cost a pass over all texts first
    found = prepared(
        [*datasets, *across],
        maps=maps,
        unsealed=unsealed,
        out=out,
        likeness_only=True,
        fail_on=fail_on,
        audits=("duplicates",),
    )
    left, right = found.inputs[: len(datasets)], found.inputs[len(datasets) :]
    report = audit_duplicates(
        left, found.out, threshold=threshold, within=within, across=right, memory_limit=memory_limit
    )
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)
    return conclude(found, report.findings, fail_on)


def _show(report: "DuplicatesReport") -> None:
    typer.echo(f"near means a Jaccard similarity of at least {report.threshold:g} over 5-word shingles")
    for name, part in (("responses", report.responses), ("prompts", report.prompts)):
        _show_part(name, part)


def _show_part(name: str, part: "PartReport") -> None:
    empty = f", and {part.empty:,} without a word" if part.empty else ""
    typer.echo(f"{name:<10} {part.documents:,} compared{empty}")
    typer.echo(
        f"  clusters {part.exact_clusters:,} of equal texts, {part.near_clusters:,} of near-equal ones; "
        f"{part.rows_in_clusters:,} rows are in them  ({part.clusters_file})"
    )
    typer.echo(f"  pairs    {part.pairs:,}, each verified on its texts  ({part.pairs_file})")
    typer.echo(
        f"  recall   {part.expected_recall:.1%} expected of pairs at the threshold itself, more above it "
        f"({part.bands} bands of {part.rows_per_band})"
    )
    if part.oversized_buckets or part.capped_texts:
        typer.echo(
            f"  limits   {part.oversized_buckets:,} oversized buckets were linked to their first text and a neighbour; "
            f"{part.capped_texts:,} texts have too many copies to list every pair: clusters are whole, pairs are not"
        )
