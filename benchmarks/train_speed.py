"""Real tokens a second, memory, time to the first step: ours beside TRL's defaults and TRL tuned, taking turns."""

import sys
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from report import Goal, table
from train_data import model_folder, read_rows, rows_file
from train_sides import TRL_VERSION, TUNED, Training, ours, trl

OURS, DEFAULTS, TUNED_NAME = "ours", f"TRL {TRL_VERSION} defaults", f"TRL {TRL_VERSION} tuned"
PACKS_PER_STEP = "2"  # about as many tokens as the 8 rows of TRL's default batch


class Plan(NamedTuple):
    rows: int
    rounds: int
    times: dict[str, float]
    """How many times as fast as which peer ours has to be; whoever is not in it takes no part."""


PLANS = {
    "16m": Plan(40, 3, {DEFAULTS: 12, TUNED_NAME: 4}),
    "135m": Plan(56, 2, {TUNED_NAME: 2}),
}
MEMORY_SHARE = 0.5


def run(model: str, *, rounds: int | None, quick: bool) -> list[Goal]:
    plan = PLANS[model]
    folder, rows = model_folder(model), rows_file(16 if quick else plan.rows)
    found: dict[str, list[Training]] = {name: [] for name in (OURS, *plan.times)}
    for _ in range(1 if quick else rounds or plan.rounds):
        for name, trainings in found.items():
            print(f"{model}, round {len(trainings) + 1}: {name} ...", file=sys.stderr, flush=True)
            if name == OURS:
                trainings.append(ours(folder, rows, "--packs-per-step", PACKS_PER_STEP))
            elif name == TUNED_NAME:
                trainings.append(trl(folder, rows, *TUNED, "--accumulation", PACKS_PER_STEP))
            else:
                trainings.append(trl(folder, rows))
            said = f"{trainings[-1].tokens_per_s:,.0f} tokens/s, {trainings[-1].tokens_per_cpu_s:,.0f} per CPU-second"
            print(said, file=sys.stderr, flush=True)
    lengths = read_rows(rows).lengths
    first = found[OURS][0]
    print(
        f"{model}: {first.parameters / 1e6:.1f}M parameters, fp32, 2 threads, {len(lengths)} rows of {lengths.min()} "
        f"to {lengths.max()} tokens (median {int(median(lengths))}), {lengths.sum():,} in all, half of them trained; "
        f"medians of {len(found[OURS])} rounds [min-max]"
    )
    head = [
        "",
        "tokens/s",
        "per CPU-s",
        "with start-up",
        "per CPU-s",
        "peak MB",
        "first step s",
        "computed",
        "mean loss",
    ]
    print(table(head, [_line(name, trainings) for name, trainings in found.items()]))
    return [goal for name, times in plan.times.items() for goal in _goals(model, found[OURS], name, found[name], times)]


def _line(name: str, trainings: Sequence[Training]) -> list[str]:
    def spread(values: Sequence[float], digits: int = 0) -> str:
        return f"{median(values):,.{digits}f} [{min(values):,.{digits}f}-{max(values):,.{digits}f}]"

    some = trainings[0]
    losses = sum(loss * tokens for loss, tokens in zip(some.losses, some.tokens, strict=True)) / sum(some.tokens)
    return [
        name,
        spread([training.tokens_per_s for training in trainings]),
        spread([training.tokens_per_cpu_s for training in trainings]),
        spread([training.whole_tokens_per_s for training in trainings]),
        spread([training.whole_tokens_per_cpu_s for training in trainings]),
        spread([training.peak_bytes / 1e6 for training in trainings]),
        spread([training.first_step_s for training in trainings], 1),
        f"{sum(some.computed_tokens):,}",
        f"{losses:.3f}",
    ]


def _goals(model: str, mine: Sequence[Training], peer: str, theirs: Sequence[Training], times: float) -> list[Goal]:
    """The ratio of two processes that ran after each other is taken before the median: load comes and goes."""
    pairs = list(zip(mine, theirs, strict=True))
    wall = median(a.tokens_per_s / b.tokens_per_s for a, b in pairs)
    cpu = median(a.tokens_per_cpu_s / b.tokens_per_cpu_s for a, b in pairs)
    memory = median(a.peak_bytes / b.peak_bytes for a, b in pairs)
    first_step = median(a.first_step_s / b.first_step_s for a, b in pairs)
    return [
        Goal(f"{model}: tokens a second over {peer}'s", wall, "x", times, at_least=True),
        Goal(f"{model}: tokens a CPU-second over {peer}'s", cpu, "x", times, at_least=True),
        Goal(f"{model}: peak memory over {peer}'s", memory, "x", MEMORY_SHARE),
        Goal(f"{model}: time to the first step over {peer}'s", first_step, "x", 1),
    ]
