"""The `tutelage audit` commands: arguments in, one call out."""

from typing import Annotated

import typer

app = typer.Typer(
    help="Ask what a dataset holds: duplicates, contamination, quality, SQL, one report. And who was taught by whom.",
    no_args_is_help=True,
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
Outputs = Annotated[
    list[str],
    typer.Argument(
        metavar="OUTPUTS...", help="Parquet of model, prompt_id, prompt, response (and sample_index), or our datasets."
    ),
]
PanelFile = Annotated[
    str, typer.Option("--panel", metavar="CSV", help="Who is who: model,role,family,taught_by,parent,cluster.")
]
Suspects = Annotated[
    list[str],
    typer.Option(
        "--suspect",
        metavar="MODEL",
        help="Whom to ask about; default: the panel's suspects, else models that it does not know.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Of what is drawn at random; the same seed gives the same result.")]


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


@app.command()
def lineage(
    outputs: Outputs,
    panel: PanelFile,
    suspects: Suspects = [],  # noqa: B006
    report: Annotated[str | None, typer.Option("--report", metavar="FILE.html", help="Write the page, too.")] = None,
    families: Annotated[
        list[str],
        typer.Option(
            "--family", metavar="FAMILY", help="Ask about this family only, if decided before looking: more power."
        ),
    ] = [],  # noqa: B006
    embedding: Annotated[
        bool, typer.Option("--embedding", help="Add how near answers are in meaning (MiniLM, an extra).")
    ] = False,
    nominal: Annotated[float, typer.Option(help="How often it may be wrong on models that nobody here taught.")] = 0.05,
    seed: Seed = 0,
    unsealed: Unsealed = False,
    as_json: AsJson = False,
    memory_limit: Memory = "500MB",
) -> None:
    """Weigh whether a model was taught by a teacher of the panel, with error rates measured on the panel."""
    from tutelage.cli.audit_lineage import run_lineage

    raise typer.Exit(
        run_lineage(
            outputs,
            panel=panel,
            suspects=suspects,
            report=report,
            embedding=embedding,
            families=families,
            nominal=nominal,
            seed=seed,
            unsealed=unsealed,
            as_json=as_json,
            memory_limit=memory_limit,
        )
    )


@app.command("who-wrote")
def who_wrote(
    outputs: Outputs,
    panel: PanelFile,
    suspects: Suspects = [],  # noqa: B006
    seed: Seed = 0,
    unsealed: Unsealed = False,
    as_json: AsJson = False,
    memory_limit: Memory = "500MB",
) -> None:
    """Say which model of the panel wrote a text, or that none can be told."""
    from tutelage.cli.audit_lineage import run_who_wrote

    raise typer.Exit(
        run_who_wrote(
            outputs,
            panel=panel,
            suspects=suspects,
            seed=seed,
            unsealed=unsealed,
            as_json=as_json,
            memory_limit=memory_limit,
        )
    )
