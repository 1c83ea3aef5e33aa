"""The engine without Beam: what it asks, when it waits, when it stops, and that nothing is lost or left hanging."""

import asyncio
import math
import struct
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from harvest_scene import Asked, Gate, Scene, Script, config_of, eventually, refuses, says, teacher, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.pipelines import engine as engine_module
from tutelage.pipelines import limiter as limiter_module
from tutelage.pipelines.engine import Engine
from tutelage.pipelines.journal import JournalWriter
from tutelage.pipelines.journal_index import JournalIndex
from tutelage.pipelines.plan import make_plan
from tutelage.pipelines.replay import BATCH_ROWS
from tutelage.schemas.errors import ContractError, StorageError


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a teacher does not ask for are a thousandth of theirs."""
    monkeypatch.setattr(engine_module, "FIRST_BACKOFF_S", 0.0005)
    monkeypatch.setattr(engine_module, "LONGEST_BACKOFF_S", 0.01)
    monkeypatch.setattr(limiter_module, "FIRST_PROBE_S", 0.001)
    monkeypatch.setattr(limiter_module, "LONGEST_PROBE_S", 0.03)
    monkeypatch.setattr(engine_module, "TICK_S", 0.005)


def prompts(count: int) -> list[str]:
    return [f"prompt {number}" for number in range(count)]


def scene(tmp_path: Path, asked: list[str], script: Script = lambda _: says(), **changed: Any) -> Scene:
    """A scene in tmp_path; what is no field of Scene goes to the config."""
    fields = {key: changed.pop(key) for key in list(changed) if key in Scene.__dataclass_fields__}
    return Scene(config_of(tmp_path, asked, **changed), tmp_path / "control", script, **fields)


def window(size: int, **changed: Any) -> list[dict[str, Any]]:
    return [teacher(limits={"max_in_flight": size}, **changed)]


def some_ticks_pass(run: Scene) -> None:
    """For what must not happen: time enough for it to happen."""
    published = run.control_dir / f"progress-{run.engine.journal.writer}.json"
    for _ in range(3):
        published.unlink(missing_ok=True)
        eventually(published.exists, "for a few ticks to go by")


# Asking once --------------------------------------------------------------------------------------------------------


def test_every_planned_request_is_asked_once_and_its_answer_kept(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(300), lambda asked: says(asked.prompt.upper())) as run:
        run.ask()
        assert sorted(asked.prompt for asked in run.teacher.asked) == sorted(prompts(300))
    bodies = b"".join(call.body for call in run.calls())
    assert all(prompt.upper().encode() in bodies for prompt in prompts(300))
    assert run.counts()["ok"] == 300


def test_a_journaled_response_is_never_asked_for_again(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(5)) as first:
        first.ask()
    with scene(tmp_path, prompts(7), run_id="run-2") as second:
        second.ask()
        assert sorted(asked.prompt for asked in second.teacher.asked) == ["prompt 5", "prompt 6"]
        assert second.counts()["reused"] == 5


def test_a_call_that_a_dead_run_lost_is_asked_again_and_counted(tmp_path: Path) -> None:
    run = scene(tmp_path, prompts(2))
    planned = make_plan(run.config, run.folder)
    first = next(iter(engine_module.planned_requests(run.folder, planned.shards[0].file)))[0]
    dead = JournalWriter(run.folder, "run-0", ["t"])
    dead.sent(bytes.fromhex(first.request_id), 0, 1, 1_700_000_000_000_000, None)
    dead.close()
    with scene(tmp_path, prompts(2)) as resumed:
        resumed.ask()
        assert resumed.counts()["repaid"] == 1
        assert resumed.outcomes() == ["lost", "ok", "ok"]
    assert [call.attempt for call in resumed.calls() if call.request_id == first.request_id] == [1, 2]


def test_a_call_is_marked_as_sent_before_it_goes_out(tmp_path: Path) -> None:
    marked: list[list[str]] = []
    gate = Gate()

    async def look(_: Asked) -> httpx.Response:
        marked.append([call.kind for call in run.calls()])
        await gate.passed()
        return says()

    with scene(tmp_path, prompts(1), look) as run:
        futures = run.submit()
        eventually(lambda: gate.waiting)
        gate.open()
        wait_for(futures)
    assert marked == [["lost"]], "kill -9 here would leave the mark that this call was perhaps paid for"


def test_nothing_looks_into_an_answer_before_it_is_durable_but_its_place_is_free_at_once(tmp_path: Path) -> None:
    durable = threading.Event()
    with scene(tmp_path, prompts(4), teachers=window(1)) as run:
        commit = run.engine.journal.commit

        def slow_commit() -> None:
            durable.wait(20)
            commit()

        run.engine.journal.commit = slow_commit  # type: ignore[method-assign]
        futures = run.submit()
        eventually(lambda: len(run.teacher.asked) == 4)
        assert not run.counts().get("ok")
        assert not futures[0].done()
        durable.set()
        wait_for(futures)
        assert run.counts()["ok"] == 4


def test_what_failed_for_a_while_is_asked_again_by_the_next_run_and_what_was_refused_is_not(tmp_path: Path) -> None:
    def moody(asked: Asked) -> httpx.Response:
        return {"prompt 0": says(), "prompt 1": refuses(503), "prompt 2": refuses(400)}[asked.prompt]

    with scene(tmp_path, prompts(3), moody, retry={"max_attempts": 2}) as first:
        first.ask()
    with scene(tmp_path, prompts(3), run_id="run-2") as second:
        second.ask()
        assert [asked.prompt for asked in second.teacher.asked] == ["prompt 1"]
    assert [call.attempt for call in second.calls() if call.status == 200][-1] == 3


@pytest.mark.parametrize("status", [401, 402, 403, 404, 307])
def test_what_was_refused_for_its_key_or_its_place_is_asked_again_by_the_next_run(tmp_path: Path, status: int) -> None:
    with scene(tmp_path, prompts(1), lambda _: refuses(status)) as first:
        first.ask()
        assert len(first.teacher.asked) == 1
    with scene(tmp_path, prompts(1), run_id="run-2") as second:
        second.ask()
        assert len(second.teacher.asked) == 1
        assert second.counts()["ok"] == 1


# The window, the pauses, the breaker ----------------------------------------------------------------------------------


def test_a_slow_teacher_stalls_nobody(tmp_path: Path) -> None:
    gate = Gate()

    async def slow(asked: Asked) -> httpx.Response:
        if asked.host == "slow.test":
            await gate.passed()
        return says()

    with scene(tmp_path, prompts(200), slow, teachers=[teacher("slow"), teacher("fast")]) as run:
        waiting = run.submit("slow")
        wait_for(run.submit("fast"))
        assert run.counts("fast")["ok"] == 200
        assert not waiting[0].done()
        gate.open()
        wait_for(waiting)


@pytest.mark.parametrize(("size", "processes", "share"), [(3, 1, 3), (8, 2, 4), (1, 4, 1)])
def test_no_more_calls_are_in_flight_than_this_process_may(
    tmp_path: Path, size: int, processes: int, share: int
) -> None:
    gate = Gate()

    async def hold(_: Asked) -> httpx.Response:
        await gate.passed()
        return says()

    with scene(tmp_path, prompts(30), hold, teachers=window(size), processes=processes) as run:
        futures = run.submit()
        eventually(lambda: gate.waiting == share)
        gate.open()
        wait_for(futures)
        assert run.teacher.most_in_flight == share


def test_a_request_that_waits_to_be_asked_again_holds_no_slot(tmp_path: Path) -> None:
    def fails_once(asked: Asked) -> httpx.Response:
        return refuses(503) if asked.prompt == "prompt 0" else says()

    with scene(tmp_path, prompts(50), fails_once, teachers=window(1)) as run:
        run.engine.random.uniform = lambda low, high: 1000.0  # type: ignore[method-assign]
        futures = run.submit()
        eventually(lambda: run.counts().get("ok") == 49)
        assert (run.counts()["waiting"], run.counts()["in_flight"]) == (1, 0)
        run.control.ask_to_stop()
        wait_for(futures)
    assert run.teacher.asked_of("prompt 0") == 1


def test_backoff_doubles_to_its_ceiling_with_full_jitter(tmp_path: Path) -> None:
    between: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        between.append((low, high))
        return low

    with scene(tmp_path, prompts(1), lambda _: refuses(503), retry={"max_attempts": 7}) as run:
        run.engine.random.uniform = draw  # type: ignore[method-assign]
        run.ask()
    first, longest = engine_module.FIRST_BACKOFF_S, engine_module.LONGEST_BACKOFF_S
    assert between == [(0, first * factor) for factor in (1, 2, 4, 8, 16)] + [(0, longest)] * 2


def test_retry_after_pauses_the_whole_lane(tmp_path: Path) -> None:
    def busy_once(asked: Asked) -> httpx.Response:
        return refuses(429, headers={"retry-after": "1000"}) if asked.prompt == "prompt 0" else says()

    with scene(tmp_path, prompts(50), busy_once, teachers=window(1)) as run:
        futures = run.submit()
        eventually(lambda: run.counts()["paused"])
        some_ticks_pass(run)
        assert [asked.prompt for asked in run.teacher.asked] == ["prompt 0"]
        run.control.ask_to_stop()
        wait_for(futures)


def test_asking_goes_on_when_the_pause_is_over(tmp_path: Path) -> None:
    def busy_once(asked: Asked) -> httpx.Response:
        return refuses(429, headers={"retry-after-ms": "30"}) if asked.nth == 1 else says()

    with scene(tmp_path, prompts(5), busy_once, teachers=window(1), retry={"max_attempts": 1}) as run:
        run.ask()
        assert run.counts()["ok"] == 5, "a busy teacher uses up no attempts"
        assert run.counts()["throttled"] == 5


def test_a_pause_that_is_too_long_to_wait_for_ends_the_asking(tmp_path: Path) -> None:
    def tomorrow(_: Asked) -> httpx.Response:
        return refuses(429, headers={"retry-after": "86400"})

    with scene(tmp_path, prompts(5), tomorrow, teachers=window(1)) as run:
        run.ask()
        assert run.causes() == ["outage"]
        assert "86,400 s" in run.control.halts()[0].message
        assert len(run.teacher.asked) == 1


def test_the_breaker_pauses_and_probes_instead_of_failing_the_rest(tmp_path: Path) -> None:
    is_down, while_open = True, []

    def down_for_a_while(_: Asked) -> httpx.Response:
        nonlocal is_down
        if run.engine._lanes["t"].limiter.breaker.is_open:
            while_open.append(run.teacher.in_flight)
        is_down = is_down and len(while_open) < 5
        return refuses(500) if is_down else says()

    with scene(tmp_path, prompts(60), down_for_a_while, teachers=window(16), retry={"max_attempts": 2}) as run:
        run.ask()
        assert run.counts()["ok"] == 60
        assert while_open == [1] * 5, "one probe at a time"
    assert run.causes() == []


def test_nothing_but_failures_for_too_long_ends_the_asking(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(100), lambda _: refuses(500), retry={"max_outage_s": 0.02}, teachers=window(8)) as run:
        run.ask()
        assert run.causes() == ["outage"]
        assert len(run.teacher.asked) < 100
        assert run.counts().get("ok") is None


async def earlier_answers_settled(run: Scene) -> None:
    """For a teacher that is slower than a commit: waits, in the engine's loop, until only this call is open."""
    while sum(run.counts().get(outcome, 0) for outcome in ("ok", "failed")) < len(run.teacher.asked) - 1:
        await asyncio.sleep(0.0005)


# Refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(lambda: refuses(401), id="401"),
        pytest.param(lambda: refuses(402), id="402"),
        pytest.param(lambda: refuses(429, code="insufficient_quota"), id="429 for want of money"),
        pytest.param(lambda: httpx.Response(200, json={"error": {"type": "authentication_error"}}), id="401 in a 200"),
    ],
)
def test_a_refused_key_stops_the_asking_at_once(tmp_path: Path, refusal: Any) -> None:
    async def expires(asked: Asked) -> httpx.Response:
        await earlier_answers_settled(run)
        return says() if asked.prompt == "prompt 0" else refusal()

    with scene(tmp_path, prompts(500), expires, teachers=window(1)) as run:
        run.ask()
        assert run.causes() == ["unauthorized"]
        assert len(run.teacher.asked) <= 3, "the answer, the refusal, and what was sent before its commit"


def test_the_first_refusals_say_that_every_request_is_refused(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(500), lambda _: refuses(404), teachers=window(1)) as run:
        run.ask()
        assert run.causes() == ["refused"]
        assert len(run.teacher.asked) == engine_module.REFUSALS_TO_HALT
        assert "refused with 404" in run.control.halts()[0].message


def test_a_refusal_of_some_prompts_fails_only_those(tmp_path: Path) -> None:
    def picky(asked: Asked) -> httpx.Response:
        return says() if int(asked.prompt.split()[1]) % 100 == 0 else refuses(400)

    with scene(tmp_path, prompts(300), picky, teachers=window(1)) as run:
        run.ask()
        assert len(run.teacher.asked) == 300
        assert (run.counts()["ok"], run.counts()["failed"]) == (3, 297)
        assert run.causes() == []


