"""`tutelage demo`: the whole way of a row, on the embedded teacher, with the example config and prompts."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tutelage.schemas.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.pipelines.config import HarvestConfig
    from tutelage.pipelines.curate_policy import CurateConfig
    from tutelage.train.config import TrainConfig

EXAMPLE = Path("examples/demo.yaml")
BENCHMARK = Path("examples/benchmark.jsonl")
POLICY = Path("examples/curate.yaml")
TRAINING, EVALUATION = Path("examples/train.yaml"), Path("examples/evaluate.yaml")
ROWS_SHOWN = 3


def run_demo(directory: Path) -> int:
    """Plans, harvests, seals, verifies, audits, curates, trains and evaluates; a second run finds all of it there."""
    from datetime import UTC, datetime

    from tutelage.cli.audit_report import run_report
    from tutelage.cli.curate import curate_config, print_curated
    from tutelage.cli.dataset import show_verified
    from tutelage.cli.display import display
    from tutelage.cli.evaluate import evaluate_config, print_evaluation
    from tutelage.cli.fingerprint import run_fingerprint
    from tutelage.cli.harvest import print_report
    from tutelage.cli.plan import print_plan
    from tutelage.cli.trace import show_trace
    from tutelage.cli.train import print_trained, train_config
    from tutelage.pipelines.config import load_config
    from tutelage.pipelines.curate_policy import load_curate_config
    from tutelage.pipelines.embedded_teacher import serve
    from tutelage.pipelines.gate import open_gate
    from tutelage.pipelines.harvest import HarvestOptions, harvest
    from tutelage.pipelines.plan import license_of, make_plan
    from tutelage.train.config import load_train_config
    from tutelage.train.evaluation.evaluate_config import load_evaluate_config

    if not EXAMPLE.exists():
        raise ConfigError(
            f"there is no {EXAMPLE} here; run the demo in a checkout of tutelage (or `tutelage init` for your own)"
        )
    config = load_config(EXAMPLE)
    _step("1. The teacher: SmolLM2-135M-Instruct, served on this machine")
    with serve() as teacher:
        typer.echo(f"   {teacher.base_url} ({teacher.weights.name}, sha256 {teacher.sha256[:8]}…)")
        config = _pointed_at(config, teacher.base_url, str(directory))
        _step(f"2. The plan ({EXAMPLE})")
        gate = open_gate(config, {license_of(source) for source in config.prompts}, datetime.now(UTC).date())
        print_plan(make_plan(config, None), gate, config.output.uri)
        _step("3. The harvest, sealed at its end")
        with display() as watcher:
            report = harvest(config, HarvestOptions(), watcher)
        print_report(report)
    _step("4. The seal, checked again from the bytes")
    broken = show_verified(config.output.uri, as_json=False)
    _step("5. Three rows of completions")
    rows = _some_rows(config.output.uri)
    for row in rows:
        _show(row)
    _step("6. Fingerprints: what audits compare")
    run_fingerprint([config.output.uri], None, (), as_json=False)
    _step(f"7. Audits and the report (against {BENCHMARK}, which holds one prompt of the demo)")
    run_report(
        [config.output.uri],
        against=[str(BENCHMARK)],
        maps=(),
        unsealed=False,
        out=None,
        as_json=False,
        fail_on=(),
        memory_limit="2GB",
    )
    _step(f"8. Curation: what training may use ({POLICY})")
    curated = f"{str(directory).rstrip('/')}-curated"
    print_curated(curate_config(_pointed_at_rows(load_curate_config(POLICY), config.output.uri, curated)))
    show_verified(curated, as_json=False)
    student = f"{str(directory).rstrip('/')}-student"
    _step(f"9. A student of 16M parameters, taught by these rows alone ({TRAINING})")
    print_trained(train_config(_pointed_at_student(load_train_config(TRAINING), curated, student)))
    _step(f"10. Beside its teacher, and beside what it was before anybody taught it ({EVALUATION})")
    evaluation = load_evaluate_config(EVALUATION).model_copy(update={"student": student})
    found, page = evaluate_config(evaluation)
    print_evaluation(found, student, page)
    _step("11. Which rows are in it, under which terms")
    show_trace(Path(student), None, as_json=False)
    _where(directory, curated, student, rows[0]["row_id"])
    return broken or report.exit_code


def _where(directory: Path, curated: str, student: str, row_id: str) -> None:
    tutelage = "tutelage" if shutil.which("tutelage") else sys.argv[0]
    _step("Where things lie")
    typer.echo(
        f"   {directory}/completions/   the rows (Parquet): pandas, polars, DuckDB, datasets read them as they are"
    )
    typer.echo(
        f"   {directory}/README.md      the dataset card;  manifest.json: the seal;  ledger.parquet: a row a call"
    )
    typer.echo(f"   {directory}/audit/report.html   open it in a browser;  findings.parquet: the same as rows")
    typer.echo(f"   {curated}/decisions.parquet   every row, in or out, with its reason;  receipt.json")
    typer.echo(f"   {student}/report.html   the student: how it learned, beside its base;  README.md: its card")
    typer.echo(f"   {tutelage} verify {directory}")
    typer.echo(f"   {tutelage} prove {directory} {row_id} > proof.json")
    typer.echo("   python3 docs/verify_proof.py proof.json")
    typer.echo(f'   {tutelage} audit sql {directory} "SELECT outcome, count(*) FROM completions GROUP BY ALL"')


def _pointed_at(config: "HarvestConfig", base_url: str, output: str) -> "HarvestConfig":
    teachers = tuple(teacher.model_copy(update={"base_url": base_url}) for teacher in config.teachers)
    return config.model_copy(update={"teachers": teachers, "output": config.output.model_copy(update={"uri": output})})


def _pointed_at_student(config: "TrainConfig", dataset: str, folder: str) -> "TrainConfig":
    return config.model_copy(update={"dataset": dataset, "output": config.output.model_copy(update={"folder": folder})})


def _pointed_at_rows(config: "CurateConfig", dataset: str, output: str) -> "CurateConfig":
    return config.model_copy(
        update={"datasets": (dataset,), "output": config.output.model_copy(update={"uri": output})}
    )


def _some_rows(uri: str) -> list[dict[str, Any]]:
    import pyarrow.dataset as ds

    columns = [
        "row_id",
        "messages",
        "response",
        "outcome",
        "teacher",
        "terms_id",
        "train_use",
        "created_at",
        "completion_tokens",
    ]
    table = ds.dataset(f"{uri}/completions", format="parquet").to_table(columns=columns).sort_by("row_id")
    return list(table.slice(0, ROWS_SHOWN).to_pylist())


def _show(row: dict[str, Any]) -> None:
    when = f"{row['created_at']:%H:%M:%S} UTC"
    typer.echo(f"   row {row['row_id'][:12]}…  {row['outcome']}, {row['completion_tokens']} tokens, {when}")
    typer.echo(f"     asked     {_line(row['messages'][-1]['content'])}")
    typer.echo(f"     answered  {_line(row['response'])}")
    typer.echo(f"     by {row['teacher']} under {row['terms_id']}: {row['train_use']}")


def _line(text: str, width: int = 96) -> str:
    # A model's text goes to a terminal here: control characters would be obeyed, not shown.
    flat = "".join(character if character.isprintable() else " " for character in text)
    flat = " ".join(flat.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _step(title: str) -> None:
    typer.echo(f"\n{title}")
