"""Asks: one event loop and one HTTP transport a process, one lane a teacher, however many bundles feed it.

Beam bundles hand in plan shards and wait; the lanes read the shards as they have room for them. A call's way:

    ready -> (limiter, budget) -> SENT frame -> HTTP -> call frame -> commit -> parse -> settled, or ready again

The answer frees its place in the window when it lands, not when it is durable; an answer
is looked into only once it is; refusals, which are never rows, are read as they land.
"""

import asyncio
import gc
import heapq
import itertools
import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import httpx
import uvloop

from tutelage.pipelines.job import ControlFolder, Halt, HarvestJob
from tutelage.pipelines.journal import JournalWriter
from tutelage.pipelines.journal_index import JournalIndex
from tutelage.pipelines.limiter import Limiter, retry_after_s
from tutelage.pipelines.plan import PlanShard
from tutelage.pipelines.pricing import BudgetMeter, Cost, Reservation, cost_of
from tutelage.pipelines.replay import planned_requests, reservation_of, sampling_of, settle
from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.pipelines.teachers.protocol import Reply
from tutelage.pipelines.transport import Answer, Line, allow_open_files, new_transport, no_answer
from tutelage.schemas.errors import StorageError
from tutelage.schemas.rows import PlannedRequest

TICK_S = 0.1
COLLECT_RARELY = (20_000, 50, 1000)
PUBLISH_EVERY_TICKS = 5
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 60.0
REFUSALS_TO_HALT = 20
"""So many refusals (400, 404…) before the first answer say that every request of this config is refused; so many of
the key (403) with no answer between them say at any time that it is not taken any more."""
UNREACHABLE_TO_HALT = 3
"""So many times all that was out failed to connect, before the first answer: a window of calls, and two probes."""
LONGEST_PAUSE_S = 3600.0
"""A teacher that asks for a longer pause is left for another day, which the report says."""


@dataclass(slots=True, eq=False)
class _Asking:
    """A request on its way, with what it takes to ask it again."""

    shard: "_OpenShard"
    request: PlannedRequest
    digest: bytes
    sampling: dict[str, Any]
    body: bytes
    tokens: int
    reservation: Reservation
    reserved: Cost
    max_tokens: int | None = None
    attempt: int = 0  # calls so far, those of earlier runs included
    tries: int = 0  # calls of this run
    failures: int = 0
    first_sent: float = 0.0
    overdue_at: float = 0.0
    overdue: bool = False
    outcome: str = "failed"


@dataclass(slots=True, eq=False)
class _OpenShard:
    shard: PlanShard
    done: "Future[None]"
    outstanding: int = 0
    read: bool = False

    def settled(self, count: int = 1) -> None:
        self.outstanding -= count
        self.close_if_done()

    def close_if_done(self) -> None:
        if self.read and not self.outstanding and not self.done.done():
            self.done.set_result(None)