def test_a_key_that_is_not_taken_any_more_stops_the_asking_after_some_refusals(tmp_path: Path) -> None:
    async def banned(asked: Asked) -> httpx.Response:
        await earlier_answers_settled(run)
        return says() if int(asked.prompt.split()[1]) < 5 else refuses(403)

    with scene(tmp_path, prompts(500), banned, teachers=window(1)) as run:
        run.ask()
        assert run.causes() == ["refused"]
        assert 5 + engine_module.REFUSALS_TO_HALT <= len(run.teacher.asked) <= 6 + engine_module.REFUSALS_TO_HALT


def test_a_teacher_that_stops_stops_no_other(tmp_path: Path) -> None:
    def one_refuses(asked: Asked) -> httpx.Response:
        return refuses(401) if asked.host == "locked.test" else says()

    with scene(tmp_path, prompts(100), one_refuses, teachers=[teacher("locked"), teacher("open")]) as run:
        run.ask()
        assert run.counts("open")["ok"] == 100
        assert [(halt.teacher, halt.cause) for halt in run.control.halts()] == [("locked", "unauthorized")]


def test_a_teacher_that_is_not_there_ends_the_asking(tmp_path: Path) -> None:
    def nobody(_: Asked) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with scene(tmp_path, prompts(1000), nobody, teachers=window(16)) as run:
        run.ask()
        assert run.causes() == ["unreachable"]
        assert len(run.teacher.asked) <= 16 + 5, "a window of calls, and a few probes until the commits say so"
        assert "http://t.test/v1" in run.control.halts()[0].message


