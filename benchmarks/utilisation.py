"""How much of the time that the teacher's window allows is used: 256 in flight, latencies that vary as real ones do."""

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from ours import harvest
from prompts import write_prompts
from report import Goal, table

IN_FLIGHT = 256
STUB = Path(__file__).resolve().parent.parent / "tests" / "faults" / "stub_teacher.py"


@contextmanager
def stub_teacher(*options: str) -> Iterator[str]:
    """The stub in a process of its own, so that its work is not ours; yields its base URL."""
    process = subprocess.Popen([sys.executable, STUB, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        if not base_url:
            raise SystemExit(f"{STUB.name} ended before it said where it listens")
        yield base_url
    finally:
        process.terminate()
        process.wait()


def run(*, quick: bool) -> list[Goal]:
    count = 3000 if quick else 20_000
    with tempfile.TemporaryDirectory(prefix="bench-utilisation-") as name:
        folder = Path(name)
        prompts = write_prompts(folder / "prompts.jsonl", count, characters=300)
        with stub_teacher("--latency", "lognormal:1.0:0.5", "--body-bytes", "600", "--seed", "7") as base_url:
            ours = harvest(folder, base_url=base_url, prompts=prompts, expected=count, in_flight=IN_FLIGHT)
            with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats") as answer:
                stats = json.load(answer)
        asking_s = _asking_s(ours.dataset)
    ideal_s = count * stats["latency_mean_s"] / IN_FLIGHT
    rows = [
        ["ideal: requests x mean latency / in flight", f"{ideal_s:.1f} s", ""],
        ["asking, first call out to last answer in", f"{asking_s:.1f} s", f"{ideal_s / asking_s:.1%}"],
        ["whole command, start to sealed", f"{ours.cost.elapsed_s:.1f} s", f"{ideal_s / ours.cost.elapsed_s:.1%}"],
    ]
    print(
        f"Utilisation: {count:,} requests, {IN_FLIGHT} in flight, "
        f"latency lognormal, sigma 0.5, mean {stats['latency_mean_s']:.3f} s"
    )
    print(table(["", "time", "of the ideal"], rows))
    print(f"the stub saw at most {stats['max_in_flight']} in flight; our CPU {ours.cost.cpu_s:.1f} s")
    return [Goal("utilisation of the window while asking", ideal_s / asking_s * 100, "%", 95, at_least=True)]


def _asking_s(dataset: Path) -> float:
    """By the ledger: the probe is no part of it."""
    ledger = pq.read_table(dataset / "ledger.parquet", columns=["kind", "sent_at", "latency_ms"])
    ledger = ledger.filter(pc.equal(ledger["kind"], "ask"))
    sent_us = ledger["sent_at"].cast("int64").to_numpy()
    done_us = sent_us + ledger["latency_ms"].to_numpy() * 1000
    return float(done_us.max() - sent_us.min()) / 1e6
