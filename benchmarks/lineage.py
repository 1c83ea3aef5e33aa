"""Who was taught by whom: ours beside every baseline, what hiding costs, and speed. README.md says how it is measured.

python benchmarks/lineage.py [all|table|robustness|speed] [--data FOLDER] [--only-ours] [--keep FOLDER]
"""

import argparse
import time
from pathlib import Path

import lineage_robustness
import lineage_speed
import lineage_table
from lineage_data import development
from lineage_questions import Claim, claims_table
from report import machine

PARTS = ("table", "robustness", "speed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="all", choices=("all", *PARTS))
    parser.add_argument("--data", type=Path, help="outputs.parquet and panel.csv (shared beside the project)")
    parser.add_argument("--only-ours", action="store_true", help="`table` without the baselines")
    parser.add_argument(
        "--keep", type=Path, help="results are left in this folder, and taken from there if an earlier run left them"
    )
    args = parser.parse_args()
    started = time.monotonic()
    data = development(args.data)
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
        print(f"results of earlier runs are taken from {args.keep}: {', '.join(_names(args.keep)) or 'none yet'}")
    print(machine())
    claims: list[Claim] = []
    for part in PARTS if args.part == "all" else (args.part,):
        if part == "table":
            claims += lineage_table.run(data, kept=args.keep, only_ours=args.only_ours)
        elif part == "robustness":
            claims += lineage_robustness.run(data, kept=args.keep)
        else:
            claims += lineage_speed.run(data)
    print(claims_table(claims))
    print(f"took {time.monotonic() - started:.0f} s")


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.suffix in (".json", ".npz"))


if __name__ == "__main__":
    main()
