"""The development data of who was taught by whom: where they lie, what they say, and which pairs may be scored.

Evaluation only: nothing of it is copied into the project; changed copies live in temporary folders.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "lineage-dev"
WEAK_CONTROLS = ("guanaco-7b", "guanaco-13b", "humpback-llama-65b")
TRAP = "text_davinci_001"
"""Looks taught by davinci-003, and is its maker's own."""


class Model(NamedTuple):
    name: str
    maker: str | None
    roles: frozenset[str]
    family: str | None
    taught_by: frozenset[str]
    maybe_taught_by: frozenset[str]
    parent: str | None
    relation: str
    confidence: str
    cluster: str  # a teacher's is that of its teacher row


class Development(NamedTuple):
    outputs: Path
    panel: Path
    models: dict[str, Model]
    families: dict[str, tuple[str, ...]]  # and their teachers


class Pair(NamedTuple):
    model: str
    family: str


def development(folder: Path | None) -> Development:
    """Stops with a message where the data are absent: they are shared beside the project, and no part of it."""
    place = BESIDE if folder is None else folder
    outputs, panel = place / "outputs.parquet", place / "panel.csv"
    missing = [file.name for file in (outputs, panel) if not file.is_file()]
    if missing:
        raise SystemExit(
            f"{place}: lacks {' and '.join(missing)}; the development data are shared beside the project and are no "
            "part of it; name the folder that holds them with --data FOLDER"
        )
    return read(outputs, panel)


def read(outputs: Path, panel: Path) -> Development:
    models: dict[str, Model] = {}
    families: dict[str, tuple[str, ...]] = {}
    for row in rows_of(panel):
        one = _model(row)
        models[one.name] = _both(models[one.name], one) if one.name in models else one
        if row["role"] == "teacher":
            families[row["family"]] = (*families.get(row["family"], ()), one.name)
    return Development(outputs, panel, models, families)


def rows_of(panel: Path) -> list[dict[str, str]]:
    with panel.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_panel(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _model(row: dict[str, str]) -> Model:
    return Model(
        row["model"],
        row["maker"] or None,
        frozenset({row["role"]}),
        row["family"] or None,
        _several(row["taught_by"]),
        _several(row["maybe_taught_by"]),
        row["parent"] or None,
        row["relation"],
        row["confidence"],
        row["cluster"],
    )


def _several(cell: str) -> frozenset[str]:
    return frozenset(part for part in cell.split(";") if part)


def _both(first: Model, second: Model) -> Model:
    teacher, other = (first, second) if "teacher" in first.roles else (second, first)
    return teacher._replace(
        roles=first.roles | second.roles,
        taught_by=first.taught_by | second.taught_by,
        maybe_taught_by=first.maybe_taught_by | second.maybe_taught_by,
        relation=other.relation,
    )


def suspects(data: Development) -> tuple[str, ...]:
    """All that something is known of; `background` is not."""
    return tuple(name for name, model in data.models.items() if "background" not in model.roles)


def with_role(data: Development, role: str) -> tuple[str, ...]:
    return tuple(name for name, model in data.models.items() if role in model.roles)


def students(data: Development, relation: str | None, *, low: bool = True) -> tuple[str, ...]:
    return tuple(
        name
        for name in with_role(data, "taught")
        if relation in (None, data.models[name].relation) and (low or data.models[name].confidence != "low")
    )


def controls(data: Development, *, low: bool = True) -> tuple[str, ...]:
    return tuple(name for name in with_role(data, "control") if low or data.models[name].confidence != "low")


def taught_pairs(data: Development, names: Iterable[str]) -> tuple[Pair, ...]:
    """(student, true family). A family that may have taught it is neither right nor wrong, and stands in no pair."""
    return tuple(
        Pair(name, family)
        for name in names
        for family in data.families
        if family in data.models[name].taught_by and _is_asked(data.models[name], family)
    )


def control_pairs(data: Development, names: Iterable[str], families: Iterable[str]) -> tuple[Pair, ...]:
    """(control, same family), for families of which pairs are taken; a teacher never meets its own."""
    wanted = set(families)
    return tuple(
        Pair(name, family)
        for name in names
        for family in data.families
        if family in wanted
        and family not in data.models[name].taught_by
        and _is_asked(data.models[name], family)
        and not same_maker(data, name, family)
    )


def capable_pairs(data: Development, families: Iterable[str]) -> tuple[Pair, ...]:
    """Teachers of other makers: capable models that the family did not teach."""
    return control_pairs(data, with_role(data, "teacher"), families)


def same_maker(data: Development, name: str, family: str) -> bool:
    maker = data.models[name].maker
    return maker is not None and any(data.models[teacher].maker == maker for teacher in data.families[family])


def _is_asked(model: Model, family: str) -> bool:
    return model.family != family and family not in model.maybe_taught_by
