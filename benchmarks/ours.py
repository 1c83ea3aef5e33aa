"""Runs `tutelage harvest` as its user would: a config file, a command, and the JSON that it prints at the end."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from measure import Cost, cost_of

DONE = frozenset({0})


class Harvest(NamedTuple):
    cost: Cost
    report: dict[str, Any]
    dataset: Path


def tutelage() -> Path:
    """The command of the environment that runs the benchmark."""
    beside = Path(sys.executable).with_name("tutelage")
    found = str(beside) if beside.exists() else shutil.which("tutelage")
    if found is None:
        raise SystemExit(
            f"found no tutelage beside {sys.executable}; run `make setup`, then .venv/bin/python benchmarks/…"
        )
    return Path(found)


def write_config(path: Path, *, base_url: str, prompts: Path, dataset: Path, in_flight: int) -> Path:
    """A config for a server on loopback whose answers nobody's terms restrict. JSON is YAML too."""
    config = {
        "version": 1,
        "prompts": [{"uri": str(prompts), "license": "CC0-1.0"}],
        "teachers": [
            {
                "name": "bench",
                "protocol": "openai-chat",
                "base_url": base_url,
                "model": "bench",
                "channel": "weights:local",
                "terms": "own-model",
                "limits": {"max_in_flight": in_flight},
            }
        ],
        "sampling": {"max_tokens": 256},
        "policy": {"distributed": False, "competes_with_teacher": False},
        "output": {"uri": str(dataset)},
    }
    path.write_text(json.dumps(config, indent=1))
    return path


def harvest(
    folder: Path, *, base_url: str, prompts: Path, expected: int, in_flight: int, sample_rss: bool = False
) -> Harvest:
    """One harvest into a fresh folder. Without one `ok` row a prompt its figures are worthless: an error."""
    dataset = folder / "dataset"
    config = write_config(
        folder / "config.yaml", base_url=base_url, prompts=prompts, dataset=dataset, in_flight=in_flight
    )
    cost = cost_of([tutelage(), "harvest", config, "--json"], sample_rss=sample_rss)
    report = json.loads(cost.stdout)
    if report["rows"].get("ok") != expected:
        raise SystemExit(f"{expected} ok rows were wanted, the harvest reported {report['rows']}")
    return Harvest(cost, report, dataset)
