"""Charts as inline SVG: widths in percent, so that they fit any screen while their text stays text of its own size.

Colours are classes of the page's style sheet (`fill-ok`, `stroke-main`), which knows dark from light. A chart in a
table's cell only repeats the numbers beside it, and is hidden from screen readers; one that stands alone has a
description and its numbers in a table.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

from tutelage.audit.markup import Html, element

PLOT_HEIGHT = 96
AXIS_HEIGHT = 18
DOT_RADIUS, DOT_STEP, DOT_ROWS, DOTS_ABREAST = 2.75, 6, 6, 60
"""A lane of dots: in pixels but for the last, which is how many fit beside one another on a telephone."""
LANE_GAP, MARK_HEIGHT = 5, 15


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


def interval(low: float, high: float, ends: tuple[float, float], kind: str = "main") -> Html:
    """From one value to another on an axis, with a tick at zero where the axis has one. For a table's cell."""
    start, end = _share(min(low, high), ends), _share(max(low, high), ends)
    start = min(start, 0.99)  # what lies at the far end, or is too short, is still seen
    parts = [_rect(start, max(0.01, end - start), kind)]
    if ends[0] < 0 < ends[1]:
        zero = _percent(_share(0, ends))
        parts.append(element("line", x1=zero, x2=zero, y1="0", y2="100%", class_="stroke-zero"))
    return _inline("bar", parts)


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

    def place(point: Point) -> str:
        return _percent(_inset(point.place))

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


class Mark(NamedTuple):
    """A value that is marked by a line through all lanes, and what is said of it above them."""

    value: float
    said: str
    kind: str


def dot_strip(
    lanes: Sequence[tuple[str, Sequence[float]]],
    marks: Sequence[Mark],
    ends: tuple[float, float],
    description: str,
) -> Html:
    """Values as dots on one axis, a lane for each kind, equal ones stacked; each mark's words have a row of their own.

    What lies beyond an end of the axis stands at that end, and the words of a mark there get an arrow.
    """
    top = float(MARK_HEIGHT * len(marks))
    dots: list[Html] = []
    for kind, values in lanes:
        rows, deepest = _stacked_dots(values, ends)
        bottom = top + 2 * DOT_RADIUS + deepest * DOT_STEP + LANE_GAP
        dots += [
            element(
                "circle",
                cx=_percent(_inset(place)),
                cy=_pixels(bottom - DOT_RADIUS - row * DOT_STEP),
                r=_pixels(DOT_RADIUS),
                class_=f"dot-{kind}",
            )
            for place, row in rows
        ]
        top = bottom
    bottom = top + 4
    grid, numbers = [], []
    for tick in ticks(*ends):
        place = _share(tick, ends)
        kind = "axis" if tick == 0 else "grid"
        grid.append(_upright(place, MARK_HEIGHT * len(marks), bottom, kind))
        numbers.append(_text(_inset(place), signed(tick, "g"), _anchor(place, 0.04), bottom + 14))
    lines, words = [], []
    for number, mark in enumerate(marks):
        place = _share(mark.value, ends)
        said = f"{mark.said} →" if mark.value > ends[1] else f"← {mark.said}" if mark.value < ends[0] else mark.said
        base = MARK_HEIGHT * number + 11
        lines.append(_upright(place, base + 3, bottom, mark.kind))
        words.append(_text(_inset(place), said, _anchor(place, 0.25), base, f"said-{mark.kind}"))
    return _figure([grid, _level(bottom, "axis"), dots, lines, words, numbers], description, bottom + AXIS_HEIGHT)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most so many round numbers (1, 2 or 5 times a power of ten apart) between two values, evenly spaced."""
    span = high - low
    if not (span > 0 and isfinite(span)):
        return []
    power = 10.0 ** floor(log10(span / most))
    step = next(power * times for times in (1, 2, 5, 10, 20) if span / (power * times) <= most - 1)
    return [number * step for number in range(ceil(low / step), floor(high / step) + 1)]


def signed(value: float, form: str) -> str:
    """A number with a real minus sign."""
    return format(value, form).replace("-", "−")


def _stacked_dots(values: Sequence[float], ends: tuple[float, float]) -> tuple[list[tuple[float, int]], int]:
    """Where each dot stands, as a share of the axis, and in which row from below; and the highest row.

    Each is put into the lowest row where it touches no other, or, where all are taken, over the one farthest away.
    """
    last = [-1.0] * DOT_ROWS
    placed = []
    for place in sorted(_share(value, ends) for value in values):
        free = [row for row in range(DOT_ROWS) if place - last[row] >= 1 / DOTS_ABREAST]
        row = free[0] if free else last.index(min(last))
        last[row] = place
        placed.append((place, row))
    return placed, max((row for _, row in placed), default=0)


def _figure(
    parts: Sequence[Html | Sequence[Html]], description: str, height: float = PLOT_HEIGHT + AXIS_HEIGHT
) -> Html:
    return element(
        "svg",
        parts,
        class_="plot",
        width="100%",
        height=_pixels(height),
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


def _upright(place: float, y1: float, y2: float, kind: str) -> Html:
    x = _percent(_inset(place))
    return element("line", x1=x, x2=x, y1=_pixels(y1), y2=_pixels(y2), class_=f"stroke-{kind}")


def _text(place: float, content: str, anchor: str, y: float = PLOT_HEIGHT + 14, kind: str | None = None) -> Html:
    return element("text", content, x=_percent(place), y=_pixels(y), text_anchor=anchor, class_=kind)


def _anchor(place: float, margin: float) -> str:
    """Text near an end of the axis grows inwards."""
    return "start" if place < margin else "end" if place > 1 - margin else "middle"


def _share(value: float, ends: tuple[float, float]) -> float:
    """Where a value stands between the ends of an axis, or at which of them."""
    low, high = ends
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5


def _inset(share: float) -> float:
    # One percent off each side, else the outermost points are cut in half.
    return 0.01 + 0.98 * share


def _percent(share: float) -> str:
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def _pixels(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
