from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.pipelines.config import PicoPrices, Prices
from tutelage.pipelines.pricing import BudgetMeter, Cost, Reservation, cost_of
from tutelage.pipelines.teachers.protocol import NO_USAGE, Reply, Usage

PRICES = Prices(input=Decimal(2), output=Decimal(10), cached_input=Decimal("0.5")).pico()
RESERVED = Reservation(1000, 100)
MOST = Cost(3_000_000_000, 1100, "reserved")
NOTHING = Cost(0, 0, "none")


def reply(cause: str | None = None, usage: Usage = NO_USAGE) -> Reply:
    outcome = "failed" if cause else "ok"
    return Reply(outcome, cause, False, None, "", None, None, None, None, None, None, usage, None, None)


def cost(status: int, said: Reply | None, kind: str = "ask") -> Cost:
    return cost_of(kind, status, said, lambda: RESERVED, PRICES)


def test_the_teachers_own_count_is_the_price() -> None:
    assert cost(200, reply(usage=Usage(100, 10, 40, 5))) == Cost(
        60 * 2_000_000 + 40 * 500_000 + 10 * 10_000_000, 110, "usage"
    )


def test_a_count_without_cached_tokens_has_none() -> None:
    assert cost(200, reply(usage=Usage(100, 10, None, None))) == Cost(300_000_000, 110, "usage")


@pytest.mark.parametrize("usage", [NO_USAGE, Usage(100, None, None, None), Usage(None, 10, None, None)])
def test_an_answer_that_counts_nothing_costs_the_most_that_it_can_have(usage: Usage) -> None:
    assert cost(200, reply(usage=usage)) == MOST


@pytest.mark.parametrize(
    ("status", "cause", "wanted"),
    [
        (400, "request_refused", NOTHING),
        (401, "unauthorized", NOTHING),
        (429, "rate_limited", NOTHING),
        (302, "redirect", NOTHING),
        (503, "server_error", NOTHING),
        (0, "connect", NOTHING),
        (0, "tls", NOTHING),
        (0, "timeout", MOST),
        (0, "broken_body", MOST),
        (0, "deadline", MOST),
        (200, "not_json", MOST),
        (200, "error_in_200", MOST),
    ],
)
def test_a_call_is_free_only_where_nobody_can_have_charged_it(status: int, cause: str, wanted: Cost) -> None:
    assert cost(status, reply(cause)) == wanted


def test_a_refusal_that_counts_tokens_is_charged_as_counted() -> None:
    assert cost(400, reply("request_refused", Usage(100, 0, None, None))) == Cost(200_000_000, 100, "usage")


def test_a_call_that_a_dead_run_sent_costs_the_most_that_it_can_have() -> None:
    assert cost(0, None, "lost") == MOST


def spend(meter: BudgetMeter, most: Cost, used: Cost) -> bool:
    if not meter.reserve(most):
        return False
    meter.settle(most, used)
    return True


def test_a_reservation_that_would_pass_the_cap_is_refused_and_one_that_reaches_it_is_not() -> None:
    meter = BudgetMeter(100, None, NOTHING)
    assert meter.reserve(Cost(60, 1, "reserved"))
    assert not meter.reserve(Cost(41, 1, "reserved"))
    assert meter.reserve(Cost(40, 1, "reserved"))


def test_what_earlier_runs_spent_counts() -> None:
    assert not BudgetMeter(100, None, Cost(70, 5, "usage")).reserve(Cost(31, 1, "reserved"))
    assert not BudgetMeter(None, 10, Cost(0, 5, "usage")).reserve(Cost(0, 6, "reserved"))


def test_what_a_call_did_not_use_makes_room_for_others() -> None:
    meter = BudgetMeter(100, None, NOTHING)
    assert [spend(meter, Cost(60, 1, "reserved"), Cost(20, 1, "usage")) for _ in range(4)] == [True, True, True, False]
    assert (meter.cost, meter.outstanding) == (60, 0)


def test_money_and_tokens_are_capped_each_on_its_own() -> None:
    assert not BudgetMeter(10**9, 100, NOTHING).reserve(Cost(1, 101, "reserved"))
    assert not BudgetMeter(100, 10**9, NOTHING).reserve(Cost(101, 1, "reserved"))


def test_a_refused_reservation_changes_nothing() -> None:
    meter = BudgetMeter(100, 100, NOTHING)
    meter.reserve(Cost(1, 101, "reserved"))
    assert (meter.cost, meter.tokens, meter.outstanding) == (0, 0, 0)


def test_a_cap_of_nothing_still_lets_free_calls_through() -> None:
    assert BudgetMeter(0, None, NOTHING).reserve(Cost(0, 1100, "reserved"))


CALLS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1), st.booleans()), max_size=60)


@given(st.integers(0, 300), st.integers(0, 300), CALLS)
def test_no_order_of_calls_spends_more_than_the_caps(
    max_cost: int, max_tokens: int, calls: list[tuple[int, int, float, bool]]
) -> None:
    meter, out, spent_cost, spent_tokens = BudgetMeter(max_cost, max_tokens, NOTHING), [], 0, 0
    for most_cost, most_tokens, share, lands in calls:
        most = Cost(most_cost, most_tokens, "reserved")
        if meter.reserve(most):
            out.append((most, Cost(int(most_cost * share), int(most_tokens * share), "usage")))
        if lands and out:
            reserved, used = out.pop(0)
            meter.settle(reserved, used)
            spent_cost, spent_tokens = spent_cost + used.pico_usd, spent_tokens + used.tokens
        # Even if all that is out comes to the most that it can.
        assert spent_cost + sum(reserved.pico_usd for reserved, _ in out) == meter.cost <= max_cost
        assert spent_tokens + sum(reserved.tokens for reserved, _ in out) == meter.tokens <= max_tokens


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.fractions(0, 1),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.fractions(0, 1),
)
def test_a_reservation_is_never_less_than_what_a_call_of_its_size_costs(
    price_in: int, price_out: int, discount: float, prompt: int, completion: int, cached_share: float
) -> None:
    prices = PicoPrices(price_in, int(price_in * discount), price_out)
    assert (
        prices.cost(prompt, completion, int(prompt * cached_share)) <= Reservation(prompt, completion).cost(prices)[0]
    )
