"""Training beside TRL on the same weights, rows and order: loss, speed, memory. README.md says how it is measured.

python benchmarks/train.py [all|parity|speed|reader] [--model 16m|135m] [--rounds N] [--quick]
"""

import argparse
import time

import train_parity
import train_reader
import train_speed
from report import Goal, goals_table, machine

PARTS = ("parity", "speed", "reader")
MODELS = tuple(train_speed.PLANS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="all", choices=("all", *PARTS))
    parser.add_argument("--model", choices=MODELS, help="both for `speed` and 16m for `parity`, if none is named")
    parser.add_argument("--rounds", type=int, help="of `speed`: 3 of 16m and 2 of 135m, if nothing is said")
    parser.add_argument("--quick", action="store_true", help="few steps and one round: no figures to be quoted")
    args = parser.parse_args()
    started = time.monotonic()
    print(machine())
    goals: list[Goal] = []
    for part in PARTS if args.part == "all" else (args.part,):
        if part == "parity":
            goals += train_parity.run(args.model or "16m", quick=args.quick)
        elif part == "speed":
            for model in [args.model] if args.model else MODELS:
                goals += train_speed.run(model, rounds=args.rounds, quick=args.quick)
        else:
            goals += train_reader.run(quick=args.quick)
    print(goals_table(goals))
    print(f"took {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
