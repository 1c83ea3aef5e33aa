"""Kills a training with -9 again and again, resumes it, and holds what comes out to the run that nobody killed.

python benchmarks/train_drill.py [--prompts 120] [--kills 20] [--epochs 10] [--seed 1]

The moments are drawn from the seed: a fifth before the first step, a fifth while a checkpoint is written, a fifth while
the student is saved, the others in steps and evaluations. Where each one fell is printed. Exits 1 if a check fails.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from ours import harvest, tutelage
from prompts import write_prompts
from report import end_of_drill
from touched import last_touched, modified_ns, touched_since

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "faults"))
from base_folders import write_folder
from stub_teacher import StubTeacher

TICK_S = 0.003
STEPPING_S, WRITING_S = 0.05, 0.01  # so long after the moment has come it falls, at most
TAIL_BYTES = 8192
CHECKPOINT_EVERY = 6
METRICS, ROWS, WEIGHTS = "metrics.jsonl", "training_rows.parquet", "model.safetensors"
CLOCKED = frozenset({"seconds", "tokens_per_s", "memory_bytes"})  # what a clock or the kernel says of a step
UNEXPORTED = frozenset({METRICS, ".lock"})  # files that are there before the student is
UNFINISHED = "checkpoints/.step-*.unfinished"


class Usual(NamedTuple):
    """What a run is like when nobody kills it; the drill spreads its moments by these times."""

    folder: Path
    steps: int
    start_s: float  # command to first step
    saving_s: float  # first file of the student to the end
    whole_s: float


class Kill(NamedTuple):
    phase: str
    after_s: float
    step: int
    checkpoint: int
    last_touched: str

    @property
    def undone(self) -> int:
        return self.step - self.checkpoint

    def __str__(self) -> str:
        return (
            f"{self.phase:<10} {self.after_s:6.2f} s after its start, at step {self.step:3}, {self.undone} after the "
            f"checkpoint of step {self.checkpoint:3}, last touched {self.last_touched}"
        )


@dataclass
class Drill:
    """One student's folder that one training after the other works on."""

    config: Path
    student: Path
    usual: Usual
    draw: random.Random
    kills: list[Kill] = field(default_factory=list)

    def run_and_kill(self, phase: str, target: int = 0) -> bool:
        """Starts a training and kills it at a moment of that phase. False where it ended before the moment came."""
        began, began_ns = time.monotonic(), time.time_ns()
        kill_at = began + self.draw.uniform(0, self.usual.start_s) if phase == "starting" else float("inf")
        process = start(self.config)
        while process.poll() is None and time.monotonic() < kill_at:
            if kill_at == float("inf"):
                kill_at = time.monotonic() + self._wait_s(phase, target, began_ns)
            time.sleep(TICK_S)
        if process.poll() is not None:
            if process.returncode:
                raise SystemExit(f"a training that was not killed yet exited {process.returncode}")
            return False
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        after_s = time.monotonic() - began
        step, checkpoint = last_step(self.student), last_checkpoint(self.student)
        fell_in = self._phase(began_ns)
        self.kills.append(Kill(fell_in, after_s, step, checkpoint, last_touched(self.student)))
        return True

    def _phase(self, began_ns: int) -> str:
        if _exporting(self.student, began_ns):
            return "saving"
        if touched_since(self.student, UNFINISHED, began_ns):
            return "checkpoint"
        return "stepping" if touched_since(self.student, METRICS, began_ns) else "starting"

    def _wait_s(self, phase: str, target: int, began_ns: int) -> float:
        """Seconds until the kill, once the phase has begun; infinity before."""
        arrived = touched_since(self.student, METRICS, began_ns) and last_step(self.student) >= target
        if phase == "stepping" and arrived:
            return self.draw.uniform(0, STEPPING_S)
        if phase == "checkpoint" and arrived and touched_since(self.student, UNFINISHED, began_ns):
            return self.draw.uniform(0, WRITING_S)
        if phase == "saving" and _exporting(self.student, began_ns):
            return self.draw.uniform(0, self.usual.saving_s)
        return float("inf")


