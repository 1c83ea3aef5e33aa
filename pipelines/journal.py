"""The journal: every call's raw answer, durable before anything looks inside it.

While a run asks, each process appends frames to segments of its own. A frame is

    magic (4) | length of payload u32 | crc32 of payload u32 | payload

and the payload is a fixed head (`_HEAD`) followed by the headers of interest and the body. Two kinds are written: SENT
before a call goes out, and the call itself when its answer is in. A SENT without its call is a call that a dead run
lost: it was perhaps paid for, so the ledger and the budget count it. After the run the segments are compacted into
`journal/part-*.parquet` (contract `journal/1`), one part a shard.

Locally a frame is written to the page cache at once and fsynced in groups; on an object store each group becomes one
object. So kill -9 loses what was in flight, and a power cut loses at most one commit interval more.
"""

import json
import os
import secrets
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import NamedTuple

from tutelage.pipelines.storage import Folder, storage_errors
from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.errors import ContractError
from tutelage.schemas.rows import Call

MAGIC = b"\xf7TJ1"
SEGMENT_FORMAT = "tutelage journal segment/1"
SEGMENT_BYTES = 64 << 20
RESERVED_BYTES = 8 << 20
"""Disk space claimed ahead of the writer, so that answers in flight still fit when the disk turns out to be full."""
DEFAULT_COMMIT_INTERVAL_S = 0.2

OPENED, SENT, ASKED, PROBED = 0, 1, 2, 3
_KIND_NAMES = {SENT: "lost", ASKED: "ask", PROBED: "probe"}
_FRAME = struct.Struct("<4sII")
_HEAD = struct.Struct("<B32s16sIHBHqIII")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Frame(NamedTuple):
    """One frame, decoded but for its headers and body, which lie at `payload_end - rest` of the segment."""

    kind: int
    request: bytes
    salt: bytes
    call_no: int
    attempt: int
    teacher_no: int
    status: int
    sent_at_us: int
    latency_us: int
    max_tokens: int
    headers_length: int
    rest: bytes


class SegmentHeader(NamedTuple):
    run_id: str
    writer: str
    teachers: tuple[str, ...]


class JournalWriter:
    """One process's segments. `sent` and `answered` append, `flush` hands over to the system, `commit` makes durable.

    Not thread-safe but for `commit`, which may run in another thread while frames are appended.
    """

    def __init__(self, folder: Folder, run_id: str, teachers: Sequence[str]) -> None:
        self.folder, self.teachers = folder, tuple(teachers)
        self.writer = secrets.token_hex(8)
        self.calls = 0
        self._header = _frame(
            bytes([OPENED])
            + canonical_json(
                {"format": SEGMENT_FORMAT, "run_id": run_id, "teachers": list(self.teachers), "writer": self.writer}
            )
        )
        self._segment_no = 0
        self._buffer: list[bytes] = []
        self._file: int | None = None
        self._closing = threading.Lock()
        self._written = self._reserved = 0

    def sent(self, request: bytes, teacher_no: int, attempt: int, sent_at_us: int, max_tokens: int | None) -> int:
        """Notes that a call is about to go out; returns its number. Flush before it does."""
        self.calls += 1
        head = _HEAD.pack(
            SENT, request, bytes(16), self.calls, attempt, teacher_no, 0, sent_at_us, 0, max_tokens or 0, 0
        )
        self._buffer.append(_frame(head))
        return self.calls

    def answered(
        self,
        request: bytes,
        call_no: int,
        teacher_no: int,
        *,
        attempt: int,
        sent_at_us: int,
        latency_us: int,
        status: int,
        headers: bytes,
        body: bytes,
        max_tokens: int | None,
        kind: int = ASKED,
    ) -> None:
        """Appends one call. The row's salt is drawn here, so that rebuilding rows from the journal changes no leaf."""
        head = _HEAD.pack(
            kind,
            request,
            secrets.token_bytes(16),
            call_no,
            attempt,
            teacher_no,
            status,
            sent_at_us,
            min(latency_us, 0xFFFFFFFF),
            max_tokens or 0,
            len(headers),
        )
        self._buffer.append(_frame(head + headers + body))

    def flush(self) -> None:
        """Hands what was appended to the system: kill -9 can't take it any more. Does nothing on an object store.

        On a full disk, what fits into the space claimed ahead is in before the error says that no more will be.
        """
        if not self.folder.is_local or not self._buffer:
            return
        with storage_errors(self.folder.path("journal")):
            try:
                self._make_room(sum(map(len, self._buffer)))
            except OSError:
                self._write(self._fitting())
                raise
            self._write(len(self._buffer))
            if self._reserved - self._written < RESERVED_BYTES // 2:
                self._reserve(0)

    def commit(self) -> None:
        """Makes durable what was flushed before the call (locally) or appended before it (object store)."""
        if self.folder.is_local:
            with storage_errors(self.folder.path("journal")), self._closing:
                if self._file is not None:
                    os.fsync(self._file)
            return
        # The list stays the same one, since another thread may append to it now, and is cut only when the put is done.
        frames = self._buffer[:]
        if frames:
            name = f"journal/{self.writer}-{self._segment_no:06d}.seg"
            self.folder.write(name, self._header + b"".join(frames))
            self._segment_no += 1
            del self._buffer[: len(frames)]

    def close(self) -> None:
        try:
            self.flush()
            self.commit()
        finally:
            self._close_segment()

    def _write(self, frames: int) -> None:
        if frames:
            assert self._file is not None
            data = b"".join(self._buffer[:frames])
            # At its place, not at the end: what a failed write left there is written over.
            _write_all(self._file, data, self._written)
            self._written += len(data)
            del self._buffer[:frames]

    def _fitting(self) -> int:
        """How many of the waiting frames fit into the space that is claimed already."""
        ends = accumulate(map(len, self._buffer), initial=self._written)
        return sum(end <= self._reserved for end in ends) - 1

    def _make_room(self, length: int) -> None:
        if self._file is None or self._written + length > SEGMENT_BYTES:
            self._open_segment()
        if self._written + length > self._reserved:
            self._reserve(length)

    def _open_segment(self) -> None:
        """Begins the next segment. If that fails, the one before stays open and no half-made file stays behind."""
        path = self.folder.path(f"journal/{self.writer}-{self._segment_no:06d}.seg")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        reserved = len(self._header) + RESERVED_BYTES
        try:
            os.posix_fallocate(file, 0, reserved)
            _write_all(file, self._header, 0)
            _sync_folder(os.path.dirname(path))
        except OSError:
            os.close(file)
            os.unlink(path)
            raise
        self._close_segment()
        self._segment_no += 1
        self._file, self._written, self._reserved = file, len(self._header), reserved

    def _close_segment(self) -> None:
        # Under the lock, so that a commit in another thread never syncs a file that was closed meanwhile.
        with self._closing:
            if self._file is None:
                return
            file, self._file = self._file, None
            try:
                os.ftruncate(file, self._written)
                os.fsync(file)
            finally:
                os.close(file)

    def _reserve(self, length: int) -> None:
        assert self._file is not None
        wanted = self._written + length + RESERVED_BYTES
        os.posix_fallocate(self._file, self._reserved, wanted - self._reserved)
        self._reserved = wanted


