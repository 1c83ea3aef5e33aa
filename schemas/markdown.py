"""Markdown around text that nobody vouches for: a model's name may hold a pipe, a line break or a link."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST_TABLE = 100
LONGEST_TEXT = 300

_MARKUP = re.compile(r"[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])")


def one_line(value: Any) -> str:
    """Text without line breaks, control characters and what can't be seen (U+202E turns the rest around); cut off."""
    shown = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in str(value))
    return " ".join(shown.split())[:LONGEST_TEXT] or "–"


def plain(value: Any) -> str:
    """Markdown that shows one line of text and does nothing else: no markup, no HTML, no end of a table's cell."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", one_line(value))


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Cells are shown as plain text; the last column is a number."""
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * (len(titles) - 1)} ---: |"]
    lines += [f"| {' | '.join(map(plain, row))} |" for row in rows[:LONGEST_TABLE]]
    left = len(rows) - LONGEST_TABLE
    return "\n".join(lines) + (f"\n\n… and {left:,} more, in the columns of the rows." if left > 0 else "")


def counted(counts: Mapping[Any, int]) -> list[tuple[Any, ...]]:
    """Rows of a table from tuples and how often they come, most often first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return [(*key, f"{count:,}") for key, count in ordered]
