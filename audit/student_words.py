"""How a student's page reads JSON that it did not write: numbers that are numbers, figures with their intervals."""

from collections.abc import Mapping
from typing import Any

LARGEST = 1e15


def of(content: Any, *keys: str) -> Any:
    """What lies under the keys, None where something on the way is no object or lacks its key."""
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def fields(value: Any) -> Mapping[str, Any]:
    """An object's names and values; none where it is something else."""
    return value if isinstance(value, Mapping) else {}


def entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [entry for entry in entries(value) if isinstance(entry, Mapping)]


def count_of(value: Any) -> int | None:
    """A whole number of things, None where it is no number."""
    return int(value) if is_number(value) else None


def told(value: Any) -> str:
    """The same for a sentence."""
    return f"{int(value):,}" if is_number(value) else "–"


def is_number(value: Any) -> bool:
    """JSON may hold integers beyond any float, and Python's NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def value_of(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def figure_of(content: Any, *keys: str) -> Mapping[str, Any] | None:
    """A figure of evaluation.json that has a value."""
    found = of(content, *keys)
    return found if isinstance(found, Mapping) and is_number(found.get("value")) else None


def interval_of(figure: Any) -> tuple[float, float] | None:
    ends = of(figure, "interval")
    if not isinstance(ends, list) or len(ends) != 2 or not all(map(is_number, ends)):
        return None
    return float(ends[0]), float(ends[1])


def text_of(value: Any) -> str | None:
    return None if value is None else str(value)
