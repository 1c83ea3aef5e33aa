"""A teacher that answers, and lies, on demand: OpenAI chat and completions, Anthropic messages, over raw HTTP/1.1.

One file on asyncio and the standard library, so that a benchmark starts it with a bare interpreter and it can lie
at the level of bytes, which no web framework allows. README.md beside it lists the faults and how to ask for them.

    with StubTeacher(latency=0.05, faults=["at=100:down=2"]) as stub:
        harvest(stub.base_url)
        assert stub.answered == 2_000

    python tests/faults/stub_teacher.py --latency lognormal:1.0:0.5 --body-bytes 600    # first line: its base_url
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gzip
import hashlib
import json
import math
import random
import re
import signal
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

_SYLLABLES = [consonant + vowel for consonant in "bdkl" for vowel in "aeio"]
_WORDS = [first + second for first in _SYLLABLES for second in _SYLLABLES]
_SHAPES = {"/chat/completions": "chat", "/completions": "completions", "/messages": "messages"}
_FINISH = {
    "chat": {"stop": "stop", "length": "length", "filtered": "content_filter", "refused": "stop"},
    "completions": {"stop": "stop", "length": "length", "filtered": "content_filter", "refused": "content_filter"},
    "messages": {"stop": "end_turn", "length": "max_tokens", "filtered": "refusal", "refused": "refusal"},
}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_FITS_THE_SOCKET = 1 << 16  # bytes that loopback takes at once, whether the peer reads or not
HONOURS = frozenset({"logprobs", "token_ids", "n", "seed", "stop"})


# What is asked -----------------------------------------------------------------------------------------------------


class Fault(NamedTuple):
    name: str
    value: str | None
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Fault:
        """`status=503 retry_after=1`: the name (with a value or without), then its options."""
        words = [word.partition("=") for word in text.split()]
        if not words or words[0][0] not in FAULTS:
            raise ValueError(f"no fault is called {text!r}; the stub knows {', '.join(sorted(FAULTS))}")
        return cls(words[0][0], words[0][2] or None, {key: value for key, _, value in words[1:]})


class Scheduled(NamedTuple):
    """A fault by the number of the request, from 1: `always:F`, `at=N:F`, `every=N:F`, `after=N:F` (from N+1 on)."""

    when: str
    number: int
    fault: Fault

    @classmethod
    def parse(cls, text: str) -> Scheduled:
        when, colon, fault = text.partition(":")
        word, _, number = when.partition("=")
        if not colon or word not in ("always", "at", "every", "after"):
            raise ValueError(f"{text!r} is no schedule; write always:FAULT, at=N:FAULT, every=N:FAULT or after=N:FAULT")
        return cls(word, int(number or 1), Fault.parse(fault))

    def bites(self, number: int) -> bool:
        match self.when:
            case "at":
                return number == self.number
            case "every":
                return number % self.number == 0
            case "after":
                return number > self.number
        return True


class Seen(NamedTuple):
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    prompt: str

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Draft:
    """An answer on its way out: faults of the answer change it before it is rendered, faults of the wire after."""

    stub: StubTeacher
    number: int
    shape: str
    asked: dict[str, Any]
    prompt: str
    key: bytes  # stands for the prompt in the counters
    authorization: str
    texts: list[str]
    finish: str
    model: str
    fingerprint: str = "fp_stub"
    refusal: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    body: bytes = b""
    declared: int | None = None  # the content-length that is claimed, where it is a lie
    wire: str = "whole"
    options: dict[str, str] = field(default_factory=dict)
    is_answer: bool = True  # False once a fault made of it something that no teacher could charge for

    @property
    def prompt_tokens(self) -> int:
        return self.prompt.count(" ") + 1

    def fail(self, status: int, message: str, kind: str | None = None) -> None:
        self.status, self.is_answer = status, False
        kind = kind or _ERROR_TYPES.get(status, "server_error")
        error: dict[str, Any] = {"type": kind, "message": message}
        if self.shape == "messages":
            self.body = json.dumps({"type": "error", "error": error}).encode()
        else:
            self.body = json.dumps({"error": {**error, "param": None, "code": None}}).encode()


def prompt_of(shape: str, asked: dict[str, Any]) -> str:
    """The text that the answer is a function of: every message, in order, whatever the sampling."""
    if shape == "completions":
        return str(asked.get("prompt", ""))
    turns = [asked.get("system", ""), *(message.get("content", "") for message in asked.get("messages", ()))]
    texts = [turn if isinstance(turn, str) else "".join(part.get("text", "") for part in turn or ()) for turn in turns]
    return "\n".join(text for text in texts if text)


_MARKER = re.compile(r"\[\[fault:([^\]]*)\]\]")
_SAY = re.compile(r"\[\[say:(.*?)\]\]", re.DOTALL)


def marked_fault(prompt: str, asked_before: int) -> Fault | None:
    """The fault that the prompt's markers order for this ask; markers with `times` are used up from left to right."""
    for text in _MARKER.findall(prompt):
        fault = Fault.parse(text)
        times = fault.options.get("times")
        if times is None or asked_before < int(times):
            return fault
        asked_before -= int(times)
    return None


