"""TRL's SFTTrainer over rows that are tokens already, in the order in which they come.

Its sampler is told not to shuffle; reports, checkpoints and the progress bar are off. Everything else that is not an
argument here is its default. A loss is what it trains on: the sum of a step's micro-batches, each of them over all the
trained tokens of the step.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import torch
import trl
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

NO_LABEL = -100


class Recorder(SFTTrainer):
    """SFTTrainer that keeps what it was given and what it found; what is kept costs a list's append."""

    def __init__(self, *args, **kwargs):
        self.batches, self.losses = [[]], [[]]
        super().__init__(*args, **kwargs)

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.batches[-1].append({name: inputs.get(name) for name in ("input_ids", "attention_mask", "position_ids")})
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        self.losses[-1].append(loss.detach())
        return loss


class Clock(TrainerCallback):
    def __init__(self):
        self.ends, self.trainer = [], None

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append((time.monotonic(), time.process_time()))
        self.trainer.batches.append([])
        self.trainer.losses.append([])


def dataset_of(file: Path) -> tuple[Dataset, int]:
    with np.load(file) as arrays:
        ends = np.cumsum(arrays["lengths"])
        rows = [ids.tolist() for ids in np.split(arrays["tokens"], ends[:-1])]
        first_trained = arrays["first_trained"].tolist()
    labels = [[NO_LABEL] * first + ids[first:] for ids, first in zip(rows, first_trained, strict=True)]
    return Dataset.from_dict({"input_ids": rows, "labels": labels}), max(map(len, rows))


def documents_of(batch: dict) -> list[str]:
    """SHA-256 of the tokens of each document, in order, padding left out."""
    ids = batch["input_ids"]
    if batch["attention_mask"] is not None:
        found = [row[mask.bool()] for row, mask in zip(ids, batch["attention_mask"], strict=True)]
    else:
        starts = (batch["position_ids"][0] == 0).nonzero().flatten().tolist()
        found = ids[0].tensor_split(starts[1:])
    return [hashlib.sha256(tokens.to(torch.int32).numpy().tobytes()).hexdigest() for tokens in found]


def real_tokens(batch: dict) -> int:
    mask = batch["attention_mask"]
    return int(batch["input_ids"].numel() if mask is None else mask.sum())


def peak_bytes() -> int:
    # Not ru_maxrss, which a process inherits from whoever forked it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--spawned-at", type=float, required=True, help="time.monotonic() of whoever starts this")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--packing", action="store_true", help="its bfd packing, without padding")
    parser.add_argument("--pack-tokens", type=int, default=1024)
    parser.add_argument("--no-checkpointing", action="store_true")
    parser.add_argument("--attention", default="sdpa")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--steps", type=int, default=-1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dataset, longest = dataset_of(args.rows)
    if longest > args.pack_tokens:
        raise SystemExit(f"a row of {longest} tokens would be truncated to {args.pack_tokens}")
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="bench-trl-") as folder:
        config = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=args.batch_size,
            gradient_accumulation_steps=args.accumulation,
            gradient_checkpointing=not args.no_checkpointing,
            packing=args.packing,
            max_length=args.pack_tokens,
            learning_rate=args.learning_rate,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
            max_steps=args.steps,
            num_train_epochs=1,
            bf16=args.bf16,
            use_cpu=True,
            train_sampling_strategy="sequential",
            model_init_kwargs={"attn_implementation": args.attention},
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = Recorder(
            model=args.model,
            args=config,
            train_dataset=dataset,
            processing_class=AutoTokenizer.from_pretrained(args.model),
            callbacks=[clock],
        )
        clock.trainer = trainer
        # Its own log of losses goes to stdout, whose last line is ours.
        began = time.monotonic(), time.process_time()
        trainer.train()
    steps = len(clock.ends)
    starts = [began, *clock.ends[:-1]]
    batches = trainer.batches[:steps]
    report = {
        "version": trl.__version__,
        "losses": [float(sum(parts)) for parts in trainer.losses[:steps]],
        "wall_s": [end[0] - start[0] for start, end in zip(starts, clock.ends, strict=True)],
        "cpu_s": [end[1] - start[1] for start, end in zip(starts, clock.ends, strict=True)],
        "first_step_s": clock.ends[0][0] - args.spawned_at,
        "peak_bytes": peak_bytes(),
        "tokens": [sum(map(real_tokens, step)) for step in batches],
        "computed_tokens": [sum(batch["input_ids"].numel() for batch in step) for step in batches],
        "documents": [[documents_of(batch) for batch in step] for step in batches],
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
    }
    print()
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
