"""Rows into packs of at most so many tokens: best-fit decreasing, in bounded windows, with a state of a few integers.

Sequences are never cut to fill a pack. Padding at batch 8 wastes 60 % on instruction data, this about 0.3 %.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FULL = 0.97
"""A pack that is filled less is taken apart, and its documents wait for the next window, once."""


class Document(NamedTuple):
    """One reading of a row in one epoch."""

    row: int
    epoch: int
    length: int


class Pack(NamedTuple):
    documents: tuple[Document, ...]

    @property
    def tokens(self) -> int:
        return sum(document.length for document in self.documents)


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Places of `lengths` by pack; longest first, each into the fullest pack with room (Johnson 1974, at most 11/9 of
    the fewest packs there could be). n log n."""
    packs: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, pack), sorted
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        length = lengths[place]
        found = bisect.bisect_left(room, (length, -1))
        if found == len(room):
            left, pack = capacity, len(packs)
            packs.append([])
        else:
            left, pack = room.pop(found)
        packs[pack].append(place)
        if left - length:
            bisect.insort(room, (left - length, pack))
    return packs


class PackStream:
    """The packs of a whole run, in order. A function of its arguments only, and it can begin where `state` was taken.

    `order(epoch)` gives row numbers; `epochs` may end within one. A window ends with its epoch, what a window leaves
    over goes on into the next.
    """

    def __init__(
        self,
        lengths: npt.NDArray[np.int32],
        order: Callable[[int], npt.NDArray[np.int64]],
        *,
        epochs: float,
        pack_tokens: int,
        window: int,
        seed: int,
        state: dict[str, Any] | None = None,
    ) -> None:
        self._lengths, self._order, self._epochs = lengths, order, epochs
        self._pack_tokens, self._window, self._seed = pack_tokens, window, seed
        self._epoch_read: tuple[int, npt.NDArray[np.int64]] | None = None
        self._at = state or {"epoch": 0, "position": 0, "carry": [], "given": 0}

    def state(self) -> dict[str, Any]:
        """JSON. The window that is being read begins at `position` of `epoch` with `carry`; `given` of its packs are
        out already."""
        return dict(self._at)

    def __iter__(self) -> Iterator[Pack]:
        skipped = self._at["given"]
        while True:
            window, following = self._read_window()
            for pack in window[skipped:]:
                self._at = {**self._at, "given": self._at["given"] + 1}
                yield pack
            skipped = 0
            if following is None:
                return
            self._at = following

    def _read_window(self) -> tuple[list[Pack], dict[str, Any] | None]:
        """The packs of the window at `_at`, and where the next one begins; None after the last."""
        epoch, position = self._at["epoch"], self._at["position"]
        carry = [Document(*fields) for fields in self._at["carry"]]
        rows = self._epoch_rows(epoch)
        taken = rows[position : position + self._window]
        fresh = [
            Document(row, epoch, length)
            for row, length in zip(taken.tolist(), self._lengths[taken].tolist(), strict=True)
        ]
        position += len(taken)
        if position >= len(rows):
            epoch, position = epoch + 1, 0
        last = epoch >= self._epochs
        documents = [*carry, *fresh]
        packs, left = [], list[Document]()
        for places in best_fit([document.length for document in documents], self._pack_tokens):
            some = tuple(documents[place] for place in places)
            waited = any(place < len(carry) for place in places)
            filled = sum(document.length for document in some)
            if last or waited or filled >= FULL * self._pack_tokens:
                packs.append(Pack(some))
            else:
                left += some
        # Best fit puts the longest first, which would be an order by length.
        random = np.random.Generator(np.random.PCG64([self._seed, self._at["epoch"], self._at["position"]]))
        packs = [packs[place] for place in random.permutation(len(packs))]
        following = {"epoch": epoch, "position": position, "carry": [list(item) for item in left], "given": 0}
        return packs, None if last else following

    def _epoch_rows(self, epoch: int) -> npt.NDArray[np.int64]:
        if self._epoch_read is None or self._epoch_read[0] != epoch:  # a permutation of millions, for every window
            rows = self._order(epoch)
            self._epoch_read = epoch, rows[: round(len(rows) * min(1.0, self._epochs - epoch))]
        return self._epoch_read[1]


def steps_of(packs: Iterator[Pack], packs_per_step: int) -> Iterator[list[Pack]]:
    """Packs by step; the last step may have fewer."""
    step: list[Pack] = []
    for pack in packs:
        step.append(pack)
        if len(step) == packs_per_step:
            yield step
            step = []
    if step:
        yield step
