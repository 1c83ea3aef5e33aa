import math
from datetime import UTC, datetime
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.pipelines.config import Limits
from tutelage.pipelines.limiter import (
    COOL_DOWN_S,
    FAILURES_TO_OPEN,
    FIRST_PROBE_S,
    LONGEST_PROBE_S,
    Limiter,
    MinuteLimit,
    Window,
    retry_after_s,
)

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def limiter(processes: int = 1, **limits: int) -> Limiter:
    return Limiter(Limits(**limits), processes, 0.0)


def send_greedily(limit: MinuteLimit, amounts: list[float], idle: list[float]) -> list[float]:
    """The moments at which a sender that never waits longer than it must sends each amount."""
    now, moments = 0.0, []
    for amount, pause in zip(amounts, idle, strict=True):
        now += pause
        while wait := limit.wait_s(amount, now):
            now += wait
        limit.take(amount)
        moments.append(now)
    return moments


def answer(lane: Limiter, status: int, now: float = 0.0, retry_after: float | None = None) -> None:
    """One call goes out and comes back while all other places of the window are taken."""
    lane.in_flight = int(lane.window.size)
    lane.landed(status, retry_after, now)
    lane.in_flight = 0


# Requests and tokens a minute.

IDLE = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.3, 1.0, 59.9, 60.0, 100_000.0]), min_size=1, max_size=150)


@settings(max_examples=200)
@given(st.integers(1, 40) | st.sampled_from([61, 100, 119]), IDLE)
def test_no_sixty_seconds_hold_more_requests_than_the_limit(per_minute: int, idle: list[float]) -> None:
    moments = send_greedily(MinuteLimit(per_minute, 0.0), [1.0] * len(idle), idle)
    assert all(later - earlier >= 60 for earlier, later in zip(moments, moments[per_minute:], strict=False))


def test_no_sixty_seconds_after_a_long_idleness_hold_more_requests_than_a_large_limit() -> None:
    limit = MinuteLimit(6000, 0.0)
    moments = send_greedily(limit, [1.0] * 13_000, [100_000.0] + [0.0] * 12_999)
    assert all(later - earlier >= 60 for earlier, later in zip(moments, moments[6000:], strict=False))


@pytest.mark.parametrize("per_minute", [1, 2, 3, 11, 60, 600, 3000])
def test_a_steady_sender_uses_nearly_all_of_its_limit(per_minute: int) -> None:
    moments = send_greedily(MinuteLimit(per_minute, 0.0), [1.0] * 5 * per_minute, [0.0] * 5 * per_minute)
    assert moments[-1] <= 5 * 60 * 1.02


@given(
    st.integers(600, 5000),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 0.1, 70.0])), min_size=1, max_size=120),
)
def test_no_sixty_seconds_hold_more_tokens_than_the_limit_by_more_than_one_call_is_above_the_burst(
    per_minute: int, calls: list[tuple[float, float]]
) -> None:
    amounts = [float(int(1 + share * per_minute / 3)) for share, _ in calls]
    limit = MinuteLimit(per_minute, 0.0)
    moments = send_greedily(limit, amounts, [idle for _, idle in calls])
    sums = [0.0, *accumulate(amounts)]
    most = per_minute + max(0.0, max(amounts) - limit.burst)
    for first, start in enumerate(moments):
        last = next((place for place, moment in enumerate(moments) if moment - start >= 60), len(moments))
        assert sums[last] - sums[first] <= most


def test_a_call_larger_than_the_burst_waits_for_a_full_bucket_and_the_next_one_for_its_debt() -> None:
    limit = MinuteLimit(6000, 0.0)
    assert limit.burst == 100
    assert limit.wait_s(1000, 0.0) == 0
    limit.take(1000)
    wait = limit.wait_s(1, 0.0)
    assert wait == pytest.approx(901 / (5901 / 60), rel=1e-3)
    assert limit.wait_s(1, wait) == 0


def test_what_was_reserved_and_not_used_lets_the_next_call_go_at_once() -> None:
    lane = limiter(tokens_per_minute=6000)
    lane.sent(100)
    assert lane.wait_s(100, 0.0) > 0.9
    lane.reconcile(100, 0)
    assert lane.wait_s(100, 0.0) == 0


def test_what_was_used_beyond_the_reservation_delays_the_next_call() -> None:
    lane, other = limiter(tokens_per_minute=6000), limiter(tokens_per_minute=6000)
    for each in (lane, other):
        each.sent(50)
    lane.reconcile(50, 500)
    other.reconcile(50, 50)
    assert lane.wait_s(100, 0.0) == pytest.approx(other.wait_s(100, 0.0) + 450 / (5901 / 60), rel=1e-3)


