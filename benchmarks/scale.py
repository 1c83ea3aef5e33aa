"""A million documents, and ten million short ones, on two cores: memory, time, and how time grows."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from corpus import corpus
from duplicates import OURS, Found, find, score, true_pairs
from report import Goal, table

CORES = 2
MILLION_LIMIT, TEN_MILLION_LIMIT = "2GB", "6GB"  # DuckDB's share; Python, Beam and Arrow need theirs beside it


def run_million(*, quick: bool) -> list[Goal]:
    small, large = (2000, 20_000) if quick else (100_000, 1_000_000)
    with two_cores():
        found = {count: _measured(count, 2000, MILLION_LIMIT) for count in (small, large)}
    growth = found[large].cost.elapsed_s / found[small].cost.elapsed_s
    return [
        Goal(f"peak RSS, {large:,} documents", found[large].cost.peak_rss_bytes / 1e9, "GB", 4),
        Goal(f"growth of the time from {small:,} to {large:,}", growth, "x", 12),
    ]


def run_ten_million(*, quick: bool) -> list[Goal]:
    count = 50_000 if quick else 10_000_000
    with two_cores():
        found = _measured(count, 300, TEN_MILLION_LIMIT)
    return [Goal(f"peak RSS, {count:,} short documents", found.cost.peak_rss_bytes / 1e9, "GB", 12)]


@contextmanager
def two_cores() -> Iterator[None]:
    """Whatever is started meanwhile stays on two cores, as this process does."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:CORES])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _measured(count: int, characters: int, memory_limit: str) -> Found:
    texts = corpus(count, characters)
    print(f"{OURS}, {count:,} documents of about {characters} characters", file=sys.stderr, flush=True)
    found = find(OURS, texts, memory_limit=memory_limit)
    truth = true_pairs(texts)
    cost, listed = found.cost, found.listed
    rows = [
        ["wall time", f"{cost.elapsed_s:,.1f} s"],
        ["CPU", f"{cost.cpu_s:,.1f} s"],
        ["documents per CPU-second", f"{count / cost.cpu_s:,.0f}"],
        ["peak RSS, whole tree", f"{cost.peak_rss_bytes / 1e9:.2f} GB"],
        ["planted pairs, recall and precision within clusters", "{:.3f} {:.3f}".format(*score(found.clustered, truth))],
    ]
    if listed is not None:
        rows.append(["the same of the pairs listed", "{:.4f} {:.4f}".format(*score(listed, truth))])
    print(f"{count:,} documents of about {characters:,} characters, {CORES} cores, memory_limit {memory_limit}")
    print(table(["", "found"], rows))
    return found
