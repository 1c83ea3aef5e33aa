"""The page's words, pictures and numbers: what stands on it, and what does not."""

import math
import re
from collections import Counter
from dataclasses import replace
from html import unescape
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineage_scene import (
    FAMILIES,
    nothing_known,
    nothing_measured,
    page_of,
    result_of,
    suspect_of,
    suspects_of_each_verdict,
    text_of,
)

from tutelage.audit.lineage.report_picture import KINDS, even_ranks
from tutelage.audit.lineage.report_standing import P_KINDS
from tutelage.audit.lineage.report_words import SIGNALS, VERDICT_WORDS, number, p_value, rate
from tutelage.audit.lineage.result import (
    VERDICTS,
    FamilyScore,
    LineageResult,
    PanelScore,
    PValueKind,
    SelfIdentification,
    TellingPrompt,
    Verdict,
)
from tutelage.audit.lineage.signals import SIGNALS as COMPUTED
from tutelage.audit.markup import Html


def plain(shown: Html) -> str:
    return unescape(re.sub(r"<[^>]*>", "", shown)).replace("\u00a0", " ")


def alike() -> tuple[FamilyScore, ...]:
    """Two families that the suspect is as much like."""
    first, second, *others = suspect_of().families
    return (first, replace(first, family=second.family), *others)


def told(result: LineageResult) -> str:
    return re.sub(r" ([.,;:])", r"\1", text_of(page_of(result)))


# The verdict


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "nimbus-7b is consistent with training on outputs of aurora."),
        (
            {"attributed_family": None, "indistinguishable": ("aurora", "borealis"), "families": alike()},
            "nimbus-7b is consistent with training on outputs of one or more of aurora and borealis, which this panel "
            "can't tell apart.",
        ),
        (
            {"attributed_family": None, "indistinguishable": ()},
            "nimbus-7b is consistent with training on outputs of a family that this panel can't name.",
        ),
        ({"verdict": "same-model-or-variant"}, "nimbus-7b answers as aurora-large itself or a variant of it would"),
        (
            {"verdict": "same-maker-style"},
            "nimbus-7b is like aurora, a family of its own maker, no more than that maker's models are like each other",
        ),
        (
            {"verdict": "same-maker-style", "attributed_family": None},
            "nimbus-7b is like a family of its own maker, no more than that maker's models",
        ),
        (
            {"verdict": "not-distinguishable"},
            "nimbus-7b can't be told from models that were not taught by any family here. That doesn't show that it w",
        ),
        ({"verdict": "underpowered"}, "There is too little to tell whether nimbus-7b was taught"),
    ],
)
def test_a_verdict_is_one_plain_sentence_with_its_error_rate(changed: dict[str, Any], sentence: str) -> None:
    text = told(result_of([suspect_of(**changed)]))
    assert sentence in text
    assert "At a nominal 5 %, this panel rejected 4 % of pairs where nothing was taught." in text
    assert "Of 60 pairs in which the teacher can't have taught, it rejected 6.7 %." in text


def test_every_verdict_and_every_kind_of_p_value_has_words() -> None:
    assert set(VERDICT_WORDS) == set(VERDICTS)
    assert set(P_KINDS) == set(get_args(PValueKind))
    assert set(KINDS) == set(get_args(PanelScore.__annotations__["kind"]))


def test_every_signal_that_is_computed_has_a_sentence() -> None:
    assert set(COMPUTED) <= set(SIGNALS)


def test_no_page_says_that_something_was_stolen_or_proved() -> None:
    pages = [
        page_of(result_of(suspects_of_each_verdict(), withheld=withheld, placebo_rate=0.14))
        for withheld in (False, True)
    ]
    said = " ".join(map(text_of, pages)).lower()
    assert not re.search(r"stol|steal|theft|thief|prov(?:e|en|ed|es)\b|guilt|accus", said)


@pytest.mark.parametrize(
    ("rates", "why"),
    [
        (
            {"placebo_rate": 0.14},
            "rejected 14 % of pairs in which the teacher can't have taught, more than twice the nom",
        ),
        (
            {"placebo_rate": None, "false_positive_rate": 0.12},
            "rejected 12 % of pairs where nothing was taught, more than twice the nominal 5 %.",
        ),
        ({"placebo_rate": None, "false_positive_rate": None}, "own check of its error rate did not hold"),
    ],
)
def test_a_withheld_verdict_says_so_and_why_and_names_nobody(rates: dict[str, Any], why: str) -> None:
    text = told(result_of([suspect_of(reasons=())], withheld=True, **rates))
    assert "The verdict on nimbus-7b is withheld: this panel" in text
    assert why in text
    assert "is consistent with training" not in text
    assert "Verdicts are withheld." in text
    several = told(result_of([suspect_of("a"), suspect_of("b")], withheld=True, **rates))
    assert "a withheld none aurora 5.20" in several


def test_a_high_error_rate_takes_nothing_from_the_finding_that_two_models_are_the_same() -> None:
    text = told(result_of([suspect_of(verdict="same-model-or-variant")], withheld=True))
    assert "nimbus-7b answers as aurora-large itself" in text
    assert "Whether it was taught is another question, and its answer is withheld." in text


