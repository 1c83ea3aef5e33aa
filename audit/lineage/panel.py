"""Who is who among the models compared: teachers, controls, known students. Read from the user's CSV."""

import calendar
import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple, get_args

import fsspec

from tutelage.audit.markup import cut, visible
from tutelage.schemas.errors import ConfigError

Role = Literal["teacher", "control", "taught", "variant", "background", "suspect"]
ROLES: tuple[Role, ...] = get_args(Role)
REQUIRED = ("model", "role", "family", "taught_by", "parent", "cluster")
OPTIONAL = ("maker", "released", "base_model", "maybe_taught_by", "not_taught_by")
_OPPOSITES: tuple[tuple[Role, Role, str], ...] = (
    ("control", "taught", "a control was taught by no family here"),
    ("control", "background", "of a control it is known that no family here taught it, of background it is not"),
)
_RELEASED = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?", re.ASCII)
_NAMES_SHOWN = 5
_NAME_SHOWN = 120


@dataclass(frozen=True, slots=True)
class PanelModel:
    """One model of the panel; a model may stand in two rows (a teacher that is a control for other families).

    `maker` and `cluster` are never empty: where the CSV says nothing, they are the model's own name, so that
    nothing is shared with anybody. `released` is the last day that the CSV's date can mean and `released_from` the
    first, in ISO 8601 or None. `maybe_taught_by`: families with an unknown share in this model's data; such a pair is
    left out of every score. `not_taught_by`: families that can't have taught it, whatever its role: placebos.
    """

    model: str
    roles: frozenset[Role]
    maker: str
    family: str | None
    taught_by: frozenset[str]
    maybe_taught_by: frozenset[str]
    parent: str | None
    cluster: str
    released: str | None
    base_model: str | None
    released_from: str | None = None
    not_taught_by: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Panel:
    """`models` by name, in the CSV's order. `notes` say what in it has no effect: a family without a teacher."""

    models: dict[str, PanelModel]
    notes: tuple[str, ...] = ()

    def families(self) -> dict[str, tuple[str, ...]]:
        """Teachers by family, in the CSV's order."""
        found: dict[str, list[str]] = {}
        for item in self.models.values():
            if "teacher" in item.roles and item.family is not None:
                found.setdefault(item.family, []).append(item.model)
        return {family: tuple(names) for family, names in found.items()}

    def with_role(self, role: Role) -> tuple[str, ...]:
        """The models that have it, beside others or not, in the CSV's order."""
        return tuple(item.model for item in self.models.values() if role in item.roles)

    def controls(self) -> tuple[str, ...]:
        return self.with_role("control")

    def students(self) -> tuple[str, ...]:
        """Models known to be taught, by a family that is here or by another."""
        return self.with_role("taught")


def read_panel(uri: str) -> Panel:
    """The panel of a CSV file (RFC 4180, UTF-8). Rows of one model are merged: its roles and families add up.

    A teacher that stands in a second row under another cluster keeps the teacher's. `released` may be a year or a
    month. Raises ConfigError, with the line, where a row contradicts another or lacks
    what its role needs.
    """
    rows: dict[str, list[_Row]] = {}
    for row in _rows(uri):
        rows.setdefault(row.model, []).append(row)
    if not rows:
        raise ConfigError(f"{uri}: names no model; a panel with a row for each model was wanted")
    models = {name: _merged(of_model) for name, of_model in rows.items()}
    _check_parents(models, rows)
    return Panel(models, tuple(_notes(models)))


def named(models: Iterable[str], most: int = _NAMES_SHOWN) -> str:
    """Names of models as a sentence may hold them: some of them where there are many, and none that hides."""
    return listed([visible(cut(name, _NAME_SHOWN)) for name in models], most)


def listed(parts: Sequence[str], most: int = _NAMES_SHOWN) -> str:
    more = f" and {len(parts) - most:,} more" if len(parts) > most else ""
    return f"{', '.join(parts[:most])}{more}"


