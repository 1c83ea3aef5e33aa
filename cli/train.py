"""`tutelage train`: the gate, then the training, with its display; `--dry-run` shows what would be trained."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tutelage.schemas.permit import Permit
    from tutelage.train.config import TrainConfig
    from tutelage.train.run import Trained


def run_train(config_path: Path, dry_run: bool, as_json: bool) -> int:
    from tutelage.cli.main import print_json
    from tutelage.train.config import load_train_config

    config = load_train_config(config_path)
    if dry_run:
        return _show_preview(config, as_json)
    trained = train_config(config)
    if not _leads():
        return 0
    if as_json:
        print_json(trained.to_json())
    else:
        print_trained(trained)
    return 0


def train_config(config: "TrainConfig") -> "Trained":
    """The gate comes first, before a weight is loaded."""
    from tutelage.cli.train_display import display

    permit = _permit(config)
    from tutelage.train.run import train  # torch takes seconds to import

    with display(_leads()) as watcher:
        trained = train(config, permit, watcher)
    if trained.finished and _leads():
        from tutelage.audit.student_page import write_student_page

        write_student_page(trained.folder)
    return trained


def _permit(config: "TrainConfig") -> "Permit":
    from tutelage.cli.display import harmless
    from tutelage.pipelines.train_gate import open_train_gate

    permit = open_train_gate(config.dataset, config.student.name, config.policy, datetime.now(UTC).date())
    for note in permit.notes if _leads() else ():
        typer.echo(harmless(f"note: {note}"), err=True)
    return permit


def _show_preview(config: "TrainConfig", as_json: bool) -> int:
    from tutelage.cli.main import print_json
    from tutelage.cli.train_preview import print_preview

    permit = _permit(config)
    from tutelage.train.preview import preview

    found = preview(config, permit)
    if as_json:
        print_json(found.to_json())
    else:
        print_preview(found)
    return 0


def print_trained(trained: "Trained") -> None:
    if not trained.finished:
        saved = f"after step {trained.steps}, with a checkpoint" if trained.steps else "before the first step"
        typer.echo(f"stopped   {saved}; run the same command to go on")
        return
    if trained.loss is not None:
        typer.echo(f"steps     {trained.steps:,}, the last one's loss {trained.loss:.4f} nats a token")
    if trained.held_out_losses:
        losses = dict(trained.held_out_losses)
        best = min((step for step in losses if step), key=lambda step: (losses[step], step))
        exported = "exported" if best == trained.exported_step else f"step {trained.exported_step:,} was exported"
        typer.echo(f"held out  {losses[0]:.4f} untaught, {losses[best]:.4f} at its best (step {best:,}: {exported})")
    typer.echo(f"student   {trained.folder}: transformers and vLLM load it as it is; README.md is its card")
    typer.echo(f"page      {trained.folder}/report.html: how it learned, and who taught it")
    typer.echo(f"why       {trained.folder}/run.json and training_rows.parquet; tutelage trace {trained.folder}")


def _leads() -> bool:
    """Under torchrun, one process speaks."""
    import os

    return os.environ.get("RANK", "0") == "0"
