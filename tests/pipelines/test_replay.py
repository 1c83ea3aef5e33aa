"""Rows out of the journal: the rule of the row as a table, and that equal plan and journal give equal bytes."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from harvest_scene import LICENSE, Asked, Scene, config_of, refuses, says, teacher
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.pipelines.config import PromptSource, Retry
from tutelage.pipelines.job import Halt, HarvestJob, TermsStamp
from tutelage.pipelines.journal import ASKED, PROBED, JournalWriter
from tutelage.pipelines.journal_index import JournalIndex
from tutelage.pipelines.pricing import Cost
from tutelage.pipelines.replay import planned_requests, rebuild_shard, reservation_of, sampling_of, settle, spent_so_far
from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.schemas.rows import Call, PlannedRequest
from tutelage.schemas.version import CODE_VERSION

# The rule of the row --------------------------------------------------------------------------------------------------


class Heard(NamedTuple):
    """What a call brought, before it is one."""

    status: int = 200
    body: bytes = b""
    kind: str = "ask"
    max_tokens: int | None = None
    headers: str = ""


def body(text: str = "yes", finish: str = "stop", usage: tuple[int, int] | None = (5, 2)) -> bytes:
    return bytes(says(text, finish=finish, usage=usage).content)


OK = Heard(body=body())
LATER = Heard(body=body("a later answer"))
TRUNCATED = Heard(body=body("half", "length"))
FULL_CONTEXT = Heard(body=body("half", "model_length"))
FILTERED = Heard(body=body("", "content_filter"))
INVALID = Heard(body=body(""))
BUSY = Heard(503)
LIMITED = Heard(429)
REFUSED = Heard(400)
LOCKED, GONE, MOVED = Heard(401), Heard(404), Heard(307)
TIMED_OUT = Heard(0, headers='{"x-tutelage-cause":"timeout"}')
LOST = Heard(0, kind="lost")
PROBE = Heard(body=body(), kind="probe")


def larger(heard: Heard) -> Heard:
    return heard._replace(max_tokens=64)


def calls_of(heard: Sequence[Heard]) -> list[Call]:
    return [
        Call(
            call_id=f"writer-{number}",
            request_id="00" * 32,
            teacher="t",
            kind=item.kind,
            attempt=number + 1,
            run_id="run-1",
            sent_at=datetime(2026, 1, 1, 0, 0, number, tzinfo=UTC),
            latency_us=1000,
            status=item.status,
            headers=item.headers,
            body=item.body,
            salt="00" * 16,
            max_tokens=item.max_tokens,
        )
        for number, item in enumerate(heard)
    ]


CASES: list[tuple[str, list[Heard], int | None, str, bool]] = [
    # what was heard, which of it counts, its outcome or cause, and whether that is final
    ("nothing was asked", [], None, "", False),
    ("an answer", [OK], 0, "ok", True),
    ("a failure that may pass", [BUSY], 0, "server_error", False),
    ("a limit", [LIMITED], 0, "rate_limited", False),
    ("no answer in time", [TIMED_OUT], 0, "timeout", False),
    ("an answer after a failure", [BUSY, OK], 1, "ok", True),
    ("a failure after an answer", [OK, BUSY], 0, "ok", True),
    ("a refusal after an answer", [OK, REFUSED], 0, "ok", True),
    ("two answers", [OK, LATER], 1, "ok", True),
    ("a refusal of the request", [REFUSED], 0, "request_refused", True),
    ("a refusal after a failure", [BUSY, REFUSED], 1, "request_refused", True),
    ("a failure after a refusal", [REFUSED, BUSY], 1, "server_error", False),
    ("a refusal of the key", [LOCKED], 0, "unauthorized", False),
    ("a refusal of the place", [GONE], 0, "request_refused", False),
    ("a redirect", [MOVED], 0, "redirect", False),
    ("a lost call", [LOST], None, "", False),
    ("an answer after a lost call", [LOST, OK], 1, "ok", True),
    ("a lost call after an answer", [OK, LOST], 0, "ok", True),
    ("a lost call after a refusal", [REFUSED, LOST], 0, "request_refused", True),
    ("a probe is no answer", [PROBE], None, "", False),
    ("filtered", [FILTERED], 0, "filtered", True),
    ("invalid", [INVALID], 0, "invalid", True),
    ("cut off, asked with the larger limit next", [TRUNCATED], 0, "truncated", False),
    ("cut off by the context, which no limit helps", [FULL_CONTEXT], 0, "truncated", True),
    ("whole with the larger limit", [TRUNCATED, larger(OK)], 1, "ok", True),
    ("cut off twice", [TRUNCATED, larger(TRUNCATED)], 1, "truncated", True),
    ("the larger limit was refused", [TRUNCATED, larger(REFUSED)], 0, "truncated", True),
    ("the call with the larger limit was lost", [TRUNCATED, larger(LOST)], 0, "truncated", False),
    ("a failure before the larger limit", [TRUNCATED, BUSY], 0, "truncated", False),
]


@pytest.mark.parametrize(("heard", "chosen", "said", "final"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_the_rule_of_the_row(heard: list[Heard], chosen: int | None, said: str, final: bool) -> None:
    calls = calls_of(heard)
    found = settle(calls, PROTOCOLS["openai-chat"], {"max_tokens": 16}, Retry(truncated_max_tokens=64))
    assert found.final is final
    assert found.attempts == sum(item.kind != "probe" for item in heard)
    if chosen is None:
        assert found.chosen is None
    else:
        assert found.chosen is not None
        assert found.chosen.reply is not None
        assert found.chosen.call == calls[chosen]
        reply = found.chosen.reply
        assert (reply.cause if reply.outcome == "failed" else reply.outcome) == said


@pytest.mark.parametrize("limit", [None, 8, 16])
def test_without_a_larger_limit_a_truncated_answer_is_final(limit: int | None) -> None:
    retry = Retry(truncated_max_tokens=limit)
    assert settle(calls_of([TRUNCATED]), PROTOCOLS["openai-chat"], {"max_tokens": 16}, retry).final


# Rebuilding -----------------------------------------------------------------------------------------------------------

TABLES = ("completions", "failed", "ledger", "journal")
PRICES = {"input": "3", "output": "15"}


def scene(tmp_path: Path, asked: list[Any], **changed: Any) -> Scene:
    fields = {key: changed.pop(key) for key in list(changed) if key in Scene.__dataclass_fields__}
    teachers = [teacher(price_usd_per_million_tokens=PRICES)]
    return Scene(config_of(tmp_path, asked, **{"teachers": teachers, **changed}), tmp_path / "control", **fields)


def planned(run: Scene) -> list[PlannedRequest]:
    return [row for shard in run.plan.shards for batch in planned_requests(run.folder, shard.file) for row in batch]


def journal(run: Scene, heard: dict[str, Sequence[Heard]], run_id: str = "run-1") -> None:
    """Writes, as a run would have, what was heard of each request id."""
    writer = JournalWriter(run.folder, run_id, ["t"])
    for request, items in heard.items():
        for attempt, item in enumerate(items, 1):
            at_us = 1_700_000_000_000_000 + writer.calls * 1_000_000
            number = writer.sent(bytes.fromhex(request), 0, attempt, at_us, item.max_tokens)
            if item.kind != "lost":
                writer.answered(
                    bytes.fromhex(request),
                    number,
                    0,
                    attempt=attempt,
                    sent_at_us=at_us,
                    latency_us=1_234_567,
                    status=item.status,
                    headers=item.headers.encode(),
                    body=item.body,
                    max_tokens=item.max_tokens,
                    kind=PROBED if item.kind == "probe" else ASKED,
                )
    writer.close()


def rebuilt(run: Scene, job: HarvestJob | None = None, halts: Sequence[Halt] = ()) -> dict[str, list[dict[str, Any]]]:
    files = run.folder.list("plan/*.parquet")
    rebuild_shard(job or run.job, 0, files, JournalIndex(run.folder), halts)
    return {name: rows(run, name) for name in TABLES}


def rows(run: Scene, name: str) -> list[dict[str, Any]]:
    files = run.folder.list(f"{name}/part-*.parquet")
    return [row for file in files for row in pq.read_table(run.folder.path(file)).to_pylist()]


def part(run: Scene, name: str) -> bytes:
    return run.folder.read(f"{name}/part-00000.parquet")


def delete_segments(run: Scene) -> None:
    for name in run.folder.list("journal/*.seg"):
        run.folder.delete(name)


def test_equal_plan_and_journal_give_equal_bytes(tmp_path: Path) -> None:
    run = scene(tmp_path, [f"prompt {number}" for number in range(50)])
    variety = [OK], [BUSY, OK], [TRUNCATED], [REFUSED], [LOST, OK], [], [FILTERED], [LOCKED]
    journal(run, {row.request_id: variety[place % 8] for place, row in enumerate(planned(run))} | {"ab" * 32: [OK]})
    rebuilt(run)
    from_segments = {name: part(run, name) for name in TABLES}
    rebuilt(run)
    from_segments_and_parts = {name: part(run, name) for name in TABLES}
    delete_segments(run)
    rebuilt(run)
    from_parts = {name: part(run, name) for name in TABLES}
    assert from_segments == from_segments_and_parts == from_parts


def test_a_row_says_which_call_it_came_from(tmp_path: Path) -> None:
    run = scene(tmp_path, [{"id": "p7", "messages": [{"role": "system", "content": "be brief"}, *turns()]}])
    (request,) = planned(run)
    journal(run, {request.request_id: [BUSY]}, "run-0")
    journal(run, {request.request_id: [TRUNCATED, larger(OK)]})
    found = rebuilt(run)
    (row,) = found["completions"]
    answered = found["journal"][-1]
    assert (row["request_id"], row["prompt_id"], row["run_id"]) == (request.request_id, "p7", "run-1")
    assert row["messages"] == [{"role": role, "content": text} for role, text in request.messages]
    assert (row["attempts"], row["latency_ms"], row["salt"]) == (3, 1234, answered["salt"])
    assert (row["created_at"] - answered["sent_at"]).total_seconds() == pytest.approx(1.234567)
    assert json.loads(row["sampling"]) == {"max_tokens": 64}, "the limit that this answer was asked with"
    assert row["cost_usd"] == Decimal("0.000045"), (
        "5 tokens at 3 USD a million and 2 at 15: this call, not the row's all"
    )
    assert row["code_version"] == CODE_VERSION


def turns() -> list[dict[str, str]]:
    return [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "?"},
    ]


def test_the_ledger_has_a_row_for_every_call_with_what_it_cost(tmp_path: Path) -> None:
    run = scene(tmp_path, ["12345678"])
    (request,) = planned(run)
    uncounted = Heard(body=body(usage=None))
    journal(run, {request.request_id: [BUSY, LOST, TIMED_OUT, uncounted, OK]})
    most = reservation_of(request, None, sampling_of(request.sampling))
    assert most.prompt_tokens == 8 + 4 + 64
    reserved = Decimal(76 * 3 + 16 * 15) / 1_000_000
    found = [(row["cause"], row["cost_basis"], row["cost_usd"]) for row in rebuilt(run)["ledger"]]
    assert found == [
        ("server_error", "none", 0),
        ("lost", "reserved", reserved),
        ("timeout", "reserved", reserved),
        ("ok", "reserved", reserved),
        ("ok", "usage", Decimal("0.000045")),
    ]


def test_a_call_with_the_larger_limit_reserves_the_larger_limit(tmp_path: Path) -> None:
    run = scene(tmp_path, ["12345678"])
    journal(run, {planned(run)[0].request_id: [TRUNCATED, larger(LOST)]})
    assert rebuilt(run)["ledger"][1]["cost_usd"] == Decimal(76 * 3 + 64 * 15) / 1_000_000


def test_calls_of_what_is_not_planned_stay_in_journal_and_ledger(tmp_path: Path) -> None:
    run = scene(tmp_path, ["prompt"])
    journal(run, {planned(run)[0].request_id: [OK], "ab" * 32: [OK, LOST], "cd" * 32: [PROBE]})
    for _ in range(2):
        found = rebuilt(run)
        assert len(found["completions"]) == 1
        assert Counter(row["kind"] for row in found["journal"]) == {"ask": 2, "lost": 1, "probe": 1}
        assert sorted(row["call_id"] for row in found["ledger"]) == sorted(row["call_id"] for row in found["journal"])
        delete_segments(run)


def test_two_requests_that_share_their_first_64_bits_are_not_mixed_up(tmp_path: Path) -> None:
    run = scene(tmp_path, ["prompt"])
    request = planned(run)[0].request_id
    twin = request[:16] + "0" * 48
    journal(run, {request: [OK], twin: [LATER]})
    found = rebuilt(run)
    assert [(row["response"], row["attempts"]) for row in found["completions"]] == [("yes", 1)]
    assert sorted(row["request_id"] for row in found["journal"]) == sorted([request, twin])


def test_what_has_no_answer_is_a_failed_row_with_its_cause(tmp_path: Path) -> None:
    run = scene(tmp_path, [f"prompt {number}" for number in range(5)])
    never, lost, busy, refused, locked = (row.request_id for row in planned(run))
    said = Heard(400, refuses(400, code="context_length_exceeded").content)
    journal(run, {lost: [LOST], busy: [BUSY, BUSY], refused: [said], locked: [LOCKED]})
    failed = {row["request_id"]: row for row in rebuilt(run)["failed"]}
    shown = {key: (row["cause"], row["attempts"], row["retryable"], row["last_status"]) for key, row in failed.items()}
    assert shown == {
        never: ("not_asked", 0, True, None),
        lost: ("not_asked", 1, True, None),
        busy: ("server_error", 2, True, 503),
        refused: ("request_refused", 1, False, 400),
        locked: ("unauthorized", 1, True, 401),
    }
    assert failed[refused]["detail"] == "refused with 400"


def test_what_was_not_asked_says_why_the_asking_stopped(tmp_path: Path) -> None:
    run = scene(tmp_path, ["prompt"])
    others = Halt("other", "unauthorized", "not ours")
    ours = Halt("", "budget", "the budget of 1 USD has no room")
    (row,) = rebuilt(run, halts=[others, ours])["failed"]
    assert (row["cause"], row["detail"]) == ("budget", "the budget of 1 USD has no room")


def test_rows_keep_the_terms_of_the_run_that_asked(tmp_path: Path) -> None:
    run = scene(tmp_path, ["old", "new", "orphan"], run_id="run-2")
    ids = [row.request_id for row in planned(run)]
    for number, request in enumerate(ids):
        journal(run, {request: [OK]}, f"run-{(1, 2, 99)[number]}")
    then, now = TermsStamp("v1", "allow", ()), TermsStamp("v2", "allow_with", ("attribution",))
    job = replace(run.job, terms={"run-1": {"t": {LICENSE: then}}, "run-2": {"t": {LICENSE: now}}})
    stamps = {
        row["run_id"]: (row["terms_id"], row["train_use"], tuple(row["obligations"]))
        for row in rebuilt(run, job)["completions"]
    }
    # A run that died without a record asked under the terms of the run that finishes its work.
    assert stamps == {"run-1": then, "run-2": now, "run-99": now}


def test_terms_are_those_of_the_prompts_own_licence(tmp_path: Path) -> None:
    for name in ("free", "shared"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": name}) + "\n")
    sources = (
        PromptSource(uri=str(tmp_path / "free.jsonl"), license="CC0-1.0"),
        PromptSource(uri=str(tmp_path / "shared.jsonl"), license="CC-BY-SA-4.0"),
    )
    run = Scene(config_of(tmp_path, []).model_copy(update={"prompts": sources}), tmp_path / "control")
    journal(run, {row.request_id: [OK] for row in planned(run)})
    stamps = {
        "CC0-1.0": TermsStamp("a", "allow", ()),
        "CC-BY-SA-4.0": TermsStamp("b", "allow_with", ("share_alike",)),
    }
    job = replace(run.job, terms={"run-1": {"t": stamps}})
    found = {row["prompt_license"]: row["obligations"] for row in rebuilt(run, job)["completions"]}
    assert found == {"CC0-1.0": [], "CC-BY-SA-4.0": ["share_alike"]}


def test_rows_keep_the_prices_and_the_code_of_the_run_that_asked(tmp_path: Path) -> None:
    run = scene(tmp_path, ["prompt"])
    journal(run, {planned(run)[0].request_id: [OK]}, "run-0")
    was = run.config.teachers[0].price_usd_per_million_tokens.model_copy(update={"input": Decimal(100)})
    job = replace(run.job, prices={"run-0": {"t": was}}, code_versions={"run-0": "0.0.1"})
    found = rebuilt(run, job)
    assert found["completions"][0]["cost_usd"] == Decimal(5 * 100 + 2 * 15) / 1_000_000
    assert found["completions"][0]["code_version"] == "0.0.1"
    assert found["ledger"][0]["usd_per_million_input_tokens"] == 100


CALLS = [OK, BUSY, LIMITED, REFUSED, TRUNCATED, larger(OK), LOST, larger(LOST), TIMED_OUT]
FOUR_PLANNED = st.lists(st.lists(st.sampled_from(CALLS), max_size=4), min_size=4, max_size=4)
TWO_OTHERS = st.lists(st.lists(st.sampled_from([*CALLS, PROBE]), max_size=4), min_size=2, max_size=2)


@given(answers=FOUR_PLANNED, others=TWO_OTHERS)
@settings(max_examples=30)
def test_what_was_spent_is_what_the_ledger_says_and_every_request_has_one_row(
    tmp_path_factory: pytest.TempPathFactory, answers: list[list[Heard]], others: list[list[Heard]]
) -> None:
    heard = [*answers, *others]
    run = scene(tmp_path_factory.mktemp("spent"), [f"prompt {number}" for number in range(4)])
    ids = [row.request_id for row in planned(run)]
    journal(run, dict(zip([*ids, "ab" * 32, "cd" * 32], heard, strict=True)))
    spent = spent_so_far(run.config, run.folder, JournalIndex(run.folder), run.plan.shards)
    found = rebuilt(run)
    assert len(found["ledger"]) == len(found["journal"]) == sum(map(len, heard))
    assert spent.pico_usd == sum(row["cost_usd"] for row in found["ledger"]) * 10**12
    assert sorted(row["request_id"] for row in found["completions"] + found["failed"]) == sorted(ids)


def test_a_rebuild_that_fails_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = scene(tmp_path, ["prompt"])
    journal(run, {planned(run)[0].request_id: [OK]})
    rebuilt(run)
    before = {name: part(run, name) for name in ("completions", "ledger", "journal")}

    def breaks(*_: Any) -> Any:
        raise KeyError("a mistake of ours")

    monkeypatch.setattr("tutelage.pipelines.replay.leaf_sha256", breaks)
    with pytest.raises(KeyError):
        rebuilt(run)
    assert {name: part(run, name) for name in before} == before
    assert not list(Path(run.folder.root).rglob("*.unfinished"))


def test_the_engine_and_the_replay_agree_on_what_is_left(tmp_path: Path) -> None:
    def moody(asked: Asked) -> Any:
        return {0: says(), 1: refuses(400), 2: says(finish="length"), 3: refuses(503)}[int(asked.prompt[-1]) % 4]

    prompts = [f"prompt {number}" for number in range(8)]
    with scene(tmp_path, prompts, script=moody, retry={"max_attempts": 1}) as run:
        run.ask()
        counts = run.counts()
    found = rebuilt(run)
    outcomes = Counter(row["outcome"] for row in found["completions"])
    assert dict(outcomes) == {"ok": counts["ok"], "truncated": counts["truncated"]} == {"ok": 2, "truncated": 2}
    assert len(found["failed"]) == counts["failed"] == 4
    assert (
        spent_so_far(run.config, run.folder, JournalIndex(run.folder), run.plan.shards)[:2]
        == Cost(run.engine.budget.cost, run.engine.budget.tokens, "")[:2]
    )
