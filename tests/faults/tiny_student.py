"""A tiny Llama, rows made by a seed, and a learner over them: no tokenizer, no dataset, no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tutelage.train.config import Loss, Optimizer, Training
from tutelage.train.loop import Learner
from tutelage.train.model.taught import Taught
from tutelage.train.parallel import Ranks
from tutelage.train.rows.packing import Document, Pack

VOCABULARY = 211
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
"""Of any decoder of transformers."""
ALONE = Ranks(0, 1, torch.device("cpu"))


def tiny_llama(seed: int = 0, **changed: Any) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    shape = {**SHAPE, "max_position_embeddings": 256, "tie_word_embeddings": True}
    return LlamaForCausalLM(LlamaConfig(**{**shape, **changed}))


class TinyRows:
    """Rows of random tokens; the first third of each is the prompt. With `k`, a random teacher's top k."""

    def __init__(self, lengths: Sequence[int], seed: int = 0, k: int | None = None) -> None:
        random = np.random.default_rng(seed)
        self.rows = len(lengths)
        self.lengths = np.array(lengths, np.int32)
        self.first_trained = np.maximum(1, self.lengths // 3).astype(np.int32)
        self._tokens = [random.integers(0, VOCABULARY, length).astype(np.int32) for length in lengths]
        self._top = [
            _teacher(random, length - first, k) for length, first in zip(lengths, self.first_trained, strict=True)
        ]

    def tokens(self, row: int) -> npt.NDArray[np.int32]:
        return self._tokens[row]

    def top_logprobs(self, row: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]] | None:
        return self._top[row]

    def documents(self, *rows: int) -> tuple[Document, ...]:
        return tuple(Document(row, 0, int(self.lengths[row])) for row in rows or range(self.rows))

    def packs(self, *groups: Sequence[int]) -> list[Pack]:
        return [Pack(self.documents(*group)) for group in groups]


def learner(
    rows: TinyRows, *, loss: Loss | None = None, seed: int = 0, optimizer: dict[str, Any] | None = None, **training: Any
) -> Learner:
    taught = Taught(tiny_llama(seed), loss or Loss()).train()
    k = loss.teacher.k if loss is not None and loss.teacher is not None else None
    return Learner(
        taught,
        rows,
        optimizer=Optimizer(**(optimizer or {})),
        training=Training(**{"pack_tokens": 256, **training}),
        ranks=ALONE,
        k=k,
    )


def weights_of(taught: Taught) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in taught.named_parameters()}


def _teacher(random: np.random.Generator, trained: int, k: int | None) -> Any:
    if k is None:
        return None
    logits = random.normal(0, 2, (trained, VOCABULARY))
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    ids = np.argsort(-logprobs, -1)[:, :k].astype(np.int32)
    top = np.take_along_axis(logprobs, ids, -1).astype(np.float32)
    ids[-1], top[-1] = -1, np.nan  # nobody asks a teacher for its end of turn
    return ids, top