@pytest.mark.parametrize("verdict", ["not-distinguishable", "same-maker-style", "underpowered"])
def test_a_high_rate_of_false_alarms_takes_nothing_from_a_verdict_that_is_none(verdict: Verdict) -> None:
    calm = FamilyScore("aurora", 0.4, 0.3, 0.3, -1.0, 1.0, "rank", {})
    text = told(result_of([suspect_of(verdict=verdict, families=(calm,))], withheld=True, placebo_rate=0.14))
    assert "The verdict on nimbus-7b is withheld" not in text
    assert "Verdicts are withheld." in text


def test_too_little_because_the_error_rate_is_too_high_is_told_as_withheld() -> None:
    text = told(result_of([suspect_of(verdict="underpowered", families=suspect_of().families)], withheld=True))
    assert "The verdict on nimbus-7b is withheld: this panel" in text


def test_families_that_controls_are_as_much_like_are_not_named_as_sources() -> None:
    text = told(result_of([suspect_of(attributed_family=None, indistinguishable=("aurora", "dune"))]))
    assert "nimbus-7b is consistent with training on outputs of aurora." in text


def test_an_error_rate_that_was_not_measured_is_not_made_up() -> None:
    result = replace(result_of([suspect_of()]), calibration=nothing_measured())
    text = told(result)
    assert "could not measure how often it rejects where nothing was taught: there is no error rate." in text
    assert not re.search(r"rejected [\d.]+ %", text)


# The picture and its numbers


def test_every_model_of_the_panel_is_a_dot_in_its_familys_picture_and_the_suspect_is_marked() -> None:
    page = page_of(result_of([suspect_of()], controls=12, students=3))
    figures = re.findall(r"<figure>.*?</figure>", page)
    assert len(figures) == len(FAMILIES)
    for figure in figures:
        dots = Counter(re.findall(r'class="dot-(\w+)"', figure))
        assert dots == {"control": 12, "student": 3, "placebo": 3}
        assert figure.count('class="stroke-suspect"') == figure.count('class="stroke-needed"') == 1
        assert "needed 3.10" in figure
    assert "suspect 5.20" in figures[0]
    assert 'aria-label="Against aurora: 12 controls from ' in figures[0]


def test_the_picture_counts_who_scores_as_high_as_the_suspect() -> None:
    dots = [PanelScore(f"m{score}", "aurora", "control", score) for score in (0.0, 1.0, 5.2, 7.0)]
    dots += [PanelScore("s", "aurora", "student", 9.0)]
    text = told(result_of([suspect_of()], panel_scores=tuple(dots)))
    assert "At least as high: 2 of 4 controls, 1 of 1 known student" in text
    assert "placebo models" not in text


def test_the_numbers_behind_the_picture_stand_in_a_table_the_most_alike_first() -> None:
    text = told(result_of([suspect_of()]))
    table = text[text.index("The numbers behind the picture") : text.index("What each signal found The parts")]
    assert "aurora 5.20 2.3 × 10⁻⁶ fitted tail 1.4 × 10⁻⁵ 3.10 to 6.40" in table
    scores = [float(found.replace("−", "-")) for found in re.findall(r"[a-z]+ (−?\d+\.\d\d) [\d.]+ (?:×|by)", table)]
    assert len(scores) == len(FAMILIES)
    assert scores == sorted(scores, reverse=True)


def test_a_suspect_beyond_the_panel_stands_at_the_end_with_an_arrow_and_the_dots_keep_their_room() -> None:
    page = page_of(result_of([suspect_of(verdict="same-model-or-variant")]))
    assert "suspect 31.00 →" in page
    control = [float(place) for place in re.findall(r'<circle cx="([\d.]+)%"[^>]*class="dot-control"', page)]
    assert max(control) - min(control) > 15


def test_many_suspects_share_one_axis_so_that_pictures_can_be_compared() -> None:
    page = page_of(result_of([suspect_of("a"), suspect_of("b", "underpowered", 7)]))
    needed = re.findall(r'<line x1="([\d.%]+)"[^>]*class="stroke-needed"', page)
    assert len(needed) == 2 * len(FAMILIES)
    assert len(set(needed)) == 1


@given(st.lists(st.floats(-5, 5), max_size=60), st.integers(2, 20))
def test_a_lane_that_is_too_full_keeps_even_ranks_with_both_ends(values: list[float], most: int) -> None:
    kept = even_ranks(values, most)
    assert len(kept) == min(most, len(values))
    assert not Counter(kept) - Counter(values)
    if values:
        assert (kept[0], kept[-1]) == (min(values), max(values) if len(values) > 1 else min(values))


def test_the_panels_scores_can_be_read_by_name() -> None:
    text = told(result_of([suspect_of()], controls=2, students=1))
    assert "The panel's scores by name" in text
    assert re.search(r"aurora-student-0 −?\d+\.\d\d known student", text)
    assert re.search(r"control-1 −?\d+\.\d\d control −?\d+\.\d\d control", text)


# Signals, prompts, and the rest


