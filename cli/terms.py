"""`tutelage terms`: the register of what teachers' terms say about training."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.schemas.errors import ConfigError, PolicyRefused

if TYPE_CHECKING:
    from tutelage.schemas.terms_entry import TermsEntry
    from tutelage.schemas.terms_register import Register
    from tutelage.schemas.terms_resolution import TermsDecision

app = typer.Typer(
    no_args_is_help=True, help="The register of what teachers' terms say about training. It is not legal advice."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Folder = Annotated[
    Path | None,
    typer.Option("--register", help="A register folder of your own; ./tutelage-terms is read where it exists."),
]


@app.command("list")
def list_entries(register: Folder = None, as_json: AsJson = False) -> None:
    """Every entry that holds today, one a line."""
    from datetime import UTC, datetime

    known = _register(register)
    entries = known.in_force(datetime.now(UTC).date()).entries
    if as_json:
        _print_json({"entries": [_summary(known, entry) for entry in entries]})
        return
    columns = ("id", "train_use", "obligations", "from")
    _print_table(columns, [[_cell(_summary(known, entry)[column]) for column in columns] for entry in entries])


@app.command()
def show(terms_id: str, register: Folder = None, as_json: AsJson = False) -> None:
    """One entry whole, with its sha256 and the file that it stands in."""
    known = _register(register)
    entry = known.get(terms_id)
    if entry is None:
        raise ConfigError(f"terms {terms_id!r} is not in the register{known.nearest(terms_id)}")
    found = {**entry.model_dump(mode="json"), "sha256": entry.sha256, "from": known.origins[entry.key].file}
    if as_json:
        _print_json(found)
        return
    _print_table(
        ("field", "value"), [[field, _cell(value)] for field, value in found.items() if value not in (None, [])]
    )


@app.command()
def check(
    config: Annotated[Path | None, typer.Argument(help="A harvest config; each of its teachers is decided.")] = None,
    model: Annotated[str | None, typer.Option(help="Instead of a config: the model that the teacher serves.")] = None,
    channel: Annotated[str | None, typer.Option(help="How it is reached: weights:local, api:openai, …")] = None,
    base_url: Annotated[str | None, typer.Option(help="Where it is called.")] = None,
    terms: Annotated[list[str] | None, typer.Option(help="A terms id to name, as in a config; repeatable.")] = None,
    prompt_license: Annotated[list[str] | None, typer.Option(help="The prompts' licence; repeatable.")] = None,
    register: Folder = None,
    as_json: AsJson = False,
) -> None:
    """May what this teacher says be used for training? Exit code 3 if any teacher is refused."""
    if config is not None and model is None and channel is None:
        decisions = _decide_config(config, register)
    elif config is None and model is not None and channel is not None:
        decisions = (_decide_one(model, channel, base_url, terms or [], prompt_license or [], register),)
    else:
        raise ConfigError("`terms check` needs either a CONFIG or both --model and --channel; give one of the two")
    permitted = all(decision.permitted for decision in decisions)
    if as_json:
        _print_json({"permitted": permitted, "teachers": [decision.model_dump(mode="json") for decision in decisions]})
    else:
        for decision in decisions:
            _print_decision(decision)
    if not permitted:
        raise typer.Exit(PolicyRefused.exit_code)


@app.command()
def add(
    file: Path,
    register: Annotated[Path | None, typer.Option(help="The register folder to add to [./tutelage-terms].")] = None,
    text: Annotated[Path | None, typer.Option(help="The terms' full text, to keep beside the entry.")] = None,
    supersede: Annotated[
        bool, typer.Option("--supersede", help="Take the place of an entry with the same id.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Checks the entries of a YAML FILE and copies them to your register."""
    from tutelage.schemas.terms_folder import DEFAULT_FOLDER, add_entries

    folder = register or DEFAULT_FOLDER
    additions = add_entries(file, folder, text=text, supersede=supersede)
    if as_json:
        _print_json(
            {
                "added": [
                    {
                        "id": entry.id,
                        "version": entry.version,
                        "sha256": entry.sha256,
                        "file": str(path),
                        "replaces": replaces and replaces.version,
                    }
                    for entry, path, replaces in additions
                ]
            }
        )
        return
    for entry, path, replaces in additions:
        instead = f", in place of version {replaces.version} ({replaces.train_use})" if replaces else ""
        typer.echo(f"added {entry.id} {entry.version} ({entry.train_use}){instead}: {path}")
    typer.echo(f"a config reads it with: terms_register: {folder}")


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="A terms id (or id@version), a YAML file, or a dataset folder.")],
    b: Annotated[str | None, typer.Argument(help="The same; left out, what the register says today.")] = None,
    register: Folder = None,
    as_json: AsJson = False,
) -> None:
    """What changed between two states of the terms, field by field."""
    from tutelage.schemas.terms_diff import current_side, differences, read_side

    known = _register(register)
    left = read_side(a, known)
    found = differences(left, read_side(b, known) if b else current_side(left, known))
    if as_json:
        _print_json({"differences": [difference._asdict() for difference in found]})
    elif found:
        _print_table(("terms", "field", a, b or "the register"), [[_cell(value) for value in row] for row in found])
    else:
        typer.echo("no difference")


def _register(folder: Path | None) -> "Register":
    from tutelage.schemas.terms_folder import DEFAULT_FOLDER
    from tutelage.schemas.terms_register import Register

    if folder is None and DEFAULT_FOLDER.is_dir():
        folder = DEFAULT_FOLDER
    return Register.load([] if folder is None else [folder])


def _decide_one(
    model: str, channel: str, base_url: str | None, terms: list[str], prompt_licenses: list[str], folder: Path | None
) -> "TermsDecision":
    from datetime import UTC, datetime

    from tutelage.schemas.terms_resolution import Policy, TeacherFacts, decide

    facts = TeacherFacts(name=model, model=model, channel=channel, base_url=base_url, terms_ids=tuple(terms))
    return decide(_register(folder), facts, prompt_licenses, Policy(), [], datetime.now(UTC).date())


def _decide_config(path: Path, folder: Path | None) -> tuple["TermsDecision", ...]:
    from datetime import UTC, datetime

    from tutelage.pipelines.config import load_config
    from tutelage.pipelines.gate import open_gate

    config = load_config(path)
    if folder is not None:
        config = config.model_copy(update={"terms_register": str(folder)})
    licenses = {source.license or "unknown" for source in config.prompts}
    return open_gate(config, licenses, datetime.now(UTC).date()).decisions


def _summary(register: "Register", entry: "TermsEntry") -> dict[str, Any]:
    fields = {"id", "version", "kind", "title", "train_use", "obligations", "effective", "seen"}
    return {
        **entry.model_dump(mode="json", include=fields),
        "sha256": entry.sha256,
        "from": "shipped" if register.is_shipped(entry) else register.origins[entry.key].file,
    }


def _print_decision(decision: "TermsDecision") -> None:
    verdict = "permitted" if decision.permitted else "refused"
    obligations = f"; obligations: {', '.join(decision.obligations)}" if decision.obligations else ""
    declared = "; rests on your own declaration" if decision.declaration else ""
    typer.echo(f"{decision.teacher}: {verdict} ({decision.train_use}{obligations}{declared})")
    for reason in decision.reasons:
        typer.echo(f"  - {reason}")


def _print_table(columns: tuple[str, ...], rows: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(Text(column), no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text, not str: square brackets in an entry are no markup
    Console().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return "; ".join(f"{key}: {text}" for key, text in value.items())
    return "" if value is None else str(value)


def _print_json(found: dict[str, Any]) -> None:
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
