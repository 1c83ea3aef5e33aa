"""Kills a harvest with -9 again and again, resumes it, and counts what was lost, doubled and paid for twice.

python benchmarks/kill_drill.py [--prompts 2000] [--kills 20] [--in-flight 5] [--latency-s 0.05] [--seed 1]

The moments are drawn from the seed: a fifth before the first request goes out, a fifth while rows are rebuilt and
sealed, the others while asking. Where each one fell is printed. Exits 1 if a check fails.
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
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from ours import tutelage, write_config
from prompts import write_prompts
from report import end_of_drill
from touched import last_touched, touched_since

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "faults"))
import stub_teacher
from stub_teacher import StubTeacher

COMMIT_INTERVAL_S = 0.2  # the default of output.commit_interval_s
TICK_S = 0.005


class Usual(NamedTuple):
    """What a run is like when nobody kills it; the drill spreads its moments by these times."""

    row_ids: frozenset[str]
    start_s: float  # command to first request
    compaction_s: float  # first file of rows to the ledger
    sealing_s: float  # ledger to manifest
    whole_s: float


ROWS, LEDGER = "completions/*", "ledger.parquet*"  # the first files of compaction and of sealing, unfinished ones too
MANIFEST = "manifest.json"  # the last


class Kill(NamedTuple):
    phase: str
    after_s: float
    answered: int
    in_flight: int
    answered_in_last_interval: int
    last_touched: str

    def __str__(self) -> str:
        return (
            f"{self.phase:<10} {self.after_s:6.2f} s after its start, {self.answered:5} answered, "
            f"{self.in_flight:3} in flight, last touched {self.last_touched}"
        )


@dataclass
class Drill:
    """One stub and one dataset folder that one harvest after the other works on."""

    stub: StubTeacher
    config: Path
    dataset: Path
    prompt_keys: frozenset[bytes]
    usual: Usual
    draw: random.Random
    kills: list[Kill] = field(default_factory=list)

    def run_and_kill(self, phase: str, target: int = 0) -> bool:
        """Starts a harvest and kills it at a moment of that phase. False where it came to its end before the moment."""
        received_before, began, began_ns = self.stub.received, time.monotonic(), time.time_ns()
        kill_at = began + self.draw.uniform(0, self.usual.start_s) if phase == "planning" else float("inf")
        process = start(self.config)
        answered_at: deque[tuple[float, int]] = deque()
        while process.poll() is None and time.monotonic() < kill_at:
            now = time.monotonic()
            answered_at.append((now, self.stub.answered))
            while answered_at[0][0] < now - COMMIT_INTERVAL_S - TICK_S:
                answered_at.popleft()
            if kill_at == float("inf"):
                kill_at = now + self._wait_s(phase, target, began_ns)
            time.sleep(TICK_S)
        if process.poll() is not None:
            if process.returncode:
                raise SystemExit(f"a harvest that was not killed yet exited {process.returncode}")
            return False
        in_flight = self.stub.in_flight
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        after_s = time.monotonic() - began
        in_last_interval = self.stub.answered - (answered_at[0][1] if answered_at else self.stub.answered)
        fell_in = self._phase(self.stub.received > received_before, began_ns)
        touched = last_touched(self.dataset)
        self.kills.append(Kill(fell_in, after_s, self.stub.answered, in_flight, in_last_interval, touched))
        return True

    def all_answered(self) -> bool:
        answered = self.stub.answered_by_prompt
        return len(answered) >= len(self.prompt_keys) and answered.keys() >= self.prompt_keys

    def _wait_s(self, phase: str, target: int, began_ns: int) -> float:
        """Seconds until the kill, once the phase has begun; infinity before."""
        if phase == "asking" and len(self.stub.answered_by_prompt) >= target:
            return self.draw.uniform(0, 0.05)
        if phase == "compaction" and touched_since(self.dataset, ROWS, began_ns):
            return self.draw.uniform(0, self.usual.compaction_s)
        if phase == "sealing" and touched_since(self.dataset, LEDGER, began_ns):
            return self.draw.uniform(0, self.usual.sealing_s)
        return float("inf")

    def _phase(self, asked: bool, began_ns: int) -> str:
        later = {"sealed": MANIFEST, "sealing": LEDGER, "compaction": ROWS}
        found = (name for name, files in later.items() if touched_since(self.dataset, files, began_ns))
        return next(found, "asking" if asked else "planning")


def start(config: Path) -> subprocess.Popen[bytes]:
    """A harvest in a process group of its own, so that a kill spares no worker."""
    command: list[str | Path] = [tutelage(), "harvest", config, "--json"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def moments(kills: int, planned: int, draw: random.Random) -> Iterator[tuple[str, int]]:
    """(phase, prompts answered): a fifth in planning, one of them before there is a plan, a fifth in the end."""
    fifth = max(1, kills // 5)
    asking = [("asking", target) for target in sorted(draw.sample(range(1, planned), max(kills - 2 * fifth, 0)))]
    yield "planning", 0
    for place in draw.sample(range(len(asking) + 1), min(fifth - 1, len(asking) + 1)):
        asking.insert(place, ("planning", 0))
    yield from asking
    for number in range(kills - 1 - len(asking)):
        yield ("compaction", "sealing")[number % 2], 0


def run_undisturbed(folder: Path, prompts: Path, *, in_flight: int, latency_s: float) -> Usual:
    planned = sum(1 for _ in prompts.open())
    received_at: list[float] = []
    dataset = folder / "undisturbed"
    with StubTeacher(latency=latency_s, keep=False, on_request=lambda _: received_at.append(time.monotonic())) as stub:
        config = write_config(
            folder / "undisturbed.yaml",
            base_url=stub.base_url,
            prompts=prompts,
            dataset=dataset,
            in_flight=in_flight,
        )
        began, seen_at = time.monotonic(), dict[str, float]()
        process = start(config)
        while process.poll() is None:
            for files in {ROWS, LEDGER, MANIFEST} - seen_at.keys():
                if any(dataset.glob(files)):
                    seen_at[files] = time.monotonic()
            time.sleep(TICK_S)
        ended = time.monotonic()
    if process.returncode or len(seen_at) < 3 or len(stub.answered_by_prompt) < planned:
        raise SystemExit(f"the undisturbed harvest exited {process.returncode} after {stub.answered} answers")
    row_ids = frozenset(column(dataset, "completions", "row_id"))
    compaction_s, sealing_s = seen_at[LEDGER] - seen_at[ROWS], seen_at[MANIFEST] - seen_at[LEDGER]
    return Usual(row_ids, received_at[0] - began, compaction_s, sealing_s, ended - began)


def column(dataset: Path, table: str, name: str) -> list[Any]:
    files = sorted((dataset / table).glob("*.parquet"))
    return pa.concat_tables([pq.read_table(file, columns=[name]) for file in files])[name].to_pylist() if files else []


def broken_promises(drill: Drill) -> tuple[list[str], str]:
    """Every promise that was broken, and the summary. Rows are read with pyarrow; calls are the stub's own count."""
    planned = column(drill.dataset, "plan", "request_id")
    rows = Counter(column(drill.dataset, "completions", "request_id") + column(drill.dataset, "failed", "request_id"))
    row_ids = Counter(column(drill.dataset, "completions", "row_id"))
    lost = set(planned) - set(rows)
    doubled = [name for ids in (rows, row_ids) for name, count in ids.items() if count > 1]
    # The capability probe asks a prompt of its own: only answers to ours can be lost or repaid.
    answers = [drill.stub.answered_by_prompt[key] for key in drill.prompt_keys]
    repaid = sum(answers) - len(answers)
    allowed = sum(kill.in_flight + kill.answered_in_last_interval for kill in drill.kills)
    checks = {
        f"the plan holds {len(planned)} requests of {len(answers)} prompts": sorted(planned) != sorted(set(planned))
        or len(planned) != len(answers),
        f"{len(lost)} planned requests have no row": bool(lost),
        f"{len(doubled)} ids stand in more than one row": bool(doubled),
        f"{len(set(rows) - set(planned))} rows answer what nobody planned": bool(set(rows) - set(planned)),
        f"{len(row_ids.keys() ^ drill.usual.row_ids)} row ids differ from the undisturbed run's": row_ids.keys()
        != drill.usual.row_ids,
        f"{answers.count(0)} prompts were never answered": 0 in answers,
        f"{repaid} answers were paid for again, {allowed} were in flight or within a commit interval": repaid > allowed,
    }
    summary = f"lost {len(lost)}, doubled {len(doubled)}, repaid {repaid}"
    return [promise for promise, is_broken in checks.items() if is_broken], summary


