"""Whatever comes over the wire becomes an Answer: real sockets where bytes matter, MockTransport elsewhere."""

import asyncio
import gzip
import json
import resource
import socket
import ssl
import struct
import zlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from stub_teacher import StubTeacher, unused_port

from tutelage.pipelines import transport as transport_module
from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.pipelines.transport import CAUSE_HEADER, Answer, Line, allow_open_files, new_transport

KEY = "sk-planted-0123456789"
GOOD = b'{"choices": []}'


class Peer(NamedTuple):
    """One connection as the test's server sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        return head + await self.reader.readexactly(int(length))

    def reset(self) -> None:
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


def says(*parts: bytes, reset: bool = False) -> Script:
    """Reads one request, writes the parts, and ends the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for part in parts:
            peer.writer.write(part)
        await peer.writer.drain()
        if reset:
            peer.reset()

    return script


def head(length: int | None, *headers: str, status: str = "200 OK") -> bytes:
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return "\r\n".join([f"HTTP/1.1 {status}", framing, *headers, "", ""]).encode()


def asked_of(script: Script, *, calls: int = 1, secret: str | None = None, scheme: str = "http") -> list[Answer]:
    """The answers of a server that runs the script once a connection."""

    async def go() -> list[Answer]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await script(Peer(reader, writer))
            except (ConnectionError, asyncio.IncompleteReadError):
                pass  # the client left first, as some cases want it to
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await ask(f"{scheme}://127.0.0.1:{port}/v1", calls=calls, secret=secret)
        finally:
            server.close()

    return asyncio.run(go())


async def ask(base_url: str, *, calls: int = 1, secret: str | None = None) -> list[Answer]:
    transport = new_transport()
    headers = PROTOCOLS["openai-chat"].headers(secret)
    line = Line(transport, f"{base_url}/chat/completions", headers, secret)
    try:
        return [await line.ask(b'{"model": "m"}') for _ in range(calls)]
    finally:
        await transport.aclose()


def cause(answers: Sequence[Answer]) -> str | None:
    (answer,) = answers
    if answer.status:
        return None
    assert answer.body == b""
    return answer.headers[CAUSE_HEADER]


def mocked(handler: Callable[[httpx.Request], httpx.Response], secret: str | None = None) -> Answer:
    line = Line(httpx.MockTransport(handler), "http://teacher.test/v1/chat/completions", {}, secret)
    return asyncio.run(line.ask(b"{}"))


def reply(*, headers: dict[str, str] | None = None, content: bytes = GOOD, status: int = 200) -> Answer:
    return mocked(lambda _: httpx.Response(status, headers=headers, stream=httpx.ByteStream(content)))


# No answer: the cause of each way to fail ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(says(), "broken_body", id="closed without a word"),
        pytest.param(says(reset=True), "broken_body", id="reset without a word"),
        pytest.param(says(head(100), b"{", reset=True), "broken_body", id="reset midway"),
        pytest.param(says(head(100), b'{"choices": ['), "broken_body", id="content-length longer than the body"),
        pytest.param(says(head(None), b"5\r\nabc"), "broken_body", id="a chunk that breaks off"),
        pytest.param(says(head(None), b"xyz\r\nabc\r\n"), "protocol", id="a chunk without a length"),
        pytest.param(says(b"220 mail.example.org ESMTP\r\n"), "protocol", id="another protocol's greeting"),
        pytest.param(says(b"\x16\x03\x01\x00\xa5garbage\r\n\r\n"), "protocol", id="binary garbage"),
        pytest.param(says(head(2, "x: " + "y" * 100_000), b"{}"), "protocol", id="a header of 100 kB"),
    ],
)
def test_a_broken_wire_is_an_answer_with_its_cause(script: Script, expected: str) -> None:
    assert cause(asked_of(script)) == expected


def test_a_port_that_nobody_listens_on_is_a_connect_failure() -> None:
    assert cause(asyncio.run(ask(f"http://127.0.0.1:{unused_port()}/v1"))) == "connect"


def test_a_certificate_that_nobody_vouches_for_is_a_tls_failure() -> None:
    with StubTeacher(tls=True) as stub:
        assert cause(asyncio.run(ask(stub.base_url, secret=KEY))) == "tls"
        assert stub.received == 0, "the key must not go to a host that could not prove its name"


def test_a_certificate_that_the_user_trusts_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StubTeacher(tls=True) as stub:
        assert stub.certificate_pem
        (tmp_path / "issuer.pem").write_bytes(stub.certificate_pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "issuer.pem"))
        (answer,) = asyncio.run(ask(stub.base_url))
    assert answer.status == 200


