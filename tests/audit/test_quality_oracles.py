"""Every step of quality in SQL beside the same in Python, on rows drawn at random."""

import itertools
import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sql_scene import call, failure, planned

from tutelage.audit import quality_rows
from tutelage.audit.inputs import AuditInput
from tutelage.audit.provenance import PROVENANCE, provenance_findings
from tutelage.audit.quality_sources import cost_of
from tutelage.audit.tables import connect, fetch, run
from tutelage.schemas.contract_files import table_of
from tutelage.schemas.contracts import ADOPTED, COMPLETIONS, FAILED, LEDGER, PLAN, Contract
from tutelage.schemas.rows import Completion

Build = Callable[..., Completion]
START = datetime(2026, 11, 23, tzinfo=UTC)
IDS = 5
TEACHERS = st.sampled_from(["a", "b"])
few = settings(max_examples=20)


class Steps:
    """Runs steps over tables that are given, in the place of those of datasets."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def give(self, name: str, contract: Contract, rows: Sequence[Any]) -> None:
        table = table_of(contract, rows)
        self.connection.register(name, table.add_column(0, "dataset", pa.array(["set"] * len(rows), pa.string())))

    def answers(self, rows: Sequence[Completion], contract: Contract = COMPLETIONS) -> None:
        self.give("completions", contract, rows)
        run(self.connection, "quality/01_answers")

    def __call__(self, name: str, **values: Any) -> list[dict[str, Any]]:
        return fetch(self.connection, f"quality/{name}", **values)


@pytest.fixture(name="steps", scope="module")
def _steps() -> Iterator[Steps]:
    with connect(()) as connection:
        yield Steps(connection)


def smallest(rows: Sequence[Completion]) -> list[str]:
    return sorted(row.row_id for row in rows)[:IDS]


def shows_nothing(text: str) -> bool:
    return all(unicodedata.category(character) in {"Zs", "Zl", "Zp", "Cc", "Cf"} for character in text)


OUTCOMES = st.sampled_from(["ok", "truncated", "refused", "filtered", "invalid"])
SHORT = st.sampled_from(["", " ", "\n\t", "\u200b\u00a0", "\ufeff", ".", "0", "yes", "\u3000", "ḁ", "\u2028 \x00"])


@few
@given(st.lists(st.tuples(TEACHERS, OUTCOMES, SHORT, st.booleans()), max_size=25), st.integers(0, 4))
def test_outcomes_failures_and_empty_answers(
    steps: Steps, completion: Build, drawn: list[tuple[str, str, str, bool]], failures: int
) -> None:
    rows = [
        completion(teacher=teacher, outcome=outcome, response=text, tool_calls="[]" if calls else None)
        for teacher, outcome, text, calls in drawn
    ]
    steps.answers(rows)
    steps.give("failed", FAILED, [failure(f"{n:064x}", "ab"[n % 2]) for n in range(failures)])
    by_outcome = defaultdict(list)
    for row in rows:
        by_outcome[row.teacher, row.outcome].append(row)
    outcomes = steps("02_outcomes", ids=IDS)
    assert {(row["teacher"], row["outcome"]): (row["rows"], row["row_ids"]) for row in outcomes} == {
        key: (len(mine), smallest(mine)) for key, mine in by_outcome.items()
    }
    empty = {
        key: [row for row in mine if shows_nothing(row.response) and row.tool_calls is None]
        for key, mine in by_outcome.items()
        if key[1] not in ("refused", "filtered")
    }
    assert {(row["teacher"], row["outcome"]): (row["rows"], row["row_ids"]) for row in steps("04_empty", ids=IDS)} == {
        key: (len(mine), smallest(mine)) for key, mine in empty.items() if mine
    }
    totals = Counter(row.teacher for row in rows)
    shares = {
        item["teacher"]: (item["rows"], item["of"])
        for found in quality_rows.outcome_findings(
            outcomes, steps("03_failed"), {("set", teacher): number for teacher, number in totals.items()}
        )
        if found.rule == "quality.failed"
        for item in json.loads(found.evidence)["teachers"]
    }
    failed = {"a": (failures + 1) // 2, "b": failures // 2}
    assert shares == {name: (number, number + totals[name]) for name, number in failed.items() if number}


@few
@given(st.lists(st.tuples(TEACHERS, st.integers(1, 400), st.one_of(st.none(), st.integers(1, 99))), max_size=40))
def test_lengths_and_what_is_far_out(steps: Steps, completion: Build, drawn: list[tuple[str, int, int | None]]) -> None:
    rows = [completion(teacher=name, response="x" * chars, completion_tokens=tokens) for name, chars, tokens in drawn]
    steps.answers(rows)
    shares = [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]
    for found in steps("05_lengths"):
        sizes = [len(row.response) for row in rows if row.teacher == found["teacher"]]
        for share, value in zip(shares, found["chars"], strict=True):
            assert sum(size < value for size in sizes) <= share * len(sizes) + 1e-9
            assert sum(size <= value for size in sizes) >= share * len(sizes) - 1e-9
    outliers = steps("06_length_outliers", ids=100, fences=1.0, least_rows=4)
    found_ids = {(row["teacher"], row["measure"]): row["row_ids"] for row in outliers}
    for teacher, measure in itertools.product("ab", ("chars", "tokens")):
        sized = {
            row.row_id: len(row.response) if measure == "chars" else row.completion_tokens or 0
            for row in rows
            if row.teacher == teacher and (measure == "chars" or row.completion_tokens)
        }
        got = set(found_ids.get((teacher, measure), []))
        lower, upper = np.quantile(np.log([*sized.values()]), [0.25, 0.75]) if sized else (0.0, 0.0)
        if len(sized) < 4 or upper - lower < 1e-9:
            assert got == set()
            continue
        # How far beyond the fence, in widths of the middle half; on the fence itself rounding decides.
        beyond = {
            row_id: max(lower - math.log(size), math.log(size) - upper) / (upper - lower) - 1
            for row_id, size in sized.items()
        }
        assert {row_id for row_id, far in beyond.items() if far > 1e-9} <= got
        assert got <= {row_id for row_id, far in beyond.items() if far > -1e-9}


LANGUAGES = st.sampled_from([None, "en", "de", "fr"])
PROMPTS = st.sampled_from(
    ["tell me more", "Translate it", "auf Deutsch, bitte", "languages", "the Frenchman", "greeks"]
)


@few
@given(st.lists(st.tuples(TEACHERS, OUTCOMES, LANGUAGES, LANGUAGES, st.integers(3, 7), PROMPTS), max_size=25))
def test_languages(
    steps: Steps, completion: Build, drawn: list[tuple[str, str, str | None, str | None, int, str]]
) -> None:
    rows = [completion(teacher=teacher, outcome=outcome) for teacher, outcome, *_ in drawn]
    prompts = {row.row_id: item[5] for row, item in zip(rows, drawn, strict=True)}
    completions = table_of(COMPLETIONS, rows).append_column("prompt", pa.array(prompts.values(), pa.string()))
    steps.connection.register(
        "completions", completions.add_column(0, "dataset", pa.array(["set"] * len(rows), pa.string()))
    )
    columns = {
        "dataset": pa.array(["set"] * len(rows), pa.string()),
        "teacher": pa.array([row.teacher for row in rows], pa.string()),
        "row_id": pa.array(prompts, pa.string()),
        "prompt_language": pa.array([item[2] for item in drawn], pa.string()),
        "response_language": pa.array([item[3] for item in drawn], pa.string()),
        "prompt_words": pa.array([item[4] for item in drawn], pa.int64()),
        "response_words": pa.array([20 + item[4] for item in drawn], pa.int64()),
    }
    steps.connection.register("fingerprints", pa.table(columns))
    found = steps(
        "08_languages", ids=100, prompt_words=5, response_words=26, about_languages=quality_rows.ABOUT_LANGUAGES
    )
    compared, mismatched = 0, set()
    for row, (_, outcome, asked, answered, words, prompt) in zip(rows, drawn, strict=True):
        if asked is None or answered is None or words < 6:
            continue
        compared += 1
        names_one = re.search(quality_rows.ABOUT_LANGUAGES, prompt.lower()) is not None
        if asked != answered and outcome in ("ok", "truncated") and not names_one:
            mismatched.add(row.row_id)
    assert sum(row["rows"] for row in found) == compared
    assert {row_id for row in found for row_id in row["row_ids"]} == mismatched
    assert sum(row["mismatched"] for row in found) == len(mismatched)


def by_value(order: Sequence[tuple[datetime, str, str]]) -> dict[str, tuple[Any, ...]]:
    """For rows of (moment, row id, value): rows, first, last, how many before and after."""
    ordered = sorted(order)
    places: dict[str, list[int]] = defaultdict(list)
    for place, (_, _, value) in enumerate(ordered):
        places[value].append(place)
    return {
        value: (len(mine), ordered[mine[0]][0], ordered[mine[-1]][0], mine[0], len(ordered) - 1 - mine[-1])
        for value, mine in places.items()
    }


def told(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    names = ("rows", "first_at", "last_at", "rows_before", "rows_after")
    return {row["value"]: tuple(row[name] for name in names) for row in rows}


@few
@given(st.lists(st.tuples(TEACHERS, st.integers(0, 9), st.sampled_from([None, "v1", "v2", "v3"])), max_size=25))
def test_what_teachers_report_over_time(
    steps: Steps, completion: Build, drawn: list[tuple[str, int, str | None]]
) -> None:
    rows = [
        completion(teacher=teacher, created_at=START + timedelta(seconds=at), system_fingerprint=value)
        for teacher, at, value in drawn
    ]
    steps.answers(rows)
    found = [row for row in steps("09_reported", ids=IDS) if row["field"] == "system_fingerprint"]
    for teacher in "ab":
        said = sorted(
            (row.created_at, row.row_id, row.system_fingerprint)
            for row in rows
            if row.teacher == teacher and row.system_fingerprint is not None
        )
        mine = [row for row in found if row["teacher"] == teacher]
        assert told(mine) == by_value(said)
        switches = sum(left[2] != right[2] for left, right in itertools.pairwise(said))
        assert {row["switches"] for row in mine} <= {switches}
        assert {row["said_rows"] for row in mine} <= {len(said)}


@few
@given(
    st.lists(
        st.tuples(TEACHERS, st.integers(0, 9), st.sampled_from(["x", "y"]), st.sampled_from(["CC0-1.0", "MIT"])),
        max_size=25,
    )
)
def test_terms_over_time(steps: Steps, completion: Build, drawn: list[tuple[str, int, str, str]]) -> None:
    rows = [
        completion(teacher=teacher, created_at=START + timedelta(seconds=at), terms_id=terms, prompt_license=licence)
        for teacher, at, terms, licence in drawn
    ]
    steps.answers(rows)
    held = steps("10_terms", ids=IDS)
    for teacher, licence in itertools.product("ab", ("CC0-1.0", "MIT")):
        mine = [row for row in held if (row["what"], row["owner"], row["under"]) == ("terms", teacher, licence)]
        wanted = by_value(
            [
                (row.created_at, row.row_id, row.terms_id or "")
                for row in rows
                if (row.teacher, row.prompt_license) == (teacher, licence)
            ]
        )
        assert {re.findall(r'"terms_id":"(\w)"', value)[0]: rest for value, rest in told(mine).items()} == wanted
    licences = [row for row in held if row["what"] == "licence"]
    wanted = by_value([(row.created_at, row.row_id, row.prompt_license or "") for row in rows])
    assert {re.findall(r':"(.*)"', value)[0]: rest for value, rest in told(licences).items()} == wanted


LONG = ["long " * 50, "other " * 50]


@few
@given(
    st.lists(
        st.tuples(
            TEACHERS, st.integers(0, 2), st.sampled_from(["0", "0.2", "1"]), st.sampled_from([*LONG, "Yes", " "])
        ),
        max_size=25,
    )
)
def test_samples_that_are_all_equal(steps: Steps, completion: Build, drawn: list[tuple[str, int, str, str]]) -> None:
    rows = [
        completion(
            teacher=teacher, messages=[("user", f"q{prompt}")], sampling=f'{{"temperature":{heat}}}', response=text
        )
        for teacher, prompt, heat, text in drawn
    ]
    steps.answers(rows)
    groups = defaultdict(list)
    for row, (teacher, prompt, heat, text) in zip(rows, drawn, strict=True):
        if float(heat) > 0 and text.strip():
            groups[teacher, float(heat), prompt].append(row)
    wanted: dict[tuple[str, float], list[Any]] = {}
    for (teacher, heat, _), mine in groups.items():
        if len(mine) > 1:
            prompts, equal, ids = wanted.setdefault((teacher, heat), [0, 0, set()])
            same = len({row.response for row in mine}) == 1 and len(mine[0].response) >= 200
            wanted[teacher, heat] = [prompts + 1, equal + same, ids | {row.row_id for row in mine if same}]
    found = {
        (row["teacher"], row["temperature"]): [row["prompts"], row["equal"], set(row["row_ids"])]
        for row in steps("11_samples", ids=100, least_chars=200)
    }
    assert found == wanted


KINDS = st.sampled_from(["ask", "probe", "lost"])


@few
@given(
    st.lists(st.tuples(TEACHERS, OUTCOMES, st.one_of(st.none(), st.integers(0, 9))), max_size=15),
    st.lists(st.tuples(TEACHERS, KINDS, st.integers(0, 9)), max_size=15),
)
def test_costs(
    steps: Steps,
    completion: Build,
    answers: list[tuple[str, str, int | None]],
    calls: list[tuple[str, str, int]],
) -> None:
    rows = [
        completion(
            teacher=name, outcome=outcome, cost_usd=None if usd is None else Decimal(usd).quantize(Decimal("1e-12"))
        )
        for name, outcome, usd in answers
    ]
    steps.answers(rows)
    steps.give("ledger", LEDGER, [call(f"{n}", str(usd), kind, name) for n, (name, kind, usd) in enumerate(calls)])
    found = {row["teacher"]: cost_of(row) for row in steps("12_cost")}
    assert set(found) == {item[0] for item in answers} | {item[0] for item in calls}
    for name, cost in found.items():
        mine = [item for item in answers if item[0] == name]
        spent = [item for item in calls if item[0] == name]
        row_usd, useful = sum(usd or 0 for *_, usd in mine), sum(usd or 0 for _, how, usd in mine if how == "ok")
        all_usd = sum(usd for *_, usd in spent) if spent else row_usd
        useful_rows = sum(how == "ok" for _, how, _ in mine)
        assert cost["usd"] == all_usd
        assert cost["useful_rows"] == useful_rows
        assert cost["usd_per_useful_row"] == (pytest.approx(all_usd / useful_rows) if useful_rows else None)
        wasted = 1 - min(Fraction(useful, all_usd), Fraction(1)) if all_usd else None
        assert cost["wasted_share"] == (None if wasted is None else pytest.approx(float(wasted)))


@few
@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_planned_requests_that_ended_nowhere(
    steps: Steps, completion: Build, asked: set[int], answered: set[int], failed: set[int], withdrawn: set[int]
) -> None:
    steps.answers([completion(request_id=f"{n:064x}") for n in answered])
    steps.give("failed", FAILED, [failure(f"{n:064x}") for n in failed])
    steps.give("plan", PLAN, [planned(f"{n:064x}") for n in asked])
    stones = {"dataset": ["set"] * len(withdrawn), "request_id": [f"{n:064x}" for n in sorted(withdrawn)]}
    schema = pa.schema([("dataset", pa.string()), ("request_id", pa.string())])
    steps.connection.register("tombstones", pa.table(stones, schema=schema))
    missing = sorted(f"{n:064x}" for n in asked - answered - failed - withdrawn)
    found = steps("13_unaccounted", ids=100)
    assert [row["request_ids"] for row in found] == ([missing] if missing else [])
    assert sum(row["requests"] for row in found) == len(missing)


MAPPED = ("teacher", "created_at", "outcome", "terms_id")


@few
@given(st.lists(st.fixed_dictionaries({name: st.booleans() for name in MAPPED}), min_size=1, max_size=12))
def test_what_a_foreign_table_leaves_out(steps: Steps, completion: Build, filled: list[dict[str, bool]]) -> None:
    values = {"teacher": "a", "created_at": START, "outcome": "ok", "terms_id": "MIT"}
    nothing = dict.fromkeys(set(PROVENANCE) - set(MAPPED))
    rows = [
        completion()._replace(**nothing, **{name: values[name] if has else None for name, has in row.items()})
        for row in filled
    ]
    steps.answers(rows, ADOPTED)
    dataset = AuditInput("set", "nowhere", False, ("foreign",), MAPPED)
    (found,) = provenance_findings("quality", [dataset], steps("14_columns"))
    has = {name: sum(row[name] for row in filled) for name in MAPPED}
    evidence = json.loads(found.evidence)
    assert set(evidence["absent"]) == set(nothing) | {name for name in MAPPED if not has[name]}
    assert evidence["rows_without"] == {name: len(filled) - has[name] for name in MAPPED if 0 < has[name] < len(filled)}