def start(config: Path) -> subprocess.Popen[bytes]:
    """A training in a process group of its own, so that a kill spares no thread or child."""
    command: list[str | Path] = [tutelage(), "train", config, "--json"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def moments(kills: int, steps: int, draw: random.Random) -> Iterator[tuple[str, int]]:
    """(phase, step): a fifth before the first step, one of them with nothing there yet, a fifth in checkpoints, and a
    fifth at the end."""
    fifth = max(1, kills // 5)
    # The last interval has only the last checkpoint.
    targets = sorted(draw.randrange(1, max(2, steps - CHECKPOINT_EVERY)) for _ in range(max(kills - 2 * fifth, 0)))
    writing = set(draw.sample(range(len(targets)), min(fifth, len(targets))))
    stepping = [("checkpoint" if place in writing else "stepping", target) for place, target in enumerate(targets)]
    yield "starting", 0
    for place in draw.sample(range(len(stepping) + 1), min(fifth - 1, len(stepping) + 1)):
        stepping.insert(place, ("starting", 0))
    yield from stepping
    for _ in range(kills - 1 - len(stepping)):
        yield "saving", 0


def run_undisturbed(config: Path, student: Path) -> Usual:
    began, began_ns = time.monotonic(), time.time_ns()
    seen_at: dict[str, float] = {}
    process = start(config)
    while process.poll() is None:
        if "step" not in seen_at and last_step(student):
            seen_at["step"] = time.monotonic()
        if "saving" not in seen_at and _exporting(student, began_ns):
            seen_at["saving"] = time.monotonic()
        time.sleep(TICK_S)
    ended = time.monotonic()
    if process.returncode or len(seen_at) < 2:
        raise SystemExit(f"the undisturbed training exited {process.returncode} after step {last_step(student)}")
    return Usual(student, last_step(student), seen_at["step"] - began, ended - seen_at["saving"], ended - began)


def curated(folder: Path, prompts: int) -> Path:
    """A sealed set of a stub teacher's answers, a tenth of it held out."""
    file = write_prompts(folder / "prompts.jsonl", prompts, characters=60)
    with StubTeacher(keep=False) as stub:
        harvested = harvest(folder, base_url=stub.base_url, prompts=file, expected=prompts, in_flight=16).dataset
    policy = {
        "dedupe": None,
        "held_out": {"share": 0.1, "seed": 1},
        "terms": {"distributed": False, "competes_with_teacher": False},
    }
    config = folder / "curate.yaml"  # JSON is YAML too
    output = {"uri": str(folder / "curated"), "shards": 2}
    config.write_text(json.dumps({"version": 1, "datasets": [str(harvested)], "policy": policy, "output": output}))
    subprocess.run([tutelage(), "curate", config, "--json"], check=True, stdout=subprocess.DEVNULL)
    return folder / "curated"


def write_config(folder: Path, name: str, dataset: Path, base: Path, epochs: float) -> tuple[Path, Path]:
    """Windows of 16 rows, so that runs are killed in the middle of windows and epochs; two packs a step."""
    student = folder / name
    config = {
        "version": 1,
        "dataset": str(dataset),
        "student": {"name": "drilled", "base": {"folder": str(base)}},
        "data": {"max_tokens": 128},
        "optimizer": {"learning_rate": 0.003},
        "training": {
            "epochs": epochs,
            "pack_tokens": 256,
            "packs_per_step": 2,
            "packing_window": 16,
            "evaluate_every_steps": 20,
            "checkpoint_every_steps": CHECKPOINT_EVERY,
            "seed": 5,
        },
        "policy": {"distributed": False, "competes_with_teacher": False},
        "output": {"folder": str(student)},
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(config, indent=1))
    return path, student


def metrics(content: bytes) -> list[dict[str, Any]]:
    """Whole lines; a kill may tear the last."""
    return [json.loads(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def last_step(student: Path) -> int:
    try:
        with (student / METRICS).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
            tail = stream.read()
    except OSError:  # it isn't there yet
        return 0
    lines = metrics(tail if len(tail) < TAIL_BYTES else tail.partition(b"\n")[2])
    return max((line["step"] for line in lines), default=0)


def last_checkpoint(student: Path) -> int:
    names = sorted(path.name for path in (student / "checkpoints").glob("step-*"))
    return int(names[-1].partition("-")[2]) if names else 0


def broken_promises(drill: Drill) -> tuple[list[str], str]:
    """Every promise that was broken, and the summary; nothing of tutelage's is used to read the files."""
    folders = (drill.usual.folder, drill.student)
    there, here = ([_unclocked(line) for line in metrics((folder / METRICS).read_bytes())] for folder in folders)
    losses = [[(line["step"], line["loss"]) for line in lines if line["kind"] == "step"] for lines in (there, here)]
    differing = sum(a != b for a, b in zip(*losses, strict=False)) + abs(len(losses[0]) - len(losses[1]))
    steps = [step for step, _ in losses[1]]
    rows = [pq.read_table(folder / ROWS).to_pylist() for folder in folders]
    differing_rows = sum(a != b for a, b in zip(*rows, strict=False)) + abs(len(rows[0]) - len(rows[1]))
    undone = [kill.undone for kill in drill.kills]
    checks = {
        f"steps {steps[:3]}…{steps[-1:]} are not 1 to {drill.usual.steps}": steps
        != list(range(1, drill.usual.steps + 1)),
        f"{differing} of {len(losses[0])} losses differ": bool(differing),
        "something else in metrics.jsonl differs": there != here,
        f"{differing_rows} of {len(rows[0])} rows of {ROWS} differ": bool(differing_rows),
        **{
            f"{name} differs": (drill.usual.folder / name).read_bytes() != (drill.student / name).read_bytes()
            for name in (ROWS, WEIGHTS)
        },
        # A step's line comes before its checkpoint: one more than the interval may have to be done again.
        f"a kill undid {max(undone)} steps": max(undone) > CHECKPOINT_EVERY,
    }
    summary = (
        f"{len(losses[0])} losses, {differing} differ; {len(rows[0])} readings of rows, {differing_rows} differ; "
        f"{sum(undone)} steps were made again"
    )
    return [promise for promise, is_broken in checks.items() if is_broken], summary


def _unclocked(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in CLOCKED}


def _exporting(student: Path, began_ns: int) -> bool:
    """Whether the student's own files are being written, or are."""
    files = student.iterdir() if student.is_dir() else ()
    return any(file.name not in UNEXPORTED and file.is_file() and modified_ns(file) >= began_ns for file in files)


def run(folder: Path, *, prompts: int, kills: int, epochs: float, seed: int) -> list[str]:
    """The whole drill; returns the promises that were broken."""
    dataset, base = curated(folder, prompts), write_folder(folder / "base")
    usual = run_undisturbed(*write_config(folder, "undisturbed", dataset, base, epochs))
    print(
        f"undisturbed: {usual.steps} steps of {epochs:g} epochs, {usual.start_s:.1f} s to the first step, "
        f"{usual.saving_s:.1f} s of saving, {usual.whole_s:.1f} s in all",
        flush=True,
    )
    draw = random.Random(seed)
    config, student = write_config(folder, "drilled", dataset, base, epochs)
    drill = Drill(config, student, usual, draw)
    unkilled = 0
    for phase, target in moments(kills, usual.steps, draw):
        while not drill.run_and_kill(phase, target):
            unkilled += 1
            if unkilled > kills:
                raise SystemExit(f"{unkilled} trainings ended before their moment came: there is nothing to kill")
            phase = "saving"  # it is trained by now: what is left to kill is a run that saves it again
        print(f"kill {len(drill.kills):2}: {drill.kills[-1]}", flush=True)
    broken: list[str] = []
    for command in (["train", str(config), "--json"], ["trace", str(student)]):
        ended = subprocess.run([str(tutelage()), *command], capture_output=True, text=True)
        if ended.returncode:
            broken.append(f"`tutelage {command[0]}` exited {ended.returncode}: {ended.stderr.strip()[-500:]}")
    found, summary = broken_promises(drill)
    print(f"{len(drill.kills)} kills, {unkilled} trainings ended before their moment")
    print(summary)
    return broken + found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=120)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=float, default=10.5)
    parser.add_argument("--seed", type=int, default=1)
    with tempfile.TemporaryDirectory(prefix="train-drill-") as folder:
        broken = run(Path(folder), **vars(parser.parse_args()))
    end_of_drill(broken)


if __name__ == "__main__":
    main()
