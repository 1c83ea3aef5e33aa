"""Charts as inline SVG: widths in percent, so that they fit any screen while their text stays text of its own size.

Colours are classes of the page's style sheet (`fill-ok`, `stroke-main`), which knows dark from light. A chart in a
table's cell only repeats the numbers beside it, and is hidden from screen readers; one that stands alone has a
description and its numbers in a table.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from tutelage.audit.markup import Html, element

PLOT_HEIGHT = 96
AXIS_HEIGHT = 18


def bar(share: float, kind: str = "main") -> Html:
    """A share of 1 as a bar, for a table's cell."""
    return _inline("bar", [_rect(0, share, kind)])


def stacked(parts: Sequence[tuple[str, int]]) -> Html:
    """Counts by kind as one bar of full length, for a table's cell."""
    total = sum(count for _, count in parts)
    rects, start = [], 0
    for kind, count in parts:
        if count:
            rects.append(_rect(start / total, count / total, kind))
            start += count
    return _inline("bar", rects)


def strip(spans: Sequence[tuple[int, int]], of: int, kind: str) -> Html:
    """How busy each of `of` equal spans was, as (span, count): the busier, the more opaque. For a table's cell."""
    most = max((count for _, count in spans), default=1)
    rects = [
        element(
            "rect",
            x=_percent(span / of),
            y="0",
            width=_percent(1 / of),
            height="100%",
            class_=f"fill-{kind} level-{1 + (3 * count - 1) // most}",
        )
        for span, count in spans
    ]
    return _inline("strip", rects)


class Point(NamedTuple):
    """A value at a place between 0 and 1 of the axis."""

    place: float
    value: float


def columns(counts: Sequence[int], edges: Sequence[str], description: str) -> Html:
    """A histogram: one column a count, `edges` being what each column begins at."""
    most = max([*counts, 1])
    width = 1 / max(1, len(counts))
    parts = [_axis_line()]
    for number, count in enumerate(counts):
        height = max(1.0, PLOT_HEIGHT * count / most) if count else 0.0
        parts.append(
            element(
                "rect",
                element("title", f"from {edges[number]} characters on: {count:,} rows"),
                x=_percent((number + 0.06) * width),
                width=_percent(0.88 * width),
                y=_pixels(PLOT_HEIGHT - height),
                height=_pixels(height),
                class_="fill-main",
            )
        )
    # At most six labels, or they would run into one another on a telephone.
    step = max(1, -(-len(counts) // 6))
    labels = [_text(number * width, edges[number], "start") for number in range(0, len(counts), step)]
    return _figure([*parts, *labels], description)


def trend(points: Sequence[Point], ends: tuple[str, str], description: str, *, most: float | None = None) -> Html:
    """Values over time, joined by lines, on an axis from 0 to `most` (by default the largest value)."""
    top = max([point.value for point in points] if most is None else [most], default=0) or 1

    def height(value: float) -> str:
        return _pixels(4 + (PLOT_HEIGHT - 4) * (1 - min(value, top) / top))

    # Half a percent off each side, else the outermost points are cut in half.
    def place(point: Point) -> str:
        return _percent(0.01 + 0.98 * point.place)

    lines = [
        element("line", x1=place(a), y1=height(a.value), x2=place(b), y2=height(b.value), class_="stroke-main")
        for a, b in pairwise(points)
    ]
    dots = [element("circle", cx=place(point), cy=height(point.value), r="2.5", class_="fill-main") for point in points]
    return _figure(
        [
            _level(4, "grid"),
            _level(4 + (PLOT_HEIGHT - 4) / 2, "grid"),
            _axis_line(),
            lines,
            dots,
            _text(0, ends[0], "start"),
            _text(1, ends[1], "end"),
        ],
        description,
    )


def _figure(parts: Sequence[Html | Sequence[Html]], description: str) -> Html:
    return element(
        "svg",
        parts,
        class_="plot",
        width="100%",
        height=PLOT_HEIGHT + AXIS_HEIGHT,
        role="img",
        aria_label=description,
    )


def _inline(kind: str, parts: Sequence[Html]) -> Html:
    return element("svg", parts, class_=kind, width="100%", height="12", aria_hidden="true")


def _rect(start: float, share: float, kind: str) -> Html:
    return element("rect", x=_percent(start), y="0", width=_percent(share), height="100%", class_=f"fill-{kind}")


def _axis_line() -> Html:
    return _level(PLOT_HEIGHT + 0.5, "axis")


def _level(y: float, kind: str) -> Html:
    return element("line", x1="0", y1=_pixels(y), x2="100%", y2=_pixels(y), class_=f"stroke-{kind}")


def _text(place: float, content: str, anchor: str) -> Html:
    return element("text", content, x=_percent(place), y=PLOT_HEIGHT + 14, text_anchor=anchor)


def _percent(share: float) -> str:
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def _pixels(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
