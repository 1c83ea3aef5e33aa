"""Finds the calls of a request in a journal: in live segments and in compacted parts. 16 bytes of memory a call."""

import contextlib
import mmap
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from tutelage.pipelines.journal import SENT, SegmentReader
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import open_parquet, rows_of
from tutelage.schemas.contracts import JOURNAL
from tutelage.schemas.errors import ContractError
from tutelage.schemas.rows import Call

KEPT_ROW_GROUPS = 4


def shard_of(request_id: str, shards: int) -> int:
    """The shard of a request: a function of its id alone, so that added prompts never move the others."""
    return int(request_id[:8], 16) % shards


class JournalIndex:
    """All calls of a journal by request id, and what was lost: `torn_bytes` of damaged segments.

    A call that stands both in a segment and in a part (a run died between writing the part and deleting the segment) is
    returned once.
    """

    def __init__(self, folder: Folder) -> None:
        self.segments = folder.list("journal/*.seg")
        self.torn_bytes = 0
        self._lock = threading.Lock()
        self._sources: list[_Segment | _Part] = []
        keys: list[np.ndarray] = []
        places: list[np.ndarray] = []
        for name in self.segments:
            self._add(_Segment(folder, name), keys, places)
        for name in folder.list("journal/part-*.parquet"):
            self._add(_Part(folder, name), keys, places)
        self._drop_answered(keys, places)
        all_keys = np.concatenate(keys) if keys else np.empty(0, np.uint64)
        all_places = np.concatenate(places) if places else np.empty(0, np.int64)
        order = np.argsort(all_keys, kind="stable")
        self._keys, self._places = all_keys[order], all_places[order]

    def __len__(self) -> int:
        return len(self._keys)

    def calls(self, request_ids: Sequence[str]) -> list[list[Call]]:
        """The calls of each request, oldest first; an empty list for one that was never sent."""
        wanted = _keys_of(request_ids)
        first = np.searchsorted(self._keys, wanted, "left").tolist()
        last = np.searchsorted(self._keys, wanted, "right").tolist()
        # The lanes of two teachers look up calls of one part at a time, and would evict each other's row groups.
        with self._lock:
            return [
                self._at(range(low, high), request_id) if low < high else []
                for request_id, low, high in zip(request_ids, first, last, strict=True)
            ]

    def requests_in(self, shard: int, shards: int, done: Mapping[str, int] | None = None) -> Iterator[list[Call]]:
        """Every request of one shard that has a call, planned or not, with its calls, but those that are done.

        `done` is the number of calls, by request id, that the caller has had already.
        """
        had = Counter[int]()
        for request_id, count in (done or {}).items():
            had[int(request_id[:16], 16)] += count
        mine = np.flatnonzero((self._keys >> np.uint64(32)) % np.uint64(shards) == shard)
        keys, starts, counts = np.unique(self._keys[mine], return_index=True, return_counts=True)
        # By place, not by key: a part is read a row group at a time, and keys lie all over it.
        order = np.argsort(self._places[mine[starts]], kind="stable")
        groups = (column[order].tolist() for column in (keys, starts, counts))
        for key, start, count in zip(*groups, strict=True):
            if had[key] == count:
                continue
            by_id: dict[str, list[Call]] = {}
            for position in mine[start : start + count].tolist():
                call = self._call(position)
                by_id.setdefault(call.request_id, []).append(call)
            yield from (_in_order(calls) for calls in by_id.values() if calls[0].request_id not in (done or ()))

    def _at(self, positions: range, request_id: str) -> list[Call]:
        found = [self._call(position) for position in positions]
        # Two ids may share their first 64 bits.
        return _in_order([call for call in found if call.request_id == request_id])

    def _call(self, position: int) -> Call:
        place = int(self._places[position])
        return self._sources[place >> 40].call(place & (1 << 40) - 1)

    def _add(self, source: "_Segment | _Part", keys: list[np.ndarray], places: list[np.ndarray]) -> None:
        found, offsets = source.scan()
        self.torn_bytes += source.torn_bytes
        keys.append(np.array(found, np.uint64))
        places.append(np.array(offsets, np.int64) | (len(self._sources) << 40))
        self._sources.append(source)

    def _drop_answered(self, keys: list[np.ndarray], places: list[np.ndarray]) -> None:
        """Drops the SENT frames whose call was journaled by the same writer; the rest are the lost calls."""
        answered = {
            number for source in self._sources if isinstance(source, _Segment) for number in source.late_answers
        }
        for number, source in enumerate(self._sources):
            if isinstance(source, _Segment) and source.unanswered:
                lost = {offset for call, offset in source.unanswered.items() if call not in answered}
                sent = set(source.unanswered.values()) - lost
                if sent:
                    keep = [int(place) & (1 << 40) - 1 not in sent for place in places[number]]
                    keys[number], places[number] = keys[number][keep], places[number][keep]


