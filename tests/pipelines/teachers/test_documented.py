"""docs/outcomes.md against the tables that it describes."""

import re
from pathlib import Path

from tutelage.pipelines.teachers.outcomes import CAUSES, FINISH_REASONS

PAGE = (Path(__file__).parents[3] / "docs" / "outcomes.md").read_text()


def test_every_cause_stands_in_the_page_under_its_outcome() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert {(cause, outcome) for outcome, cause in rows} == set(CAUSES.items())


def test_every_finish_reason_that_is_no_normal_end_stands_in_the_page() -> None:
    missing = [reason for reason in FINISH_REASONS if f"`{reason}`" not in PAGE]
    assert missing == []
