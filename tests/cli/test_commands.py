"""The command as a whole: documented, quick to start, and honest in its exit codes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from tutelage.cli.main import app

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
HEAVY = ("apache_beam", "duckdb", "torch", "pyarrow", "numpy", "httpx", "aiohttp", "yaml", "xllamacpp")


def _commands(group: TyperGroup, above: str = "tutelage") -> Iterator[tuple[str, list[str]]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{above} {name}")
        else:
            options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
            yield f"{above} {name}", options


def _whole() -> TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def _undocumented(command: str, options: list[str], text: str) -> list[str]:
    """What a reader of the table would not learn of: the command itself, or an option of its row."""
    *group, last = command.split()
    whole = " ".join(group)
    rows = [
        line for line in text.splitlines() if line.startswith("|") and whole in line and re.search(rf"\b{last}\b", line)
    ]
    if not rows:
        return [command]
    # What several commands share is explained once: a row that says AUDIT OPTIONS means the line that lists them.
    if any("AUDIT OPTIONS" in row for row in rows):
        rows += [line for line in text.splitlines() if line.startswith("AUDIT OPTIONS are")]
    return [f"{command} {option}" for option in options if not any(option in row for row in rows)]


@pytest.mark.parametrize(
    ("command", "options"), list(_commands(_whole())), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_command_and_its_options_are_documented(command: str, options: list[str]) -> None:
    assert _undocumented(command, options, DOCUMENTED) == []


def test_an_undocumented_command_or_option_is_found() -> None:
    table = "| `tutelage plan CONFIG [--json]` | counts |"
    assert _undocumented("tutelage plan", ["--json"], table) == []
    assert _undocumented("tutelage plan", ["--json", "--new"], table) == ["tutelage plan --new"]
    assert _undocumented("tutelage audit lineage", [], table) == ["tutelage audit lineage"]
    shared = "AUDIT OPTIONS are `--map`\n| `tutelage audit sql DIR [AUDIT OPTIONS]` | asks |"
    assert _undocumented("tutelage audit sql", ["--map", "--format"], shared) == ["tutelage audit sql --format"]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["harvest", "--help"], ["terms", "--help"], ["teacher", "serve", "--help"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    source = (
        "import sys\n"
        "from tutelage.cli.main import run\n"
        f"sys.argv = ['tutelage', *{arguments!r}]\n"
        "try:\n"
        "    run()\n"
        "finally:\n"
        f"    print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)\n"
    )
    shown = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert "Usage" in shown.stdout
    assert shown.stderr.strip() == "[]"