class _Segment:
    def __init__(self, folder: Folder, name: str) -> None:
        self._reader = SegmentReader(_bytes_of(folder, name), folder.path(name))
        self.torn_bytes = 0
        self.unanswered: dict[tuple[str, int], int] = {}
        self.late_answers: list[tuple[str, int]] = []

    def scan(self) -> tuple[list[int], list[int]]:
        keys: list[int] = []
        offsets: list[int] = []
        header = self._reader.header
        if header is None:
            self.torn_bytes = self._reader.torn_bytes
            return keys, offsets
        for offset, frame in self._reader.frames():
            call = (header.writer, frame.call_no)
            if frame.kind == SENT:
                self.unanswered[call] = offset
                continue
            if self.unanswered.pop(call, None) is None:
                self.late_answers.append(call)  # sent in an earlier segment of the same writer
            keys.append(int.from_bytes(frame.request[:8], "big"))
            offsets.append(offset)
        for offset in self.unanswered.values():
            keys.append(int.from_bytes(self._reader.frame(offset).request[:8], "big"))
            offsets.append(offset)
        self.torn_bytes = self._reader.torn_bytes
        return keys, offsets

    def call(self, offset: int) -> Call:
        return self._reader.call(offset)


class _Part:
    torn_bytes = 0

    def __init__(self, folder: Folder, name: str) -> None:
        self._path = folder.path(name)
        stream = folder.open(name)
        weakref.finalize(self, stream.close)
        self._parquet = open_parquet(JOURNAL, stream, self._path)
        groups = [self._parquet.metadata.row_group(number).num_rows for number in range(self._parquet.num_row_groups)]
        self._first_rows = np.cumsum([0, *groups])
        self._kept: OrderedDict[int, list[Call]] = OrderedDict()

    def scan(self) -> tuple[list[int], list[int]]:
        with self._readable():
            ids = self._parquet.read(columns=["request_id"]).column(0)
        return _keys_of(ids.to_pylist()).tolist(), list(range(len(ids)))

    def call(self, row: int) -> Call:
        group = int(np.searchsorted(self._first_rows, row, "right")) - 1
        if group not in self._kept:
            with self._readable():
                self._kept[group] = list(rows_of(JOURNAL, self._parquet.read_row_group(group)))
            if len(self._kept) > KEPT_ROW_GROUPS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return self._kept[group][row - int(self._first_rows[group])]

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowInvalid) as error:
            raise ContractError(
                f"{self._path}: is damaged ({error}); the answers in it were paid for: restore the file from a copy, "
                "or delete it to have them asked for again"
            ) from error


def _bytes_of(folder: Folder, name: str) -> bytes | memoryview:
    if not folder.is_local or folder.size(name) == 0:
        return folder.read(name)
    with folder.open(name) as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def _keys_of(request_ids: Sequence[str]) -> np.ndarray:
    return np.array([int(request_id[:16], 16) for request_id in request_ids], np.uint64)


def _in_order(calls: list[Call]) -> list[Call]:
    unique = {call.call_id: call for call in calls}
    # A call that was journaled beats the mark that it was sent, should both have been kept.
    for call in calls:
        if call.kind != "lost":
            unique[call.call_id] = call
    return sorted(unique.values(), key=lambda call: (call.sent_at, call.call_id))