def run(folder: Path, *, prompts: int, kills: int, in_flight: int, latency_s: float, seed: int) -> list[str]:
    """The whole drill; returns the promises that were broken."""
    file = write_prompts(folder / "prompts.jsonl", prompts, characters=300)
    keys = frozenset(stub_teacher._key(json.loads(line)["prompt"]) for line in file.open())
    usual = run_undisturbed(folder, file, in_flight=in_flight, latency_s=latency_s)
    print(
        f"undisturbed: {usual.start_s:.1f} s to the first request, {usual.compaction_s:.1f} s of compaction, "
        f"{usual.sealing_s:.1f} s of sealing, {usual.whole_s:.1f} s in all",
        flush=True,
    )
    draw = random.Random(seed)
    broken: list[str] = []
    with StubTeacher(latency=latency_s, keep=False) as stub:
        dataset = folder / "drilled"
        config = write_config(
            folder / "drilled.yaml", base_url=stub.base_url, prompts=file, dataset=dataset, in_flight=in_flight
        )
        drill = Drill(stub, config, dataset, keys, usual, draw)
        unkilled = 0
        for phase, target in moments(kills, prompts, draw):
            while not drill.run_and_kill(phase, target):
                unkilled += 1
                if unkilled > kills:
                    raise SystemExit(f"{unkilled} harvests ended before their moment came: there is nothing to kill")
                phase = "planning"  # it is sealed by now: what is left to kill is a harvest that finds nothing to do
            print(f"kill {len(drill.kills):2}: {drill.kills[-1]}", flush=True)
        for command in (["harvest", str(config), "--json"], ["verify", str(dataset)]):
            ended = subprocess.run([str(tutelage()), *command], capture_output=True, text=True)
            if ended.returncode:
                broken.append(f"`tutelage {command[0]}` exited {ended.returncode}: {ended.stderr.strip()[-500:]}")
            elif command[0] == "harvest":
                print(f"the last harvest said: {ended.stdout.strip()}")
        found, summary = broken_promises(drill)
    print(f"{len(drill.kills)} kills, {stub.answered} calls answered, {unkilled} harvests ended before their moment")
    print(summary)
    return broken + found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--in-flight", type=int, default=5, help="few, so that a run lasts long enough to be killed in")
    parser.add_argument("--latency-s", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    with tempfile.TemporaryDirectory(prefix="kill-drill-") as folder:
        broken = run(Path(folder), **vars(parser.parse_args()))
    end_of_drill(broken)


if __name__ == "__main__":
    main()
