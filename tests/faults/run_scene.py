"""Whole runs of a tiny student on a set curated for the test, here or in a process of its own that is killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from base_folders import write_folder
from train_scene import TrainScene

from tutelage.schemas.rows import Completion
from tutelage.train.bases.load import load_tokenizer
from tutelage.train.config import TrainConfig
from tutelage.train.progress import read_metrics
from tutelage.train.rows.token_store import build_store
from tutelage.train.run import Trained, train

LEAST: dict[str, Any] = {
    "version": 1,
    "data": {"max_tokens": 64},
    "optimizer": {"learning_rate": 0.01},
    "training": {
        "epochs": 3,
        "pack_tokens": 128,
        "packs_per_step": 2,
        "packing_window": 8,
        "checkpoint_every_steps": 2,
    },
}


class RunScene(TrainScene):
    """`with_rows` first: it writes the base and curates the set, a quarter of it held out."""

    def with_rows(self, rows: Sequence[Completion], **policy: Any) -> RunScene:
        write_folder(self.folder / "base")
        self.curated(rows, **{"dedupe": None, "held_out": {"share": 0.25, "seed": 1}, **policy})
        return self

    def sections(self, into: str = "student", **changed: Any) -> dict[str, Any]:
        """A config as it stands in YAML; a section of `changed` is merged into the least that there is."""
        found = {
            **LEAST,
            "dataset": self.out.uri,
            "student": {"name": "tiny", "base": {"folder": str(self.folder / "base")}},
            "output": {"folder": str(self.folder / into)},
        }
        for key, value in changed.items():
            found[key] = {**found.get(key, {}), **value} if isinstance(value, dict) else value
        return found

    def run(self, into: str = "student", **changed: Any) -> Trained:
        config = TrainConfig.model_validate(self.sections(into, **changed))
        return train(config, self.permit(name=config.student.name))

    def process(self, into: str = "student", limit_bytes: int | None = None, **changed: Any) -> subprocess.Popen[str]:
        """`tutelage train` in a process of its own; with a limit, no file grows beyond it once tokens are made."""
        if limit_bytes is not None:
            config = TrainConfig.model_validate(self.sections(into, **changed))
            tokenizer = load_tokenizer(config.student.base)
            for split in ("train", "held_out"):
                folder = Path(config.output.folder) / "tokens"
                build_store(self.out.uri, split, tokenizer, config.data, config.loss, folder)
        path = self.folder / f"{into}.yaml"
        path.write_text(yaml.safe_dump(self.sections(into, **changed)))
        command = [sys.executable, "-c", "from tutelage.cli.main import run; run()", "train", str(path)]
        return subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            preexec_fn=None if limit_bytes is None else partial(_limit, limit_bytes),
        )

    def metrics(self, student: str = "student") -> list[dict[str, Any]]:
        """Without what a clock or a kernel says."""
        timed = ("seconds", "tokens_per_s", "memory_bytes")
        lines = read_metrics(self.folder / student / "metrics.jsonl")
        return [{key: value for key, value in line.items() if key not in timed} for line in lines]

    def readings(self, student: str = "student") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(self.folder / student / "training_rows.parquet").to_pylist()
        return rows

    def weights(self, student: str = "student") -> bytes:
        return (self.folder / student / "model.safetensors").read_bytes()


def _limit(most: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def signalled_when(ready: Callable[[], bool], process: subprocess.Popen[str], how: int) -> tuple[str, str]:
    """Signals the process once `ready`; what it had to say on stdout and stderr."""
    while process.poll() is None:
        if ready():
            process.send_signal(how)
            break
        time.sleep(0.002)
    return process.communicate()


def killed_after(steps: int, process: subprocess.Popen[str], metrics: Path, how: int = signal.SIGKILL) -> int:
    """Kills the process once so many lines of metrics are there; its exit code."""
    signalled_when(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= steps, process, how)
    return process.returncode
