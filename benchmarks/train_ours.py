"""One training of ours in a process of its own: tutelage's loop over rows that are tokens already. Prints JSON.

What a run does around it is left out (the gate, the reading and tokenising of a dataset, checkpoints): the peer does
none of it either. What a run does before its first step to the model is done: it is loaded and checked.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

# Before torch, as the command has it: tutelage.train says how torch keeps memory and how its threads wait.
from tutelage.train.config import Base, Loss, Optimizer, Training  # isort: skip

import numpy as np
import numpy.typing as npt
import torch
from train_data import RowFile, read_rows

from tutelage.train.bases.load import load_model, load_tokenizer
from tutelage.train.loop import Learner
from tutelage.train.model.isolation import require_isolation
from tutelage.train.model.taught import Taught, require_plain_head
from tutelage.train.parallel import join_ranks
from tutelage.train.rows.packing import Document, Pack, PackStream, best_fit, steps_of


class FileRows:
    """A RowFile as the loop wants rows."""

    def __init__(self, file: RowFile) -> None:
        self.lengths, self.first_trained = file.lengths, file.first_trained
        self._rows = np.split(file.tokens, np.cumsum(file.lengths)[:-1])

    def tokens(self, row: int) -> npt.NDArray[np.int32]:
        return self._rows[row]

    def top_logprobs(self, row: int) -> None:
        return None


def learner_of(folder: str, rows: FileRows, optimizer: Optimizer, training: Training) -> Learner:
    base = Base(folder=folder)
    tokenizer = load_tokenizer(base)
    ranks = join_ranks()
    taught = Taught(load_model(base, tokenizer, training.seed), Loss()).to(ranks.device)
    vocabulary = taught.model.get_input_embeddings().num_embeddings
    require_isolation(taught, vocabulary)
    require_plain_head(taught, vocabulary)
    taught.train()
    return Learner(taught, rows, optimizer=optimizer, training=training, ranks=ranks)


def steps_in_order(rows: FileRows, training: Training) -> Iterator[list[Pack]]:
    """The rows of the file, once, packed as a run packs them."""
    stream = PackStream(
        rows.lengths,
        lambda _: np.arange(len(rows.lengths)),
        epochs=1,
        pack_tokens=training.pack_tokens,
        window=training.packing_window,
        seed=training.seed,
    )
    return steps_of(iter(stream), training.packs_per_step)


def steps_as_told(rows: FileRows, told: list[list[str]], training: Training) -> Iterator[list[Pack]]:
    """The documents of each step, named by the SHA-256 of their tokens, in packs of ours."""
    places = {hashlib.sha256(rows.tokens(row).tobytes()).hexdigest(): row for row in range(len(rows.lengths))}
    for names in told:
        documents = [Document(places[name], 0, int(rows.lengths[places[name]])) for name in names]
        packed = best_fit([document.length for document in documents], training.pack_tokens)
        yield [Pack(tuple(documents[place] for place in some)) for some in packed]


def peak_bytes() -> int:
    # Not ru_maxrss, which a process inherits from whoever forked it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--spawned-at", type=float, required=True, help="time.monotonic() of whoever starts this")
    parser.add_argument("--packs-per-step", type=int, default=1)
    parser.add_argument("--pack-tokens", type=int, default=1024)
    parser.add_argument("--documents", type=Path, help="JSON: the documents of each step, as the peer had them")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = FileRows(read_rows(args.rows))
    # As transformers' trainer has it: AdamW without decay, betas .9 and .999, clipped at 1.
    optimizer = Optimizer(
        learning_rate=args.learning_rate,
        schedule="constant",
        warmup_share=0,
        weight_decay=0,
        beta2=0.999,
        clip_norm=1.0,
    )
    training = Training(pack_tokens=args.pack_tokens, packs_per_step=args.packs_per_step)
    learner = learner_of(args.model, rows, optimizer, training)
    told = json.loads(args.documents.read_text()) if args.documents else None
    steps = steps_as_told(rows, told, training) if told is not None else steps_in_order(rows, training)
    report: dict[str, Any] = {key: [] for key in ("losses", "wall_s", "cpu_s", "tokens", "gradient_norms")}
    first_step_s = None
    before = time.monotonic(), time.process_time()
    for packs in steps:
        done = learner.step(packs, args.learning_rate)
        now = time.monotonic(), time.process_time()
        if first_step_s is None:
            first_step_s = now[0] - args.spawned_at
        report["losses"].append(done.loss)
        report["gradient_norms"].append(done.gradient_norm)
        report["tokens"].append(done.tokens)
        report["wall_s"].append(now[0] - before[0])
        report["cpu_s"].append(now[1] - before[1])
        before = now
    report |= {
        "first_step_s": first_step_s,
        "peak_bytes": peak_bytes(),
        "parameters": sum(parameter.numel() for parameter in learner.parameters),
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