# Time ---------------------------------------------------------------------------------------------------------------


async def never(_: Asked) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def test_a_call_that_takes_too_long_is_cut_off_and_asked_again(tmp_path: Path) -> None:
    async def stalls_once(asked: Asked) -> httpx.Response:
        return await never(asked) if asked.nth == 1 else says()

    with scene(tmp_path, prompts(1), stalls_once, retry={"timeout_s": 0.02}) as run:
        run.ask()
        assert run.counts()["ok"] == 1
    first, second = run.calls()
    assert (first.status, first.headers) == (0, '{"x-tutelage-cause":"timeout"}')
    assert second.status == 200


def test_the_deadline_cuts_off_the_call_that_would_pass_it(tmp_path: Path) -> None:
    retry = {"timeout_s": 1000, "deadline_s": 0.02}
    with scene(tmp_path, prompts(1), never, retry=retry) as run:
        run.ask()
    assert [call.headers for call in run.calls()] == ['{"x-tutelage-cause":"deadline"}']


def test_a_wait_that_would_pass_the_deadline_is_not_begun(tmp_path: Path) -> None:
    def later(_: Asked) -> httpx.Response:
        return refuses(503, headers={"retry-after": "50"})

    with scene(tmp_path, prompts(1), later, retry={"deadline_s": 40}) as run:
        run.ask()
        assert run.counts()["failed"] == 1
        assert len(run.teacher.asked) == 1


