"""A teacher that answers, and lies, on demand: OpenAI chat and completions, Anthropic messages, over raw HTTP/1.1.

On bare asyncio, so that a benchmark starts it with any interpreter and it can lie at the level of bytes, which no
web framework allows. stub_answers.py says what is true, stub_faults.py how to lie; README.md lists the faults.

    with StubTeacher(latency=0.05, faults=["at=100:down=2"]) as stub:
        harvest(stub.base_url)
        assert stub.answered == 2_000

    python tests/faults/stub_teacher.py --latency lognormal:1.0:0.5 --body-bytes 600    # first line: its base_url
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import hashlib
import json
import math
import random
import signal
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from stub_answers import HONOURS, Draft, prompt_of, tell_the_truth
from stub_faults import Scheduled, spoil

_SHAPES = {"/chat/completions": "chat", "/completions": "completions", "/messages": "messages"}
_FITS_THE_SOCKET = 1 << 16  # bytes that loopback takes at once, whether the peer reads or not


class Seen(NamedTuple):
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    prompt: str

    def json(self) -> Any:
        return json.loads(self.body)


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
        model = str(asked.get("model", ""))
        draft = Draft(self.received, shape, asked, prompt, key, authorization, self.base_url, self.honours, model)
        tell_the_truth(draft, self.answer_words)
        refused = self._limit(draft, now)
        if not refused:
            spoil(draft, self.schedule, self._asked[key])
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
