"""One training a process, ours or TRL's, on the same model folder and rows; what it reports and what it cost."""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from measure import Cost, cost_of
from peers import python_of

HERE = Path(__file__).resolve().parent
TRL = "trl"
TRL_VERSION = "1.16.0"
# One pack a micro-batch: two flattened into one sequence took three times as long, for its mask grows with the square.
# Without activation checkpointing; eager attention is slower, and flex attention has no backward on a CPU.
TUNED = ("--packing", "--batch-size", "1", "--no-checkpointing")
THREADS = 2
TIMEOUT_S = 1800.0


class Training(NamedTuple):
    """By step: mean loss of a trained token, real tokens, wall and CPU seconds, and the SHA-256 of each document."""

    losses: list[float]
    tokens: list[int]
    wall_s: list[float]
    cpu_s: list[float]
    first_step_s: float
    peak_bytes: int
    parameters: int
    cost: Cost
    documents: list[list[str]]
    computed_tokens: list[int]

    @property
    def tokens_per_s(self) -> float:
        """After the first step, which pays for warming up."""
        return sum(self.tokens[1:]) / sum(self.wall_s[1:])

    @property
    def tokens_per_cpu_s(self) -> float:
        return sum(self.tokens[1:]) / sum(self.cpu_s[1:])

    @property
    def whole_tokens_per_s(self) -> float:
        """From the start of the process to its end."""
        return sum(self.tokens) / self.cost.elapsed_s

    @property
    def whole_tokens_per_cpu_s(self) -> float:
        return sum(self.tokens) / self.cost.cpu_s


def ours(model: Path, rows: Path, *arguments: str, documents: list[list[str]] | None = None) -> Training:
    """`documents` by step are trained in that order; else the rows as a run packs them."""
    command: list[str | Path] = [sys.executable, HERE / "train_ours.py", "--model", model, "--rows", rows, *arguments]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as told:
        if documents is not None:
            json.dump(documents, told)
            told.flush()
            command += ["--documents", told.name]
        return _run(command)


def trl(model: Path, rows: Path, *arguments: str) -> Training:
    """Without arguments its defaults, in fp32 and in the order of the file."""
    script = HERE / "peers" / "trl_sft.py"
    return _run([python_of(TRL), script, "--model", model, "--rows", rows, *arguments])


def _run(command: Sequence[str | Path]) -> Training:
    limits = ["--threads", str(THREADS), "--spawned-at", str(time.monotonic())]
    env = {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
    cost = cost_of([*command, *limits], env=env, timeout_s=TIMEOUT_S)
    said: dict[str, Any] = json.loads(cost.stdout.splitlines()[-1])
    return Training(
        said["losses"],
        said["tokens"],
        said["wall_s"],
        said["cpu_s"],
        said["first_step_s"],
        said["peak_bytes"],
        said["parameters"],
        cost,
        [[name for batch in step for name in batch] for step in said.get("documents", [])],
        said.get("computed_tokens", said["tokens"]),
    )
