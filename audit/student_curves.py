"""How a student learned: the loss of its steps, the held-out loss, and the same as numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.audit.charts import Point
from tutelage.audit.curves import Series, averaged, curves
from tutelage.audit.markup import Column, Html, element, folded, joined, table
from tutelage.audit.report_figures import NUMBER, plural
from tutelage.audit.student_words import entries, is_number

ROWS_SHOWN = 24


def learning(run: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> Html:
    steps = _by_step(metrics, "step")
    tested = _by_step(metrics, "evaluation")
    losses = [(step, line["loss"]) for step, line in steps] or _pairs(run.get("losses"))
    held_out = [(step, line["loss"]) for step, line in tested] or _pairs(run.get("evaluations"))
    if not losses:
        return element("p", "No step is recorded.", class_="absent")
    last = max(step for step, _ in [*losses, *held_out])
    shown = averaged(losses)
    parts = [
        Series("main", [Point(step / max(last, 1), loss) for step, loss in shown]),
        Series("suspect", [Point(step / max(last, 1), loss) for step, loss in held_out], "failed"),
    ]
    legend = [element("li", "its training rows", class_="key key-student")]
    if held_out:
        legend.append(element("li", "held-out rows", class_="key key-failed"))
    said = _said(losses, held_out)
    figure = element(
        "figure",
        element("figcaption", "Loss in nats a trained token"),
        element("ul", legend, class_="legend"),
        curves(parts, ("step 0", f"step {last:,}"), said),
    )
    means = element(
        "p", f"The line of the training rows is drawn from {len(shown)} means of {len(losses):,} steps.", class_="more"
    )
    return joined(
        [
            element("p", said),
            figure,
            means if len(shown) < len(losses) else None,
            folded("The same as numbers", _table(steps, tested, losses, held_out)),
        ]
    )


def _said(losses: Sequence[tuple[float, float]], held_out: Sequence[tuple[float, float]]) -> str:
    edge = max(1, len(losses) // 20)
    first, last = (sum(loss for _, loss in part) / edge for part in (losses[:edge], losses[-edge:]))
    over = "" if edge == 1 else f" (means of {edge} steps)"
    way = "fell" if last < first else "did not fall"
    said = f"Over {plural(len(losses), 'step')} the loss of its own rows {way}: from {first:.3f} to {last:.3f}{over}."
    if len(held_out) > 1:
        begin, best = held_out[0], min(held_out, key=lambda pair: pair[1])
        said += (
            f" Of held-out rows it was {begin[1]:.3f} at step {begin[0]:,.0f} and least at step {best[0]:,.0f}: "
            f"{best[1]:.3f}."
        )
    return said


def _table(
    steps: Sequence[tuple[int, Mapping[str, Any]]],
    tested: Sequence[tuple[int, Mapping[str, Any]]],
    losses: Sequence[tuple[float, float]],
    held_out: Sequence[tuple[float, float]],
) -> Html:
    lines = dict(steps) or {int(step): {"loss": loss} for step, loss in losses}
    tests = dict(tested) or {int(step): {"loss": loss} for step, loss in held_out}
    kept = set(_spread(sorted(lines), ROWS_SHOWN)) | set(_spread(sorted(tests), ROWS_SHOWN))
    columns = [Column("Step", NUMBER)]
    heads = (
        "Loss",
        "Held-out loss",
        "Bits a byte, held out",
        "Learning rate",
        "Gradient norm",
        "Tokens a second",
        "Fill",
    )
    columns += [Column(head, NUMBER) for head in heads]
    rows = []
    for step in sorted(kept):
        line, test = lines.get(step, {}), tests.get(step, {})
        cells = (
            _number(line.get("loss"), ".4f"),
            _number(test.get("loss"), ".4f"),
            _number(test.get("bits_per_byte"), ".4f"),
            _number(line.get("learning_rate"), ".2e"),
            _number(line.get("gradient_norm"), ".3f"),
            _number(line.get("tokens_per_s"), ",.0f"),
            _number(line.get("fill"), ".1%"),
        )
        rows.append([f"{step:,}", *cells])
    return table("Some of the steps; metrics.jsonl has all", columns, rows)


def _by_step(metrics: Sequence[Mapping[str, Any]], kind: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Lines of a kind that have a loss, the last of each step, in order."""
    found = {
        int(line["step"]): line
        for line in metrics
        if line.get("kind") == kind and is_number(line.get("step")) and is_number(line.get("loss"))
    }
    return sorted(found.items())


def _pairs(recorded: Any) -> list[tuple[float, float]]:
    """(step, loss) of run.json's lists, whose entries are pairs or objects."""
    found: list[tuple[float, float]] = []
    for entry in entries(recorded):
        values: list[Any] = [entry.get("step"), entry.get("loss")] if isinstance(entry, Mapping) else entries(entry)
        if len(values) == 2 and all(map(is_number, values)):
            found.append((float(values[0]), float(values[1])))
    return sorted(found)


def _spread(values: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly, with the first and the last."""
    if len(values) <= most:
        return list(values)
    return [values[round(number * (len(values) - 1) / (most - 1))] for number in range(most)]


def _number(value: Any, form: str) -> Html:
    return joined(format(value, form)) if is_number(value) else element("span", "–", class_="absent")
