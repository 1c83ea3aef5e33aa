"""What our training does on a GPU: speed, memory, graph breaks, and whether several ranks come to what one comes to.

Called by gpu.sh. Unmeasured so far: this has not run on a GPU yet; `--smoke` runs its parts on a CPU, on a tiny shape,
and prints no figure.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from report import table
from transformers import LlamaConfig, LlamaForCausalLM

from tutelage.schemas.errors import TutelageError
from tutelage.train.config import Loss, Optimizer, Training
from tutelage.train.flops import DENSE_BF16_PEAK
from tutelage.train.loop import Learner, StepReport
from tutelage.train.model.isolation import require_isolation
from tutelage.train.model.kernels import fused_head
from tutelage.train.model.taught import Taught
from tutelage.train.parallel import Ranks, join_ranks, leave_ranks, shard
from tutelage.train.rows.packing import Document, Pack, best_fit

SEED = 20_261_125
VOCABULARY = 49_152
MEDIAN, SIGMA, LONGEST = 150, 0.8, 1024
WARM_UP_STEPS = 3
PARITY_STEPS, PARITY_LIMIT = 4, 1e-3
BYTES_PER_PARAMETER = 20  # fp32 weights, gradients and two moments, and what bf16 copies of them take
Kernels = Literal["own", "liger", "cce"]


class Shape(NamedTuple):
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    pack_tokens: int
    vocabulary: int = VOCABULARY


# 135m is SmolLM2-135M's shape, 1b TinyLlama's with SmolLM2's vocabulary.
SHAPES = {"135m": Shape(576, 30, 9, 3, 1536, 16_384), "1b": Shape(2048, 22, 32, 4, 5632, 8192)}
SMOKE = Shape(64, 2, 4, 2, 128, 1024, vocabulary=512)


class Variant(NamedTuple):
    name: str
    compile: bool
    kernels: Kernels


VARIANTS = (
    Variant("own head", False, "own"),
    Variant("own head, compiled layers", True, "own"),
    Variant("liger head", False, "liger"),
    Variant("cce head", False, "cce"),
)


class RandomRows:
    """Rows of random tokens, lengths lognormal around 150; the second half of each is trained."""

    def __init__(self, count: int, vocabulary: int) -> None:
        draw = np.random.default_rng(SEED)
        self.lengths = np.rint(draw.lognormal(np.log(MEDIAN), SIGMA, count)).clip(4, LONGEST).astype(np.int32)
        self.first_trained = self.lengths - self.lengths // 2
        self._rows = [draw.integers(0, vocabulary, length, np.int32) for length in self.lengths]

    def tokens(self, row: int) -> npt.NDArray[np.int32]:
        return self._rows[row]

    def top_logprobs(self, row: int) -> None:
        return None

    def packs(self, pack_tokens: int) -> list[Pack]:
        packed = best_fit(self.lengths.tolist(), pack_tokens)
        return [Pack(tuple(Document(row, 0, int(self.lengths[row])) for row in rows)) for rows in packed]


def model_of(shape: Shape) -> LlamaForCausalLM:
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=2 * LONGEST,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).train()


def learner_of(shape: Shape, rows: RandomRows, training: Training, ranks: Ranks) -> Learner:
    taught = Taught(model_of(shape), Loss(), fused_head(training.kernels, ranks.device)).to(ranks.device)
    require_isolation(taught, shape.vocabulary)
    if training.parallel == "fsdp2" and ranks.world > 1:
        shard(taught, taught.layers, ranks)
    if training.compile:  # as tutelage train has it
        for layer in taught.layers:
            layer.compile()
    return Learner(taught.train(), rows, optimizer=Optimizer(), training=training, ranks=ranks)


def speed(shape: Shape, variant: Variant, steps: int, ranks: Ranks) -> dict[str, Any]:
    """Steps of one pack, after a few to warm up."""
    cuda = ranks.device.type == "cuda"
    count = (WARM_UP_STEPS + steps) * shape.pack_tokens // MEDIAN  # more than enough: a row's mean is above the median
    rows = RandomRows(count, shape.vocabulary)
    packs = rows.packs(shape.pack_tokens)[: WARM_UP_STEPS + steps]
    training = Training(
        pack_tokens=shape.pack_tokens,
        precision="bf16" if cuda else "fp32",
        compile=variant.compile,
        kernels=variant.kernels,
    )
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    learner = learner_of(shape, rows, training, ranks)
    done = [learner.step([pack], 1e-4) for pack in packs]  # reading the loss waits for the device
    timed, lengths = done[WARM_UP_STEPS:], [[d.length for d in pack.documents] for pack in packs[WARM_UP_STEPS:]]
    seconds = sum(report.seconds for report in timed)
    parameters = sum(parameter.numel() for parameter in learner.parameters)
    return {
        "variant": variant.name,
        "parameters": parameters,
        "tokens_per_s": sum(report.tokens for report in timed) / seconds,
        "fill": sum(report.tokens for report in timed) / (len(timed) * shape.pack_tokens),
        **_utilisation(shape, parameters, timed, lengths, seconds, ranks.device),
        "peak_allocated_bytes": torch.cuda.max_memory_allocated() if cuda else None,
        "peak_reserved_bytes": torch.cuda.max_memory_reserved() if cuda else None,
        "first_loss": done[0].loss,
        "last_loss": done[-1].loss,
        "graph_breaks": sum(torch._dynamo.utils.counters["graph_break"].values()) if variant.compile else None,
        "break_reasons": dict(torch._dynamo.utils.counters["graph_break"]) if variant.compile else None,
        "graphs": torch._dynamo.utils.counters["stats"].get("unique_graphs") if variant.compile else None,
    }


def _utilisation(
    shape: Shape,
    parameters: int,
    timed: Sequence[StepReport],
    lengths: Sequence[Sequence[int]],
    seconds: float,
    device: torch.device,
) -> dict[str, float | None]:
    """Shares of the device's dense bf16 peak. `mfu` counts 6 N a token (PaLM, Chowdhery et al. 2022, app. B);
    `mfu_attention` adds what causal attention within each document needs, 6 L H n^2 forward and backward;
    `mfu_done` counts the head for trained positions alone, which is what was really done."""
    tokens, trained = sum(report.tokens for report in timed), sum(report.trained_tokens for report in timed)
    attention = 6 * shape.layers * shape.hidden * sum(length**2 for pack in lengths for length in pack)
    head = shape.vocabulary * shape.hidden
    done = 6 * (parameters - head) * tokens + 6 * head * trained + attention
    peak = _peak(device)
    flops = {"mfu": 6 * parameters * tokens, "mfu_attention": 6 * parameters * tokens + attention, "mfu_done": done}
    return {name: None if peak is None else value / seconds / peak for name, value in flops.items()}


def _peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for known, flops in DENSE_BF16_PEAK.items() if known in name), None)


def explained(shape: Shape, ranks: Ranks) -> dict[str, Any]:
    """Graph breaks of the whole decoder over one pack; a training compiles it layer by layer."""
    from tutelage.train.rows.batches import collate

    rows = RandomRows(8, shape.vocabulary)
    taught = Taught(model_of(shape), Loss()).to(ranks.device)
    documents = rows.packs(shape.pack_tokens)[0].documents
    batch = collate(documents, rows, ranks.device, padded_to=shape.pack_tokens)
    torch._dynamo.reset()
    with torch.autocast(ranks.device.type, torch.bfloat16, enabled=ranks.device.type == "cuda"):
        found = torch._dynamo.explain(taught.hidden)(batch)
    reasons = [str(reason.reason) for reason in found.break_reasons]
    return {"graphs": found.graph_count, "graph_breaks": found.graph_break_count, "break_reasons": reasons}


def as_on_cpu(ranks: Ranks) -> dict[str, float | str]:
    """First loss of a small shape on the device over that on the CPU in fp32: what the kernels are held to."""
    rows = RandomRows(32, SMOKE.vocabulary)
    packs = rows.packs(SMOKE.pack_tokens)[:2]

    def first_loss(where: Ranks, **training: Any) -> float:
        chosen = Training(pack_tokens=SMOKE.pack_tokens, **training)
        return learner_of(SMOKE, rows, chosen, where).step(packs, 1e-4).loss

    expected = first_loss(Ranks(0, 1, torch.device("cpu")))
    found: dict[str, float | str] = {}
    cases: dict[str, dict[str, Any]] = {"fp32": {}, "bf16": {"precision": "bf16"}}
    cases |= {f"bf16, {name}": {"precision": "bf16", "kernels": name} for name in ("liger", "cce")}
    for name, training in cases.items():
        try:
            found[name] = abs(first_loss(ranks, **training) - expected)
        except TutelageError as error:  # an extra that isn't installed
            found[name] = str(error).partition("\n")[0]
    return found


def rank_losses(parallel: Literal["ddp", "fsdp2"]) -> list[float]:
    """One rank's part of a few steps; every rank has the losses of all."""
    ranks = join_ranks()
    rows = RandomRows(64, SMOKE.vocabulary)
    packs = rows.packs(SMOKE.pack_tokens)
    size = len(packs) // PARITY_STEPS
    learner = learner_of(SMOKE, rows, Training(pack_tokens=SMOKE.pack_tokens, parallel=parallel), ranks)
    losses = [learner.step(packs[step * size :][:size], 1e-3).loss for step in range(PARITY_STEPS)]
    leave_ranks()
    return losses


