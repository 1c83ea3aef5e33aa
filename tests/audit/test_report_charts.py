import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.audit.charts import Mark, Point, bar, columns, dot_strip, interval, stacked, strip, ticks, trend
from tutelage.audit.markup import Html


def rects(chart: Html) -> list[dict[str, str]]:
    return [dict(re.findall(r'([a-z0-9-]+)="([^"]*)"', tag)) for tag in re.findall(r"<rect[^>]*>", chart)]


def percent(text: str) -> float:
    return float(text.removesuffix("%"))


def test_a_bar_is_as_long_as_its_share() -> None:
    assert rects(bar(0.25))[0] == {"x": "0%", "y": "0", "width": "25%", "height": "100%", "class": "fill-main"}


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
def test_the_parts_of_a_stacked_bar_follow_one_another_and_fill_it(counts: list[int]) -> None:
    parts = [(f"k{number}", count) for number, count in enumerate(counts)]
    found = rects(stacked(parts))
    assert [rect["class"] for rect in found] == [f"fill-{kind}" for kind, count in parts if count]
    end = 0.0
    for rect, count in zip(found, [count for count in counts if count], strict=True):
        assert percent(rect["x"]) == pytest.approx(end, abs=0.002)
        assert percent(rect["width"]) == pytest.approx(100 * count / sum(counts), abs=0.002)
        end += 100 * count / sum(counts)


def test_a_strip_is_darker_where_it_was_busier() -> None:
    found = rects(strip([(0, 1), (3, 50), (47, 100)], 48, "allow"))
    assert [rect["class"] for rect in found] == ["fill-allow level-1", "fill-allow level-2", "fill-allow level-3"]
    assert [rect["x"] for rect in found] == ["0%", "6.25%", "97.917%"]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=27))
def test_a_column_is_as_high_as_its_count_and_never_too_low_to_see(counts: list[int]) -> None:
    found = rects(columns(counts, [str(number) for number in range(len(counts))], "said"))
    for rect, count in zip(found, counts, strict=True):
        wanted = max(1.0, 96 * count / max(counts)) if count else 0.0
        assert float(rect["height"]) == pytest.approx(wanted, abs=0.006)
        assert float(rect["y"]) == pytest.approx(96 - wanted, abs=0.006)


def test_a_column_of_few_or_no_values_is_a_chart_too() -> None:
    assert 'aria-label="said"' in columns([], [], "said")
    assert rects(columns([0], ["0"], "said"))[0]["height"] == "0"


def test_a_trend_goes_up_where_values_do_and_breaks_at_nothing() -> None:
    chart = trend([Point(0.0, 0.0), Point(0.5, 5.0), Point(1.0, 10.0)], ("then", "now"), "said")
    heights = [float(height) for height in re.findall(r'cy="([^"]*)"', chart)]
    assert heights == [96.0, 50.0, 4.0]
    assert chart.count("stroke-main") == 2
    assert ">then</text>" in chart
    assert "stroke-main" not in trend([], ("", ""), "said")
    assert re.findall(r'cy="([^"]*)"', trend([Point(0.5, 0.0)], ("", ""), "said")) == ["96"]


def test_a_chart_in_a_cell_is_hidden_from_who_hears_the_numbers_and_one_alone_is_told() -> None:
    assert 'aria-hidden="true"' in bar(0.5)
    assert 'role="img" aria-label="said"' in trend([], ("", ""), "said")
    assert "style=" not in bar(0.5) + trend([], ("", ""), "said") + columns([1], ["1"], "said")


def circles(chart: Html) -> list[dict[str, str]]:
    return [dict(re.findall(r'([a-z0-9-]+)="([^"]*)"', tag)) for tag in re.findall(r"<circle[^>]*>", chart)]


def test_an_interval_lies_where_its_ends_do_and_zero_has_a_tick() -> None:
    chart = interval(-1, 3, (-5, 5))
    assert rects(chart)[0] == {"x": "40%", "y": "0", "width": "40%", "height": "100%", "class": "fill-main"}
    assert 'x1="50%" x2="50%"' in chart
    assert "<line" not in interval(1, 2, (0, 5))


@pytest.mark.parametrize(("low", "high"), [(2, 2), (9, 12), (-9, -7), (0, 0)])
def test_an_interval_is_always_seen_and_never_beyond_its_axis(low: float, high: float) -> None:
    (found,) = rects(interval(low, high, (-5, 5)))
    assert percent(found["width"]) >= 1
    assert percent(found["x"]) >= 0
    assert percent(found["x"]) + percent(found["width"]) <= 100.001


SCORES = st.lists(st.floats(-20, 20), max_size=40)


@given(SCORES, SCORES)
def test_a_dot_stands_where_its_value_does_and_lanes_do_not_mix(controls: list[float], students: list[float]) -> None:
    found = circles(dot_strip([("control", controls), ("student", students)], [], (-10, 10), "said"))
    for kind, values in (("control", controls), ("student", students)):
        places = sorted(percent(dot["cx"]) for dot in found if dot["class"] == f"dot-{kind}")
        wanted = sorted(1 + 98 * (min(10, max(-10, value)) + 10) / 20 for value in values)
        assert places == pytest.approx(wanted, abs=0.002)
    lowest_control = max((float(dot["cy"]) for dot in found if dot["class"] == "dot-control"), default=0)
    assert all(float(dot["cy"]) > lowest_control for dot in found if dot["class"] == "dot-student")


def test_equal_values_are_stacked_and_what_stands_apart_is_not() -> None:
    found = circles(dot_strip([("control", [1, 1, 1, 5])], [], (0, 10), "said"))
    heights = [float(dot["cy"]) for dot in found]
    assert len(set(heights[:3])) == 3
    assert heights[3] == heights[0] == max(heights)


def test_the_words_of_marks_have_rows_of_their_own_and_an_arrow_where_the_mark_is_beyond_the_axis() -> None:
    marks = [Mark(31.0, "suspect 31", "suspect"), Mark(3.0, "needed 3", "needed"), Mark(-9.0, "low", "suspect")]
    chart = dot_strip([], marks, (-2, 10), "said")
    said = dict(re.findall(r'y="([0-9.]+)"[^>]*class="said-[a-z]+">([^<]*)<', chart))
    assert list(said.values()) == ["suspect 31 →", "needed 3", "← low"]
    assert 'role="img" aria-label="said"' in chart


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_even_and_within_the_axis(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert len(found) <= 6
    assert all(low - 1e-9 * abs(low) <= tick <= low + span + 1e-9 * abs(low + span) for tick in found)


def test_ticks_are_round_numbers() -> None:
    assert ticks(-2.6, 13.9) == [0, 5, 10]
    assert ticks(-1.2, 3.1) == [-1, 0, 1, 2, 3]
    assert ticks(1, 1) == []