class Engine:
    """Runs in a thread of its own from `start` to `close`; `submit` and `close` may be called from any thread."""

    def __init__(
        self,
        job: HarvestJob,
        make_transport: Callable[[], httpx.AsyncBaseTransport] = new_transport,
        seed: int | None = None,
    ) -> None:
        self.job = job
        self.control = ControlFolder(job.control_dir)
        self.index = JournalIndex(job.folder)
        self.journal = JournalWriter(job.folder, job.run_id, [teacher.name for teacher in job.config.teachers])
        self.budget = BudgetMeter(*_share_of_budget(job))
        self.random = random.Random(seed)
        self.halts: list[Halt] = []
        self._make_transport = make_transport
        self._loop = uvloop.new_event_loop()
        self._lanes: dict[str, _Lane] = {}
        self._landed: list[tuple[_Lane, _Asking, Answer]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened: list[_OpenShard] = []
        self._over = False
        self._over_lock = threading.Lock()
        self._running = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="tutelage-engine", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._running.wait()
        if self._failure:
            raise self._failure

    def submit(self, shard: PlanShard) -> "Future[None]":
        """Queues a plan shard; the future is done when each of its requests is settled, journaled, or given up."""
        opened = _OpenShard(shard, Future())
        with self._over_lock:
            if self._over:
                raise self._failure or RuntimeError("the engine is closed")
            self._opened.append(opened)
            self._loop.call_soon_threadsafe(self.guarded, self._submitted, opened)
        return opened.done

    def close(self) -> None:
        """Commits what is journaled and ends the thread. Call it once every shard is done."""
        if self._thread.is_alive():
            with self._over_lock:
                if not self._over:
                    self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    def halt(self, halt: Halt) -> None:
        """Stops asking one teacher, or all; what is in flight may still land."""
        lanes = [lane for lane in self._lanes.values() if not lane.halted and halt.teacher in ("", lane.teacher.name)]
        if not lanes:
            return
        self.halts.append(halt)
        # Before shards end for it: whoever waits for them looks there for the reason.
        self.control.publish("halt", self.journal.writer, self.halts)
        for lane in lanes:
            lane.stop()

    def note(self, lane: "_Lane", asking: _Asking, answer: Answer) -> None:
        """An answer is in the journal's buffer and waits for the commit that lets it be looked into."""
        self._landed.append((lane, asking, answer))
        self._dirty.set()

    def flush(self) -> None:
        """Hands frames to the system; on a refused write (a full disk) stops asking, and keeps draining."""
        try:
            self.journal.flush()
        except StorageError as error:
            self.halt(Halt("", "storage", str(error)))

    def spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def wake(self) -> None:
        for lane in self._lanes.values():
            lane.pump()

    def guarded(self, step: Callable[..., None], *arguments: Any) -> None:
        """Runs a callback of the loop. What it raises ends the engine: the loop would only log it."""
        try:
            step(*arguments)
        except BaseException as failure:  # noqa: BLE001
            self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        self._failure = self._failure or failure
        self._closing.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._fail(failure)

    def _run(self) -> None:
        # Answers are many small objects that live for a commit interval: at its defaults the collector walks them over
        # and over, a fifth of all CPU at 512 in flight.
        gc.set_threshold(*COLLECT_RARELY)
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as failure:  # noqa: BLE001
            self._failure = failure
        finally:
            with self._over_lock:
                self._over = True
            self._running.set()
            why = self._failure or RuntimeError("the engine was closed while shards were open")
            for opened in self._opened:
                if not opened.done.done():
                    opened.done.set_exception(why)
            self._loop.close()

    async def _main(self) -> None:
        self._closing, self._dirty = asyncio.Event(), asyncio.Event()
        transport = self._make_transport()
        try:
            for number, teacher in enumerate(self.job.config.teachers):
                self._lanes[teacher.name] = _Lane(self, number, transport)
            allow_open_files(sum(lane.limiter.window.ceiling for lane in self._lanes.values()))
            self.spawn(self._commit_in_groups())
            self.spawn(self._tick())
            self._running.set()
            await self._closing.wait()
        finally:
            for lane in self._lanes.values():
                lane.halted = True  # else an answer that still lands makes room for another call
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await transport.aclose()
            self._close_journal()
            self._publish()
        if self._failure:
            raise self._failure

    def _close_journal(self) -> None:
        try:
            self.journal.close()
        except StorageError as error:
            self.halt(Halt("", "storage", str(error)))

    def _submitted(self, opened: _OpenShard) -> None:
        lane = self._lanes[opened.shard.teacher]
        lane.shards.append(opened)
        lane.feed()

    async def _commit_in_groups(self) -> None:
        last = -math.inf
        while True:
            await self._dirty.wait()
            await asyncio.sleep(max(0.0, last + self.job.config.output.commit_interval_s - self._loop.time()))
            self._dirty.clear()
            group, self._landed = self._landed, []
            self.flush()
            last = self._loop.time()
            try:
                await self._loop.run_in_executor(None, self.journal.commit)
            except StorageError as error:
                self.halt(Halt("", "storage", str(error)))
            for lane, asking, answer in group:
                lane.settle(asking, answer)
            self.wake()

    async def _tick(self) -> None:
        for count in itertools.count():
            if self.control.stop_asked:
                self.halt(Halt("", "interrupted", "the run was asked to stop"))
            if self.control.abandoned:
                self.halt(Halt("", "interrupted", "the process that drove the run is gone"))
            for lane in self._lanes.values():
                lane.tick(self._loop.time())
            if count % PUBLISH_EVERY_TICKS == 0:
                self._publish()
            await asyncio.sleep(TICK_S)

    def _publish(self) -> None:
        self.control.publish(
            "progress", self.journal.writer, {name: lane.report() for name, lane in self._lanes.items()}
        )


class _Lane:
    """One teacher: its limiter, the requests that are ready, those that wait to be asked again, those in flight."""

    def __init__(self, engine: Engine, number: int, transport: httpx.AsyncBaseTransport) -> None:
        self.engine, self.number = engine, number
        self.teacher = engine.job.config.teachers[number]
        self.protocol = PROTOCOLS[self.teacher.protocol]
        key = self.teacher.api_key()
        url = self.teacher.base_url + self.protocol.path
        self.line = Line(transport, url, self.protocol.headers(key), key)
        self.limiter = Limiter(self.teacher.limits, engine.job.processes, engine._loop.time())
        self.retry = engine.job.config.retry
        self.prices = self.teacher.price_usd_per_million_tokens.pico()
        self.shards: deque[_OpenShard] = deque()
        self.halted = False
        self.counts: Counter[str] = Counter()
        self._ready: deque[_Asking] = deque()
        self._waiting: list[tuple[float, int, _Asking]] = []
        self._order = itertools.count()
        self._flying: dict[_Asking, asyncio.Task[None]] = {}
        self._feeding = False
        self._thirsty: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._refused = self._first_refused = self._vain_rounds = 0
        self._taken = False
        self._pump_due = False

    # Filling: plan shards are read as the lane runs dry, so that a slow teacher holds few rows and stalls nobody.

    def feed(self) -> None:
        if not self._feeding:
            self._feeding = True
            self.engine.spawn(self._feed())

    async def _feed(self) -> None:
        while self.shards:
            opened = self.shards.popleft()
            batches = iter(planned_requests(self.engine.job.folder, opened.shard.file))
            while not self.halted:
                asking = await asyncio.to_thread(self._next_batch, batches, opened)
                if asking is None:
                    break
                opened.outstanding += len(asking)
                self._ready.extend(asking)
                if self.halted:  # while the batch was read
                    self._give_up_waiting()  # type: ignore[unreachable]
                self.pump()
                while len(self._ready) > self.limiter.window.ceiling and not self.halted:
                    self._thirsty = asyncio.Event()
                    await self._thirsty.wait()
            opened.read = True
            opened.close_if_done()
        self._feeding = False

    def _next_batch(self, batches: Iterator[list[PlannedRequest]], opened: _OpenShard) -> list[_Asking] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        heard = self.engine.index.calls([request.request_id for request in batch])
        asking = []
        for request, calls in zip(batch, heard, strict=True):
            sampling = sampling_of(request.sampling)
            settled = settle(calls, self.protocol, sampling, self.retry) if calls else None
            if settled and settled.final:
                self.counts["reused"] += 1
                continue
            if settled and any(call.kind == "lost" for call in calls):
                self.counts["repaid"] += 1
            larger = None
            if settled and settled.chosen and settled.chosen.reply and settled.chosen.reply.cause == "max_tokens":
                larger = self.retry.truncated_max_tokens
            asking.append(self._prepare(opened, request, sampling, larger, len(calls)))
        return asking

    def _prepare(
        self, opened: _OpenShard, request: PlannedRequest, sampling: dict[str, Any], larger: int | None, attempts: int
    ) -> _Asking:
        reservation = reservation_of(request, larger, sampling)
        asked = {**sampling, "max_tokens": larger} if larger else sampling
        messages = [{"role": role, "content": content} for role, content in request.messages]
        return _Asking(
            shard=opened,
            request=request,
            digest=bytes.fromhex(request.request_id),
            sampling=sampling,
            body=self.protocol.build(self.teacher.model, messages, asked),
            tokens=request.estimated_prompt_tokens + reservation.completion_tokens,
            reservation=reservation,
            reserved=reservation.cost(self.prices),
            max_tokens=larger,
            attempt=attempts,
        )

    # Asking.

    def pump(self) -> None:
        """Sends whatever may go out now; sets a timer where only time is missing."""
        self._pump_due = False
        now = self.engine._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            due = heapq.heappop(self._waiting)[2]
            # While the breaker is open, a request that has not failed yet is the better probe.
            (self._ready.append if self.limiter.breaker.is_open else self._ready.appendleft)(due)
        sent = False
        while self._ready and not self.halted:
            asking = self._ready[0]
            if asking.first_sent and now - asking.first_sent > self.retry.deadline_s:
                self._settled(self._ready.popleft())
                continue
            wait = self.limiter.wait_s(asking.tokens, now)
            if wait > 0:
                if wait > LONGEST_PAUSE_S and wait < math.inf:
                    self._halt("outage", f"it asks for a pause of {wait:,.0f} s; run again after that")
                elif wait < math.inf:
                    self._wake_in(wait)
                break
            if not self.engine.budget.reserve(asking.reserved):
                if not self.engine.budget.outstanding:
                    self.engine.halt(Halt("", "budget", _over_budget(self.engine.job)))
                break
            self._ready.popleft()
            self._send(asking, now)
            sent = True
        # Also where nothing goes out: what landed should survive a kill as soon as it can.
        self.engine.flush()
        if not sent and self._waiting and not self._ready:
            self._wake_in(self._waiting[0][0] - now)
        if self._thirsty is not None and len(self._ready) <= self.limiter.window.ceiling // 2:
            self._thirsty.set()

    def _send(self, asking: _Asking, now: float) -> None:
        self.limiter.sent(asking.tokens)
        asking.attempt += 1
        asking.tries += 1
        asking.first_sent = asking.first_sent or now
        asking.overdue_at = min(now + self.retry.timeout_s, asking.first_sent + self.retry.deadline_s)
        asking.overdue = False
        self.counts["sent"] += 1
        sent_at_us = time.time_ns() // 1000
        call_no = self.engine.journal.sent(asking.digest, self.number, asking.attempt, sent_at_us, asking.max_tokens)
        self._flying[asking] = self.engine.spawn(self._call(asking, call_no, sent_at_us))

    async def _call(self, asking: _Asking, call_no: int, sent_at_us: int) -> None:
        started = time.perf_counter_ns()
        try:
            answer = await self.line.ask(asking.body)
        except asyncio.CancelledError:
            if not asking.overdue:
                raise
            # By the bound that was set, not by the clock: a timer may fire a hair before its time.
            at_deadline = asking.overdue_at >= asking.first_sent + self.retry.deadline_s
            answer = no_answer("deadline" if at_deadline else "timeout")
        self.engine.journal.answered(
            asking.digest,
            call_no,
            self.number,
            attempt=asking.attempt,
            sent_at_us=sent_at_us,
            latency_us=(time.perf_counter_ns() - started) // 1000,
            status=answer.status,
            headers=answer.headers_json(),
            body=answer.body,
            max_tokens=asking.max_tokens,
        )
        self._land(asking, answer)

    def _land(self, asking: _Asking, answer: Answer) -> None:
        """What a refusal or a failure says, at once: pace, pauses, and that every request will be refused."""
        del self._flying[asking]
        now = self.engine._loop.time()
        self.limiter.landed(answer.status, retry_after_s(answer.headers.get), now)
        self.counts["throttled"] += answer.status == 429
        if answer.status // 100 == 2:
            self._taken = True
        elif not answer.status:
            self._vain_rounds += not self.limiter.in_flight
        else:
            # Not left to the commit: a fast teacher refuses thousands of calls in one interval.
            self._heed(answer, asking.sampling)
        self.engine.note(self, asking, answer)
        # Several answers come in one turn of the loop: one pump, and so one write to the journal, serves them all.
        if not self._pump_due:
            self._pump_due = True
            self.engine._loop.call_soon(self.engine.guarded, self.pump)

    # Settling, once an answer is durable.

    def settle(self, asking: _Asking, answer: Answer) -> None:
        reply = self.protocol.parse(answer.status, answer.headers, answer.body, asking.sampling)
        cost = cost_of("ask", answer.status, reply, lambda: asking.reservation, self.prices)
        self.engine.budget.settle(asking.reserved, cost)
        if cost.basis != "reserved":  # the most that a call can cost is far above what it takes of a minute's tokens
            self.limiter.reconcile(asking.tokens, cost.tokens)
        self.counts["cost_pico_usd"] += cost.pico_usd
        self.counts["prompt_tokens"] += reply.usage.prompt_tokens or 0
        self.counts["completion_tokens"] += reply.usage.completion_tokens or 0
        again = self._delay(asking, answer, reply)
        if reply.outcome != "failed":
            asking.outcome = reply.outcome  # stays, should the call with a larger limit fail: the last answer counts
        if again is None or self.halted:
            self._settled(asking)
        else:
            heapq.heappush(self._waiting, (self.engine._loop.time() + again, next(self._order), asking))

    def _settled(self, asking: _Asking) -> None:
        self.counts[asking.outcome] += 1
        asking.shard.settled()

    def _delay(self, asking: _Asking, answer: Answer, reply: Reply) -> float | None:
        """Seconds until the request is asked again, or None if this answer is its last."""
        if reply.outcome != "failed":
            self._refused = 0
            return self._larger_limit(asking, reply)
        if not reply.retryable:
            self._refused += 1
            matters = reply.cause == "unauthorized" or not self._has_answered
            self._refuse(answer, reply, self._refused if matters else 0)
            return None
        absent = self._vain_rounds >= UNREACHABLE_TO_HALT and not self._has_answered
        if absent and reply.cause in ("connect", "tls"):
            self._halt("unreachable", f"no connection to {self.teacher.base_url} ({reply.cause}); is it running there?")
        now = self.engine._loop.time()
        if self.limiter.breaker.outage_s(now) > self.retry.max_outage_s:
            self._halt("outage", f"nothing but failures for {self.limiter.breaker.outage_s(now):.0f} s ({reply.cause})")
        # A request is not to blame for a busy or an absent teacher; only the deadline bounds those.
        asking.failures += answer.status != 429 and not self.limiter.breaker.is_open
        ceiling = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(asking.tries - 1, 10))
        wait = max(self.engine.random.uniform(0, ceiling), retry_after_s(answer.headers.get) or 0.0)
        too_late = now + wait > asking.first_sent + self.retry.deadline_s
        return None if too_late or asking.failures >= self.retry.max_attempts else wait

    def _heed(self, answer: Answer, sampling: dict[str, Any]) -> None:
        reply = self.protocol.parse(answer.status, answer.headers, answer.body, sampling)
        if reply.outcome == "failed" and not reply.retryable:
            self._first_refused += not self._taken
            self._refuse(answer, reply, 0 if self._taken else self._first_refused)

    def _refuse(self, answer: Answer, reply: Reply, in_a_row: int) -> None:
        """Stops where a refusal is about the key, the bill or every request; one about its prompt fails only that."""
        if reply.cause == "payment_required" or (reply.cause == "unauthorized" and answer.status != 403):
            self._halt("unauthorized", self._refusal(answer))
        elif in_a_row >= REFUSALS_TO_HALT:
            self._halt("refused", f"it refused {in_a_row} requests in a row: {reply.detail or reply.cause}")

    def _larger_limit(self, asking: _Asking, reply: Reply) -> float | None:
        larger = self.retry.truncated_max_tokens
        if (
            reply.cause != "max_tokens"
            or asking.max_tokens
            or larger is None
            or larger <= asking.sampling["max_tokens"]
        ):
            return None
        asked_again = self._prepare(asking.shard, asking.request, asking.sampling, larger, asking.attempt)
        for name in ("body", "tokens", "reservation", "reserved", "max_tokens"):
            setattr(asking, name, getattr(asked_again, name))
        return 0.0

    @property
    def _has_answered(self) -> bool:
        return any(self.counts[outcome] for outcome in ("ok", "truncated", "filtered", "refused", "invalid"))

    # Stopping.

    def tick(self, now: float) -> None:
        for asking, task in self._flying.items():
            if asking.overdue_at <= now:
                asking.overdue = True
                task.cancel()
        self.pump()

    def stop(self) -> None:
        self.halted = True
        self._give_up_waiting()
        if self._thirsty is not None:
            self._thirsty.set()

    def report(self) -> dict[str, Any]:
        return {
            **self.counts,
            "in_flight": self.limiter.in_flight,
            "window": int(self.limiter.window.size),
            "waiting": len(self._waiting),
            "paused": self.limiter.breaker.is_open or self.limiter.paused_until > self.engine._loop.time(),
        }

    def _give_up_waiting(self) -> None:
        given_up = [*self._ready, *(entry[2] for entry in self._waiting)]
        self._ready.clear()
        self._waiting.clear()
        for asking in given_up:
            asking.shard.settled()

    def _halt(self, cause: str, message: str) -> None:
        self.engine.halt(Halt(self.teacher.name, cause, f"teacher {self.teacher.name}: {message}"))

    def _refusal(self, answer: Answer) -> str:
        said = self.protocol.parse(answer.status, answer.headers, answer.body, {}).detail
        key = f"the key in {self.teacher.api_key_env}" if self.teacher.api_key_env else "no key (api_key_env is null)"
        return (
            f"answered {answer.status} to {key}"
            + (f": {said}" if said else "")
            + "; give a key that it takes, run again"
        )

    def _wake_in(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.engine._loop.call_later(max(wait, 0.001), self.engine.guarded, self.pump)


def _share_of_budget(job: HarvestJob) -> tuple[int | None, int | None, Cost]:
    """This process's part of what is left: the parts never add up to more than the cap."""
    left_cost = None if job.max_pico_usd is None else max(0, job.max_pico_usd - job.spent.pico_usd) // job.processes
    left_tokens = None if job.max_tokens is None else max(0, job.max_tokens - job.spent.tokens) // job.processes
    return left_cost, left_tokens, Cost(0, 0, "none")


def _over_budget(job: HarvestJob) -> str:
    caps = []
    if job.max_pico_usd is not None:
        caps.append(f"{job.max_pico_usd / 1e12:g} USD")
    if job.max_tokens is not None:
        caps.append(f"{job.max_tokens:,} tokens")
    return f"the budget of {' and '.join(caps)} has no room for another call; raise it and run again"
