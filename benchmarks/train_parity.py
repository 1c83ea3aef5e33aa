"""Step by step, the loss of the same rows, weights and order: TRL's, padded or packed, beside ours."""

from pathlib import Path

from report import Goal, table
from train_data import model_folder, rows_file
from train_sides import TRL_VERSION, TUNED, ours, trl

ROWS_PER_STEP, STEPS, QUICK_STEPS = 8, 12, 3
MEDIAN, LONGEST = 60, 256  # shorter than for `speed`, since the padded steps take long
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "padded, batches of 8": (),
    "padded, 2 batches of 4 a step": ("--batch-size", "4", "--accumulation", "2"),
    "packed, 2 packs a step": (*TUNED, "--accumulation", "2", "--pack-tokens", "512"),
}
LIMIT = 100


def run(model: str, *, quick: bool) -> list[Goal]:
    folder = model_folder(model)
    rows = rows_file(ROWS_PER_STEP * (QUICK_STEPS if quick else STEPS), MEDIAN, LONGEST)
    found, goals = [], []
    for name, arguments in CONFIGURATIONS.items():
        steps, largest = _compare(folder, rows, arguments)
        found += [[name, *line] for line in steps]
        goals.append(
            Goal(
                f"{model}: largest difference of {len(steps)} losses, {name}",
                largest * 1e6,
                "millionths of a nat",
                LIMIT,
            )
        )
    print(f"Loss of each step, {model}, fp32, AdamW at a learning rate of 1e-4: TRL {TRL_VERSION} and ours")
    print(table(["TRL's batches", "step", "rows", "TRL", "ours", "difference"], found))
    return goals


def _compare(folder: Path, rows: Path, arguments: tuple[str, ...]) -> tuple[list[list[str]], float]:
    theirs = trl(folder, rows, *arguments)
    mine = ours(folder, rows, documents=theirs.documents)
    if mine.tokens != theirs.tokens:
        raise SystemExit(f"TRL trained on {theirs.tokens} tokens by step, ours on {mine.tokens}: not the same rows")
    differences = [abs(a - b) for a, b in zip(theirs.losses, mine.losses, strict=True)]
    lines = [
        [str(step), str(len(documents)), f"{their_loss:.6f}", f"{my_loss:.6f}", f"{difference:.1e}"]
        for step, (documents, their_loss, my_loss, difference) in enumerate(
            zip(theirs.documents, theirs.losses, mine.losses, differences, strict=True), 1
        )
    ]
    return lines, max(differences)