def test_what_is_given_back_never_fills_more_than_the_bucket() -> None:
    lane = limiter(tokens_per_minute=6000)
    for _ in range(50):
        lane.sent(10)
        lane.reconcile(10, 0)
    lane.sent(100)
    assert lane.wait_s(10, 0.0) > 0


def test_without_limits_only_the_window_holds_calls_back() -> None:
    lane = limiter(max_in_flight=3)
    for _ in range(3):
        assert lane.wait_s(10**9, 0.0) == 0
        lane.sent(10**9)
    assert lane.wait_s(1, 0.0) == math.inf
    lane.landed(200, None, 0.0)
    assert lane.wait_s(1, 0.0) == 0


@settings(max_examples=50)
@given(st.integers(1, 30), st.data())
def test_the_shares_of_all_processes_never_add_up_to_more_than_the_limit(limit: int, data: st.DataObject) -> None:
    processes = data.draw(st.integers(1, limit))
    lanes = [limiter(processes, max_in_flight=limit, requests_per_minute=limit) for _ in range(processes)]
    assert sum(lane.window.ceiling for lane in lanes) <= limit
    moments: list[float] = []
    for lane in lanes:
        now = 0.0
        while now < 200:
            now += lane.wait_s(1, now)
            lane.sent(1)
            lane.landed(200, None, now)
            moments.append(now)
    moments.sort()
    assert all(later - earlier >= 60 for earlier, later in zip(moments, moments[limit:], strict=False))


# The window.


@pytest.mark.parametrize("ceiling", [1, 2, 3, 4, 5, 7, 64, 250])
def test_a_window_that_was_throttled_to_one_grows_back_to_the_limit_under_full_use(ceiling: int) -> None:
    window = Window(ceiling)
    for moment in range(20):
        window.throttled(moment * COOL_DOWN_S)
    assert window.size == 1
    answers = 0
    while window.size < ceiling:
        window.answered(in_flight=int(window.size))
        answers += 1
        assert answers <= ceiling**2, "one more place a window of answers at least"
    assert window.size == ceiling


def test_a_window_of_answers_adds_one_place() -> None:
    window = Window(100)
    window.throttled(0.0)
    for _ in range(50):
        window.answered(in_flight=50)
    assert window.size == pytest.approx(51, abs=0.1)


@pytest.mark.parametrize(("in_flight", "grows"), [(1, False), (39, False), (40, True), (50, True)])
def test_a_window_grows_only_when_it_is_nearly_full(in_flight: int, grows: bool) -> None:
    window = Window(100)
    window.throttled(0.0)
    window.answered(in_flight)
    assert (window.size > 50) is grows


def test_a_burst_of_refusals_halves_the_window_once_a_cool_down() -> None:
    lane = limiter(max_in_flight=64)
    for moment in (0.0, 0.01, COOL_DOWN_S - 0.01):
        answer(lane, 429, moment)
    assert lane.window.size == 32
    answer(lane, 429, COOL_DOWN_S)
    assert lane.window.size == 16


@pytest.mark.parametrize("status", [0, 200, 302, 400, 401, 404, 408, 500, 502, 503, 529])
def test_nothing_but_429_shrinks_the_window(status: int) -> None:
    lane = limiter(max_in_flight=64)
    for _ in range(20):
        answer(lane, status)
    assert lane.window.size == 64


@pytest.mark.parametrize("status", [0, 400, 500])
def test_only_answers_grow_the_window(status: int) -> None:
    lane = limiter(max_in_flight=64)
    answer(lane, 429)
    answer(lane, status)
    assert lane.window.size == 32
    answer(lane, 200)
    assert lane.window.size > 32


@given(st.integers(1, 50), st.lists(st.tuples(st.sampled_from([0, 200, 200, 200, 400, 429, 503]), st.floats(0, 3))))
def test_the_window_stays_between_one_and_the_limit(ceiling: int, answers: list[tuple[int, float]]) -> None:
    lane, now = limiter(max_in_flight=ceiling), 0.0
    for status, pause in answers:
        now += pause
        answer(lane, status, now)
        assert 1 <= int(lane.window.size) <= ceiling


# The pauses that a teacher asks for.


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_a_retry_after_is_heeded_to_the_second(status: int) -> None:
    lane = limiter()
    answer(lane, status, 10.0, retry_after=7.0)
    assert lane.wait_s(1, 11.0) == 6
    assert lane.wait_s(1, 17.0) == 0


def test_a_shorter_retry_after_takes_nothing_from_a_longer_one() -> None:
    lane = limiter()
    answer(lane, 429, 0.0, retry_after=60.0)
    answer(lane, 429, 1.0, retry_after=1.0)
    assert lane.wait_s(1, 2.0) == 58


