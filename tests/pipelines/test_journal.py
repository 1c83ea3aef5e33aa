import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest

from tutelage.pipelines import journal
from tutelage.pipelines.journal import MAGIC, PROBED, JournalWriter, SegmentReader
from tutelage.pipelines.journal_index import JournalIndex, shard_of
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.table_file import TableFile
from tutelage.schemas.contracts import JOURNAL
from tutelage.schemas.errors import ContractError, StorageError
from tutelage.schemas.rows import Call

RUN = "20261123T120000Z-abcdef"
NOON_US = 1_795_435_200_000_000


def _id(number: int) -> bytes:
    return bytes.fromhex(f"{number:08x}") + bytes(28)


def _answer(writer: JournalWriter, number: int, body: bytes = b"", *, sent: bool = True, attempt: int = 1) -> int:
    """Journals one call, and the mark before it unless told not to."""
    sent_at_us = NOON_US + number
    call_no = writer.sent(_id(number), 0, attempt, sent_at_us, None) if sent else number
    writer.answered(
        _id(number),
        call_no,
        0,
        attempt=attempt,
        sent_at_us=sent_at_us,
        latency_us=1500,
        status=200,
        headers=b'{"x-request-id":"r"}',
        body=body or f"answer {number}".encode(),
        max_tokens=None,
    )
    return call_no


def _writer(folder: Folder) -> JournalWriter:
    return JournalWriter(folder, RUN, ["smollm2"])


def _bodies(index: JournalIndex, numbers: range) -> list[list[bytes]]:
    return [[call.body for call in calls] for calls in index.calls([_id(number).hex() for number in numbers])]


