"""HTTP as the harvester needs it: httpx requests given straight to the aiohttp transport, and answers as raw bytes.

httpx's own client and pool cost 3 to 25 times more CPU a request (docs/decisions). The transport interface is the seam:
tests put `httpx.MockTransport` there.
"""

import json
import os
import resource
import ssl
import urllib.parse
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport
from multidict import CIMultiDict, CIMultiDictProxy

from tutelage.pipelines.teachers.protocol import HEADERS_KEPT

MAX_BODY_BYTES = 64 << 20
CAUSE_HEADER = "x-tutelage-cause"
REDACTED = b"[redacted]"
SHORTEST_SECRET = 8
"""Local servers are asked with keys like EMPTY or ollama: redacting those would spoil answers and hide nothing."""
SPARE_FILES = 256
"""Files that a process has open beside its connections: segments, plan shards, Beam's own."""


class Answer(NamedTuple):
    """What came back, as it is journaled: the entity after content decoding, secrets redacted. Status 0: no answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def headers_json(self) -> bytes:
        return orjson.dumps(self.headers) if self.headers else b""


class PreparedRequest(httpx.Request):
    """A POST whose URL and headers were made once for all calls to a teacher: a third of the cost of a fresh one."""

    def __init__(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> None:
        self.method = "POST"
        self.url = url
        self.headers = headers  # type: ignore[assignment]  # aiohttp copies any mapping, its own kind fastest
        self.extensions = _NO_TIMEOUTS
        self.stream = httpx.ByteStream(body)
        self._content = body


_NO_TIMEOUTS: dict[str, Any] = {"timeout": {}}
"""The caller bounds the whole call; aiohttp's timers, one a phase, would cost more and bound less."""


class Line:
    """One teacher's end of the wire: its URL, its headers, its secret, and how to ask it once."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport, url: str, headers: Mapping[str, str], secret: str | None
    ) -> None:
        self._transport = transport
        self._url = httpx.URL(url)
        self._headers = CIMultiDictProxy(CIMultiDict({**headers, "accept-encoding": "gzip"}))
        self._redactions = _spellings(secret)

    async def ask(self, body: bytes) -> Answer:
        """Posts one body. Never raises for what network or teacher do; the cause is in the answer's headers."""
        try:
            response = await self._transport.handle_async_request(PreparedRequest(self._url, self._headers, body))
            try:
                return await self._read(response)
            finally:
                await response.stream.aclose()  # type: ignore[union-attr]
        except _TooLarge:
            return no_answer("too_large")
        except (TimeoutError, httpx.TransportError, aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
            return no_answer(_cause(error))

    async def _read(self, response: httpx.Response) -> Answer:
        parts, size = [], 0
        async for part in response.stream:  # type: ignore[union-attr]
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise _TooLarge
            parts.append(part)
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        kept: dict[str, str] = {}
        for name, value in response.headers.raw:
            lowered = name.lower()
            if lowered in _KEPT:
                kept[lowered.decode()] = self._clean(value).decode("latin-1")
            elif lowered == b"content-encoding" and value.lower() not in (b"identity", b""):
                body = _inflated(body, value)
        return Answer(response.status_code, kept, self._clean(body))

    def _clean(self, data: bytes) -> bytes:
        for secret in self._redactions:
            if secret in data:
                data = data.replace(secret, REDACTED)
        return data


@lru_cache(maxsize=4)
def _ssl_context(*trusted: str | None) -> ssl.SSLContext:
    """Made once for the certificates that the environment names: reading them takes 0.1 s."""
    return httpx.create_ssl_context()


def new_transport() -> AiohttpTransport:
    """A transport without limits of its own (the window is ours), cookies or proxies. Call it in the running loop."""
    context = _ssl_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    connector = aiohttp.TCPConnector(limit=0, ssl=context, ttl_dns_cache=300)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
    return AiohttpTransport(client=session)


def no_answer(cause: str) -> Answer:
    return Answer(0, {CAUSE_HEADER: cause}, b"")


class _TooLarge(Exception):
    pass


def _cause(error: BaseException) -> str:
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__
    return next((cause for kinds, cause in _CAUSES if any(isinstance(link, kinds) for link in chain)), "protocol")


_CAUSES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ssl.SSLError, ssl.CertificateError, aiohttp.ClientSSLError), "tls"),
    ((aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError, httpx.ConnectError), "connect"),
    ((aiohttp.ServerTimeoutError, TimeoutError), "timeout"),
    (
        (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError, ConnectionError),
        "broken_body",
    ),
    ((httpx.ReadError, httpx.RemoteProtocolError), "broken_body"),
    ((httpx.TimeoutException,), "timeout"),
)


def _inflated(body: bytes, encoding: bytes) -> bytes:
    if encoding.lower() not in (b"gzip", b"x-gzip", b"deflate"):
        raise ValueError(f"an answer came in the encoding {encoding!r}, gzip was asked for")
    parts, room = [], MAX_BODY_BYTES
    while True:
        inflater = zlib.decompressobj(wbits=47)  # gzip or zlib, told apart by the header
        parts.append(inflater.decompress(body, room + 1))
        room -= len(parts[-1])
        if room < 0:
            raise _TooLarge
        if not inflater.eof:
            raise zlib.error("the compressed answer is cut off")
        body = inflater.unused_data
        if not body.startswith(
            b"\x1f\x8b"
        ):  # else a further member follows, as servers that compress piece by piece send
            return b"".join(parts)


def allow_open_files(connections: int) -> None:
    """Raises the soft limit of open files, 1,024 on most systems, where so many connections would not fit below it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _spellings(secret: str | None) -> tuple[bytes, ...]:
    """The secret as a server may echo it: as it is, and as JSON and URLs write it. One spelling for most keys."""
    if not secret or len(secret) < SHORTEST_SECRET:
        return ()
    quoted = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    quoted |= {text.replace("/", "\\/") for text in quoted} | {text.translate(_HTML_SAFE) for text in quoted}
    return tuple(text.encode() for text in quoted | {secret, urllib.parse.quote(secret, safe="")})


_HTML_SAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'"}
_KEPT = frozenset(name.encode() for name in HEADERS_KEPT) - {CAUSE_HEADER.encode()}
