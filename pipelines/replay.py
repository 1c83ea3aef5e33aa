"""Rows from the journal: what each planned request came to. Pure replay: no call is made or paid for again."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from tutelage.pipelines.config import HarvestConfig, PicoPrices, Prices, Retry, Teacher
from tutelage.pipelines.job import Halt, HarvestJob, TermsStamp
from tutelage.pipelines.journal_index import JournalIndex
from tutelage.pipelines.plan import PlanShard, most_tokens, usd
from tutelage.pipelines.pricing import Cost, Reservation, cost_of
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.table_file import TableFile
from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.pipelines.teachers.protocol import NO_USAGE, Reply, TeacherProtocol
from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.contract_files import open_parquet, rows_of
from tutelage.schemas.contracts import COMPLETIONS, FAILED, JOURNAL, LEDGER, PLAN
from tutelage.schemas.identity import leaf_sha256, row_id
from tutelage.schemas.rows import Call, Completion, FailedRequest, LedgerEntry, PlannedRequest
from tutelage.schemas.version import CODE_VERSION

BATCH_ROWS = 1024
BYTES_PER_LOGPROB_ROW = 400
"""About what a token with its 20 alternatives takes; it decides when a row group is full."""

MENDABLE_CAUSES = frozenset({"unauthorized", "payment_required", "redirect"})
MENDABLE_STATUSES = frozenset({404, 405})
"""Refusals of the key, the bill or the place, not of the request: useless to ask again in this run, but the next run
does, since by then somebody may have mended it (a new key, a model that is loaded)."""


class Heard(NamedTuple):
    """One call and what it says; `reply` is None where the call was lost."""

    call: Call
    reply: Reply | None


class Settled(NamedTuple):
    """What a request has come to. `final` means that asking again would be wrong or useless."""

    chosen: Heard | None
    heard: list[Heard]
    final: bool

    @property
    def attempts(self) -> int:
        return len(self.heard)


def settle(calls: Sequence[Call], protocol: TeacherProtocol, sampling: dict[str, Any], retry: Retry) -> Settled:
    """The rule of the row: the last answer counts, a failure only where there is no answer.

    A request is asked again while its last word is a failure that may pass or be mended, or an answer cut off at the
    token limit that has not been asked for with the larger one.
    """
    heard = [Heard(call, _reply(call, protocol, sampling)) for call in calls if call.kind != "probe"]
    spoken = [item for item in heard if item.reply is not None]
    answers = [item for item in spoken if item.reply is not None and item.reply.outcome != "failed"]
    if answers:
        return Settled(answers[-1], heard, not wants_larger_limit(answers[-1], spoken, sampling, retry))
    if spoken:
        return Settled(spoken[-1], heard, not _may_pass(spoken[-1]))
    return Settled(None, heard, False)


def _may_pass(failure: Heard) -> bool:
    reply = failure.reply
    if reply is None or reply.retryable or reply.cause in MENDABLE_CAUSES:
        return True
    return failure.call.status in MENDABLE_STATUSES


def wants_larger_limit(chosen: Heard, heard: Sequence[Heard], sampling: dict[str, Any], retry: Retry) -> bool:
    larger = retry.truncated_max_tokens
    if larger is None or larger <= sampling["max_tokens"]:
        return False
    truncated = chosen.reply is not None and chosen.reply.cause == "max_tokens"
    return truncated and not any(item.call.max_tokens for item in heard)


@lru_cache(maxsize=4096)
def sampling_of(text: str) -> dict[str, Any]:
    """A plan's sampling as a dictionary; shared between rows, so never changed."""
    return dict(orjson.loads(text))


def _reply(call: Call, protocol: TeacherProtocol, sampling: dict[str, Any]) -> Reply | None:
    if call.kind == "lost":
        return None
    headers = orjson.loads(call.headers) if call.headers else {}
    return protocol.parse(call.status, headers, call.body, sampling)


def reservation_of(request: PlannedRequest, max_tokens: int | None, sampling: dict[str, Any]) -> Reservation:
    text_bytes = sum(len(content.encode()) for _, content in request.messages)
    return Reservation(most_tokens(request.messages, text_bytes, sampling), max_tokens or sampling["max_tokens"])


def planned_requests(folder: Folder, name: str) -> Iterable[list[PlannedRequest]]:
    """A plan shard's rows in batches, read group by group."""
    with folder.open(name) as stream:
        parquet = open_parquet(PLAN, stream, folder.path(name))
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
            yield list(rows_of(PLAN, batch))