@pytest.fixture(params=["local", "object store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "local":
        yield Folder(str(tmp_path))
    else:
        yield Folder(f"memory://{tmp_path.name}/dataset")
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


@pytest.fixture
def local(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


# What goes in comes out


def test_a_call_comes_back_byte_for_byte(folder: Folder) -> None:
    writer = _writer(folder)
    body = bytes(range(256)) + MAGIC * 3 + bytes(1000)
    call_no = writer.sent(_id(7), 0, 2, NOON_US, 512)
    writer.answered(
        _id(7),
        call_no,
        0,
        attempt=2,
        sent_at_us=NOON_US,
        latency_us=123_456,
        status=429,
        headers='{"retry-after":"ünïcode"}'.encode(),
        body=body,
        max_tokens=512,
    )
    writer.close()
    [[call]] = JournalIndex(folder).calls([_id(7).hex()])
    assert len(bytes.fromhex(call.salt)) == 16
    assert call == Call(
        call_id=f"{writer.writer}-{call_no}",
        request_id=_id(7).hex(),
        teacher="smollm2",
        kind="ask",
        attempt=2,
        run_id=RUN,
        sent_at=datetime(2026, 11, 23, 12, tzinfo=UTC),
        latency_us=123_456,
        status=429,
        headers='{"retry-after":"ünïcode"}',
        body=body,
        salt=call.salt,
        max_tokens=512,
    )


def test_calls_of_a_request_come_oldest_first_and_others_empty(folder: Folder) -> None:
    writer = _writer(folder)
    for attempt, body in enumerate([b"busy", b"busy again", b"answer"], 1):
        call_no = writer.sent(_id(1), 0, attempt, NOON_US + attempt, None)
        writer.answered(
            _id(1),
            call_no,
            0,
            attempt=attempt,
            sent_at_us=NOON_US + attempt,
            latency_us=1,
            status=200,
            headers=b"",
            body=body,
            max_tokens=None,
        )
    writer.close()
    assert _bodies(JournalIndex(folder), range(3)) == [[], [b"busy", b"busy again", b"answer"], []]


def test_two_writers_never_share_a_segment_or_a_call_id(folder: Folder) -> None:
    writers = [_writer(folder) for _ in range(2)]
    for writer in writers:
        _answer(writer, 1)
        writer.close()
    index = JournalIndex(folder)
    assert len(index.segments) == 2
    [calls] = index.calls([_id(1).hex()])
    assert len({call.call_id for call in calls}) == 2


def test_a_probe_is_told_from_an_ask(folder: Folder) -> None:
    writer = _writer(folder)
    writer.answered(
        _id(1),
        0,
        0,
        attempt=1,
        sent_at_us=NOON_US,
        latency_us=1,
        status=200,
        headers=b"",
        body=b"p",
        max_tokens=None,
        kind=PROBED,
    )
    writer.close()
    [[call]] = JournalIndex(folder).calls([_id(1).hex()])
    assert call.kind == "probe"


def test_an_empty_journal_has_no_calls(folder: Folder) -> None:
    folder.write("journal/other.txt", b"")
    assert len(JournalIndex(folder)) == 0
    assert JournalIndex(folder).calls([_id(1).hex()]) == [[]]


def test_each_request_of_a_shard_is_listed_once_with_its_calls(folder: Folder) -> None:
    writer = _writer(folder)
    for number in [*range(20), *range(5)]:
        _answer(writer, number)
    writer.close()
    index = JournalIndex(folder)
    shards = [{calls[0].request_id: len(calls) for calls in index.requests_in(shard, 3)} for shard in range(3)]
    for shard, found in enumerate(shards):
        wanted = [number for number in range(20) if shard_of(_id(number).hex(), 3) == shard]
        assert found == {_id(number).hex(): 2 if number < 5 else 1 for number in wanted}


def test_segments_are_cut_at_their_size_and_all_are_read(local: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 4096)
    writer = _writer(local)
    for number in range(40):
        _answer(writer, number, bytes(300))
        writer.flush()
    writer.close()
    index = JournalIndex(local)
    assert len(index.segments) > 3
    assert index.torn_bytes == 0
    assert {call.kind for calls in index.calls([_id(n).hex() for n in range(40)]) for call in calls} == {"ask"}


# What is lost is counted


def test_a_call_that_was_sent_and_never_answered_is_lost(folder: Folder) -> None:
    writer = _writer(folder)
    _answer(writer, 1)
    writer.sent(_id(2), 0, 1, NOON_US, 64)
    writer.close()
    index = JournalIndex(folder)
    [[answered], [lost]] = index.calls([_id(1).hex(), _id(2).hex()])
    assert (answered.kind, lost.kind) == ("ask", "lost")
    assert (lost.body, lost.status, lost.max_tokens) == (b"", 0, 64)
    assert len(index) == 2


def test_an_answer_in_a_later_segment_of_its_writer_is_not_lost(local: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)  # every flush opens a segment
    writer = _writer(local)
    call_no = writer.sent(_id(1), 0, 1, NOON_US, None)
    writer.sent(_id(2), 0, 1, NOON_US, None)
    writer.flush()
    writer.answered(
        _id(1),
        call_no,
        0,
        attempt=1,
        sent_at_us=NOON_US,
        latency_us=1,
        status=200,
        headers=b"",
        body=b"late",
        max_tokens=None,
    )
    writer.close()
    index = JournalIndex(local)
    assert len(index.segments) == 2
    assert [[call.kind for call in calls] for calls in index.calls([_id(1).hex(), _id(2).hex()])] == [["ask"], ["lost"]]


def _segment(folder: Folder, answers: int) -> bytes:
    writer = _writer(folder)
    for number in range(answers):
        _answer(writer, number, sent=False)
    writer.close()
    [name] = folder.list("journal/*.seg")
    return folder.read(name)


def _read(data: bytes) -> tuple[list[bytes], int]:
    reader = SegmentReader(data, "journal/a.seg")
    bodies = [frame.rest[frame.headers_length :] for _, frame in reader.frames()] if reader.header else []
    return bodies, reader.torn_bytes


def test_a_torn_tail_is_dropped_and_counted_at_every_byte(local: Folder) -> None:
    data = _segment(local, 3)
    starts = [place for place in range(len(data)) if data.startswith(MAGIC, place)]
    ends = [*starts[1:], len(data)]  # of the header, and of each answer
    for cut in range(len(data) + 1):
        bodies, torn_bytes = _read(data[:cut])
        whole = [end for end in ends if end <= cut]
        assert bodies == [f"answer {number}".encode() for number in range(len(whole) - 1)]
        rest = data[whole[-1] if whole else 0 : cut]
        assert torn_bytes == len(rest.rstrip(b"\0"))


def test_any_damaged_byte_costs_one_answer_at_most_and_is_counted(local: Folder) -> None:
    data = _segment(local, 3)
    starts = [place for place in range(len(data)) if data.startswith(MAGIC, place)]
    for place in range(starts[1], len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        hit = sum(start <= place for start in starts) - 2
        bodies, torn_bytes = _read(bytes(damaged))
        assert bodies == [f"answer {number}".encode() for number in range(3) if number != hit]
        assert torn_bytes == [*starts, len(data)][hit + 2] - starts[hit + 1]


def test_a_segment_whose_header_is_damaged_counts_as_a_whole(local: Folder) -> None:
    data = bytearray(_segment(local, 3))
    data[20] ^= 1
    [name] = local.list("journal/*.seg")
    local.write(name, bytes(data) + bytes(1000))
    index = JournalIndex(local)
    assert len(index) == 0
    assert index.torn_bytes == len(data)


@pytest.mark.parametrize("padding", [1, 11, 12, 13, 4096])
def test_space_that_was_only_reserved_is_no_damage(local: Folder, padding: int) -> None:
    data = _segment(local, 2)
    assert _read(data + bytes(padding)) == ([b"answer 0", b"answer 1"], 0)
    assert _read(bytes(padding)) == ([], 0)


def test_a_segment_of_another_format_is_refused_by_name(local: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_FORMAT", "tutelage journal segment/2")
    _segment(local, 1)
    monkeypatch.undo()
    with pytest.raises(
        ContractError, match=r"\.seg: is a 'tutelage journal segment/2', this tutelage reads .*segment/1"
    ):
        JournalIndex(local)


# Segments and parts


def _compact(folder: Folder, calls: list[Call]) -> None:
    with TableFile(JOURNAL, folder, "journal/part-00000.parquet") as part:
        for call in calls:
            part.add(call)


def test_a_call_in_a_segment_and_in_a_part_is_returned_once(folder: Folder) -> None:
    writer = _writer(folder)
    for number in range(4):
        _answer(writer, number)
    writer.sent(_id(4), 0, 1, NOON_US, None)
    writer.close()
    requests = [_id(number).hex() for number in range(5)]
    before = JournalIndex(folder).calls(requests)
    _compact(folder, [call for calls in before for call in calls])
    assert JournalIndex(folder).calls(requests) == before
    for name in folder.list("journal/*.seg"):
        folder.delete(name)
    assert JournalIndex(folder).calls(requests) == before


def test_an_answer_in_a_part_beats_the_mark_that_it_was_sent(folder: Folder) -> None:
    """A run that died while it deleted its segments may leave the mark, and the answer only in the part."""
    writer = _writer(folder)
    writer.sent(_id(1), 0, 1, NOON_US, None)
    writer.close()
    [[lost]] = JournalIndex(folder).calls([_id(1).hex()])
    _compact(folder, [lost._replace(kind="ask", status=200, body=b"answer")])
    [[call]] = JournalIndex(folder).calls([_id(1).hex()])
    assert (call.kind, call.body) == ("ask", b"answer")


# Death and full disks

CHILD = """
import sys, time
sys.path.insert(0, sys.argv[2])
from test_journal import _answer, _writer
from tutelage.pipelines.storage import Folder
writer = _writer(Folder(sys.argv[1]))
for number in range(100):
    _answer(writer, number)
    if number == 89:
        writer.flush()
        print("flushed", flush=True)
sys.stdin.read()
"""


def test_kill_9_loses_nothing_that_was_flushed(local: Folder) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, local.uri, str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "flushed\n"
    child.kill()
    child.communicate()
    index = JournalIndex(local)
    assert _bodies(index, range(100)) == [[f"answer {number}".encode()] for number in range(90)] + [[]] * 10
    assert index.torn_bytes == 0


FULL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from test_journal import _answer, _writer
from tutelage.pipelines import journal
from tutelage.pipelines.storage import Folder
from tutelage.schemas.errors import StorageError

journal.RESERVED_BYTES = 64 << 10
writer = _writer(Folder(sys.argv[1]))
_answer(writer, 0)
writer.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, resource.RLIM_INFINITY))  # no file may grow beyond this
for number in range(1, 1000):
    _answer(writer, number, bytes([number % 255 + 1]) * 3000)
    try:
        writer.flush()
    except StorageError as error:
        print(number, error)
        break
for late in range(number + 1, number + 4):  # what was in flight still lands
    _answer(writer, late, b"late")
    try:
        writer.flush()
    except StorageError:
        pass
print(late)
try:
    writer.close()
except StorageError:
    print("and close said so too")
"""


def test_a_full_disk_keeps_what_fits_into_the_reserved_space_and_says_what_to_do(local: Folder) -> None:
    child = subprocess.run(
        [sys.executable, "-c", FULL, local.uri, str(Path(__file__).parent)], capture_output=True, text=True, check=True
    )
    refused, last, *_ = child.stdout.splitlines()
    number = int(refused.split()[0])
    assert f"{local.uri}/journal: File too large; what was journaled before is safe. Make room" in refused
    assert "run the same command again" in refused
    index = JournalIndex(local)
    assert number > 5  # the space that was claimed ahead was used
    assert all(_bodies(index, range(number + 1)))
    assert _bodies(index, range(number + 1, int(last) + 1)) == [[b"late"]] * 3
    assert index.torn_bytes == 0


def test_frames_that_did_not_fit_are_written_once_there_is_room(local: Folder) -> None:
    writer = _writer(local)
    _answer(writer, 0)
    writer.flush()
    size = writer._reserved
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        _answer(writer, 1, b"small")
        _answer(writer, 2, b"x" * size)
        _answer(writer, 3, b"behind it")
        with pytest.raises(StorageError):
            writer.flush()
        assert _bodies(JournalIndex(local), range(4)) == [[b"answer 0"], [b"small"], [b""], []]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.close()
    index = JournalIndex(local)
    assert _bodies(index, range(4)) == [[b"answer 0"], [b"small"], [b"x" * size], [b"behind it"]]
    assert index.torn_bytes == 0


def test_no_segment_without_a_header_stays_behind_when_the_disk_is_full_from_the_start(local: Folder) -> None:
    writer = _writer(local)
    _answer(writer, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
        with pytest.raises(StorageError):
            writer.flush()
        assert local.list("journal/*") == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.close()
    assert _bodies(JournalIndex(local), range(1, 2)) == [[b"answer 1"]]


def test_a_put_that_failed_is_tried_again_with_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = Folder(f"memory://{tmp_path.name}/dataset")
    writer = _writer(folder)
    _answer(writer, 1)

    def refuse(name: str, content: bytes) -> None:
        raise StorageError("no")

    monkeypatch.setattr(folder, "write", refuse)
    with pytest.raises(StorageError):
        writer.commit()
    monkeypatch.undo()
    _answer(writer, 2)
    writer.close()
    assert _bodies(JournalIndex(folder), range(1, 3)) == [[b"answer 1"], [b"answer 2"]]


def test_a_frame_that_another_thread_s_commit_overtakes_is_in_the_next(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = _writer(folder)

    def overtaken(payload: bytes) -> bytes:
        writer.commit()  # zlib.crc32 lets other threads in, just before the frame is appended
        return frame(payload)

    frame = journal._frame
    monkeypatch.setattr(journal, "_frame", overtaken)
    for number in range(5):
        _answer(writer, number)
        writer.flush()
    writer.close()
    assert _bodies(JournalIndex(folder), range(5)) == [[f"answer {number}".encode()] for number in range(5)]


def test_a_commit_beside_a_change_of_segments_never_meets_a_closed_file(
    local: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
    writer = _writer(local)

    def append() -> None:
        for number in range(100):
            _answer(writer, number)
            writer.flush()

    appending = threading.Thread(target=append)
    appending.start()
    while appending.is_alive():
        writer.commit()
    appending.join()
    writer.close()
    assert _bodies(JournalIndex(local), range(100)) == [[f"answer {number}".encode()] for number in range(100)]