def test_https_spoken_to_a_plain_port_is_a_tls_failure() -> None:
    async def shrug(peer: Peer) -> None:
        await peer.reader.read(1)
        peer.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert cause(asked_of(shrug, scheme="https")) == "tls"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("refused"), "connect"),
        (httpx.ConnectTimeout("slow"), "timeout"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (TimeoutError(), "timeout"),
        (httpx.ReadError("reset"), "broken_body"),
        (httpx.RemoteProtocolError("cut"), "broken_body"),
        (ConnectionResetError(104, "reset"), "broken_body"),
        (ssl.SSLCertVerificationError("self-signed"), "tls"),
        (httpx.UnsupportedProtocol("gopher"), "protocol"),
        (OSError(5, "I/O error"), "protocol"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_each_transport_error_has_one_cause(error: Exception, expected: str) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    assert mocked(fail) == Answer(0, {CAUSE_HEADER: expected}, b"")


def test_a_tls_error_inside_a_connect_error_is_the_tls_error() -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no handshake") from ssl.SSLError("bad record")

    assert mocked(fail).headers == {CAUSE_HEADER: "tls"}


def test_a_mistake_of_our_own_is_no_answer_of_the_teacher() -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        mocked(fail)


def test_a_reset_connection_does_not_spoil_the_next_call() -> None:
    with StubTeacher(faults=["at=1:reset"]) as stub:
        first, second = asyncio.run(ask(stub.base_url, calls=2))
    assert (first.status, second.status) == (0, 200)


def test_bytes_left_over_after_an_answer_do_not_become_the_next_one() -> None:
    with StubTeacher(faults=["at=1:wrong_content_length=shorter"]) as stub:
        first, second = asyncio.run(ask(stub.base_url, calls=2))
    assert cause([first]) == "protocol"
    assert second.status == 200
    assert json.loads(second.body)["choices"]


# Bodies -------------------------------------------------------------------------------------------------------------


def test_chunks_are_one_body() -> None:
    (answer,) = asked_of(says(head(None), b'5\r\n{"a":\r\n', b"3\r\n 1}\r\n0\r\n\r\n"))
    assert (answer.status, answer.body) == (200, b'{"a": 1}')


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("gzip", gzip.compress(GOOD, mtime=0)),
        ("x-gzip", gzip.compress(GOOD, mtime=0)),
        ("GZIP", gzip.compress(GOOD, mtime=0)),
        ("deflate", zlib.compress(GOOD)),
        ("identity", GOOD),
        ("gzip", gzip.compress(GOOD[:5], mtime=0) + gzip.compress(GOOD[5:], mtime=0)),
    ],
)
def test_a_compressed_body_is_journaled_as_the_text_that_it_is(encoding: str, content: bytes) -> None:
    assert reply(headers={"content-encoding": encoding}, content=content) == Answer(200, {}, GOOD)


def test_a_compressed_body_of_a_real_server_is_inflated_once() -> None:
    with StubTeacher(faults=["at=1:gzip"]) as stub:
        packed, plain = asyncio.run(ask(stub.base_url, calls=2))
    assert json.loads(packed.body)["choices"] == json.loads(plain.body)["choices"]


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        pytest.param("gzip", GOOD, id="not compressed at all"),
        pytest.param("gzip", gzip.compress(GOOD, mtime=0)[:-9], id="cut off"),
        pytest.param("gzip", b"", id="nothing"),
        pytest.param("br", b"\x0b\x07\x80{}", id="an encoding that was not asked for"),
    ],
)
def test_a_body_that_can_not_be_inflated_is_no_answer(encoding: str, content: bytes) -> None:
    assert cause([reply(headers={"content-encoding": encoding}, content=content)]) == "protocol"


def test_a_gzip_bomb_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_BODY_BYTES", 1 << 20)
    bomb = gzip.compress(b" " * (8 << 20))
    assert len(bomb) < 1 << 16
    assert cause([reply(headers={"content-encoding": "gzip"}, content=bomb)]) == "too_large"


def test_a_body_of_just_the_limit_is_taken_and_one_more_byte_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_BODY_BYTES", 1000)
    packed = {"content-encoding": "gzip"}
    assert len(reply(content=b"x" * 1000).body) == 1000
    assert cause([reply(content=b"x" * 1001)]) == "too_large"
    assert len(reply(content=gzip.compress(b"x" * 1000), headers=packed).body) == 1000
    assert cause([reply(content=gzip.compress(b"x" * 1001), headers=packed)]) == "too_large"


def test_an_endless_body_is_cut_off_at_the_limit_and_its_connection_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_BODY_BYTES", 1 << 20)
    with StubTeacher(faults=["at=1:infinite_body"]) as stub:
        endless, good = asyncio.run(ask(stub.base_url, calls=2))
    assert cause([endless]) == "too_large"
    assert good.status == 200


