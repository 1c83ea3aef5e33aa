"""`tutelage harvest`: runs the harvest behind a display, and says at the end what came of it."""

import difflib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tutelage.schemas.errors import ConfigError

OWN_OPTIONS = ("--runner", "--max-usd", "--limit", "--reparse", "--json")

if TYPE_CHECKING:
    from tutelage.pipelines.harvest import HarvestReport


def run_harvest(
    config_path: Path,
    runner: str | None,
    beam_args: tuple[str, ...],
    max_usd: str | None,
    limit: int | None,
    reparse: bool,
    as_json: bool,
) -> int:
    from tutelage.cli.display import display
    from tutelage.cli.main import print_json
    from tutelage.pipelines.config import load_config
    from tutelage.pipelines.harvest import HarvestOptions, HarvestStopped, harvest

    config = load_config(config_path)
    options = HarvestOptions(runner, _for_beam(beam_args), _usd(max_usd), limit, reparse)
    show = (lambda report: print_json(report.to_json())) if as_json else print_report
    try:
        with display() as watcher:
            report = harvest(config, options, watcher)
    except HarvestStopped as stopped:
        show(stopped.report)
        raise
    show(report)
    return report.exit_code


def print_report(report: "HarvestReport") -> None:
    rows = ", ".join(f"{count:,} {outcome}" for outcome, count in report.rows.items()) or "none"
    typer.echo(f"rows      {rows}")
    reused = f"{report.responses_reused:,} answers reused, {report.repaid:,} paid for again"
    typer.echo(f"calls     {report.requests_sent:,} sent, {reused}")
    tokens = ", ".join(f"{count:,} {name.removesuffix('_tokens')}" for name, count in report.tokens.items())
    typer.echo(f"tokens    {tokens}; cost {report.cost_usd:,.6f} USD")
    typer.echo(f"time      {report.elapsed_s:,.1f} s, {report.requests_per_second:,.1f} requests a second while asking")
    if report.torn_bytes:
        typer.echo(
            f"journal   {report.torn_bytes:,} bytes of a cut-off write were dropped; those requests were asked again"
        )
    for halt in report.halts:
        typer.echo(f"stopped   {halt.message}")
    if report.left:
        left = ", ".join(f"{count:,} {cause}" for cause, count in report.left.items())
        typer.echo(f"left      {left} (table failed; run the same command to ask again what can be asked)")
    if report.unusable_prompts:
        typer.echo(f"prompts   {report.unusable_prompts:,} rows could not be asked (rejected.parquet says why)")
    typer.echo(f"sealed    {report.dataset}, Merkle root {report.root[:16]}…")


def _for_beam(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Beam drops what it does not know without a word: a mistyped cap must not get there."""
    if arguments and not arguments[0].startswith("-"):
        raise ConfigError(f"found {arguments[0]!r} after the config, and one config was wanted; take it out")
    for argument in arguments:
        name = argument.partition("=")[0].replace("_", "-")
        near = difflib.get_close_matches(name, OWN_OPTIONS, 1, 0.8) if name.startswith("--") else []
        if near:
            raise ConfigError(f"unknown option {argument!r}; did you mean {near[0]}? (other options go to Beam)")
    return arguments


def _usd(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text)
        if amount.is_finite() and amount >= 0:
            return amount
    except InvalidOperation:
        pass
    raise ConfigError(f"--max-usd {text!r}: an amount of US dollars was wanted, like 5 or 0.25")
