"""Sealed sets of a train and a held-out split for tests of tokens, and harvested logprobs by a tiny tokenizer's ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.pipelines.seal import merge_ledger, seal
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import ContractWriter, table_of
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.rows import Completion
from tutelage.train.bases.tokenizer_digest import tokenizer_sha256
from tutelage.train.config import Loss, TeacherLogits

K = 3


def split_set(folder: Path, train: Sequence[Completion], held_out: Sequence[Completion] = (), *, files: int = 1) -> str:
    """A sealed folder with these rows, `files` files a split that has any."""
    dataset = Folder(str(folder))
    for split, rows in (("train", train), ("held_out", held_out)):
        for number in range(files if rows or split == "train" else 0):
            name = f"completions/{split}-{number:05d}-of-{files:05d}.parquet"
            with dataset.replacing(name) as stream, ContractWriter(COMPLETIONS, stream, name) as writer:
                writer.write(table_of(COMPLETIONS, rows[number::files], name))
    merge_ledger(dataset)
    seal(dataset, "harvest", ["20261123T120000Z-abcdef"], [], {})
    return str(folder)


def said(tokenizer: Any, text: str, *, end: str | None = "<|im_end|>", k: int = K, seed: int = 0) -> dict[str, Any]:
    """Columns of a completion with the tokens of `text`, the end of turn among them with no text, as llama.cpp tells
    them; the top logprobs are drawn."""
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    entries = [(number, tokenizer.decode([number])) for number in ids]
    if end is not None:
        entries.append((tokenizer.convert_tokens_to_ids(end), ""))
    draw = np.random.default_rng(seed)
    tops = []
    for _ in entries:
        shares = np.sort(draw.dirichlet(np.ones(k + 1)))[::-1][:k]
        numbers = draw.choice(len(tokenizer), k, replace=False)
        tops.append([(int(number), float(np.log(share))) for number, share in zip(numbers, shares, strict=True)])
    return {
        "response": text,
        "tokens": [(number, piece, -1.0) for number, piece in entries],
        "top_logprobs": tops,
        "sampling": f'{{"temperature":0.7,"top_logprobs":{k}}}',
    }


def logit_loss(tokenizer: Any, k: int = K, temperature: float = 1.0) -> Loss:
    teacher = TeacherLogits(tokenizer_sha256=tokenizer_sha256(tokenizer), k=k, temperature=temperature)
    return Loss(kind="forward_kl", teacher=teacher)