def closest(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing where no known name is near."""
    by_form = {other.casefold(): other for other in known}
    found = difflib.get_close_matches(name.casefold(), by_form, 1)
    return f"; did you mean {named([by_form[found[0]]])}?" if found else ""


class _Row(NamedTuple):
    """A record of the CSV; `where` it stands. What it leaves empty is None."""

    where: str
    model: str
    role: Role
    family: str | None
    taught_by: frozenset[str]
    parent: str | None
    cluster: str | None
    maker: str | None
    released: str | None
    released_from: str | None
    base_model: str | None
    maybe_taught_by: frozenset[str]
    not_taught_by: frozenset[str]


def _rows(uri: str) -> Iterator[_Row]:
    records = _records(uri)
    _, header = next(records, (1, []))
    columns = [name.strip().lower() for name in header]
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise ConfigError(
            f"{uri}: lacks the columns {', '.join(missing)}; found {named(columns, 20) or 'no header'}; a panel is a "
            f"CSV with a header: {','.join(REQUIRED)}, and if wanted {','.join(OPTIONAL)}"
        )
    twice = [name for name in (*REQUIRED, *OPTIONAL) if columns.count(name) > 1]
    if twice:
        raise ConfigError(f"{uri}: has the column {twice[0]} twice; take one out")
    for line, record in records:
        where = f"{uri}, line {line:,}"
        if len(record) != len(columns):
            raise ConfigError(
                f"{where}: has {len(record)} fields, the header {len(columns)}; put a value that holds a comma in "
                "quotes"
            )
        cells = {name: cell.strip() for name, cell in zip(columns, record, strict=True) if name}
        if any(cells.values()):
            yield _row(where, cells)


def _records(uri: str) -> Iterator[tuple[int, list[str]]]:
    """The records of the file that hold something, each with the line that it begins in."""
    try:
        with fsspec.open(uri, "rb") as stream:
            content = bytes(stream.read())
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"{uri}: can't be read ({error}); name the panel, a CSV file of {', '.join(REQUIRED)}"
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{uri}: is not UTF-8 ({error.reason} at byte {error.start:,}); save the panel as CSV in UTF-8"
        ) from error
    # Strict: else a quote that is never closed makes one field of all the rows after it.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    ended_in = 0
    try:
        for record in reader:
            if record:
                yield ended_in + 1, record
            ended_in = reader.line_num
    except csv.Error as error:
        raise ConfigError(
            f"{uri}, line {ended_in + 1:,}: is no CSV ({error}); mend the record that begins there"
        ) from error


def _row(where: str, cells: Mapping[str, str]) -> _Row:
    model, role = cells["model"], cells["role"].lower()
    if not model:
        raise ConfigError(f"{where}: names no model; fill in `model`, or take the row out")
    known: dict[str, Role] = {name: name for name in ROLES}
    if role not in known:
        raise ConfigError(
            f"{where}: the role of {named([model])} is {cut(role, _NAME_SHOWN)!r}; one of {', '.join(ROLES)} was "
            f"wanted (a model with two roles stands in two rows){closest(role, ROLES)}"
        )
    first, last = _days(where, released) if (released := cells.get("released")) else (None, None)
    return _Row(
        where=where,
        model=model,
        role=known[role],
        family=cells["family"] or None,
        taught_by=_families(cells["taught_by"]),
        parent=cells["parent"] or None,
        cluster=cells["cluster"] or None,
        maker=cells.get("maker") or None,
        released=last,
        released_from=first,
        base_model=cells.get("base_model") or None,
        maybe_taught_by=_families(cells.get("maybe_taught_by", "")),
        not_taught_by=_families(cells.get("not_taught_by", "")),
    )


def _families(cell: str) -> frozenset[str]:
    return frozenset(name for part in cell.split(";") if (name := part.strip()))


def _days(where: str, text: str) -> tuple[str, str]:
    """The first and the last day that a date, a month or a year can mean, in ISO 8601."""
    found = _RELEASED.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year, month = int(found[1]), int(found[2] or 12)
        # Of a month that is none, monthrange raises a ValueError of its own.
        last = date(year, month, int(found[3] or calendar.monthrange(year, month)[1]))
        return date(year, int(found[2] or 1), int(found[3] or 1)).isoformat(), last.isoformat()
    except ValueError as error:
        raise ConfigError(
            f"{where}: `released` is {cut(text, _NAME_SHOWN)!r}; a date like 2024, 2024-03 or 2024-03-31 was wanted"
        ) from error


def _merged(rows: Sequence[_Row]) -> PanelModel:
    """One model of all its rows."""
    model, shown = rows[0].model, named([rows[0].model])
    by_role = {row.role: row for row in rows}
    for one, other, why in _OPPOSITES:
        if one in by_role and other in by_role:
            raise ConfigError(
                f"{by_role[other].where}: {shown} is {other} here and {one} in {by_role[one].where}, and {why}; take "
                "one row out"
            )
    teachers = [row for row in rows if row.role == "teacher"]
    found = PanelModel(
        model=model,
        roles=frozenset(by_role),
        maker=_agreed(rows, "maker") or model,
        family=_agreed(rows, "family") if teachers else None,
        taught_by=frozenset[str]().union(*(row.taught_by for row in rows)),
        maybe_taught_by=frozenset[str]().union(*(row.maybe_taught_by for row in rows)),
        parent=_agreed(rows, "parent"),
        cluster=_agreed(teachers, "cluster") or _agreed(rows, "cluster") or model,
        released=_agreed(rows, "released"),
        base_model=_agreed(rows, "base_model"),
        released_from=_agreed(rows, "released_from"),
        not_taught_by=frozenset[str]().union(*(row.not_taught_by for row in rows)),
    )
    if teachers and found.family is None:
        raise ConfigError(f"{teachers[0].where}: {shown} is a teacher without a family; fill in `family`")
    if "taught" in by_role and not found.taught_by:
        raise ConfigError(
            f"{by_role['taught'].where}: {shown} is taught, by nobody; fill in `taught_by` with a family, or with "
            "several joined by ;"
        )
    if found.taught_by & found.not_taught_by:
        raise ConfigError(
            f"{rows[0].where}: {shown} is in `taught_by` and in `not_taught_by` of "
            f"{named(sorted(found.taught_by & found.not_taught_by))}; take it out of one"
        )
    if "variant" in by_role and found.parent is None:
        raise ConfigError(
            f"{by_role['variant'].where}: {shown} is a variant of nothing; fill in `parent` with the model it is made "
            "of"
        )
    return found


def _agreed(rows: Sequence[_Row], column: str) -> str | None:
    """What the rows that say something say. Raises ConfigError where they differ."""
    said: dict[str, str] = {}
    for row in rows:
        value = getattr(row, column)
        if value is not None:
            said.setdefault(value, row.where)
    if len(said) > 1:
        (first, first_where), (other, where) = list(said.items())[:2]
        raise ConfigError(
            f"{where}: {column} of {named([rows[0].model])} is {named([other])}, and {named([first])} in "
            f"{first_where}; a model has one: mend one of the rows"
        )
    return next(iter(said), None)


def _check_parents(models: Mapping[str, PanelModel], rows: Mapping[str, Sequence[_Row]]) -> None:
    for model in models:
        line, above = [model], models[model].parent
        while above is not None and above not in line:
            line.append(above)
            above = models[above].parent if above in models else None
        if above == model:
            where = next(row.where for row in rows[model] if row.parent is not None)
            raise ConfigError(
                f"{where}: {named([model])} descends from itself ({named([*line, model])}); take one `parent` out"
            )


def _notes(models: Mapping[str, PanelModel]) -> Iterator[str]:
    taught: dict[str, list[str]] = {}
    for item in models.values():
        for family in sorted(item.taught_by | item.maybe_taught_by | item.not_taught_by):
            taught.setdefault(family, []).append(item.model)
    families = {item.family for item in models.values() if item.family is not None}
    for family in sorted(taught.keys() - families):
        yield (
            f"No model of the panel is a teacher of {named([family])}, which is said to have taught "
            f"{named(taught[family])}: nothing is compared with that family{closest(family, families)}"
        )
    both = {item.model: item.taught_by & item.maybe_taught_by for item in models.values()}
    for model, overlap in both.items():
        if overlap:
            yield f"{named([model])} is in `taught_by` and in `maybe_taught_by` of {named(sorted(overlap))}: left out"
    orphans = [item.model for item in models.values() if item.parent is not None and item.parent not in models]
    if orphans:
        yield f"The panel has no row for the parent of {named(orphans)}: nothing is compared with it"
