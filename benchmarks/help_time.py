"""How long `tutelage --help` keeps its user waiting."""

from statistics import median

from measure import cost_of
from ours import tutelage
from report import Goal


def run(*, quick: bool) -> list[Goal]:
    walls = [cost_of([tutelage(), "--help"]).elapsed_s for _ in range(5 if quick else 10)]
    print(f"tutelage --help: median {median(walls):.3f} s [{min(walls):.3f}-{max(walls):.3f}] of {len(walls)}\n")
    return [Goal("tutelage --help", median(walls), "s", 0.3)]
