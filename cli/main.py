"""The `tutelage` command. Thin: a command parses its arguments and calls one function; heavy imports wait inside."""

import itertools
import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tutelage.cli import audit, teacher, terms
from tutelage.cli.doctor import doctor
from tutelage.schemas.errors import TutelageError

app = typer.Typer(
    help="Harvest what teacher models say, with receipts; audit who taught whom; train only on what may be used.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(audit.app, name="audit")
app.add_typer(terms.app, name="terms")
app.add_typer(teacher.app, name="teacher")
app.command()(doctor)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A harvest config (YAML); `tutelage init` writes one.")]
Dataset = Annotated[str, typer.Argument(metavar="DIR", help="A dataset folder, or any fsspec URI of one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]


@app.command()
def init(directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write.")] = Path()) -> None:
    """Write a commented starter config and prompts."""
    from tutelage.cli.starter import write_starter

    for path in write_starter(directory):
        typer.echo(f"wrote {path}")


@app.command()
def plan(config: Config, as_json: AsJson = False) -> None:
    """Count what a harvest would ask, what it would cost at most, and what the terms say. Makes no call."""
    from tutelage.cli.plan import show_plan

    raise typer.Exit(show_plan(config, as_json))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def harvest(
    context: typer.Context,
    config: Config,
    runner: Annotated[str | None, typer.Option(help="A Beam runner; default: Beam's own, in this process.")] = None,
    max_usd: Annotated[str | None, typer.Option(help="Hard cap, over all runs of this dataset.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Plan at most so many requests.")] = None,
    reparse: Annotated[
        bool, typer.Option("--reparse", help="Rebuild all rows from the journal; makes no call.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run or resume a harvest, and seal it. Options that tutelage does not know go to Beam."""
    from tutelage.cli.harvest import run_harvest

    raise typer.Exit(run_harvest(config, runner, tuple(context.args), max_usd, limit, reparse, as_json))


@app.command()
def verify(dataset: Dataset, as_json: AsJson = False) -> None:
    """Check every file, row and root of a dataset against its seal."""
    from tutelage.cli.dataset import show_verified

    raise typer.Exit(show_verified(dataset, as_json))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def fingerprint(
    context: typer.Context,
    datasets: Annotated[list[str], typer.Argument(metavar="DIR...", help="Dataset folders, or any fsspec URIs.")],
    runner: Annotated[str | None, typer.Option(help="A Beam runner; default: Beam's own, in this process.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the fingerprints that audits compare, where they are missing. Other options go to Beam."""
    from tutelage.cli.fingerprint import run_fingerprint

    # What follows the first option that we don't know is Beam's, values and all.
    everything = [*datasets, *context.args]
    own = list(itertools.takewhile(lambda text: not text.startswith("-"), everything))
    raise typer.Exit(run_fingerprint(own, runner, everything[len(own) :], as_json))


@app.command()
def curate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A curation policy (YAML).")],
    as_json: AsJson = False,
) -> None:
    """Choose what training may use, by a policy; seal it, with a reason for every row in or out."""
    from tutelage.cli.curate import run_curate

    raise typer.Exit(run_curate(config, as_json))


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A training config (YAML); docs/train.md has one.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be trained, packed and needed; loads no weight.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Distil a student from a curated set whose terms allow it. The same command goes on where a run was stopped."""
    from tutelage.cli.train import run_train

    raise typer.Exit(run_train(config, dry_run, as_json))


@app.command()
def evaluate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="An evaluation config (YAML).")],
    as_json: AsJson = False,
) -> None:
    """Put teacher, student and untaught base side by side on the held-out rows."""
    from tutelage.cli.evaluate import run_evaluate

    raise typer.Exit(run_evaluate(config, as_json))


@app.command()
def trace(
    student: Annotated[Path, typer.Argument(metavar="STUDENT", help="A student's folder.")],
    row: Annotated[str | None, typer.Option(help="Did this row teach it? Its id, or how it begins.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say which rows, teachers and terms are in a student, and which of the rows were withdrawn since."""
    from tutelage.cli.trace import show_trace

    raise typer.Exit(show_trace(student, row, as_json))


@app.command()
def prove(dataset: Dataset, row_id: Annotated[str, typer.Argument(metavar="ROW_ID")]) -> None:
    """Print one row's proof as JSON; docs/verify_proof.py checks it with the standard library alone."""
    from tutelage.pipelines.prove import prove as prove_row
    from tutelage.pipelines.storage import Folder

    print_json(prove_row(Folder(dataset), row_id))


@app.command()
def withdraw(
    dataset: Dataset,
    where: Annotated[str, typer.Option(help="SQL condition over completions, like: prompt_id = 'p7'")],
    reason: Annotated[str, typer.Option(help="Why; it stays in the tombstones.")],
    as_json: AsJson = False,
) -> None:
    """Erase rows: content, salt, raw answer and prompt go; leaf and tombstone stay, and the root still verifies."""
    from tutelage.cli.dataset import withdraw_rows

    raise typer.Exit(withdraw_rows(dataset, where, reason, as_json))


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the dataset goes.")] = Path("harvests/demo"),
) -> None:
    """Take the whole way of a row on the embedded teacher: plan, harvest, seal, audit, curate, train, evaluate."""
    from tutelage.cli.demo import run_demo

    raise typer.Exit(run_demo(directory))


def print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, default=str, ensure_ascii=False))


def run() -> None:
    """Entry point: what tutelage raises on purpose becomes a message on stderr and its exit code.

    Typer itself ends with 130 on Ctrl-C, and quietly with 1 where nobody reads on (`| head`).
    """
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except TutelageError as error:
        from tutelage.cli.display import harmless

        typer.echo(harmless(f"tutelage: {error}"), err=True)
        sys.exit(error.exit_code)
