"""When the next call to one teacher may go out: the window, the minute limits, the pauses it asks for, the breaker.

No clock and no I/O in here: every method takes `now` in seconds, so that tests replay hours in microseconds.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tutelage.pipelines.config import Limits

NEARLY_FULL = 0.8
"""The window grows only on answers that came while this share of it was in use: an idle window learns nothing."""
COOL_DOWN_S = 2.0
"""One burst of refusals is one message: the window is halved at most once in this time."""
FAILURES_TO_OPEN = 8
FIRST_PROBE_S, LONGEST_PROBE_S = 1.0, 30.0
BURST_SHARE = 1 / 60
"""Share of a minute's limit that may go out at once, a second's worth: it makes up for a late timer, and is taken off
what goes out steadily."""
MINUTE_S = 60.001
"""A hair over, so that no rounding lets a call slip into the minute before."""


class Window:
    """How many calls may be in flight: starts at the user's limit, is halved by 429, grows by one a window of answers.

    Additive increase, multiplicative decrease (Chiu and Jain 1989), as in TCP.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.size = float(ceiling)
        self._cooled_at = -math.inf

    def answered(self, in_flight: int) -> None:
        # Of the whole places: a window of 1.5 is full with one call.
        if self.size < self.ceiling and in_flight >= NEARLY_FULL * int(self.size):
            self.size = min(self.ceiling, self.size + 1 / self.size)

    def throttled(self, now: float) -> None:
        if now >= self._cooled_at:
            self.size = max(1.0, self.size / 2)
            self._cooled_at = now + COOL_DOWN_S


class MinuteLimit:
    """A leaky bucket that lets at most `per_minute` (1 or more) through in any 60 seconds, however long it was idle.

    That holds of whole amounts up to the burst, and so of requests. A larger amount (of tokens) waits for a full bucket
    and leaves a debt: then a minute can hold more, by what that amount is above the burst.
    """

    def __init__(self, per_minute: int, now: float) -> None:
        self.burst = max(per_minute * BURST_SHARE, 1.0)
        # A minute that begins with a full bucket lets burst + 60 s of this through, which stays below per_minute + 1.
        self._per_second = (per_minute + 1 - self.burst) / MINUTE_S
        self._level = self.burst
        self._at = now

    def wait_s(self, amount: float, now: float) -> float:
        self._refill(now)
        missing = min(amount, self.burst) - self._level
        return missing / self._per_second if missing > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        self._level -= amount

    def give_back(self, amount: float) -> None:
        """What was reserved and not used (or, negative, used beyond the reservation)."""
        self._level = min(self.burst, self._level + amount)

    def _refill(self, now: float) -> None:
        self._level = min(self.burst, self._level + (now - self._at) * self._per_second)
        self._at = now


class Breaker:
    """Pauses a teacher that only fails, and lets one call through from time to time, instead of failing the rest."""

    def __init__(self) -> None:
        self.failures = 0
        self.failing_since: float | None = None
        self._probe_at = 0.0
        self._pause_s = FIRST_PROBE_S

    @property
    def is_open(self) -> bool:
        return self.failures >= FAILURES_TO_OPEN

    def wait_s(self, in_flight: int, now: float) -> float:
        if not self.is_open:
            return 0.0
        return math.inf if in_flight else max(0.0, self._probe_at - now)

    def succeeded(self) -> None:
        self.failures, self.failing_since, self._pause_s = 0, None, FIRST_PROBE_S

    def failed(self, in_flight: int, now: float) -> None:
        """A call failed, and so many are still out. Only the last one of a burst starts a pause: the others are no
        further news of the teacher."""
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = now
        if self.is_open and not in_flight:
            self._probe_at = now + self._pause_s
            self._pause_s = min(LONGEST_PROBE_S, self._pause_s * 2)

    def outage_s(self, now: float) -> float:
        return now - self.failing_since if self.is_open and self.failing_since is not None else 0.0


class Limiter:
    """All that holds one teacher's calls back, in one place. In a run of several processes, one process's share."""

    def __init__(self, limits: Limits, processes: int, now: float) -> None:
        self.window = Window(max(1, limits.max_in_flight // processes))
        self.breaker = Breaker()
        self.in_flight = 0
        self.paused_until = -math.inf
        self._requests = _minute_limit(limits.requests_per_minute, processes, now)
        self._tokens = _minute_limit(limits.tokens_per_minute, processes, now)

    def wait_s(self, tokens: int, now: float) -> float:
        """Seconds until a call of so many tokens may go out: 0 is now, infinity is when another one has landed."""
        if self.in_flight >= int(self.window.size):
            return math.inf
        wait = max(self.paused_until - now, self.breaker.wait_s(self.in_flight, now), 0.0)
        if self._requests:
            wait = max(wait, self._requests.wait_s(1, now))
        if self._tokens:
            wait = max(wait, self._tokens.wait_s(tokens, now))
        return wait

    def sent(self, tokens: int) -> None:
        self.in_flight += 1
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(tokens)

    def landed(self, status: int, retry_after_s: float | None, now: float) -> None:
        """A call came back (status 0: it did not). Only 429 shrinks the window: a server's trouble is not our pace."""
        in_flight, self.in_flight = self.in_flight, self.in_flight - 1
        if status == 429:
            self.window.throttled(now)
            self.breaker.succeeded()
        elif status == 0 or status >= 500:
            self.breaker.failed(self.in_flight, now)
        else:
            self.breaker.succeeded()
            if status == 200:
                self.window.answered(in_flight)
        if retry_after_s is not None and (status == 429 or status >= 500):
            self.paused_until = max(self.paused_until, now + retry_after_s)

    def reconcile(self, reserved: int, used: int) -> None:
        if self._tokens:
            self._tokens.give_back(reserved - used)


def _minute_limit(per_minute: int | None, processes: int, now: float) -> MinuteLimit | None:
    return None if per_minute is None else MinuteLimit(max(1, per_minute // processes), now)


def retry_after_s(header: Callable[[str], str | None], now: datetime | None = None) -> float | None:
    """Seconds that a teacher asks us to wait: `retry-after-ms`, or `Retry-After` as seconds or HTTP date (RFC 9110)."""
    milliseconds = _number(header("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = header("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < math.inf else None
