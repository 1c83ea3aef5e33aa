"""`tutelage evaluate`: teacher, student and untaught base side by side, as a table, as JSON, as a page."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from tutelage.train.evaluation.evaluate_config import EvaluateConfig
    from tutelage.train.evaluation.evaluation_table import Progress

MODELS = ("teacher", "student", "base")
TITLES = {"teacher": "teacher", "student": "student", "base": "untaught base"}
LINE_EVERY_S = 10.0


def run_evaluate(config_path: Path, as_json: bool) -> int:
    from tutelage.cli.main import print_json
    from tutelage.train.evaluation.evaluate_config import load_evaluate_config

    config = load_evaluate_config(config_path)
    found, page = evaluate_config(config)
    if as_json:
        print_json({**found, "page": page})
    else:
        print_evaluation(found, config.student, page)
    return 0


def evaluate_config(config: "EvaluateConfig") -> tuple[dict[str, Any], str]:
    """What is in evaluation.json, and where the page is."""
    from tutelage.audit.student_page import write_student_page
    from tutelage.train.evaluation.evaluate import evaluate  # torch takes seconds to import

    with _display() as progress:
        found = evaluate(config, progress)
    return found, write_student_page(config.student)


def print_evaluation(found: Mapping[str, Any], folder: str, page: str) -> None:
    from rich.console import Console

    console, content = Console(highlight=False), found["held_out"]
    console.print(_table(found))
    typer.echo(
        f"held out   {content['rows']:,} of {content['of_rows']:,} rows in {content['groups']:,} groups that are drawn "
        "together for intervals of 95 %"
    )
    typer.echo(f"student    {_against_base(content)}")
    if reason := content["agreement"].get("reason"):
        typer.echo(f"agreement  not measured: {_line(reason)}")
    if found["teacher"]["kind"] == "none":
        typer.echo(f"teacher    no column: {_line(found['teacher']['reason'])}")
    for note in found["notes"]:
        typer.echo(f"note       {_line(note)}")
    typer.echo(f"page       {page}; the same as numbers: {folder.rstrip('/')}/evaluation.json")


def _table(found: Mapping[str, Any]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    # On a narrow terminal the words give way, never a figure.
    table.add_column("", min_width=12, overflow="fold")
    for name in MODELS:
        table.add_column(TITLES[name], justify="right", no_wrap=True)
    content = found["held_out"]
    columns, agreement = content["columns"], content["agreement"].get("columns", {})
    measured: list[tuple[str, Mapping[str, Any], str, str]] = [
        ("loss, nats a token", columns, "loss_per_token", ".4f"),
        ("bits a byte", columns, "bits_per_byte", ".4f"),
        ("first choice is the teacher's", agreement, "same_top", ".1%"),
        ("KL from the teacher, nats", agreement, "kl_nats", ".4f"),
    ]
    for title, of, key, form in measured:
        figures = [of.get(name, {}).get(key) for name in MODELS]
        if any(figures):
            table.add_row(title, *(_figure(figure, form, "\n") for figure in figures))
    for task in found["tasks"]:
        scores = [task["columns"].get(name, {}).get("score") for name in MODELS]
        asked = Text(f"{_line(task['name'])} ({task['questions']:,} questions)")
        table.add_row(asked, *(_figure(figure, ".1%", "\n") for figure in scores))
    return table


def _figure(figure: Mapping[str, Any] | None, form: str, between: str = " ") -> str:
    if figure is None or figure["value"] is None:
        return "–"
    ends: Sequence[float] = figure["interval"] or ()
    interval = f"{between}({ends[0]:{form}} to {ends[1]:{form}})" if ends else ""
    return format(figure["value"], form) + interval


def _against_base(content: Mapping[str, Any]) -> str:
    won = content["student_wins_over_base"]["rows"]
    wins = (
        f"{won['won']:,} of {won['of']:,} rows are likelier to it than to its base (sign test, p {won['p_value']:.2g})"
    )
    minus = content["student_minus"]["base"]["bits_per_byte"]
    return wins if minus is None else f"{_figure(minus, '+.4f')} bits a byte against its untaught base; {wins}"


def _line(text: Any) -> str:
    """One line on the terminal, whatever a name or a reason holds."""
    from tutelage.schemas.markdown import one_line

    return one_line(str(text))


@contextmanager
def _display() -> Iterator["Progress"]:
    """Bars on a terminal, a plain line now and then where output is piped; always on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    said: dict[str, float] = {}

    def line(what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if what not in said or done == of or now - said[what] >= LINE_EVERY_S:
            said[what] = now
            text = f"{what} …" if of == 1 else f"{what} {done:,}/{of:,}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)

    if not console.is_terminal:
        yield line
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def bar(what: str, done: int, of: int) -> None:
            if what not in tasks:
                for other in tasks.values():
                    bars.update(other, visible=False)
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done, total=of)

        yield bar
