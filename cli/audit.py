"""The `tutelage audit` commands: arguments in, one call out."""

from typing import Annotated

import typer

app = typer.Typer(
    help="Ask what a dataset holds: duplicates, contamination, quality, SQL, one report.", no_args_is_help=True
)

Datasets = Annotated[list[str], typer.Argument(metavar="DIR...", help="Dataset folders, or any fsspec URIs of them.")]
Maps = Annotated[
    list[str],
    typer.Option("--map", metavar="OURS=THEIRS", help="For foreign Parquet: which column of theirs is which of ours."),
]
Unsealed = Annotated[bool, typer.Option("--unsealed", help="Audit in spite of a seal that does not hold.")]
Out = Annotated[str | None, typer.Option("--out", help="Folder for the results; default: DIR/audit.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
FailOn = Annotated[
    list[str],
    typer.Option(
        "--fail-on",
        metavar="RULE",
        help="Exit 3 on such findings: error, warning, this audit's name, a rule of it, either with >100.",
    ),
]
Memory = Annotated[str, typer.Option("--memory-limit", help="What DuckDB may hold in memory before it spills.")]
Against = Annotated[
    list[str], typer.Option("--against", metavar="BENCH", help="An evaluation set: jsonl, csv, parquet.")
]


@app.command()
def duplicates(
    datasets: Datasets,
    threshold: Annotated[float, typer.Option(help="Least Jaccard similarity of near-duplicates, above 0 to 1.")] = 0.8,
    within: Annotated[str, typer.Option(help="Compare responses within each prompt, each teacher, or all.")] = "all",
    across: Annotated[
        list[str], typer.Option("--across", metavar="OTHER_DIR", help="Report only pairs between DIR and these.")
    ] = [],  # noqa: B006  (Typer reads it; nobody changes it)
    maps: Maps = [],  # noqa: B006
    unsealed: Unsealed = False,
    out: Out = None,
    as_json: AsJson = False,
    fail_on: FailOn = [],  # noqa: B006
    memory_limit: Memory = "2GB",
) -> None:
    """Find exact and near-duplicate responses and prompts, within datasets or across them."""
    from tutelage.cli.audit_duplicates import run_duplicates

    raise typer.Exit(
        run_duplicates(
            datasets,
            threshold=threshold,
            within=within,
            across=across,
            maps=maps,
            unsealed=unsealed,
            out=out,
            as_json=as_json,
            fail_on=fail_on,
            memory_limit=memory_limit,
        )
    )


@app.command()
def contamination(
    datasets: Datasets,
    against: Against,
    text_fields: Annotated[
        list[str], typer.Option("--text-field", metavar="NAME", help="Which fields of BENCH hold text; default: found.")
    ] = [],  # noqa: B006
    maps: Maps = [],  # noqa: B006
    unsealed: Unsealed = False,
    out: Out = None,
    as_json: AsJson = False,
    fail_on: FailOn = [],  # noqa: B006
    memory_limit: Memory = "2GB",
) -> None:
    """Find prompts and responses that overlap with evaluation sets."""
    from tutelage.cli.audit_contamination import run_contamination

    raise typer.Exit(
        run_contamination(
            datasets,
            against,
            text_fields=text_fields,
            maps=maps,
            unsealed=unsealed,
            out=out,
            as_json=as_json,
            fail_on=fail_on,
            memory_limit=memory_limit,
        )
    )


@app.command()
def quality(
    datasets: Datasets,
    maps: Maps = [],  # noqa: B006
    unsealed: Unsealed = False,
    out: Out = None,
    as_json: AsJson = False,
    fail_on: FailOn = [],  # noqa: B006
    memory_limit: Memory = "2GB",
) -> None:
    """Outcomes, refusals, loops, languages, cost, and whether teacher or terms changed midway."""
    from tutelage.cli.audit_quality import run_quality

    raise typer.Exit(
        run_quality(
            datasets,
            maps=maps,
            unsealed=unsealed,
            out=out,
            as_json=as_json,
            fail_on=fail_on,
            memory_limit=memory_limit,
        )
    )


@app.command()
def sql(
    arguments: Annotated[list[str], typer.Argument(metavar="DIR... SQL", help="Datasets, and last one SELECT.")],
    format_: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
    output: Annotated[str | None, typer.Option("--output", help="A file to write to, in place of stdout.")] = None,
    maps: Maps = [],  # noqa: B006
    unsealed: Unsealed = False,
    out: Out = None,
    as_json: AsJson = False,
    memory_limit: Memory = "2GB",
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="Seconds after which the query is stopped.")] = 60.0,
) -> None:
    """Run one read-only SELECT over all tables of the datasets; it can reach nothing else."""
    from tutelage.cli.audit_sql import run_sql

    raise typer.Exit(
        run_sql(
            arguments,
            format=format_,
            output=output,
            maps=maps,
            unsealed=unsealed,
            out=out,
            memory_limit=memory_limit,
            timeout_s=timeout_s,
            as_json=as_json,
        )
    )


@app.command()
def report(
    datasets: Datasets,
    against: Against = [],  # noqa: B006
    maps: Maps = [],  # noqa: B006
    unsealed: Unsealed = False,
    out: Out = None,
    as_json: AsJson = False,
    fail_on: FailOn = [],  # noqa: B006
    memory_limit: Memory = "2GB",
) -> None:
    """Run the audits and write one self-contained HTML page."""
    from tutelage.cli.audit_report import run_report

    raise typer.Exit(
        run_report(
            datasets,
            against=against,
            maps=maps,
            unsealed=unsealed,
            out=out,
            as_json=as_json,
            fail_on=fail_on,
            memory_limit=memory_limit,
        )
    )