def parity(world: int) -> dict[str, float | str]:
    """Largest difference of a step's loss, `world` ranks under torchrun against one; fp32."""
    if world < 2:
        return {"not measured": "there is one GPU, and nccl wants one of its own for each rank"}
    alone = _ranks(1, "ddp")
    return {
        parallel: max(abs(a - b) for a, b in zip(alone, _ranks(world, parallel), strict=True))
        for parallel in ("ddp", "fsdp2")
    }


def _ranks(world: int, parallel: str) -> list[float]:
    with tempfile.NamedTemporaryFile("r", suffix=".json") as said:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
        subprocess.run([*launch, __file__, "--rank", parallel, "--json", said.name], check=True)
        found: list[float] = json.load(said)
    return found


def measure(shapes: dict[str, Shape], steps: int, ranks: Ranks, world: int) -> dict[str, Any]:
    found: dict[str, Any] = {"speed": {}, "skipped": {}}
    for name, shape in shapes.items():
        for variant in VARIANTS:
            label = f"{name}, {variant.name}"
            print(f"{label} ...", file=sys.stderr, flush=True)
            try:
                found["speed"][label] = speed(shape, variant, steps, ranks)
            except (TutelageError, torch.OutOfMemoryError) as error:  # an extra that isn't installed, a small GPU
                found["skipped"][label] = str(error).partition("\n")[0]
    found["explain"] = {name: explained(shape, ranks) for name, shape in shapes.items()}
    found["off_cpu_by"] = as_on_cpu(ranks)
    found["ranks_off_one_by"] = parity(world)
    return found