@pytest.mark.parametrize("status", [0, 200, 400])
def test_a_retry_after_on_another_answer_pauses_nobody(status: int) -> None:
    lane = limiter()
    answer(lane, status, 0.0, retry_after=60.0)
    assert lane.wait_s(1, 0.0) == 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Tue, 24 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Tuesday, 24-Nov-26 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 14:00:30 +0200"}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 12:00:30"}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 11:59:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 24 Nov 2027 12:00:00 GMT"}, 365 * 86400.0),
        ({"retry-after": "999999999"}, 999999999.0),
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after-ms": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "Tue, 99 Nov 2026 12:00:00 GMT"}, None),
        ({"retry-after": "9999999999999999999 Nov 2026 12:00:00 GMT"}, None),
        ({"retry-after": "24 Nov 2026 12:00:00 +9999"}, None),
    ],
)
def test_a_retry_after_is_read_in_all_its_forms_and_garbage_is_none(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_s(headers.get, NOW) == seconds


@settings(max_examples=200)
@given(
    st.text(max_size=30)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,4} (Nov|Xyz) \d{1,9} \d\d:\d\d(:\d\d)? (GMT|[+-]\d{1,6})", fullmatch=True)
)
def test_whatever_stands_in_the_header_is_a_pause_or_none(value: str) -> None:
    found = retry_after_s({"retry-after": value}.get, NOW)
    assert found is None or 0 <= found < math.inf


# The breaker.


def broken(lane: Limiter, now: float = 0.0, failures: int = FAILURES_TO_OPEN, status: int = 503) -> None:
    """So many calls go out together and fail."""
    lane.in_flight = failures
    for _ in range(failures):
        lane.landed(status, None, now)


def test_the_breaker_opens_after_failures_in_a_row_and_not_before() -> None:
    lane = limiter()
    broken(lane, failures=FAILURES_TO_OPEN - 1)
    assert lane.wait_s(1, 0.0) == 0
    broken(lane, failures=1)
    assert lane.wait_s(1, 0.0) == FIRST_PROBE_S


@pytest.mark.parametrize("status", [200, 400, 404, 429])
def test_any_sign_of_life_starts_the_count_anew(status: int) -> None:
    lane = limiter()
    broken(lane, failures=FAILURES_TO_OPEN - 1)
    answer(lane, status)
    broken(lane, failures=FAILURES_TO_OPEN - 1)
    assert not lane.breaker.is_open


@pytest.mark.parametrize("status", [0, 500, 503])
def test_an_open_breaker_lets_one_probe_through_at_a_time(status: int) -> None:
    lane = limiter()
    broken(lane, status=status)
    assert lane.wait_s(1, 0.5) == 0.5
    assert lane.wait_s(1, FIRST_PROBE_S) == 0
    lane.sent(1)
    assert lane.wait_s(1, 100.0) == math.inf


def test_a_probe_that_is_answered_closes_the_breaker() -> None:
    lane = limiter()
    broken(lane)
    lane.sent(1)
    lane.landed(200, None, FIRST_PROBE_S)
    assert not lane.breaker.is_open
    assert lane.wait_s(1, FIRST_PROBE_S) == 0
    assert lane.breaker.outage_s(FIRST_PROBE_S) == 0
    broken(lane, now=50.0)
    assert lane.wait_s(1, 50.0) == FIRST_PROBE_S, "the next outage begins with the short pause again"


def test_probes_that_fail_double_the_pause_up_to_the_longest() -> None:
    lane, now, pauses = limiter(), 0.0, []
    broken(lane)
    for _ in range(8):
        pause = lane.wait_s(1, now)
        pauses.append(pause)
        now += pause
        assert lane.wait_s(1, now) == 0
        lane.sent(1)
        lane.landed(503, None, now)
    assert pauses == [1, 2, 4, 8, 16, LONGEST_PROBE_S, LONGEST_PROBE_S, LONGEST_PROBE_S]
    assert lane.breaker.outage_s(now) == now


def test_calls_that_were_out_when_the_breaker_opened_make_its_pause_no_longer() -> None:
    lane = limiter()
    broken(lane, failures=64)
    assert lane.wait_s(1, 0.0) == FIRST_PROBE_S


def test_a_probe_waits_until_the_calls_before_it_have_landed() -> None:
    lane = limiter()
    lane.in_flight = FAILURES_TO_OPEN + 1
    for _ in range(FAILURES_TO_OPEN):
        lane.landed(503, None, 0.0)
    assert lane.wait_s(1, 100.0) == math.inf
    lane.landed(503, None, 100.0)
    assert lane.wait_s(1, 100.0) == FIRST_PROBE_S


def test_an_outage_is_as_long_as_nothing_but_failures_came() -> None:
    lane = limiter()
    broken(lane, now=100.0, failures=3)
    assert lane.breaker.outage_s(150.0) == 0, "a few failures are no outage"
    broken(lane, now=160.0)
    assert lane.breaker.outage_s(160.0) == 60
