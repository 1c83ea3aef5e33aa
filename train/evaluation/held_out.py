"""What a model makes of held-out rows: the loss of each, and how near it comes to the teacher's own choices.

Rows are packed, each attended to by itself; a model whose attention can't be told so reads one at a time. Logits exist
for the trained tokens of one pack at a time. V vocabulary, N trained tokens of a row, K of the teacher's logprobs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tutelage.train.model.attention import use_packed_attention
from tutelage.train.model.losses import TeacherTopK, cross_entropy, forward_kl
from tutelage.train.rows.batches import Rows, collate
from tutelage.train.rows.packing import Document, best_fit

CHUNK_ROWS = 256
TEACHER_TOP_K = 64
"""Of a teacher that is loaded, so many logprobs a position are kept; the rest is one bucket."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Top = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]
Progress = Callable[[int, int], None]


class Reference(Protocol):
    """The teacher's top logprobs at the first positions of a row's trained tokens, or None."""

    def top_logprobs(self, row: int) -> Top | None: ...


class Measured(NamedTuple):
    """By row: `nats` is the sum over its trained tokens; of `compared` positions the model's first choice is the
    teacher's in `same_top`, and `kl_nats` sums KL(teacher || model) over the top K and one bucket for the rest."""

    nats: Floats
    compared: Ints
    same_top: Ints
    kl_nats: Floats


def row_losses(model: Any, store: Rows) -> Floats:
    """Loss of each row, in nats, summed over its trained tokens."""
    return measure(model, store, np.arange(len(store.lengths))).nats