# What goes out, and what is kept of what comes back -------------------------------------------------------------------


def test_a_request_says_who_it_is_and_goes_out_in_one_piece() -> None:
    requests: list[bytes] = []

    async def record(peer: Peer) -> None:
        requests.append(await peer.request())
        peer.writer.write(head(2) + b"{}")

    asked_of(record, secret=KEY)
    lines, _, body = requests[0].partition(b"\r\n\r\n")
    lowered = lines.lower().split(b"\r\n")
    assert lowered[0] == b"post /v1/chat/completions http/1.1"
    assert b"authorization: bearer " + KEY.encode() in lowered
    assert b"content-type: application/json" in lowered
    assert b"accept-encoding: gzip" in lowered
    assert any(line.startswith(b"user-agent: tutelage/") for line in lowered)
    assert b"transfer-encoding" not in lines.lower()
    assert body == b'{"model": "m"}'


def test_a_connection_is_kept_for_the_next_call_without_cookies() -> None:
    requests: list[bytes] = []

    async def twice(peer: Peer) -> None:
        for _ in range(2):
            requests.append(await peer.request())
            peer.writer.write(head(2, "set-cookie: who=me") + b"{}")

    assert [answer.status for answer in asked_of(twice, calls=2)] == [200, 200]
    assert b"cookie" not in requests[1].lower()


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with StubTeacher(faults=["always:redirect"]) as stub:
        (answer,) = asyncio.run(ask(stub.base_url, secret=KEY))
        assert len(stub.seen) == 1
    assert answer.status == 307


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"http://127.0.0.1:{unused_port()}"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, nobody)
    with StubTeacher() as stub:
        (answer,) = asyncio.run(ask(stub.base_url))
    assert answer.status == 200


def test_headers_of_interest_are_kept_in_lower_case_and_no_others() -> None:
    headers = {
        "Retry-After": "3",
        "X-Request-ID": "r1",
        "Set-Cookie": "a=b",
        "Server": "x",
        "Content-Type": "text/html",
    }
    answer = reply(headers=headers, status=429)
    assert answer.headers == {"retry-after": "3", "x-request-id": "r1", "content-type": "text/html"}
    assert json.loads(answer.headers_json()) == answer.headers
    assert reply().headers_json() == b""


def test_a_server_can_not_say_that_it_did_not_answer() -> None:
    assert CAUSE_HEADER not in reply(headers={CAUSE_HEADER: "tls"}).headers


# The secret -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "echo"),
    [
        (KEY, KEY.encode()),
        ('quo"te\\back-0123', json.dumps('quo"te\\back-0123').encode()),
        ("a/b+c/d-0123456789", b'"a\\/b+c\\/d-0123456789"'),
        ("schlüssel-0123456789", json.dumps("schlüssel-0123456789").encode()),
        ("a<b>&'c-0123456789", b'"a\\u003cb\\u003e\\u0026\\u0027c-0123456789"'),
        ("a+b/c=-0123456789", b"key=a%2Bb%2Fc%3D-0123456789&"),
    ],
    ids=["plain", "quotes", "php slashes", "ascii escapes", "html-safe json", "url-encoded"],
)
def test_a_secret_that_the_server_repeats_is_redacted_in_every_spelling(secret: str, echo: bytes) -> None:
    said = b'{"error": {"message": "Incorrect API key provided: ' + echo + b'"}}'
    answer = mocked(
        lambda _: httpx.Response(401, headers=[(b"x-request-id", b"req-" + echo)], stream=httpx.ByteStream(said)),
        secret,
    )
    everything = answer.body + answer.headers_json()
    tail = secret[-8:].encode()
    assert tail not in everything
    assert everything.count(b"[redacted]") == 2
    assert answer.body.startswith(b'{"error": {"message": "Incorrect API key provided: ')


def test_a_secret_inside_a_compressed_body_is_redacted() -> None:
    content = gzip.compress(f'{{"you": "{KEY}"}}'.encode())
    answer = mocked(
        lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(content)), KEY
    )
    assert answer.body == b'{"you": "[redacted]"}'


def test_a_key_that_only_stands_for_no_key_does_not_spoil_answers() -> None:
    """Local servers are asked with keys like EMPTY or ollama, and answers are full of such words."""
    said = b'{"text": "An EMPTY list is not None."}'
    for placeholder in ("EMPTY", "None", "ollama", "x"):
        assert mocked(lambda _: httpx.Response(200, stream=httpx.ByteStream(said)), placeholder).body == said


# The machine ----------------------------------------------------------------------------------------------------------


def test_a_window_larger_than_the_soft_limit_of_open_files_raises_that_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        allow_open_files(300)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert hard == before[1]
        assert soft > 300
        allow_open_files(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft, "it is never lowered"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
