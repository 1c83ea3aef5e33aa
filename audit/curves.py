"""Curves over the steps of a run, as inline SVG: one pair of axes, the values' axis with round numbers on it.

As in `charts`, widths are in percent and colours are classes; a description stands for the picture, numbers stand in a
table beside it.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import NamedTuple

from tutelage.audit.charts import Point, signed, ticks
from tutelage.audit.markup import Html, element

HEIGHT, AXIS, TOP = 190, 18, 12
MOST_POINTS = 240


class Series(NamedTuple):
    """`kind` is a class of the style sheet: stroke-KIND for lines, fill-`dots` for dots, none where that is empty."""

    kind: str
    points: Sequence[Point]
    dots: str = ""


def curves(series: Sequence[Series], ends: tuple[str, str], description: str) -> Html:
    """`ends` are what the places 0 and 1 are called. Values that are no numbers are left out."""
    shown = [one._replace(points=[point for point in one.points if isfinite(point.value)]) for one in series]
    values = [point.value for one in shown for point in one.points]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    low, high = low - margin, high + margin

    def height(value: float) -> str:
        return _pixels(TOP + (HEIGHT - TOP) * (high - value) / (high - low))

    def place(point: Point) -> str:
        return _percent(0.01 + 0.98 * point.place)

    grid, lines, dots = [], [], []
    for tick in ticks(low, high, 6):
        y = height(tick)
        grid.append(element("line", x1="0", x2="100%", y1=y, y2=y, class_="stroke-grid"))
        above = _pixels(float(y) - 3)
        grid.append(element("text", signed(round(tick, 10), "g"), x="0", y=above, text_anchor="start"))
    for one in shown:
        lines += [
            element(
                "line", x1=place(a), y1=height(a.value), x2=place(b), y2=height(b.value), class_=f"stroke-{one.kind}"
            )
            for a, b in pairwise(one.points)
        ]
        if one.dots or len(one.points) == 1:
            fill = one.dots or one.kind
            dots += [
                element("circle", cx=place(point), cy=height(point.value), r="3", class_=f"fill-{fill}")
                for point in one.points
            ]
    base = _pixels(HEIGHT + 0.5)
    names = [
        element("text", said, x=_percent(float(at)), y=_pixels(HEIGHT + 14), text_anchor=anchor)
        for at, said, anchor in ((0, ends[0], "start"), (1, ends[1], "end"))
    ]
    axis = element("line", x1="0", x2="100%", y1=base, y2=base, class_="stroke-axis")
    return element(
        "svg",
        [grid, axis, lines, dots, names],
        class_="plot",
        width="100%",
        height=_pixels(HEIGHT + AXIS),
        role="img",
        aria_label=description,
    )


def averaged(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most so many points (x, y): where there are more, the means of equal runs of them."""
    if len(points) <= most:
        return list(points)
    found = []
    for number in range(most):
        run = points[number * len(points) // most : (number + 1) * len(points) // most]
        found.append((sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)))
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def _pixels(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