def test_each_signal_says_what_it_looks_at_and_an_unknown_one_is_shown_by_its_name() -> None:
    text = told(result_of([suspect_of()]))
    for name in ("opening", "ending", "templates", "lexical", "phrases", "layout", "classifier", "embedding"):
        assert f"{name} {SIGNALS[name]}" in text
    assert re.search(r"of-our-own −?\d+\.\d\d", text)


def test_signals_are_shown_for_the_three_most_alike_families_only() -> None:
    page = page_of(result_of([suspect_of()]))
    table = page[page.index('<table class="signals">') :]
    assert table[: table.index("</thead>")].count('<th scope="col"') == 4


def test_telling_prompts_stand_side_by_side_the_most_telling_first_with_shared_parts_marked() -> None:
    page = page_of(result_of([suspect_of()]))
    assert re.findall(r"<b>surprise ([\d.]+)</b>", page) == ["9.8", "8.8", "7.8", "6.8", "5.8"]
    marked = re.findall(r"<mark>(Sure![^<]*)</mark>", page)
    assert len(marked) == 10
    assert "“<bdi>a short list of the things</bdi>”" in page
    assert page.count('<details class="pair" open>') == 1


def test_a_long_text_is_cut_and_says_how_much_is_left_out() -> None:
    long = TellingPrompt("p", "x" * 5_000, "t", "word " * 20_000, "other " * 500, 3.0, ())
    text = told(result_of([suspect_of(telling_prompts=(long,))]))
    assert "4,400 more characters are not shown" in text
    assert "98,000 more characters are not shown" in text
    assert "1,000 more characters are not shown" in text


def test_what_a_suspect_says_of_itself_has_its_own_section_and_is_no_part_of_a_score() -> None:
    page = page_of(result_of([suspect_of()]))
    section = re.search(r'<section id="itself".*?</section>', page, re.DOTALL)
    assert section
    assert "This is not part of any score" in section[0]
    assert "OpenCloud" in section[0]
    assert "1.7\u00a0%" in section[0]
    silent = told(result_of([suspect_of(self_identification=SelfIdentification(805, {}))]))
    assert "It names no maker as its own, on 805 prompts." in silent


def test_calibration_says_what_was_measured_on_how_many_and_where_weights_come_from() -> None:
    text = told(result_of([suspect_of()]))
    for part in (
        "Nominal error rate 5 %",
        "False-positive rate 4 % of pairs of a control and a family were rejected",
        "Placebo rate 6.7 % of 60 pairs in which the teacher can't have taught",
        "Controls 40 in 31 clusters",
        "p = 0.430 Kolmogorov-Smirnov",
        "Verdicts withheld no",
        "Where they come from: known students, one cluster left out in turn",
        "opening 0.50",
    ):
        assert part in text


def test_power_limits_and_what_was_left_out_are_told() -> None:
    text = told(result_of([suspect_of()]))
    for part in (
        "With 805 prompts and 40 controls, a dose of 0.31 is seen in 4 of 5 cases.",
        "Prompts 805 needed for a typical known student: 240",
        "Controls 40 needed for a typical known student: 19",
        "Whether a family that is not in this panel taught it.",
        "12 prompts of 817 were left out",
    ):
        assert part in text


# What is not there


def test_where_nothing_is_known_the_page_shows_no_number() -> None:
    result = replace(
        result_of([nothing_known()]), calibration=nothing_measured(), cannot_tell=(), notes=(), prompts=0, models=0
    )
    text = told(result)
    assert not re.search(r"\b(None|nan|inf)\b", text)
    for part in (
        "There is too little to tell whether silent was taught",
        "No score could be computed, and there is nothing to draw.",
        "No signal could be computed.",
        "none was found",
        "It was not looked for.",
        "not measured",
        "Nothing of the input was left out.",
    ):
        assert part in text


def test_numbers_that_are_none_are_dashes() -> None:
    broken = FamilyScore("aurora", math.nan, math.nan, math.inf, math.nan, 1.0, "none", {"opening": math.nan})
    text = told(result_of([suspect_of(families=(broken,), same_model_score=math.nan)]))
    assert "aurora – – – –" in text
    assert not re.search(r"\b(nan|inf)\b", text)


def test_a_page_without_suspects_says_so() -> None:
    assert "No suspect was compared." in told(result_of([]))


@given(st.none() | st.floats())
def test_any_number_can_be_written(value: float | None) -> None:
    for shown in (number(value), p_value(value)):
        assert not re.search("nan|inf|None", shown)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.0, "1.000"), (0.05, "0.050"), (0.000996, "1.0 × 10⁻³"), (2.34e-12, "2.3 × 10⁻¹²"), (5e-324, "4.9 × 10⁻³²⁴")],
)
def test_a_small_p_value_is_a_power_of_ten(value: float, shown: str) -> None:
    assert plain(p_value(value)) == shown


def test_a_rate_has_a_decimal_only_where_it_says_something() -> None:
    shown = [rate(value).replace("\u00a0", " ") for value in (0.05, 0.0667, 0.0, 1.0)]
    assert shown == ["5 %", "6.7 %", "0 %", "100 %"]
