"""What a call cost, exactly, and the hard cap over all calls."""

from collections.abc import Callable
from typing import NamedTuple

from tutelage.pipelines.config import PicoPrices, PicoUsd
from tutelage.pipelines.teachers.protocol import Reply

NEVER_REACHED = ("connect", "tls")
"""Causes of a call that no teacher can have answered, and so none can have charged."""


class Cost(NamedTuple):
    """`basis` is `usage` (the teacher's own count), `reserved` (no count: the most it can have cost), or `none`."""

    pico_usd: PicoUsd
    tokens: int
    basis: str


class Reservation(NamedTuple):
    """The most that a call can use, counted before it goes out."""

    prompt_tokens: int
    completion_tokens: int

    def cost(self, prices: PicoPrices) -> Cost:
        tokens = self.prompt_tokens + self.completion_tokens
        return Cost(prices.cost(self.prompt_tokens, self.completion_tokens), tokens, "reserved")


def cost_of(
    kind: str, status: int, reply: Reply | None, reserved: Callable[[], Reservation], prices: PicoPrices
) -> Cost:
    """The price of one call from what came back. An answer that is missing or that counts nothing costs its
    reservation: it was perhaps paid for."""
    usage = reply.usage if reply is not None else None
    if usage is not None and usage.prompt_tokens is not None and usage.completion_tokens is not None:
        total = prices.cost(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens or 0)
        return Cost(total, usage.prompt_tokens + usage.completion_tokens, "usage")
    refused = status >= 300 or (status == 0 and reply is not None and reply.cause in NEVER_REACHED)
    if refused and kind != "lost":
        return Cost(0, 0, "none")
    return reserved().cost(prices)


class BudgetMeter:
    """Hard caps on money and tokens: a call's reservation counts before it goes out, its true cost once it is known."""

    def __init__(self, max_pico_usd: PicoUsd | None, max_tokens: int | None, spent: Cost) -> None:
        self._max_cost, self._max_tokens = max_pico_usd, max_tokens
        self.cost, self.tokens = spent.pico_usd, spent.tokens
        self.outstanding = 0

    def reserve(self, wanted: Cost) -> bool:
        if self._max_cost is not None and self.cost + wanted.pico_usd > self._max_cost:
            return False
        if self._max_tokens is not None and self.tokens + wanted.tokens > self._max_tokens:
            return False
        self.cost += wanted.pico_usd
        self.tokens += wanted.tokens
        self.outstanding += 1
        return True

    def settle(self, reserved: Cost, actual: Cost) -> None:
        self.outstanding -= 1
        self.cost += actual.pico_usd - reserved.pico_usd
        self.tokens += actual.tokens - reserved.tokens
