"""What the README shows is what is shipped."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_config_in_the_readme_is_the_demos() -> None:
    lines = (ROOT / "examples/demo.yaml").read_text().splitlines(keepends=True)
    demo = "".join(line for line in lines if not line.startswith("#"))
    assert demo in (ROOT / "README.md").read_text()


def test_the_readme_names_the_whole_way_of_a_row() -> None:
    text = (ROOT / "README.md").read_text()
    commands = ("harvest", "verify", "prove", "withdraw", "audit report", "curate", "train", "evaluate", "trace")
    assert [name for name in commands if f"tutelage {name}" not in text] == []


def test_every_command_is_documented() -> None:
    from typer.main import get_command

    from tutelage.cli.main import app

    text = (ROOT / "docs/cli.md").read_text()
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert len(commands) >= 10
    assert [name for name in commands if f"`tutelage {name}" not in text] == []