def show(found: dict[str, Any]) -> None:
    def share(value: float | None) -> str:
        return "unknown peak" if value is None else f"{value:.1%}"

    lines = [
        [
            label,
            f"{one['parameters'] / 1e6:,.0f}M",
            f"{one['tokens_per_s']:,.0f}",
            share(one["mfu"]),
            share(one["mfu_attention"]),
            share(one["mfu_done"]),
            f"{one['peak_allocated_bytes'] / 1e9:.1f} ({one['peak_reserved_bytes'] / 1e9:.1f})",
            "" if one["graph_breaks"] is None else f"{one['graph_breaks']} ({one['graphs']} graphs)",
        ]
        for label, one in found["speed"].items()
    ]
    head = ["", "size", "tokens/s", "MFU 6N", "6N + attention", "really done", "GB (reserved)", "graph breaks"]
    print(table(head, lines))
    for label, reason in found["skipped"].items():
        print(f"skipped   {label}: {reason}")
    for name, one in found["explain"].items():
        print(f"dynamo    {name}, whole decoder: {one['graph_breaks']} graph breaks, {one['graphs']} graphs")
        for reason in sorted(set(one["break_reasons"])):
            print(f"          {reason.partition(chr(10))[0]}")
    print(f"off CPU   first loss, tiny shape: {found['off_cpu_by']} nats")
    print(f"ranks     loss of {PARITY_STEPS} steps off one rank's: {found['ranks_off_one_by']} (goal {PARITY_LIMIT:g})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each variant")
    parser.add_argument("--json", type=Path, default=Path(__file__).resolve().parent / ".data" / "gpu.json")
    parser.add_argument("--only-smallest", action="store_true", help="135m alone")
    parser.add_argument("--smoke", action="store_true", help="on a CPU, tiny: does everything run? No figures")
    parser.add_argument("--rank", choices=("ddp", "fsdp2"), help=argparse.SUPPRESS)  # what torchrun starts
    args = parser.parse_args()
    if args.rank:
        losses = rank_losses(args.rank)
        if os.environ["RANK"] == "0":
            args.json.write_text(json.dumps(losses))
        return
    if args.smoke:
        found = measure({"tiny": SMOKE}, 2, join_ranks(), 2)
        print(json.dumps({key: list(found[key]) for key in found}, indent=1))
        print("unmeasured: this was a CPU")
        return
    if not torch.cuda.is_available():
        print(f"gpu.py: torch {torch.__version__} sees no GPU; unmeasured", file=sys.stderr)
        sys.exit(2)
    shapes, memory = dict(SHAPES), torch.cuda.get_device_properties(0).total_memory
    if args.only_smallest or memory < 1.2e9 * BYTES_PER_PARAMETER:
        shapes.pop("1b")
    ranks = join_ranks()
    machine = {
        "device": torch.cuda.get_device_name(0),
        "devices": torch.cuda.device_count(),
        "memory_bytes": memory,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "dense_bf16_peak": _peak(ranks.device),
        "shapes": {name: shape._asdict() for name, shape in shapes.items()},
    }
    print(f"{machine['devices']} x {machine['device']}, {memory / 1e9:.0f} GB, torch {machine['torch']}, bf16 autocast")
    found = machine | measure(shapes, args.steps, ranks, torch.cuda.device_count())
    show(found)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(found, indent=1))
    print(f"all of it: {args.json}")


if __name__ == "__main__":
    main()
