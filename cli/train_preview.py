"""What `tutelage train --dry-run` shows: what is trained in colour, what isn't dim, and the figures."""

from typing import TYPE_CHECKING, Any

from tutelage.cli.display import harmless

if TYPE_CHECKING:
    from rich.console import Console

    from tutelage.train.memory import Memory
    from tutelage.train.preview import Example, Preview, Split

MOST_CHARACTERS = 1200
"""Of a piece of an example; its middle is left out beyond."""


def print_preview(preview: "Preview", console: "Console | None" = None) -> None:
    """To stdout. Where that is no terminal, trained text stands between ⟦ and ⟧."""
    from rich.console import Console

    console = console or Console(highlight=False, soft_wrap=True)
    for example in preview.examples:
        console.print(_example(example, colour=console.is_terminal))
    for label, text in _lines(preview):
        console.print(harmless(f"{label:<10}{text}"), markup=False, highlight=False)


def _example(example: "Example", colour: bool) -> Any:
    from rich.text import Text

    from tutelage.schemas.markdown import one_line

    counts = f"{example.trained_tokens:,} of {example.tokens:,} tokens trained"
    shown = Text().append(
        f"row {one_line(example.row_id[:16])}…, {one_line(example.teacher)}, {counts}\n", style="bold"
    )
    for piece in example.pieces:
        text = _shortened(piece.text)
        if piece.trained:
            shown.append(text if colour else f"⟦{text}⟧", style="black on green" if colour else "")
        else:
            shown.append(text, style="dim")
    return shown.append("\n")


def _shortened(text: str) -> str:
    text = harmless(text)
    if len(text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2
    return f"{text[:half]} […] {text[-half:]}"


def _lines(preview: "Preview") -> list[tuple[str, str]]:
    vocabulary, packing = preview.vocabulary, preview.packing
    packed = "" if packing.packed_rows == packing.rows else f" (of {packing.packed_rows:,} rows that were packed)"
    return [
        (
            "base",
            f"{preview.base}, {preview.shape.parameters:,} parameters, {preview.memory.trained_parameters:,} trained",
        ),
        ("tokenizer", preview.tokenizer_sha256),
        ("template", f"{preview.template}; end of turn {vocabulary.end_of_turn} ({vocabulary.end_of_turn_id})"),
        (
            "ids",
            f"{vocabulary.tokenizer:,} of the tokenizer, {vocabulary.model:,} of the model; "
            f"the largest in the rows is {vocabulary.largest_id:,}",
        ),
        *[line for split in preview.splits for line in _split_lines(split)],
        (
            "packing",
            f"{packing.fill:.1%} full{packed}; steps an epoch {packing.steps_an_epoch:,}, in all {packing.steps:,}",
        ),
        ("memory", _memory(preview.memory)),
        *[("note", note) for note in preview.notes],
    ]


def _split_lines(split: "Split") -> list[tuple[str, str]]:
    from tutelage.schemas.markdown import one_line

    counts = split.counts
    shortest, lower, median, upper, longest = split.lengths
    share = counts["trained_tokens"] / max(counts["tokens"], 1)
    teachers = ", ".join(f"{one_line(name)} {rows:,}" for name, rows in split.teachers.items())
    return [
        (
            split.name,
            f"{counts['rows']:,} rows ({teachers}), {counts['tokens']:,} tokens, {share:.0%} trained; "
            f"{counts['truncated']:,} truncated, {counts['dropped']:,} dropped",
        ),
        ("", f"tokens a row: {shortest:,} to {longest:,}, quartiles {lower:,}, {median:,}, {upper:,}"),
    ]


def _memory(memory: "Memory") -> str:
    parts = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "activations": memory.activations,
        "head": memory.head,
    }
    said = ", ".join(f"{name} {_size(size)}" for name, size in parts.items())
    return f"about {_size(memory.total)} a process, beside its own 0.4 GB: {said}"


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
