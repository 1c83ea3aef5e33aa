"""A million prompts of 1 KB: how long the plan takes, and what the tree holds resident at its peak."""

import tempfile
import time
from pathlib import Path

from ours import harvest
from prompts import write_prompts
from report import Goal, table
from server import nginx

IN_FLIGHT = 256


def run(*, quick: bool) -> list[Goal]:
    count = 30_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as name, nginx() as base_url:
        folder = Path(name)
        prompts = write_prompts(folder / "prompts.jsonl", count, characters=1000)
        started = time.time()
        ours = harvest(folder, base_url=base_url, prompts=prompts, expected=count, in_flight=IN_FLIGHT, sample_rss=True)
        # The plan is whole when its last shard has its name: from outside there is no better sign.
        planning_s = max(file.stat().st_mtime for file in (ours.dataset / "plan").glob("*.parquet")) - started
        on_disk = sum(file.stat().st_size for file in ours.dataset.rglob("*") if file.is_file())
    cost = ours.cost
    rows = [
        ["planning, start of the command to the last plan shard", f"{planning_s:.1f} s"],
        ["whole", f"{cost.elapsed_s:.1f} s"],
        ["peak RSS, whole tree", f"{cost.peak_rss_bytes / 1e9:.2f} GB"],
        ["CPU per request, start-up included", f"{cost.cpu_s / count * 1e6:.0f} us"],
        ["requests a second over the whole", f"{count / cost.elapsed_s:,.0f}"],
        ["dataset on disk", f"{on_disk / 1e9:.2f} GB"],
    ]
    print(f"Memory: {count:,} prompts of 1 KB, {IN_FLIGHT} in flight, nginx")
    print(table(["", "found"], rows))
    return [
        Goal(f"peak RSS, {count:,} prompts", cost.peak_rss_bytes / 1e9, "GB", 1.5),
        Goal(f"planning, {count:,} prompts", planning_s, "s", 60),
        Goal(f"CPU per request, start-up included, {count:,} prompts", cost.cpu_s / count * 1e6, "us", 520),
    ]
