"""What a harvest costs, beside its peers. README.md says what is measured, and how.

python benchmarks/harvest.py [all|cpu|utilisation|memory|help] [--quick] [--rounds N] [--only-ours]
"""

import argparse
import time

import cpu
import help_time
import memory
import utilisation
from report import Goal, goals_table, machine

PARTS = ("cpu", "utilisation", "memory", "help")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="all", choices=("all", *PARTS))
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and one round: does it work, not how fast is it"
    )
    parser.add_argument("--rounds", type=int, help="rounds of `cpu`; 3, or 1 with --quick")
    parser.add_argument("--only-ours", action="store_true", help="`cpu` without curator and distilabel")
    args = parser.parse_args()
    started = time.monotonic()
    print(machine())
    goals: list[Goal] = []
    for part in PARTS if args.part == "all" else (args.part,):
        if part == "cpu":
            rounds = args.rounds or (1 if args.quick else 3)
            goals += cpu.run(quick=args.quick, rounds=rounds, only_ours=args.only_ours)
        elif part == "utilisation":
            goals += utilisation.run(quick=args.quick)
        elif part == "memory":
            goals += memory.run(quick=args.quick)
        else:
            goals += help_time.run(quick=args.quick)
    print(goals_table(goals))
    print(f"took {time.monotonic() - started:.0f} s" + (" (--quick: no figures to quote)" if args.quick else ""))


if __name__ == "__main__":
    main()
