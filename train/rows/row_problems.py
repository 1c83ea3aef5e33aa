"""Rows that can't be used: all that is wrong with a split in one error, with the rows named."""

from typing import NamedTuple

from tutelage.schemas.errors import ConfigError

NAMED = 20
ENOUGH = 1000
"""Where so many rows have problems, what they are is plain, and the rest of the rows isn't read."""


class Problem(NamedTuple):
    """Why a row can't be used, and what to do. Rows of one `what` and `advice` are told together; `detail` is one
    row's."""

    what: str
    advice: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.what}{self.detail and f' ({self.detail})'}; {self.advice}"


class RowProblems:
    def __init__(self, split: str) -> None:
        self._split = split
        self._first: dict[tuple[str, str], Problem] = {}
        self._rows: dict[tuple[str, str], list[str]] = {}

    def add(self, problem: Problem, row_id: str) -> None:
        key = (problem.what, problem.advice)
        self._first.setdefault(key, problem)
        self._rows.setdefault(key, []).append(row_id)

    def require_few(self) -> None:
        """Raises ConfigError where there is no need to look at more rows."""
        if self._count >= ENOUGH:
            self._refuse("at least ")

    def require_none(self) -> None:
        if self._count:
            self._refuse("")

    @property
    def _count(self) -> int:
        return sum(map(len, self._rows.values()))

    def _refuse(self, at_least: str) -> None:
        lines = []
        for key, rows in self._rows.items():
            problem = self._first[key]
            detail = f" (the first: {problem.detail})" if problem.detail else ""
            more = f" and {len(rows) - NAMED:,} more" if len(rows) > NAMED else ""
            count = f"{at_least}{len(rows):,} row{'s' if len(rows) > 1 else ''} of {self._split}"
            lines.append(f"{count}: {problem.what}{detail}: {', '.join(rows[:NAMED])}{more}; {problem.advice}")
        raise ConfigError("\n".join(lines))