def measure(
    model: Any,
    store: Rows,
    rows: Ints,
    *,
    batch_tokens: int = 1024,
    reference: Reference | None = None,
    packed: bool = True,
    kept: "KeptTop | None" = None,
    progress: Progress = lambda done, of: None,
) -> Measured:
    """Figures of `rows`, in their order. `kept` is given the model's own top logprobs."""
    place = {int(row): number for number, row in enumerate(rows)}
    compared, same_top = np.zeros((2, len(rows)), np.int64)
    found = Measured(np.zeros(len(rows)), compared, same_top, np.zeros(len(rows)))
    read = _logits(model, store, rows, batch_tokens, packed)
    for done, (row, logits_NV, targets_N) in enumerate(read, 1):
        at = place[row]
        top = reference.top_logprobs(row) if reference is not None else None
        for start in range(0, len(targets_N), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            logits = logits_NV[part].float()
            found.nats[at] += cross_entropy(logits, targets_N[part]).double().sum().item()
            if top is not None:
                _compare(found, at, logits, _tensors(top, part, logits.device))
            if kept is not None:
                kept.put(row, start, logits)
        progress(done, len(rows))
    return found


def _compare(found: Measured, at: int, logits_NV: Tensor, teacher: TeacherTopK) -> None:
    """Positions beyond the teacher's, and those where it named no token, are left out."""
    logits = logits_NV[: len(teacher.ids_NK)]
    there = teacher.has_teacher_N
    if not there.any():
        return
    logits, ids, logprobs = logits[there], teacher.ids_NK[there], teacher.logprobs_NK[there]
    best = torch.where(ids >= 0, logprobs, -torch.inf).argmax(-1, keepdim=True)
    found.compared[at] += len(logits)
    found.same_top[at] += int((logits.argmax(-1, keepdim=True) == ids.gather(1, best)).sum())
    found.kl_nats[at] += forward_kl(logits, TeacherTopK(ids, logprobs)).double().sum().item()


def _tensors(top: Top, part: slice, device: torch.device) -> TeacherTopK:
    ids, logprobs = (torch.from_numpy(np.ascontiguousarray(array[part])).to(device) for array in top)
    return TeacherTopK(ids.long(), logprobs)


def _logits(
    model: Any, store: Rows, rows: Ints, batch_tokens: int, packed: bool
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Row, the logits [N, V] that predict its trained tokens, and those tokens."""
    documents = [Document(int(row), 0, int(store.lengths[row])) for row in rows]
    lengths = [document.length for document in documents]
    if packed:
        packs = best_fit(lengths, max([batch_tokens, *lengths]))
    else:
        packs = [[number] for number in range(len(documents))]
    device = next(model.parameters()).device
    with _evaluating(model, packed), torch.inference_mode():
        for places in packs:
            pack = [documents[place] for place in places]
            batch = collate(pack, store, device)
            apart = {"position_ids": batch.positions_1T, "tutelage_boundaries": batch.boundaries} if packed else {}
            logits = model(
                input_ids=batch.ids_1T,
                attention_mask=None,
                use_cache=False,
                logits_to_keep=batch.predicting_N,
                **apart,
            ).logits[0]
            start = 0
            for document in pack:
                end = start + document.length - int(store.first_trained[document.row])
                yield document.row, logits[start:end], batch.targets.ids_N[start:end]
                start = end


@contextmanager
def _evaluating(model: Any, packed: bool) -> Iterator[None]:
    """Without dropout, attending document by document; everything is put back."""
    training, attention = model.training, model.config._attn_implementation
    model.eval()
    try:
        if packed:
            use_packed_attention(model)
        yield
    finally:
        if packed:
            model.set_attn_implementation(attention)
        model.train(training)


class KeptTop:
    """Top logprobs of a model at every trained token of some rows, on disk: a reference for another model."""

    def __init__(self, store: Rows, rows: Ints, folder: Path, k: int = TEACHER_TOP_K) -> None:
        counts = (store.lengths - store.first_trained)[rows].astype(np.int64)
        ends = np.cumsum(counts)
        self._spans = {
            int(row): (int(end - count), int(end)) for row, end, count in zip(rows, ends, counts, strict=True)
        }
        shape = (max(1, int(counts.sum())), k)
        folder.mkdir(parents=True, exist_ok=True)
        self._ids = np.memmap(folder / "top_ids", np.int32, "w+", shape=shape)
        self._logprobs = np.memmap(folder / "top_logprobs", np.float32, "w+", shape=shape)
        self._ids[:] = -1

    def put(self, row: int, start: int, logits_NV: Tensor) -> None:
        """Logits of the row's trained tokens from the `start`th on."""
        k = min(self._ids.shape[1], logits_NV.shape[1])
        logprobs, ids = (logits_NV - torch.logsumexp(logits_NV, -1, keepdim=True)).topk(k, -1)
        at = self._spans[row][0] + start
        self._ids[at : at + len(ids), :k] = ids.cpu().numpy()
        self._logprobs[at : at + len(ids), :k] = logprobs.cpu().numpy()

    def top_logprobs(self, row: int) -> Top | None:
        span = self._spans.get(row)
        return None if span is None else (self._ids[slice(*span)], self._logprobs[slice(*span)])


class Aligned:
    """A reference of another store's rows (another template, the same tokenizer), as far as both are asked for
    the same token after the same ones."""

    def __init__(self, kept: KeptTop, theirs: Rows, store: Rows, row_of: dict[int, int]) -> None:
        self._kept, self._theirs, self._store, self._row_of = kept, theirs, store, row_of

    def top_logprobs(self, row: int) -> Top | None:
        other = self._row_of.get(row)
        top = None if other is None else self._kept.top_logprobs(other)
        if other is None or top is None:
            return None
        ours, theirs = _trained(self._store, row), _trained(self._theirs, other)
        shared = min(len(ours), len(theirs))
        apart = np.flatnonzero(ours[:shared] != theirs[:shared])
        # At the first token that differs both still stand behind the same ones.
        reach = int(apart[0]) + 1 if len(apart) else shared
        return top[0][:reach], top[1][:reach]


def _trained(store: Rows, row: int) -> npt.NDArray[np.int32]:
    return store.tokens(row)[int(store.first_trained[row]) :]
