"""What the page's sections are built from: figures with their SQL; how numbers, shares, money and times are written."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from tutelage.audit.markup import Column, Html, element, folded, joined, label, table

FIGURES = (
    "01_overview",
    "02_seals",
    "03_severities",
    "04_findings",
    "05_rows_of_findings",
    "06_terms_over_time",
    "07_sealed_terms",
    "08_runs",
    "09_train_use",
    "10_outcomes",
    "11_causes",
    "12_lengths",
    "13_length_quantiles",
    "14_tokens",
    "15_cost",
    "16_languages",
    "17_duplicates",
    "18_largest_clusters",
    "19_duplicate_pairs",
    "20_prompt_pairs",
    "21_contamination",
    "22_contamination_hits",
    "23_identity",
    "24_drift",
    "25_cannot_tell",
)

NUMBER, CHART, ID = "number", "chart", "id"
"""Kinds of columns, as the style sheet knows them."""
SEVERITY_WORDS = {"error": "error", "warning": "warning", "info": "note"}


class Figure(NamedTuple):
    """The rows that a SELECT gave, and the SELECT."""

    rows: list[dict[str, Any]]
    sql: str

    @property
    def one(self) -> dict[str, Any]:
        (row,) = self.rows
        return row


Figures = Mapping[str, Figure]


def sql_under(figures: Figures, *names: str) -> Html:
    """The SQL behind what stands above it."""
    return folded(
        "SQL of these numbers" if len(names) == 1 else "SQL of these numbers, in their order",
        [element("pre", element("code", figures[name].sql)) for name in names],
        class_="sql",
    )


def count(number: int | None) -> Html:
    return element("span", "–", class_="absent") if number is None else joined(f"{number:,}")


def plural(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def share(part: int, whole: int) -> str:
    """A percentage that never rounds something to nothing, nor less than all to all."""
    if not whole or not part:
        return "0\u00a0%"
    if part == whole:
        return "100\u00a0%"
    percent = 100 * part / whole
    return "<\u00a00.1\u00a0%" if percent < 0.1 else ">\u00a099.9\u00a0%" if percent > 99.9 else f"{percent:.1f}\u00a0%"


def usd(amount: Decimal | None) -> str | Html:
    """Dollars: cents where there are some, else four digits that say something."""
    if amount is None:
        return element("span", "not recorded", class_="absent")
    if amount == 0 or abs(amount) >= 1:
        return f"{amount:,.2f}\u00a0USD"
    places = min(12, 3 - amount.adjusted())
    return f"{amount:.{places}f}".rstrip("0") + "\u00a0USD"


def instant(text: str | None) -> Html:
    if text is None:
        return element("span", "not recorded", class_="absent")
    return element("time", f"{text} UTC", datetime=f"{text.replace(' ', 'T')}Z")


def names(values: Sequence[str] | None) -> Html:
    """A list of short strings, commas between them."""
    if values is None:
        return label(None)
    if not values:
        return element("span", "none", class_="absent")
    shown = values[:12]
    more = [f" and {len(values) - len(shown)} more"] if len(values) > len(shown) else []
    return joined([part for value in shown for part in (", ", label(value))][1:] + more)


def several_datasets(figures: Figures) -> bool:
    return int(figures["01_overview"].one["datasets"]) > 1


def who(figures: Figures, row: Mapping[str, Any]) -> Html:
    """A teacher, and its dataset where there are several."""
    teacher = label(row["teacher"], "teacher not recorded")
    if not several_datasets(figures):
        return teacher
    return joined([teacher, element("span", label(row["dataset"]), class_="dataset")])


def at_limit(rows: Sequence[Any], limit: int) -> Html | None:
    """Says that a table has been cut, where it has."""
    if len(rows) < limit:
        return None
    return element(
        "p", f"The first {limit} are shown; the SQL below, without its LIMIT, gives all of them.", class_="more"
    )


def record(content: Mapping[str, Any]) -> Html:
    """An object as JSON has them: plain values as a list of names and values, objects and lists of them as tables."""
    plain, tables = [], []
    for name, value in content.items():
        rows = [value] if isinstance(value, Mapping) else value if isinstance(value, list) else []
        rows = [row for row in rows[:24] if isinstance(row, Mapping)]
        heads = list(dict.fromkeys(key for row in rows for key in row))[:16]
        heads.sort(key=lambda key: _all_numbers(rows, key))
        if heads:
            columns = [Column(label(_spaced(key)), NUMBER if _all_numbers(rows, key) else None) for key in heads]
            cells = [[_told(row.get(key)) for key in heads] for row in rows]
            tables.append(table(label(_spaced(name)), columns, cells))
        else:
            plain.append(element("div", element("dt", label(_spaced(name))), element("dd", _told(value))))
    return joined([element("dl", plain, class_="facts") if plain else None, tables])


def _all_numbers(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    return all(isinstance(row.get(key), int | float | None) for row in rows)


def _told(value: Any) -> Html:
    if value is None or isinstance(value, str):
        return label(value, "none")
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return names(value)
    return label(json.dumps(value, ensure_ascii=False))


def _spaced(name: str) -> str:
    return name.replace("_", " ")
