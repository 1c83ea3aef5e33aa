"""What audits cost: near-duplicates beside their peers, their scale, and the report. README.md says how it is measured.

python benchmarks/audit.py [all|peers|million|ten_million|report] [--quick] [--rounds N] [--only-ours]
                           [--peer-documents N]
"""

import argparse
import time

import audit_page
import duplicates
import scale
from report import Goal, goals_table, machine

PARTS = ("peers", "million", "ten_million", "report")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="all", choices=("all", *PARTS))
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and one round: does it work, not how fast is it"
    )
    parser.add_argument("--rounds", type=int, default=1, help="rounds of `peers`")
    parser.add_argument("--only-ours", action="store_true", help="`peers` without the peers")
    parser.add_argument(
        "--peer-documents", type=int, help="the peers get so many documents only, and the table says so"
    )
    args = parser.parse_args()
    started = time.monotonic()
    print(machine())
    goals: list[Goal] = []
    for part in PARTS if args.part == "all" else (args.part,):
        if part == "peers":
            goals += duplicates.run(
                quick=args.quick,
                rounds=args.rounds,
                only_ours=args.only_ours,
                peer_documents=args.peer_documents,
            )
        elif part == "million":
            goals += scale.run_million(quick=args.quick)
        elif part == "ten_million":
            goals += scale.run_ten_million(quick=args.quick)
        else:
            goals += audit_page.run(quick=args.quick)
    if goals:
        print(goals_table(goals))
    print(f"took {time.monotonic() - started:.0f} s" + (" (--quick: no figures to quote)" if args.quick else ""))


if __name__ == "__main__":
    main()