def test_a_request_whose_deadline_passed_while_it_was_held_back_is_not_asked_again(tmp_path: Path) -> None:
    def busy(_: Asked) -> httpx.Response:
        return refuses(429)

    with scene(tmp_path, prompts(1), busy, retry={"deadline_s": 0.1}) as run:
        lane = run.engine._lanes["t"]
        landed = lane.limiter.landed

        def land_and_pause(status: int, retry_after_s: float | None, now: float) -> None:
            landed(status, retry_after_s, now)
            lane.limiter.paused_until = math.inf if status == 429 else 0.0

        lane.limiter.landed = land_and_pause  # type: ignore[method-assign]
        run.ask()
        assert run.counts()["failed"] == 1
        assert len(run.teacher.asked) == 1


def test_attempts_of_this_run_bound_the_request(tmp_path: Path) -> None:
    def one_is_poison(asked: Asked) -> httpx.Response:
        return refuses(500) if asked.prompt == "prompt 3" else says()

    with scene(tmp_path, prompts(30), one_is_poison, retry={"max_attempts": 3}, teachers=window(2)) as run:
        run.ask()
        assert run.teacher.asked_of("prompt 3") == 3
        assert (run.counts()["ok"], run.counts()["failed"]) == (29, 1)


# Truncated answers ----------------------------------------------------------------------------------------------------


def cut_below(limit: int) -> Script:
    def script(asked: Asked) -> httpx.Response:
        finish = "length" if asked.body["max_tokens"] < limit else "stop"
        return says(f"with {asked.body['max_tokens']}", finish=finish)

    return script


def test_a_truncated_answer_is_asked_for_once_more_with_the_larger_limit_and_both_are_kept(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(3), cut_below(64), retry={"truncated_max_tokens": 64}) as run:
        run.ask()
        assert [asked.body["max_tokens"] for asked in run.teacher.asked] == [16] * 3 + [64] * 3
        assert run.counts()["ok"] == 3
    assert sorted(run.outcomes()) == ["ok"] * 3 + ["truncated"] * 3
    assert [call.max_tokens for call in run.calls()] == [None] * 3 + [64] * 3


def test_an_answer_that_is_cut_again_is_not_asked_for_a_third_time_nor_by_the_next_run(tmp_path: Path) -> None:
    for run_id, asked in (("run-1", [16, 64]), ("run-2", [])):
        with scene(tmp_path, prompts(1), cut_below(1000), retry={"truncated_max_tokens": 64}, run_id=run_id) as run:
            run.ask()
            assert [item.body["max_tokens"] for item in run.teacher.asked] == asked
    assert run.outcomes() == ["truncated", "truncated"]


@pytest.mark.parametrize("larger", [None, 16, 8])
def test_a_truncated_answer_is_kept_where_no_larger_limit_is_set(tmp_path: Path, larger: int | None) -> None:
    with scene(tmp_path, prompts(1), cut_below(1000), retry={"truncated_max_tokens": larger}) as run:
        run.ask()
        assert len(run.teacher.asked) == 1
        assert run.counts()["truncated"] == 1


def test_a_larger_limit_that_is_set_later_is_used_by_the_next_run(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(2), cut_below(64)) as first:
        first.ask()
    with scene(tmp_path, prompts(2), cut_below(64), retry={"truncated_max_tokens": 64}, run_id="run-2") as second:
        second.ask()
        assert [asked.body["max_tokens"] for asked in second.teacher.asked] == [64, 64]


def test_the_truncated_answer_stays_the_outcome_where_the_larger_limit_fails(tmp_path: Path) -> None:
    def fails_larger(asked: Asked) -> httpx.Response:
        return says(finish="length") if asked.body["max_tokens"] == 16 else refuses(400)

    with scene(tmp_path, prompts(1), fails_larger, retry={"truncated_max_tokens": 64}) as run:
        run.ask()
        assert run.counts()["truncated"] == 1
        assert "failed" not in run.counts()


# The budget -----------------------------------------------------------------------------------------------------------

PRICES = {"input": 3, "output": 15}
MOST_TOKENS = len("prompt 0") + 4 + 64 + 16
MOST_PICO_USD = (len("prompt 0") + 4 + 64) * 3_000_000 + 16 * 15_000_000