class SegmentReader:
    """Reads the frames of one segment's bytes. `torn_bytes` counts what was cut off or damaged, never silently."""

    def __init__(self, data: bytes | memoryview, path: str) -> None:
        self._data = memoryview(data)
        self.path = path
        self.torn_bytes = 0
        self.header = self._read_header()

    def _read_header(self) -> SegmentHeader | None:
        payload = next(self._payloads(), (0, b""))[1]
        if not payload or payload[0] != OPENED:
            # Without run and teachers no frame can be read: the whole segment counts as damaged.
            self.torn_bytes = _without_padding(self._data)
            return None
        found = json.loads(payload[1:])
        if found["format"] != SEGMENT_FORMAT:
            raise ContractError(
                f"{self.path}: is a {found['format']!r}, this tutelage reads {SEGMENT_FORMAT!r}; "
                "use the version that wrote it"
            )
        return SegmentHeader(found["run_id"], found["writer"], tuple(found["teachers"]))

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """(offset, frame) for every whole frame after the header."""
        for offset, payload in self._payloads():
            if payload[0] != OPENED:
                yield offset, _decoded(payload)

    def frame(self, offset: int) -> Frame:
        _, length, _ = _FRAME.unpack_from(self._data, offset)
        start = offset + _FRAME.size
        return _decoded(bytes(self._data[start : start + length]))

    def call(self, offset: int) -> Call:
        assert self.header is not None
        return call_of(self.frame(offset), self.header)

    def _payloads(self) -> Iterator[tuple[int, bytes]]:
        data, offset, torn = self._data, 0, 0
        end = len(data)
        while offset + _FRAME.size <= end:
            magic, length, checksum = _FRAME.unpack_from(data, offset)
            start = offset + _FRAME.size
            payload = bytes(data[start : start + length]) if magic == MAGIC and start + length <= end else b""
            if payload and zlib.crc32(payload) == checksum:
                yield offset, payload
                offset = start + length
                continue
            following = _next_frame(data, offset + 1)
            torn += _without_padding(data[offset:following])
            offset = following
        self.torn_bytes = torn + _without_padding(data[offset:end])


def call_of(frame: Frame, header: SegmentHeader) -> Call:
    return Call(
        call_id=f"{header.writer}-{frame.call_no}",
        request_id=frame.request.hex(),
        teacher=header.teachers[frame.teacher_no],
        kind=_KIND_NAMES[frame.kind],
        attempt=frame.attempt,
        run_id=header.run_id,
        sent_at=_EPOCH + timedelta(microseconds=frame.sent_at_us),
        latency_us=frame.latency_us,
        status=frame.status,
        headers=frame.rest[: frame.headers_length].decode(),
        body=frame.rest[frame.headers_length :],
        salt=frame.salt.hex(),
        max_tokens=frame.max_tokens or None,
    )


def _frame(payload: bytes) -> bytes:
    return _FRAME.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def _decoded(payload: bytes) -> Frame:
    return Frame._make((*_HEAD.unpack_from(payload), payload[_HEAD.size :]))


def _next_frame(data: memoryview, offset: int) -> int:
    """Where the next magic stands, at or after an offset; the end of the data if there is none."""
    window = 1 << 20
    while offset < len(data):
        found = bytes(data[offset : offset + window + len(MAGIC) - 1]).find(MAGIC)
        if found >= 0:
            return offset + found
        offset += window
    return len(data)


def _without_padding(data: memoryview) -> int:
    """Bytes of a damaged stretch, less the zeros that were only reserved."""
    return len(bytes(data).rstrip(b"\0"))


def _write_all(file: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, place)
        view, place = view[written:], place + written


def _sync_folder(path: str) -> None:
    """Makes the name of a new file durable; to sync the file does that only for its bytes."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
