"""CPU per request of whole harvests, ours and the peers', on the same prompts, against the same server, in turns."""

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import NamedTuple

from measure import cost_of
from ours import harvest
from peers import python_of
from prompts import write_prompts
from report import Goal, spread, table
from server import ceiling, nginx

IN_FLIGHT = (64, 512, 1024)
MIDDLE = 512
OURS = "tutelage harvest"
JSON, ORJSON = "aiohttp, bare, json", "aiohttp, bare, orjson"
CURATOR, DISTILABEL = "curator 0.1.31", "distilabel 1.5.3 OpenAILLM"


class Sizes(NamedTuple):
    """Requests of a client's two runs. Their difference is free of start-up; the larger one shows it whole."""

    small: int
    large: int


FULL = {
    OURS: Sizes(2000, 20_000),
    ORJSON: Sizes(2000, 10_000),
    JSON: Sizes(2000, 10_000),
    CURATOR: Sizes(1024, 3072),
    DISTILABEL: Sizes(1024, 2048),
}
QUICK = {
    OURS: Sizes(1024, 4096),
    ORJSON: Sizes(1024, 4096),
    JSON: Sizes(1024, 4096),
    CURATOR: Sizes(512, 1536),
    DISTILABEL: Sizes(512, 1024),
}


class Sample(NamedTuple):
    marginal_us: float  # start-up excluded
    whole_us: float  # of the larger run, start-up included
    startup_s: float


def run(*, quick: bool, rounds: int, only_ours: bool = False) -> list[Goal]:
    sizes = QUICK if quick else FULL
    clients = [OURS, ORJSON, JSON] if only_ours else list(sizes)
    samples: dict[tuple[int, str], list[Sample]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="bench-cpu-") as folder, nginx() as base_url:
        prompts = {
            count: write_prompts(Path(folder, f"prompts-{count}.jsonl"), count, characters=300)
            for count in sorted({count for pair in sizes.values() for count in pair})
        }
        ceilings = {in_flight: ceiling(base_url, in_flight, seconds=1 if quick else 3) for in_flight in IN_FLIGHT}
        for number in range(rounds):
            for in_flight in IN_FLIGHT:
                for client in clients:
                    if not _is_due(client, in_flight, number, quick):
                        continue
                    print(
                        f"round {number + 1} of {rounds}, {in_flight} in flight: {client}", file=sys.stderr, flush=True
                    )
                    samples[in_flight, client].append(_sample(client, base_url, prompts, sizes[client], in_flight))
    _print(samples, ceilings, sizes, clients)
    return _goals(samples)


def _is_due(client: str, in_flight: int, number: int, quick: bool) -> bool:
    """Slow peers take part in two rounds at one level, at the others in one, and not at all where time is short."""
    if client not in (CURATOR, DISTILABEL):
        return True
    if in_flight == MIDDLE:
        return number < 2
    return number == 0 and not quick


def _sample(client: str, base_url: str, prompts: dict[int, Path], sizes: Sizes, in_flight: int) -> Sample:
    small, large = (_cpu_s(client, base_url, prompts[count], count, in_flight) for count in sizes)
    marginal_s = (large - small) / (sizes.large - sizes.small)
    return Sample(marginal_s * 1e6, large / sizes.large * 1e6, small - marginal_s * sizes.small)


def _cpu_s(client: str, base_url: str, prompts: Path, count: int, in_flight: int) -> float:
    with tempfile.TemporaryDirectory(prefix="bench-run-") as name:
        folder = Path(name)
        if client == OURS:
            ours = harvest(folder, base_url=base_url, prompts=prompts, expected=count, in_flight=in_flight)
            return ours.cost.cpu_s
        command = [
            *_command(client, folder),
            "--base-url",
            base_url,
            "--prompts",
            prompts,
            "--in-flight",
            str(in_flight),
        ]
        cost = cost_of(command, env={"HOME": name, "HF_HOME": name, "XDG_CACHE_HOME": name})
        answered = json.loads(cost.stdout.splitlines()[-1])["answered"]
        if answered != count:
            raise SystemExit(f"{client} answered {answered} of {count} prompts")
        return cost.cpu_s


def _command(client: str, folder: Path) -> list[str | Path]:
    scripts = Path(__file__).resolve().parent / "peers"
    if client == CURATOR:
        return [python_of("curator"), scripts / "curator_llm.py", "--cache", folder / "cache"]
    if client == DISTILABEL:
        return [python_of("distilabel"), scripts / "distilabel_llm.py"]
    return [python_of("aiohttp"), scripts / "bare_aiohttp.py", "--codec", "orjson" if client == ORJSON else "json"]


def _print(
    samples: dict[tuple[int, str], list[Sample]],
    ceilings: dict[int, float | None],
    sizes: dict[str, Sizes],
    clients: list[str],
) -> None:
    rows = []
    for in_flight in IN_FLIGHT:
        ours = median(sample.marginal_us for sample in samples[in_flight, OURS])
        for client in clients:
            found = samples.get((in_flight, client))
            if not found:
                continue
            marginal = [sample.marginal_us for sample in found]
            rows.append(
                [
                    str(in_flight),
                    client,
                    spread(marginal),
                    spread([sample.whole_us for sample in found]) + f" at {sizes[client].large:,}",
                    f"{median(sample.startup_s for sample in found):.1f} s",
                    f"{median(marginal) / ours:.2f}",
                    str(len(found)),
                ]
            )
    print("CPU per request, us (user + sys of the whole process tree; the server's is not in it)")
    print(table(["in flight", "client", "start-up excluded", "whole", "start-up", "x ours", "rounds"], rows))
    for in_flight, rate in ceilings.items():
        print(
            f"nginx answered wrk {rate:,.0f} requests/s at {in_flight}" if rate else "no wrk here: apt-get install wrk"
        )


def _goals(samples: dict[tuple[int, str], list[Sample]]) -> list[Goal]:
    def cost(in_flight: int, client: str) -> float:
        return median(sample.marginal_us for sample in samples[in_flight, client])

    ours = {in_flight: cost(in_flight, OURS) for in_flight in IN_FLIGHT}
    whole = max(median(sample.whole_us for sample in samples[in_flight, OURS]) for in_flight in IN_FLIGHT)
    goals = [
        Goal("CPU per request, start-up excluded, worst level", max(ours.values()), "us", 520),
        Goal("CPU per request, start-up included, worst level", whole, "us", 520),
        Goal("growth from 64 to 1,024 in flight", (ours[1024] / ours[64] - 1) * 100, "%", 25),
    ]
    for in_flight in IN_FLIGHT:
        for peer, most in ((ORJSON, 2.5), (JSON, 2.5)):
            goals.append(
                Goal(f"times {peer}, {in_flight} in flight", ours[in_flight] / cost(in_flight, peer), "x", most)
            )
    for peer in (CURATOR, DISTILABEL):
        if (MIDDLE, peer) in samples:
            share = ours[MIDDLE] / cost(MIDDLE, peer) * 100
            goals.append(Goal(f"share of {peer}, {MIDDLE} in flight", share, "%", 20))
    return goals