def test_reservations_count_before_a_call_goes_out(tmp_path: Path) -> None:
    gate = Gate()

    async def hold(_: Asked) -> httpx.Response:
        await gate.passed()
        return says(usage=(2, 1))

    cap = 2 * MOST_PICO_USD + MOST_PICO_USD // 2
    with scene(
        tmp_path, prompts(10), hold, teachers=window(8, price_usd_per_million_tokens=PRICES), max_pico_usd=cap
    ) as run:
        futures = run.submit()
        eventually(lambda: gate.waiting == 2)
        gate.open()
        wait_for(futures)
        assert run.teacher.most_in_flight == 2
        assert run.counts()["ok"] == 10, "what was reserved and not used pays for the next ones"
        assert run.causes() == []


def test_the_token_cap_holds_in_the_same_way(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(10), lambda _: says(usage=(70, 16)), max_tokens=5 * 86 + MOST_TOKENS - 1) as run:
        run.ask()
        assert len(run.teacher.asked) == 5
        assert run.causes() == ["budget"]
        assert run.engine.budget.tokens == 5 * 86


def test_what_earlier_runs_spent_counts(tmp_path: Path) -> None:
    changed: dict[str, Any] = {"max_tokens": 3 * MOST_TOKENS, "spent": engine_module.Cost(0, 2 * MOST_TOKENS, "usage")}
    with scene(tmp_path, prompts(3), lambda _: says(usage=None), **changed) as run:
        run.ask()
        assert len(run.teacher.asked) == 1
        assert run.causes() == ["budget"]


def test_processes_share_the_budget(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(9), lambda _: says(usage=None), max_tokens=6 * MOST_TOKENS, processes=2) as run:
        run.ask()
        assert len(run.teacher.asked) == 3


@pytest.mark.parametrize(
    ("script", "cost"),
    [
        pytest.param(lambda _: says(usage=(10, 2)), 10 * 3_000_000 + 2 * 15_000_000, id="counted"),
        pytest.param(lambda _: says(usage=None), MOST_PICO_USD, id="not counted: the most it can have cost"),
        pytest.param(lambda _: refuses(400), 0, id="refused"),
    ],
)
def test_a_call_costs_what_its_answer_says(tmp_path: Path, script: Script, cost: int) -> None:
    with scene(tmp_path, prompts(1), script, teachers=window(1, price_usd_per_million_tokens=PRICES)) as run:
        run.ask()
        assert run.engine.budget.cost == cost


