"""A pack as the tensors that a model takes."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tutelage.train.model.attention import Boundaries, boundaries, positions
from tutelage.train.model.loss_head import Targets
from tutelage.train.model.losses import TeacherTopK
from tutelage.train.rows.packing import Document


class Rows(Protocol):
    """What a batch needs of a token store. Trained are the tokens from `first_trained[row]` on."""

    first_trained: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]

    def tokens(self, row: int) -> npt.NDArray[np.int32]: ...

    def top_logprobs(self, row: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]] | None: ...


class Batch(NamedTuple):
    """T tokens of one pack, N of them trained. `predicting_N` are the places whose hidden state predicts a trained
    token: the place before each."""

    ids_1T: Tensor
    positions_1T: Tensor
    boundaries: Boundaries
    predicting_N: Tensor
    targets: Targets


def trained_tokens(documents: Sequence[Document], rows: Rows) -> int:
    return sum(int(document.length - rows.first_trained[document.row]) for document in documents)


def collate(
    documents: Sequence[Document], rows: Rows, device: torch.device, k: int | None = None, padded_to: int | None = None
) -> Batch:
    """`k` is set where the loss needs the teacher's logprobs. `padded_to` makes every batch of one shape, for compiled
    graphs: the padding is a document of its own, untrained, and the boundaries have a slot for each token."""
    lengths = [document.length for document in documents]
    ids, predicting, targets, teacher_ids, teacher_logprobs = [], [], [], [], []
    start = 0
    for document in documents:
        tokens = rows.tokens(document.row)
        first = int(rows.first_trained[document.row])
        ids.append(tokens)
        targets.append(tokens[first:])
        predicting.append(np.arange(start + first - 1, start + document.length - 1))
        if k is not None:
            top = rows.top_logprobs(document.row)
            trained = document.length - first
            teacher_ids.append(np.full((trained, k), -1, np.int32) if top is None else top[0])
            teacher_logprobs.append(np.full((trained, k), np.nan, np.float32) if top is None else top[1])
        start += document.length
    slots = None
    if padded_to is not None:
        slots = padded_to
        if padding := padded_to - start:
            lengths.append(padding)
            ids.append(np.zeros(padding, np.int32))

    def tensor(parts: Sequence[npt.NDArray[np.generic]], kind: torch.dtype) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(device, kind, non_blocking=True)

    teacher = (
        TeacherTopK(tensor(teacher_ids, torch.long), tensor(teacher_logprobs, torch.float32)) if k is not None else None
    )
    return Batch(
        tensor(ids, torch.long)[None],
        positions(lengths, device),
        boundaries(lengths, device, slots),
        tensor(predicting, torch.long),
        Targets(tensor(targets, torch.long), teacher),
    )