def rebuild_shard(
    job: HarvestJob, shard: int, plan_files: Sequence[str], index: JournalIndex, halts: Sequence[Halt]
) -> None:
    """Writes one shard's completions, failed, ledger and journal parts from the plan and the journal.

    Equal plan and journal give equal rows; calls of requests that the plan no longer holds stay in journal and ledger.
    """
    part = f"part-{shard:05d}.parquet"
    folder = job.folder
    with (
        TableFile(COMPLETIONS, folder, f"completions/{part}") as completions,
        TableFile(FAILED, folder, f"failed/{part}") as failed,
        TableFile(LEDGER, folder, f"ledger/{part}") as ledger,
        TableFile(JOURNAL, folder, f"journal/{part}") as journal,
    ):
        written: dict[str, int] = {}
        for name in plan_files:
            for batch in planned_requests(folder, name):
                builder = _Builder(job, job.teacher(batch[0].teacher), halts)
                for request, calls in zip(batch, index.calls([row.request_id for row in batch]), strict=True):
                    settled = settle(calls, builder.protocol, sampling_of(request.sampling), job.config.retry)
                    entries = builder.ledger(request, settled.heard)
                    row = builder.row(request, settled, entries)
                    if isinstance(row, Completion):
                        completions.add(row, len(row.response) + BYTES_PER_LOGPROB_ROW * len(row.tokens or ()))
                    else:
                        failed.add(row)
                    for entry in entries:
                        ledger.add(entry)
                    for call in calls:
                        journal.add(call, len(call.body))
                    if calls:
                        written[request.request_id] = len(calls)
        for calls in index.requests_in(shard, job.config.output.shards, written):
            for call in calls:
                journal.add(call, len(call.body))
                ledger.add(_Builder(job, job.teacher(call.teacher), halts).unplanned(call))


def prices_of(teacher: Teacher, run_id: str, by_run: Mapping[str, Mapping[str, Prices]]) -> Prices:
    """What the teacher cost in the run that called it; a run that left no record paid what the config says now."""
    return by_run.get(run_id, {}).get(teacher.name, teacher.price_usd_per_million_tokens)


def spent_so_far(
    config: HarvestConfig,
    folder: Folder,
    index: JournalIndex,
    shards: Sequence[PlanShard],
    by_run: Mapping[str, Mapping[str, Prices]] | None = None,
) -> Cost:
    """What all calls of the journal cost; those that brought no count are taken at their reservation."""
    cost = tokens = 0
    uncounted: dict[str, list[Call]] = {}
    teachers = {teacher.name: teacher for teacher in config.teachers}
    sampling = config.sampling.of_sample(0)

    def paid(call: Call) -> PicoPrices:
        return prices_of(teachers[call.teacher], call.run_id, by_run or {}).pico()

    for calls in index.requests_in(0, 1):
        teacher = teachers[calls[0].teacher]
        for call in calls:
            reply = _reply(call, PROTOCOLS[teacher.protocol], sampling)
            found = cost_of(call.kind, call.status, reply, _nothing, paid(call))
            cost, tokens = cost + found.pico_usd, tokens + found.tokens
            if found.basis == "reserved":
                uncounted.setdefault(call.request_id, []).append(call)
    for shard in shards if uncounted else ():
        for batch in planned_requests(folder, shard.file):
            for request in batch:
                for call in uncounted.pop(request.request_id, ()):
                    reserved = reservation_of(request, call.max_tokens, sampling_of(request.sampling)).cost(paid(call))
                    cost, tokens = cost + reserved.pico_usd, tokens + reserved.tokens
    for call in itertools.chain.from_iterable(uncounted.values()):
        reserved = unplanned_reservation(call, sampling).cost(paid(call))
        cost, tokens = cost + reserved.pico_usd, tokens + reserved.tokens
    return Cost(cost, tokens, "usage")


def _nothing() -> Reservation:
    return Reservation(0, 0)


def unplanned_reservation(call: Call, sampling: dict[str, Any]) -> Reservation:
    """For a probe, or a request whose prompt is no longer in the plan: what was asked is not known any more."""
    return Reservation(0, call.max_tokens or sampling["max_tokens"])