@given(data=st.data())
@settings(max_examples=25)
def test_the_budget_is_never_passed_whatever_calls_cost(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    price = data.draw(st.fixed_dictionaries({"input": st.integers(0, 50), "output": st.integers(0, 50)}))
    cap_usd = data.draw(st.integers(0, 60 * MOST_PICO_USD))
    cap_tokens = data.draw(st.none() | st.integers(0, 12 * MOST_TOKENS))
    size, count = data.draw(st.integers(1, 8)), 12
    usages = data.draw(
        st.lists(st.tuples(st.integers(0, 76), st.integers(0, 16)) | st.none(), min_size=count, max_size=count)
    )
    failing = data.draw(st.sets(st.integers(0, count - 1)))
    most_at_once: list[tuple[int, int]] = []

    def answer(asked: Asked) -> httpx.Response:
        number = int(asked.prompt.split()[1]) % count
        most_at_once.append((run.engine.budget.cost, run.engine.budget.tokens))
        return refuses(503) if number in failing and asked.nth == 1 else says(usage=usages[number])

    folder = tmp_path_factory.mktemp("budget")
    teachers = window(size, price_usd_per_million_tokens=price)
    with scene(folder, prompts(count), answer, teachers=teachers, max_pico_usd=cap_usd, max_tokens=cap_tokens) as run:
        run.ask()
        assert all(cost <= cap_usd for cost, _ in most_at_once)
        assert cap_tokens is None or all(tokens <= cap_tokens for _, tokens in most_at_once)
        settled = run.engine.budget
        assert settled.outstanding == 0
        answered = run.counts().get("ok", 0)
        assert (run.causes() == ["budget"]) == (answered < count)


# Stopping and breaking ------------------------------------------------------------------------------------------------


def test_the_stop_file_drains_what_is_in_flight_and_asks_no_more(tmp_path: Path) -> None:
    gate = Gate()

    async def hold(_: Asked) -> httpx.Response:
        await gate.passed()
        return says()

    with scene(tmp_path, prompts(3000), hold, teachers=window(4)) as run:
        futures = run.submit()
        eventually(lambda: gate.waiting == 4)
        run.control.ask_to_stop()
        eventually(lambda: run.causes() == ["interrupted"])
        assert not futures[0].done()
        gate.open()
        wait_for(futures)
        assert len(run.teacher.asked) == 4
    assert run.outcomes() == ["ok"] * 4


def test_a_full_disk_ends_the_asking_and_what_is_in_flight_may_land(tmp_path: Path) -> None:
    def full() -> None:
        raise StorageError("no space left")

    with scene(tmp_path, prompts(50), teachers=window(2)) as run:
        flush, room = run.engine.journal.flush, 10

        def flush_while_there_is_room() -> None:
            nonlocal room
            room -= 1
            flush() if room > 0 else full()

        run.engine.journal.flush = flush_while_there_is_room  # type: ignore[method-assign]
        run.ask()
        assert run.causes() == ["storage"]
        assert "no space left" in run.control.halts()[0].message
        assert len(run.teacher.asked) < 50


def test_a_refused_commit_ends_the_asking(tmp_path: Path) -> None:
    def refused() -> None:
        raise StorageError("the bucket is read-only")

    gate = Gate()

    async def answers_ten(_: Asked) -> httpx.Response:
        if len(run.teacher.asked) > 10:  # the commit is refused in a thread: nothing says how soon
            await gate.passed()
        return says()

    with scene(tmp_path, prompts(50), answers_ten, teachers=window(2)) as run:
        run.engine.journal.commit = refused  # type: ignore[method-assign]
        futures = run.submit()
        eventually(lambda: run.causes() == ["storage"])
        gate.open()
        wait_for(futures)
        assert len(run.teacher.asked) <= 12


def test_an_unexpected_error_of_the_transport_surfaces_instead_of_hanging(tmp_path: Path) -> None:
    def breaks(asked: Asked) -> httpx.Response:
        if asked.prompt == "prompt 20":
            raise KeyError("a mistake of ours")
        return says()

    with scene(tmp_path, prompts(100), breaks, teachers=window(2)) as run:
        (future,) = run.submit()
        with pytest.raises(KeyError, match="a mistake of ours"):
            future.result(20)
        with pytest.raises(KeyError, match="a mistake of ours"):
            run.engine.submit(run.plan.shards[0]).result(20)
    assert "ok" in run.outcomes(), "what was answered before is journaled"


@pytest.mark.parametrize("call_no", [1, 5])
def test_an_error_while_sending_surfaces_wherever_it_happens(tmp_path: Path, call_no: int) -> None:
    with scene(tmp_path, prompts(10), teachers=window(1)) as run:
        sent = run.engine.journal.sent

        def breaks(*arguments: Any) -> int:
            if run.engine.journal.calls == call_no - 1:
                raise struct.error("does not fit")
            return sent(*arguments)

        run.engine.journal.sent = breaks  # type: ignore[method-assign]
        (future,) = run.submit()
        with pytest.raises(struct.error, match="does not fit"):
            future.result(20)


def test_an_error_while_sending_again_surfaces_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(_: Asked) -> httpx.Response:
        return refuses(429, headers={"retry-after-ms": "20"})

    monkeypatch.setattr(engine_module, "TICK_S", 1000.0)
    with scene(tmp_path, prompts(1), busy) as run:
        sent = run.engine.journal.sent

        def breaks(*arguments: Any) -> int:
            if run.engine.journal.calls:
                raise struct.error("does not fit")
            return sent(*arguments)

        run.engine.journal.sent = breaks  # type: ignore[method-assign]
        (future,) = run.submit()
        with pytest.raises(struct.error, match="does not fit"):
            future.result(20)


def test_a_shard_of_no_known_teacher_surfaces_instead_of_hanging(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(1)) as run:
        future = run.engine.submit(run.plan.shards[0]._replace(teacher="stranger"))
        with pytest.raises(KeyError, match="stranger"):
            future.result(20)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        pytest.param(lambda path: path.write_bytes(b"PAR1 and then nothing"), ContractError, id="damaged"),
        pytest.param(lambda path: path.unlink(), FileNotFoundError, id="gone"),
    ],
)
def test_a_plan_file_that_can_not_be_read_surfaces_for_every_shard(
    tmp_path: Path, damage: Any, error: type[Exception]
) -> None:
    output = {"uri": str(tmp_path / "dataset"), "shards": 3, "commit_interval_s": 0}
    with scene(tmp_path, prompts(30), output=output) as run:
        damage(Path(run.folder.path(run.plan.shards[1].file)))
        futures = [engine_submit(run, number) for number in range(3)]
        for future in futures[1:]:
            with pytest.raises(error):
                future.result(20)


