"""Quality on whole datasets: what is planted is found, what only looks like it is not, and odd datasets are read."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from audit_scene import input_of
from quality_scene import Audited, audited, words
from sql_scene import call, failure, planned, write_table

from tutelage.audit.findings import read_findings
from tutelage.audit.folder import AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.quality import audit_quality
from tutelage.schemas.contracts import FAILED, LEDGER, PLAN
from tutelage.schemas.rows import Completion

START = datetime(2026, 11, 23, tzinfo=UTC)
Build = Callable[..., Completion]


def test_a_hand_made_harvest_is_told_row_by_row(tmp_path: Path, completion: Build) -> None:
    """10 rows: 6 plain, 1 truncated, 1 refused by its field, 1 in words, 1 empty; 1 request failed, 1 is nowhere."""
    rows = [completion(response=words(number, 20)) for number in range(6)] + [
        completion(response=words(7, 20), outcome="truncated", outcome_cause="max_tokens"),
        completion(response="", outcome="refused", outcome_cause="refusal"),
        completion(response="I'm sorry, but I can't help with that."),
        completion(response=" \n\u200b"),
    ]
    folder = tmp_path / "set"
    requests = [row.request_id for row in rows]
    write_table(folder, "failed/part-0.parquet", FAILED, [failure("f" * 64)])
    write_table(folder, "plan/part-0.parquet", PLAN, list(map(planned, [*requests, "f" * 64, "e" * 64])))
    found = audited(tmp_path, rows)
    assert found.severities() == {
        "unaccounted": "warning",
        "truncated": "warning",
        "refused": "warning",
        "failed": "warning",
        "empty": "warning",
        "unmarked_refusal": "warning",
        "cost": "info",
    }
    assert {name: item.rows for name, item in found.rules.items() if name != "cost"} == {
        "unaccounted": 1,
        "truncated": 1,
        "refused": 1,
        "failed": 1,
        "empty": 1,
        "unmarked_refusal": 1,
    }
    assert found["truncated"].row_ids == [rows[6].row_id]
    assert found["unmarked_refusal"].row_ids == [rows[8].row_id]
    assert found["empty"].row_ids == [rows[9].row_id]
    assert found.evidence("failed") == {
        "causes": {"timeout": 1},
        "teachers": [{"teacher": "smollm2", "rows": 1, "of": 11, "share": 0.090909}],
    }
    assert found.evidence("truncated")["causes"] == {"max_tokens": 1}
    assert found.evidence("unaccounted")["teachers"][0]["request_ids"] == ["e" * 64]


def test_a_clean_harvest_has_nothing_but_its_cost(tmp_path: Path, completion: Build) -> None:
    found = audited(tmp_path, [completion(response=words(number, 40 + number % 7)) for number in range(50)])
    assert found.severities() == {"cost": "info"}


def test_a_share_up_to_the_threshold_is_an_info_and_above_it_a_warning(tmp_path: Path, completion: Build) -> None:
    rows = [completion(response=words(number), outcome="truncated" if number < 1 else "ok") for number in range(20)]
    assert audited(tmp_path / "a", rows).severities()["truncated"] == "info"
    rows = [completion(response=words(number), outcome="truncated" if number < 2 else "ok") for number in range(20)]
    assert audited(tmp_path / "b", rows).severities()["truncated"] == "warning"


def test_one_bad_teacher_among_good_ones_is_a_warning_of_its_own(tmp_path: Path, completion: Build) -> None:
    rows = [completion(response=words(number)) for number in range(95)]
    rows += [completion(response=words(number), teacher="bad", outcome="filtered") for number in range(2)]
    found = audited(tmp_path, rows)
    assert found["filtered"].severity == "warning"
    assert found["filtered"].message == "2 were filtered (bad 100.0%)"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_outcomes_and_lengths_are_those_that_python_counts(tmp_path: Path, completion: Build, seed: int) -> None:
    draw = random.Random(seed)
    rows = [
        completion(
            response="x" * draw.randint(0, 400),
            outcome=draw.choice(["ok", "truncated", "filtered", "invalid"]),
            teacher=draw.choice(["a", "b"]),
            completion_tokens=draw.choice([None, draw.randint(1, 99)]),
        )
        for _ in range(draw.randint(1, 120))
    ]
    report = audited(tmp_path, rows, files=3).report
    counted = Counter((row.teacher, row.outcome) for row in rows)
    assert {(row["teacher"], row["outcome"]): row["rows"] for row in report.tables["outcomes"]} == counted
    for row in report.tables["lengths"]:
        mine = [item for item in rows if item.teacher == row["teacher"] and item.outcome in ("ok", "truncated")]
        sizes = sorted(len(item.response) for item in mine)
        assert (row["rows"], row["chars"][0], row["chars"][-1]) == (len(mine), sizes[0], sizes[-1])
        assert abs(sizes.index(row["chars"][3]) - (len(sizes) - 1) / 2) <= max(1, sizes.count(row["chars"][3]))
        assert min(sizes) <= median(sizes) <= max(sizes)
        assert row["rows_with_tokens"] == sum(item.completion_tokens is not None for item in mine)


def test_a_tool_call_without_text_is_not_empty(tmp_path: Path, completion: Build) -> None:
    rows = [
        completion(response="", tool_calls="[]"),
        completion(response="", outcome="filtered"),
        completion(response="7"),
    ]
    assert "empty" not in audited(tmp_path, rows).rules


def test_lengths_far_out_are_named_and_never_more_than_an_info(tmp_path: Path, completion: Build) -> None:
    rows = [completion(response=words(number, 30 + number % 20)) for number in range(60)]
    far = completion(response=words(99, 5000), completion_tokens=5000)
    found = audited(tmp_path, [*rows, far])
    assert found["length_outliers"].row_ids == [far.row_id]
    assert found["length_outliers"].severity == "info"


# Languages.

ENGLISH = "Please describe in a few sentences how a small harbour wakes up in the morning."
GERMAN_ANSWER = (
    "Der Hafen erwacht, bevor die Sonne aufgeht. Die Fischer holen ihre Netze ein, und die Möwen streiten sich um "
    "jeden silbernen Fisch, der auf das Deck fällt, während am Ende des Piers jemand ein altes Lied singt und wartet."
)


def test_an_answer_in_another_language_is_found(tmp_path: Path, completion: Build) -> None:
    rows = [completion(messages=[("user", ENGLISH)], response=GERMAN_ANSWER)]
    found = audited(tmp_path, rows)
    assert found["language_mismatch"].severity == "warning"
    assert found.evidence("language_mismatch")["languages"] == {"en -> de": 1}


@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        (f"Translate into German: {ENGLISH}", GERMAN_ANSWER),
        (f"{ENGLISH} Answer in German.", GERMAN_ANSWER),
        ("Was this written by Goethe, and in which language?", GERMAN_ANSWER),
        ("Why?", GERMAN_ANSWER),  # too short to tell
        (ENGLISH, "Guten Morgen, liebe Fischer!"),
        (ENGLISH, "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }\nreturn sum / n;\n" * 2),
        (ENGLISH, words(3)),
    ],
)
def test_what_may_well_be_in_another_language_is_not(
    tmp_path: Path, completion: Build, prompt: str, response: str
) -> None:
    found = audited(tmp_path, [completion(messages=[("user", prompt)], response=response)])
    assert "language_mismatch" not in found.rules


# Drift.


def over_time(completion: Build, values: Sequence[dict[str, Any]]) -> list[Completion]:
    return [
        completion(response=words(number, 20), created_at=START + timedelta(minutes=number), **columns)
        for number, columns in enumerate(values)
    ]


@pytest.mark.parametrize("column", ["model_reported", "system_fingerprint"])
def test_a_teacher_that_changes_midway_is_found_with_the_time(tmp_path: Path, completion: Build, column: str) -> None:
    rows = over_time(completion, [{column: "v1" if number < 30 else "v2"} for number in range(60)])
    found = audited(tmp_path, rows)
    assert found["teacher_drift"].severity == "warning"
    assert [
        (change["value"], change["event"], change["at"]) for change in found.evidence("teacher_drift")["changes"]
    ] == [
        ("v1", "went", "2026-11-23T00:29:00+00:00"),
        ("v2", "came", "2026-11-23T00:30:00+00:00"),
    ]
    assert found["teacher_drift"].rows == 60


def test_two_fingerprints_that_take_turns_are_an_info(tmp_path: Path, completion: Build) -> None:
    turns = random.Random(4)
    rows = over_time(completion, [{"system_fingerprint": turns.choice(["fp_a", "fp_b"])} for _ in range(200)])
    found = audited(tmp_path, rows)
    assert "teacher_drift" not in found.rules
    assert found["teacher_mixed"].severity == "info"


def test_two_teachers_one_after_another_are_no_drift(tmp_path: Path, completion: Build) -> None:
    rows = over_time(completion, [{"teacher": "ab"[n >= 20], "model_reported": "ab"[n >= 20]} for n in range(40)])
    found = audited(tmp_path, rows)
    assert {"teacher_drift", "teacher_mixed"} & set(found.rules) == set()


def test_terms_that_change_midway_are_found(tmp_path: Path, completion: Build) -> None:
    change = [{"train_use": "allow" if number < 2 else "deny_competing"} for number in range(4)]
    found = audited(tmp_path, over_time(completion, change))
    assert found["terms_change"].severity == "warning"
    assert found["terms_change"].rows == 2
    assert "2026-11-23T00:02:00+00:00" in found["terms_change"].message


def test_a_licence_that_changes_midway_is_found(tmp_path: Path, completion: Build) -> None:
    change = [{"prompt_license": "CC0-1.0" if number < 3 else "CC-BY-4.0"} for number in range(6)]
    found = audited(tmp_path, over_time(completion, change))
    assert found.evidence("terms_change")["of"] == "licence"


def test_two_licences_side_by_side_are_no_change(tmp_path: Path, completion: Build) -> None:
    sides = [
        {"prompt_license": licence, "prompt_source": f"{licence}.jsonl", "terms_id": f"{licence};smollm2-apache-2.0"}
        for _ in range(20)
        for licence in ("CC0-1.0", "CC-BY-4.0")
    ]
    found = audited(tmp_path, over_time(completion, sides))
    assert {"terms_change", "terms_mixed"} & set(found.rules) == set()


# Samples.


def samples(completion: Build, sampling: str, answers: Sequence[str], prompts: int = 3) -> list[Completion]:
    return [
        completion(messages=[("user", f"question {prompt}")], sampling=sampling, sample_index=index, response=answer)
        for prompt in range(prompts)
        for index, answer in enumerate(answers)
    ]


LONG = words(1, 80)


def test_long_samples_that_are_all_equal_are_found(tmp_path: Path, completion: Build) -> None:
    found = audited(tmp_path, samples(completion, '{"seed":7,"temperature":0.7}', [LONG] * 3))
    assert found["equal_samples"].severity == "warning"
    assert found["equal_samples"].rows == 9
    assert found["equal_samples"].message.startswith("3 of 3 prompts")


def test_at_a_low_temperature_equal_samples_are_an_info(tmp_path: Path, completion: Build) -> None:
    found = audited(tmp_path, samples(completion, '{"temperature":0.1}', [LONG] * 2))
    assert found["equal_samples"].severity == "info"


@pytest.mark.parametrize(
    ("sampling", "answers"),
    [
        ('{"temperature":0}', [LONG, LONG]),
        ('{"max_tokens":64}', [LONG, LONG]),  # nobody knows the temperature
        ("not json", [LONG, LONG]),
        ('{"temperature":"hot"}', [LONG, LONG]),
        ('{"temperature":1.0}', ["Yes", "Yes"]),
        ('{"temperature":1.0}', [LONG, LONG + "."]),
        ('{"temperature":1.0}', [LONG]),
    ],
)
def test_samples_that_may_well_be_equal_are_not_flagged(
    tmp_path: Path, completion: Build, sampling: str, answers: list[str]
) -> None:
    assert "equal_samples" not in audited(tmp_path, samples(completion, sampling, answers, prompts=1)).rules


# Cost.


def test_what_went_into_no_useful_row_is_told_apart(tmp_path: Path, completion: Build) -> None:
    """10 cents: 4 useful, 1 truncated, 2 for a probe, 1 lost, 2 for a call that was asked again."""
    cent = Decimal("0.010000000000")
    rows = [completion(response=words(number, 20), cost_usd=4 * cent if number == 0 else None) for number in range(2)]
    rows.append(completion(response=words(5, 20), cost_usd=cent, outcome="truncated"))
    ids = [row.request_id for row in rows]
    calls = [call(ids[0], "0.04"), call(ids[0] + "-again", "0.02"), call(ids[1], "0"), call(ids[2], "0.01")]
    calls += [call("p", "0.02", "probe"), call(ids[1], "0.01", "lost")]
    write_table(tmp_path / "set", "ledger.parquet", LEDGER, calls)
    found = audited(tmp_path, rows)
    (cost,) = found.report.tables["costs"]
    got = {name: round(cost[name], 6) for name in cost if name.endswith("usd") or name == "wasted_share"}
    assert got == {
        "usd": 0.10,
        "useful_usd": 0.04,
        "not_ok_usd": 0.01,
        "probe_usd": 0.02,
        "lost_usd": 0.01,
        "retried_usd": 0.02,
        "wasted_share": 0.6,
    }
    assert cost["usd_per_useful_row"] == pytest.approx(0.05)
    assert found["cost"].severity == "warning"


# Odd datasets.


def test_an_unsealed_dataset_is_an_error_that_names_the_problem(tmp_path: Path, completion: Build) -> None:
    found = audited(tmp_path, [completion()], sealed=False)
    assert found["unsealed"].severity == "error"
    assert "was never sealed" in found["unsealed"].message


@pytest.mark.parametrize("count", [0, 1])
def test_no_row_and_one_row_are_read(tmp_path: Path, completion: Build, count: int) -> None:
    found = audited(tmp_path, [completion(response="fine") for _ in range(count)])
    assert found.report.rows == count
    assert set(found.rules) <= {"cost"}


def test_a_folder_without_any_table_is_read(tmp_path: Path) -> None:
    assert Audited(AuditInput("set", str(tmp_path), True)).report.findings == []


def test_rows_that_are_all_equal_are_read(tmp_path: Path, completion: Build) -> None:
    found = audited(tmp_path, [completion(response=LONG, messages=[("user", "same")]) for _ in range(100)])
    assert set(found.rules) == {"cost"}


def test_rows_of_a_megabyte_are_read(tmp_path: Path, completion: Build) -> None:
    rows = [completion(response=text) for text in ("a b c d e " * 100_000, words(1, 150_000), " " * 1_000_000)]
    found = audited(tmp_path, rows)
    assert found["repetition"].row_ids == [rows[0].row_id]
    assert found["empty"].row_ids == [rows[2].row_id]


def test_two_datasets_are_told_apart(tmp_path: Path, completion: Build) -> None:
    one = input_of(tmp_path / "one", [completion(response=words(1), outcome="truncated")])
    two = input_of(tmp_path / "two", [completion(response=words(2))])
    report = audit_quality([one, two], AuditFolder(str(tmp_path / "out")))
    assert {item.dataset for item in report.findings if item.rule == "quality.truncated"} == {one.name}


def test_results_lie_in_the_audit_folder_and_a_second_run_writes_the_same_bytes(
    tmp_path: Path, completion: Build
) -> None:
    dataset = input_of(tmp_path / "set", [completion(outcome="truncated"), completion(response="")])
    found = Audited(dataset)
    first = {name: found.out.read(name) for name in ("quality.json", "findings.parquet")}
    assert json.loads(first["quality.json"]) == json.loads(json.dumps(found.report.to_json()))
    assert {item.rule for item in read_findings(found.out)} == {item.rule for item in found.report.findings}
    again = Audited(dataset)
    assert {name: again.out.read(name) for name in first} == first


def test_every_finding_says_its_threshold_its_source_and_what_it_cannot_tell(tmp_path: Path, completion: Build) -> None:
    rows = over_time(completion, [{"model_reported": "ab"[n >= 20]} for n in range(40)])
    rows += [completion(response="spam and eggs, " * 30), completion(response="I'm sorry, but I can't help with that.")]
    assert len(audited(tmp_path, rows, sealed=False).report.findings) > 4
    for item in read_findings(AuditFolder(str(tmp_path / "set" / "audit"))):
        assert item.cannot_tell
        assert item.threshold is not None
        assert item.threshold_source
        assert (item.error_rate is None) == (item.error_rate_source is None)
