"""One call to each teacher before the harvest: does it answer at all, and what of our request does it ignore?"""

import asyncio
import time
from collections.abc import Callable

import httpx

from tutelage.pipelines.config import HarvestConfig, Teacher
from tutelage.pipelines.journal import PROBED, JournalWriter
from tutelage.pipelines.limiter import retry_after_s
from tutelage.pipelines.plan import most_tokens
from tutelage.pipelines.pricing import Cost, Reservation
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.pipelines.teachers.probe import (
    ANSWERS,
    MAX_TOKENS,
    QUESTION,
    Capabilities,
    probe_request,
    read_probe,
)
from tutelage.pipelines.transport import CAUSE_HEADER, Answer, Line, new_transport, no_answer
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import TeacherError

PATIENCE_S = 60.0
"""A probe that takes longer says nothing; the harvest's own retries deal with a slow start."""

_UNREACHABLE = {
    "connect": "nothing answers there; start the teacher, or mend base_url",
    "tls": "the TLS certificate is not one that this machine trusts; mend base_url, or trust the certificate's issuer",
}


def probe_teachers(
    config: HarvestConfig,
    folder: Folder,
    run_id: str,
    make_transport: Callable[[], httpx.AsyncBaseTransport] = new_transport,
) -> dict[str, Capabilities]:
    """Capabilities by teacher. The calls are journaled like any other, since they are paid for like any other.

    Raises TeacherError where a teacher can't be asked at all: nothing listens, TLS fails, the key is refused, or it
    sends us elsewhere. A second call is made only where the config counts on a seed, which one call can't tell.
    """
    journal = JournalWriter(folder, run_id, [teacher.name for teacher in config.teachers])
    try:
        return asyncio.run(_probe_all(config, journal, make_transport))
    finally:
        journal.close()


def probe_costs(config: HarvestConfig) -> Cost:
    """The most that `probe_teachers` can cost, as the budget counts it before a call goes out."""
    pico_usd = tokens = 0
    for teacher in config.teachers:
        answers = ANSWERS if PROTOCOLS[teacher.protocol].can_ask_for_many else 1
        call = Reservation(most_tokens([QUESTION], len(QUESTION), {}), answers * MAX_TOKENS)
        cost = call.cost(teacher.price_usd_per_million_tokens.pico())
        calls = 2 if _asks_twice(config, teacher) else 1
        pico_usd, tokens = pico_usd + calls * cost.pico_usd, tokens + calls * cost.tokens
    return Cost(pico_usd, tokens, "reserved")


def _asks_twice(config: HarvestConfig, teacher: Teacher) -> bool:
    return config.sampling.seed is not None and "seed" in PROTOCOLS[teacher.protocol].accepts


async def _probe_all(
    config: HarvestConfig, journal: JournalWriter, make_transport: Callable[[], httpx.AsyncBaseTransport]
) -> dict[str, Capabilities]:
    transport = make_transport()
    try:
        return {
            teacher.name: await _probe(config, teacher, number, journal, transport)
            for number, teacher in enumerate(config.teachers)
        }
    finally:
        await transport.aclose()


async def _probe(
    config: HarvestConfig, teacher: Teacher, number: int, journal: JournalWriter, transport: httpx.AsyncBaseTransport
) -> Capabilities:
    protocol = PROTOCOLS[teacher.protocol]
    key = teacher.api_key()
    line = Line(transport, teacher.base_url + protocol.path, protocol.headers(key), key)
    body = probe_request(protocol, teacher.model, config.sampling.of_sample(0))
    first = await _ask(line, body, teacher, number, journal)
    _require_an_answer(teacher, first)
    second = None
    if first.status == 200 and _asks_twice(config, teacher):
        second = await _ask(line, body, teacher, number, journal)
    return read_probe(protocol, first.status, first.headers, first.body, second.body if second else None)


async def _ask(line: Line, body: bytes, teacher: Teacher, number: int, journal: JournalWriter) -> Answer:
    digest = bytes.fromhex(sha256_hex(b"tutelage.probe\n" + teacher.name.encode() + body))
    sent_at_us, started = time.time_ns() // 1000, time.perf_counter_ns()
    call_no = journal.sent(digest, number, 1, sent_at_us, None)
    journal.flush()
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer = await line.ask(body)
    except TimeoutError:
        answer = no_answer("timeout")
    journal.answered(
        digest,
        call_no,
        number,
        attempt=1,
        sent_at_us=sent_at_us,
        latency_us=(time.perf_counter_ns() - started) // 1000,
        status=answer.status,
        headers=answer.headers_json(),
        body=answer.body,
        max_tokens=None,
        kind=PROBED,
    )
    return answer


def _require_an_answer(teacher: Teacher, answer: Answer) -> None:
    reply = PROTOCOLS[teacher.protocol].parse(answer.status, answer.headers, answer.body, {})
    said = f" ({reply.detail})" if reply.detail else ""
    problem = None
    if answer.status == 0:
        problem = _UNREACHABLE.get(answer.headers[CAUSE_HEADER])
    elif answer.status in (401, 402, 403):
        key = (
            f"the key in {teacher.api_key_env}" if teacher.api_key_env else "a call without a key (api_key_env is null)"
        )
        problem = f"it answered {answer.status} to {key}{said}; give a key that it takes"
    elif answer.status in (404, 405):
        problem = (
            f"it answered {answer.status}{said}; base_url should end where {PROTOCOLS[teacher.protocol].path} follows"
        )
    elif 300 <= answer.status < 400:
        problem = (
            f"it answered {answer.status}, a redirect, which is never followed with a key; name the final base_url"
        )
    if problem and retry_after_s(answer.headers.get) is None:
        raise TeacherError(f"teacher {teacher.name} at {teacher.base_url}: {problem}. Nothing was asked yet")