def engine_submit(run: Scene, number: int) -> Any:
    return run.engine.submit(run.plan.shards[number])


def test_an_engine_that_can_not_start_says_why(tmp_path: Path) -> None:
    def breaks() -> httpx.AsyncBaseTransport:
        raise OSError("no such certificate file")

    run = scene(tmp_path, prompts(1))
    engine = Engine(run.job, breaks)
    with pytest.raises(OSError, match="no such certificate file"):
        engine.start()
    engine.close()


def test_closing_fails_the_shards_that_are_still_open(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(3), never) as run:
        (future,) = run.submit()
        eventually(lambda: run.teacher.in_flight == 3)
    with pytest.raises(RuntimeError, match="closed while shards were open"):
        future.result(0)
    with pytest.raises(RuntimeError, match="closed"):
        run.engine.submit(run.plan.shards[0])
    assert run.outcomes() == ["lost"] * 3


def test_a_request_that_was_cut_off_once_is_not_journaled_as_late_when_the_engine_closes(tmp_path: Path) -> None:
    with scene(tmp_path, prompts(1), never, retry={"timeout_s": 0.3}) as run:
        run.submit()
        eventually(lambda: len(run.teacher.asked) == 2)
    assert run.outcomes() == ["failed", "lost"]


def test_an_answer_without_a_count_takes_what_was_estimated_of_the_minutes_tokens(tmp_path: Path) -> None:
    limits = {"tokens_per_minute": 60_000}  # 1,000 at once
    with scene(tmp_path, ["x" * 3000], lambda _: says(usage=None), teachers=[teacher(limits=limits)]) as run:
        run.ask()
        lane = run.engine._lanes["t"]
        assert lane.limiter.wait_s(1, run.engine._loop.time()) == 0, "3,000 bytes are about 860 tokens"


# Memory ---------------------------------------------------------------------------------------------------------------


def test_the_plan_is_read_as_the_window_has_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, batches = Gate(), []
    planned = engine_module.planned_requests

    def counted(*arguments: Any) -> Any:
        for batch in planned(*arguments):
            batches.append(len(batch))
            yield batch

    async def hold(_: Asked) -> httpx.Response:
        await gate.passed()
        return says()

    monkeypatch.setattr(engine_module, "planned_requests", counted)
    with scene(tmp_path, prompts(3 * BATCH_ROWS), hold, teachers=window(8)) as run:
        futures = run.submit()
        eventually(lambda: gate.waiting == 8)
        some_ticks_pass(run)
        assert batches == [BATCH_ROWS]
        gate.open()
        wait_for(futures)
        assert sum(batches) == 3 * BATCH_ROWS


def test_the_index_takes_two_lanes_at_a_time(tmp_path: Path) -> None:
    """A part keeps few row groups in memory, and lanes look calls up in threads."""
    with scene(tmp_path, prompts(400), teachers=[teacher("a"), teacher("b")]) as run:
        run.ask()
    with scene(tmp_path, prompts(400), teachers=[teacher("a"), teacher("b")], run_id="run-2") as again:
        again.ask()
        assert again.teacher.asked == []
    assert len(JournalIndex(run.folder)) == 800