# What a truthful teacher says --------------------------------------------------------------------------------------


def words_for(prompt: str, salt: str, count: int) -> str:
    digest = hashlib.shake_256(f"{salt}\0{prompt}".encode("utf-8", "surrogatepass")).digest(count)
    return " ".join([_WORDS[byte] for byte in digest])


def draft_for(
    stub: StubTeacher, number: int, shape: str, asked: dict[str, Any], prompt: str, key: bytes, authorization: str
) -> Draft:
    honours = stub.honours
    salt = str(asked.get("seed")) if "seed" in honours else str(number)
    said = _SAY.search(prompt) if "[[say:" in prompt else None
    count = int(asked.get("n") or 1) if "n" in honours else 1
    texts = [said[1] if said else words_for(prompt, salt + "+" * choice, stub.answer_words) for choice in range(count)]
    limit = asked.get("max_tokens") or asked.get("max_completion_tokens")
    finish = "stop"
    if limit is not None and texts[0].count(" ") >= limit:
        texts, finish = [" ".join(text.split(" ")[:limit]) for text in texts], "length"
    if "stop" in honours:
        stops = asked.get("stop_sequences") or asked.get("stop") or ()
        for stop in [stops] if isinstance(stops, str) else stops:
            if stop in texts[0]:
                texts, finish = [text.partition(stop)[0] for text in texts], "stop"
    return Draft(stub, number, shape, asked, prompt, key, authorization, texts, finish, str(asked.get("model", "")))


def _tokens(text: str) -> list[str]:
    return [word if i == 0 else " " + word for i, word in enumerate(text.split(" "))] if text else []


def _top(token: str, k: int) -> list[tuple[str, float]]:
    """The token itself and k-1 others, at log-probabilities that halve from one to the next and sum to less than 1."""
    first = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0]
    names = [token, *(" " + _WORDS[(first + i) % 256] for i in range(1, k))]
    return [(name, -math.log(2) * (i + 1)) for i, name in enumerate(names)]


def _chat_logprobs(draft: Draft, text: str) -> dict[str, Any] | None:
    if not draft.asked.get("logprobs") or "logprobs" not in draft.stub.honours:
        return None
    ids = "token_ids" in draft.stub.honours

    def entry(token: str, logprob: float) -> dict[str, Any]:
        shown = {"token": token, "bytes": list(token.encode("utf-8", "surrogatepass")), "logprob": logprob}
        return {"id": token_id(token), **shown} if ids else shown

    k = int(draft.asked.get("top_logprobs") or 0)
    content = []
    for token in _tokens(text):
        top = _top(token, max(k, 1))
        content.append({**entry(*top[0]), "top_logprobs": [entry(*pair) for pair in top[:k]]})
    return {"content": content, "refusal": None}


def token_id(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=2).digest(), "big")


def _completions_logprobs(draft: Draft, text: str) -> dict[str, Any] | None:
    k = draft.asked.get("logprobs")
    if k is None or k is False or "logprobs" not in draft.stub.honours:
        return None
    tokens = _tokens(text)
    tops = [_top(token, max(int(k), 1)) for token in tokens]
    offsets = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
    return {
        "tokens": tokens,
        "token_logprobs": [top[0][1] for top in tops],
        "top_logprobs": [dict(top[: int(k)]) for top in tops],
        "text_offset": offsets,
    }