class _Builder:
    """Row builder for one teacher."""

    def __init__(self, job: HarvestJob, teacher: Teacher, halts: Sequence[Halt]) -> None:
        self.job, self.teacher = job, teacher
        self.protocol = PROTOCOLS[teacher.protocol]
        self._halt = next((halt for halt in halts if halt.teacher in ("", teacher.name)), None)
        self._paid_in: dict[str, tuple[Prices, PicoPrices]] = {}

    def row(
        self, request: PlannedRequest, settled: Settled, entries: Sequence[LedgerEntry]
    ) -> Completion | FailedRequest:
        chosen = settled.chosen
        if chosen is None or chosen.reply is None or chosen.reply.outcome == "failed":
            return self._failed(request, settled)
        call, reply = chosen.call, chosen.reply
        sampling = sampling_of(request.sampling)
        stamp = self._terms(call.run_id, request.prompt_license)
        row = Completion(
            row_id=row_id(request.request_id),
            request_id=request.request_id,
            prompt_id=request.prompt_id,
            messages=request.messages,
            response=reply.response,
            reasoning=reply.reasoning,
            tool_calls=reply.tool_calls,
            outcome=reply.outcome,
            outcome_cause=reply.cause,
            finish_reason=reply.finish_reason,
            teacher=request.teacher,
            model_requested=self.teacher.model,
            model_reported=reply.model_reported,
            revision=self.teacher.revision,
            channel=self.teacher.channel,
            provider_request_id=reply.provider_request_id,
            system_fingerprint=reply.system_fingerprint,
            sampling=request.sampling if call.max_tokens is None else _with_limit(sampling, call.max_tokens),
            sample_index=request.sample_index,
            prompt_tokens=reply.usage.prompt_tokens,
            completion_tokens=reply.usage.completion_tokens,
            cached_tokens=reply.usage.cached_tokens,
            reasoning_tokens=reply.usage.reasoning_tokens,
            cost_usd=next(entry.cost_usd for entry in entries if entry.call_id == call.call_id),
            latency_ms=call.latency_us // 1000,
            attempts=settled.attempts,
            created_at=call.sent_at + timedelta(microseconds=call.latency_us),
            run_id=call.run_id,
            prompt_source=request.prompt_source,
            prompt_source_row=request.prompt_source_row,
            prompt_license=request.prompt_license,
            terms_id=stamp.terms_id,
            train_use=stamp.train_use,
            obligations=stamp.obligations,
            code_version=self.job.code_versions.get(call.run_id, CODE_VERSION),
            tokens=reply.tokens,
            top_logprobs=reply.top_logprobs,
            salt=call.salt,
            leaf_sha256="",
        )
        return Completion._make((*row[:-1], leaf_sha256(row)))

    def ledger(self, request: PlannedRequest, heard: Iterable[Heard]) -> list[LedgerEntry]:
        sampling = sampling_of(request.sampling)

        def entry(call: Call, reply: Reply | None) -> LedgerEntry:
            return self.entry(call, reply, lambda: reservation_of(request, call.max_tokens, sampling))

        return [entry(*item) for item in heard]

    def entry(self, call: Call, reply: Reply | None, reserved: Callable[[], Reservation]) -> LedgerEntry:
        prices, pico = self._paid(call.run_id)
        cost = cost_of(call.kind, call.status, reply, reserved, pico)
        usage = reply.usage if reply is not None else NO_USAGE
        return LedgerEntry(
            call.call_id,
            call.request_id,
            call.teacher,
            call.kind,
            call.attempt,
            call.run_id,
            call.sent_at,
            call.latency_us // 1000,
            call.status,
            "lost" if reply is None else reply.cause or reply.outcome,
            *usage,
            prices.input,
            prices.output,
            usd(cost.pico_usd),
            cost.basis,
        )

    def unplanned(self, call: Call) -> LedgerEntry:
        """A probe's call, or one of a request whose prompt is no longer in the plan."""
        sampling = self.job.config.sampling.of_sample(0)
        reply = _reply(call, self.protocol, sampling)
        return self.entry(call, reply, lambda: unplanned_reservation(call, sampling))

    def _paid(self, run_id: str) -> tuple[Prices, PicoPrices]:
        if run_id not in self._paid_in:
            prices = prices_of(self.teacher, run_id, self.job.prices)
            self._paid_in[run_id] = prices, prices.pico()
        return self._paid_in[run_id]

    def _failed(self, request: PlannedRequest, settled: Settled) -> FailedRequest:
        last = settled.chosen
        if last is None or last.reply is None:
            cause = self._halt.cause if self._halt else "not_asked"
            detail = self._halt.message if self._halt else None
        else:
            cause, detail = last.reply.cause or "unknown", last.reply.detail
        call = last.call if last else None
        return FailedRequest(
            request_id=request.request_id,
            prompt_id=request.prompt_id,
            teacher=request.teacher,
            sample_index=request.sample_index,
            cause=cause,
            detail=detail,
            attempts=settled.attempts,
            retryable=not settled.final,
            last_status=call.status if call else None,
            last_attempt_at=call.sent_at if call else None,
            prompt_source=request.prompt_source,
            prompt_source_row=request.prompt_source_row,
        )

    def _terms(self, run_id: str, prompt_license: str) -> TermsStamp:
        # A run that died left calls but no record: its terms are those of the run that finishes its work.
        now = self.job.terms[self.job.run_id][self.teacher.name]
        then = self.job.terms.get(run_id, {}).get(self.teacher.name, now)
        return then.get(prompt_license, now[prompt_license])


def _with_limit(sampling: dict[str, Any], max_tokens: int) -> str:
    return canonical_json({**sampling, "max_tokens": max_tokens}).decode()