def _render(draft: Draft) -> bytes:
    finish = _FINISH[draft.shape][draft.finish]
    completion_tokens = sum(text.count(" ") + 1 for text in draft.texts if text)
    identity = f"stub-{draft.number:08d}"
    document: dict[str, Any]
    if draft.shape == "messages":
        document = {
            "id": f"msg_{identity}",
            "type": "message",
            "role": "assistant",
            "model": draft.model,
            "content": [{"type": "text", "text": text} for text in draft.texts if text],
            "stop_reason": finish,
            "stop_sequence": None,
            "usage": {
                "input_tokens": draft.prompt_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": completion_tokens,
            },
        }
        return json.dumps(document).encode()
    choices: list[dict[str, Any]] = []
    for index, text in enumerate(draft.texts):
        if draft.shape == "chat":
            message = {"role": "assistant", "content": text, "refusal": None}
            if draft.refusal is not None:
                message.update(content=None, refusal=draft.refusal)
            logprobs = _chat_logprobs(draft, text)
            choices.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish})
        else:
            logprobs = _completions_logprobs(draft, text)
            choices.append({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish})
    document = {
        "id": f"{'chatcmpl' if draft.shape == 'chat' else 'cmpl'}-{identity}",
        "object": "chat.completion" if draft.shape == "chat" else "text_completion",
        "created": 1_700_000_000,
        "model": draft.model,
        "system_fingerprint": draft.fingerprint,
        "choices": choices,
        "usage": {
            "prompt_tokens": draft.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": draft.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
    return json.dumps(document).encode()


# Faults of the answer: before it is rendered -----------------------------------------------------------------------


def _empty_choices(draft: Draft, fault: Fault) -> None:
    draft.texts, draft.is_answer = [], False


def _empty_answer(draft: Draft, fault: Fault) -> None:
    draft.texts = [""]


def _truncated(draft: Draft, fault: Fault) -> None:
    limit = draft.asked.get("max_tokens") or draft.asked.get("max_completion_tokens") or 0
    if int(fault.options.get("until", sys.maxsize)) > limit:
        draft.texts = [text[: len(text) // 2] for text in draft.texts]
        draft.finish = "length"


def _filtered(draft: Draft, fault: Fault) -> None:
    draft.texts, draft.finish = [""], "filtered"


def _refused(draft: Draft, fault: Fault) -> None:
    draft.refusal, draft.finish = "I can't help with that.", "refused"


def _wrong_model(draft: Draft, fault: Fault) -> None:
    draft.model = fault.value or "some-other-model"


def _fingerprint(draft: Draft, fault: Fault) -> None:
    draft.fingerprint = fault.value or "fp_changed"


def _lone_surrogate(draft: Draft, fault: Fault) -> None:
    draft.texts = ["half a pair: \ud83d."]


def _nul(draft: Draft, fault: Fault) -> None:
    draft.texts = ["a zero byte: \0."]


def _huge_body(draft: Draft, fault: Fault) -> None:
    draft.texts = ["x" * (int(fault.value or 1) << 20)]


def _echo_key(draft: Draft, fault: Fault) -> None:
    """Repeats the caller's key, as gateways do in their errors: in the body, the request id and another header."""
    key = draft.authorization.removeprefix("Bearer ")
    draft.headers |= {"x-request-id": f"req-{key}", "x-echo": draft.authorization}
    draft.texts = [f"You sent me {key}."]
    if "status" in fault.options:
        draft.fail(int(fault.options["status"]), f"Incorrect API key provided: {key}.")


# Faults of the wire: after it is rendered --------------------------------------------------------------------------


def _status(draft: Draft, fault: Fault) -> None:
    status = int(fault.value or 500)
    draft.fail(status, f"the stub was told to answer {status}")
    if "retry_after" in fault.options:
        draft.headers["retry-after"] = fault.options["retry_after"]
    if "retry_after_date" in fault.options:
        at = time.time() + float(fault.options["retry_after_date"])
        draft.headers["retry-after"] = formatdate(at, usegmt=True)


def _html200(draft: Draft, fault: Fault) -> None:
    draft.is_answer, draft.headers["content-type"] = False, "text/html; charset=utf-8"
    draft.body = b"<!doctype html><html><head><title>Please sign in</title></head><body>Captive portal</body></html>"


def _cut_json(draft: Draft, fault: Fault) -> None:
    draft.is_answer, draft.body = False, draft.body[: len(draft.body) // 2]


def _error_in_200(draft: Draft, fault: Fault) -> None:
    draft.fail(200, "the upstream model is overloaded", fault.value or "server_error")


def _wrong_content_length(draft: Draft, fault: Fault) -> None:
    draft.is_answer = False
    draft.declared = len(draft.body) // 2 if fault.value == "shorter" else len(draft.body) + 100
    draft.wire = "whole" if fault.value == "shorter" else "close"


def _redirect(draft: Draft, fault: Fault) -> None:
    draft.fail(307, "the model has moved")
    draft.headers["location"] = fault.value or f"{draft.stub.base_url}/moved"


def _gzip(draft: Draft, fault: Fault) -> None:
    draft.headers["content-encoding"] = "gzip"
    if fault.value == "broken":
        draft.is_answer = False
    else:
        draft.body = gzip.compress(draft.body, compresslevel=1)


def _bad_utf8(draft: Draft, fault: Fault) -> None:
    draft.is_answer, draft.body = False, draft.body.replace(b'": "', b'": "\xff\xfe')


def _no_keepalive(draft: Draft, fault: Fault) -> None:
    draft.wire = "close"


def _on_the_wire(draft: Draft, fault: Fault) -> None:
    draft.wire, draft.options = fault.name, {"value": fault.value or "", **fault.options}
    draft.is_answer = fault.name == "slow_drip"


_OF_THE_ANSWER: dict[str, Callable[[Draft, Fault], None]] = {
    "empty_choices": _empty_choices,
    "empty_answer": _empty_answer,
    "truncated": _truncated,
    "filtered": _filtered,
    "refused": _refused,
    "wrong_model": _wrong_model,
    "fingerprint": _fingerprint,
    "lone_surrogate": _lone_surrogate,
    "nul": _nul,
    "huge_body": _huge_body,
    "echo_key": _echo_key,
}
_OF_THE_WIRE: dict[str, Callable[[Draft, Fault], None]] = {
    "status": _status,
    "html200": _html200,
    "cut_json": _cut_json,
    "error_in_200": _error_in_200,
    "wrong_content_length": _wrong_content_length,
    "redirect": _redirect,
    "gzip": _gzip,
    "bad_utf8": _bad_utf8,
    "no_keepalive": _no_keepalive,
    "stalled_body": _on_the_wire,
    "slow_drip": _on_the_wire,
    "infinite_body": _on_the_wire,
    "reset": _on_the_wire,
    "down": _on_the_wire,
}
FAULTS = frozenset(_OF_THE_ANSWER | _OF_THE_WIRE)


# The server --------------------------------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """One keep-alive connection; a request that comes in while another is answered waits in the buffer."""

    def __init__(self, stub: StubTeacher) -> None:
        self.stub = stub
        self.buffer = bytearray()
        self.transport: asyncio.Transport
        self.timer: asyncio.TimerHandle | None = None
        self.trickle: asyncio.Task[None] | None = None
        self.busy = False  # from a request's last byte to its answer's
        self.unsettled = False  # from a request's last byte until its answer is counted
        self.undelivered: Draft | None = None
        self.writable = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=0)  # so that resume_writing means: all of it has left
        self.writable.set()
        self.stub._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.stub._connections.discard(self)
        self.writable.set()
        if self.timer is not None:
            self.timer.cancel()
        if self.trickle is not None:
            self.trickle.cancel()
        if self.unsettled:
            self.stub.in_flight -= 1

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()
        if self.undelivered is not None:
            draft, self.undelivered = self.undelivered, None
            self._settle(draft)
            self._finish(draft)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.busy:
            self._read()

    def _read(self) -> None:
        head_end = self.buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        lines = self.buffer[:head_end].decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        end = head_end + 4 + int(headers.get("content-length", 0))
        if len(self.buffer) < end:
            return
        body = bytes(self.buffer[head_end + 4 : end])
        del self.buffer[:end]
        self.stub._received(self, method, path, headers, body)

    def answer_after(self, delay_s: float, draft: Draft) -> None:
        self.busy = self.unsettled = True
        self.stub.in_flight += 1
        self.stub.max_in_flight = max(self.stub.max_in_flight, self.stub.in_flight)
        if delay_s > 0:
            self.timer = asyncio.get_running_loop().call_later(delay_s, self._send, draft)
        else:
            self._send(draft)

    def send_now(self, status: int, body: bytes) -> None:
        """An answer that no counter sees: statistics, and paths that are not there."""
        self.transport.write(_head(status, {"content-type": "application/json"}, len(body)) + body)

    def _send(self, draft: Draft) -> None:
        match draft.wire:
            case "whole" | "close":
                if draft.wire == "close":
                    draft.headers["connection"] = "close"
                length = len(draft.body) if draft.declared is None else draft.declared
                whole = _head(draft.status, draft.headers, length) + draft.body
                if len(whole) <= _FITS_THE_SOCKET:
                    # Counted before it is written: who has read the answer finds it in the counters.
                    self._settle(draft)
                    self.transport.write(whole)
                    self._finish(draft)
                else:
                    self.undelivered = draft
                    self.transport.write(whole)
                    if not self.transport.get_write_buffer_size():
                        self.resume_writing()
            case "stalled_body":
                sent = draft.body[: int(draft.options["value"] or 0)]
                self.transport.write(_head(draft.status, draft.headers, len(draft.body)) + sent)
            case "reset":
                if draft.options["value"] == "headers":
                    half = draft.body[: len(draft.body) // 2]
                    self.transport.write(_head(draft.status, draft.headers, len(draft.body)) + half)
                self.reset()
            case "down":
                self.stub._loop_go_down(float(draft.options["value"] or 1))
            case _:
                self.trickle = asyncio.get_running_loop().create_task(self._trickle(draft))

    async def _trickle(self, draft: Draft) -> None:
        endless = draft.wire == "infinite_body"
        self.transport.write(_head(draft.status, draft.headers, None if endless else len(draft.body)))
        if endless:
            while True:
                await self.writable.wait()
                self.transport.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                await asyncio.sleep(0)
        step = int(draft.options.get("bytes", 16))
        for start in range(0, len(draft.body), step):
            if start + step >= len(draft.body):
                self._settle(draft)
            self.transport.write(draft.body[start : start + step])
            await asyncio.sleep(float(draft.options.get("every_s", 0.05)))
        self._finish(draft)

    def _settle(self, draft: Draft) -> None:
        self.unsettled = False
        self.stub.in_flight -= 1
        self.stub._answered(draft)

    def _finish(self, draft: Draft) -> None:
        self.busy = False
        if draft.wire == "close":
            self.transport.close()
        elif self.buffer:
            self._read()

    def reset(self) -> None:
        """Closes with RST, not FIN: the peer gets ECONNRESET, also where bytes of ours are still on the way."""
        peer: socket.socket | None = self.transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _head(status: int, headers: Mapping[str, str], length: int | None) -> bytes:
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"HTTP/1.1 {status} Stub\r\n{framing}\r\n{lines}\r\n".encode("latin-1", "replace")


def latency_source(latency: float | str, seed: int) -> Callable[[], float]:
    """Seconds per answer: a number, or `lognormal:MEAN:SIGMA`, MEAN being the mean itself and not its logarithm."""
    name, _, numbers = str(latency).partition(":")
    if name == "lognormal":
        mean, sigma = (float(number) for number in numbers.split(":"))
        draw, mu = random.Random(seed), math.log(mean) - sigma**2 / 2
        return lambda: draw.lognormvariate(mu, sigma)
    constant = float(latency)
    return lambda: constant


class StubTeacher:
    """The server and what it counted; `with` runs it in a thread, `serve` in the loop of the caller.

    `received` counts requests to a teacher's path, `answered` the 200s written out whole that a teacher would charge
    for, `answered_by_prompt` the same by prompt. The counters are plain ints that the server's thread writes: read
    them when the traffic has ended, or as lower bounds. `keep=False`, for long runs, leaves `seen` and `arrival_times`
    empty.
    """

    def __init__(
        self,
        *,
        latency: float | str = 0.0,
        faults: Sequence[str] = (),
        body_bytes: int | None = None,
        honours: Iterable[str] = HONOURS,
        requests_per_minute: int | None = None,
        window_s: float = 60.0,
        max_concurrent: int | None = None,
        tls: bool = False,
        port: int = 0,
        keep: bool = True,
        seed: int = 0,
        on_request: Callable[[int], None] | None = None,
    ) -> None:
        self.schedule = [Scheduled.parse(text) for text in faults]
        self.honours = frozenset(honours)
        # 430 bytes of a chat answer are not its text, and a word takes five.
        self.answer_words = 8 if body_bytes is None else max(1, (body_bytes - 430) // 5)
        self.requests_per_minute, self.window_s = requests_per_minute, window_s
        self.max_concurrent = max_concurrent
        self.port, self.keep, self.on_request = port, keep, on_request
        self.scheme = "https" if tls else "http"
        self.certificate_pem: bytes | None = None
        self._tls: ssl.SSLContext | None = None
        if tls:
            self.certificate_pem, self._tls = _self_signed()
        self._latency = latency_source(latency, seed)

        self.received = self.answered = self.in_flight = self.max_in_flight = 0
        self.latency_sum_s = 0.0
        self.by_status: Counter[int] = Counter()
        self.answered_by_prompt: Counter[bytes] = Counter()
        self.seen: list[Seen] = []
        self.arrival_times: list[float] = []
        self._asked: Counter[bytes] = Counter()
        self._admitted: deque[float] = deque()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._down: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/v1"

    def stats(self) -> dict[str, Any]:
        return {
            "received": self.received,
            "answered": self.answered,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "prompts_answered": len(self.answered_by_prompt),
            "most_answers_of_one_prompt": max(self.answered_by_prompt.values(), default=0),
            "latency_mean_s": self.latency_sum_s / self.received if self.received else 0.0,
        }

    def asked(self, text: str) -> int:
        """How many requests had `text` in their prompt."""
        return sum(text in seen.prompt for seen in self.seen)

    # In a thread

    def __enter__(self) -> Self:
        ready = threading.Event()
        failure: list[OSError] = []

        def run() -> None:
            try:
                asyncio.run(self.serve(ready.set))
            except OSError as error:
                failure.append(error)
                ready.set()

        self._thread = threading.Thread(target=run, name="stub-teacher")
        self._thread.start()
        ready.wait()
        if failure:
            self._thread.join()
            raise failure[0]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def go_down(self, seconds: float) -> None:
        """From any thread: resets all connections, refuses new ones, listens on the same port again after `seconds`."""
        self._loop.call_soon_threadsafe(self._loop_go_down, seconds)

    # In the loop

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serves until `_stop` is set; calls `ready` once it listens."""
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self._listen()
        ready()
        try:
            await self._stop.wait()
        finally:
            if self._down is not None:
                self._down.cancel()
            self._hang_up()
            await asyncio.sleep(0)  # one turn of the loop, in which the transports close their sockets

    async def _listen(self) -> None:
        make = self._loop.create_server
        self._server = await make(lambda: _Connection(self), "127.0.0.1", self.port, ssl=self._tls, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.reset()

    def _loop_go_down(self, seconds: float) -> None:
        async def come_back() -> None:
            await asyncio.sleep(seconds)
            await self._listen()

        self._hang_up()
        self._down = self._loop.create_task(come_back())

    def _received(self, connection: _Connection, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        path = path.partition("?")[0]
        shape = next((shape for ending, shape in _SHAPES.items() if path.endswith(ending)), None)
        if method != "POST" or shape is None:
            if path == "/stats":
                connection.send_now(200, json.dumps(self.stats()).encode())
                return
            if self.keep:
                self.seen.append(Seen(method, path, headers, body, ""))
            connection.send_now(404, b'{"error": {"message": "the stub has no such path", "type": "not_found_error"}}')
            return
        asked = json.loads(body)
        prompt = prompt_of(shape, asked)
        key = _key(prompt)
        self.received += 1
        now = time.monotonic()
        if self.keep:
            self.seen.append(Seen(method, path, headers, body, prompt))
            self.arrival_times.append(now)
        if self.on_request is not None:
            self.on_request(self.received)
        authorization = headers.get("authorization") or headers.get("x-api-key", "")
        draft = draft_for(self, self.received, shape, asked, prompt, key, authorization)
        refused = self._limit(draft, now)
        if not refused:
            self._spoil(draft, self._asked[key])
            self._asked[key] += 1
        id_header = "request-id" if shape == "messages" else "x-request-id"
        draft.headers.setdefault(id_header, f"req_{draft.number:08d}")
        latency_s = 0.0 if refused else self._latency()
        self.latency_sum_s += latency_s
        connection.answer_after(latency_s, draft)

    def _limit(self, draft: Draft, now: float) -> bool:
        """Turns the draft into a 429 where a limit is passed; such a request takes no place in the window."""
        if self.max_concurrent is not None and self.in_flight >= self.max_concurrent:
            draft.fail(429, f"more than {self.max_concurrent} requests at once")
            return True
        if self.requests_per_minute is None:
            return False
        while self._admitted and self._admitted[0] <= now - self.window_s:
            self._admitted.popleft()
        if len(self._admitted) >= self.requests_per_minute:
            draft.fail(429, f"more than {self.requests_per_minute} requests in {self.window_s:g} s")
            draft.headers["retry-after"] = str(math.ceil(self._admitted[0] + self.window_s - now))
            return True
        self._admitted.append(now)
        return False

    def _spoil(self, draft: Draft, asked_before: int) -> None:
        """Renders the answer with the faults that are due: the scheduled ones, then the one that the prompt orders."""
        due = [entry.fault for entry in self.schedule if entry.bites(draft.number)]
        if "[[fault:" in draft.prompt:
            try:
                marked = marked_fault(draft.prompt, asked_before)
            except ValueError as mistake:
                draft.fail(400, str(mistake))
                return
            due += [marked] if marked else []
        for fault in due:
            if fault.name in _OF_THE_ANSWER:
                _OF_THE_ANSWER[fault.name](draft, fault)
        if not draft.body:
            draft.body = _render(draft)
        for fault in due:
            if fault.name in _OF_THE_WIRE:
                _OF_THE_WIRE[fault.name](draft, fault)

    def _answered(self, draft: Draft) -> None:
        self.by_status[draft.status] += 1
        if draft.is_answer and draft.status == 200:
            self.answered += 1
            self.answered_by_prompt[draft.key] += 1


def _key(prompt: str) -> bytes:
    return hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _self_signed() -> tuple[bytes, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that nobody vouches for; `cryptography` is there because Beam needs it."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stub teacher")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # load_cert_chain reads paths only
        file.write(private + pem)
        file.flush()
        context.load_cert_chain(file.name)
    return pem, context


def unused_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-s", "--latency", dest="latency", default="0", metavar="S|lognormal:MEAN:SIGMA")
    parser.add_argument("--body-bytes", type=int)
    parser.add_argument("--fault", dest="faults", action="append", default=[], metavar="WHEN:FAULT")
    parser.add_argument("--rpm", dest="requests_per_minute", type=int)
    parser.add_argument("--window-s", type=float, default=60.0)
    parser.add_argument("--max-concurrent", type=int)
    parser.add_argument("--ignores", action="append", default=[], choices=sorted(HONOURS))
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--stats-file", type=Path, help="written on SIGTERM or SIGINT; GET /stats gives the same at any time"
    )
    options = vars(parser.parse_args())
    stats_file = options.pop("stats_file")
    stub = StubTeacher(keep=False, honours=HONOURS.difference(options.pop("ignores")), **options)

    async def serve() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, lambda: stub._stop.set())
        await stub.serve(lambda: print(stub.base_url, flush=True))

    asyncio.run(serve())
    if stats_file:
        stats_file.write_text(json.dumps(stub.stats()) + "\n")


if __name__ == "__main__":
    main()
