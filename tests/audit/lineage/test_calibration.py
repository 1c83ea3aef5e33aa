"""p-values among models by hand, corrections by table, and the level that is kept when nothing was taught."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineage_texts import pairs_with
from scipy import stats

from tutelage.audit.lineage.calibration import (
    LEAST_CLUSTERS,
    Null,
    benjamini_hochberg,
    error_rates,
    holm,
    nulls_without,
    p_value,
)
from tutelage.audit.lineage.scores import PRIOR_CLUSTERS

# Recorded: share of control pairs rejected at 0.05 over 60 panels of 20 clusters, by the controls' distribution.
LEVELS = {"normal": 0.046, "skewed": 0.073, "heavy-tailed": 0.048}


@pytest.mark.parametrize(("score", "p"), [(3.5, 1 / 5), (3.0, 2 / 5), (2.9, 2 / 5), (1.0, 4 / 5), (-9.0, 1.0)])
def test_a_rank_counts_controls_at_least_as_high_and_itself(score: float, p: float) -> None:
    null = Null(np.array([0.5, 1.0, 2.0, 3.0]), 1.6, 1.0, 4)
    assert p_value(score, null, 0.2) == (pytest.approx(p if score != 1.0 else 4 / 5), "rank")


@given(st.lists(st.integers(-5, 5), min_size=4, max_size=40), st.integers(-6, 6))
def test_the_rank_is_the_formula(values: list[int], score: int) -> None:
    null = Null(np.array(values, float), 0.0, 1.0, 4)
    expected = (1 + len([value for value in values if value >= score])) / (len(values) + 1)
    assert p_value(score, null, 1.0).p == pytest.approx(expected)


@pytest.mark.parametrize(("controls", "kind"), [(19, "rank"), (18, "parametric-tail")])
def test_the_tail_takes_over_where_a_rank_cannot_get_small_enough(controls: int, kind: str) -> None:
    null = Null(np.zeros(controls), 0.0, 1.0, controls)
    assert p_value(2.0, null, 1 / 20).kind == kind


def test_the_tail_is_students_t_for_one_more_control() -> None:
    null = Null(np.zeros(9), 0.5, 2.0, 9)
    expected = stats.t.sf((4.5 - 0.5) / (2.0 * math.sqrt(1 + 1 / 9)), 9 - 1 + PRIOR_CLUSTERS)
    assert p_value(4.5, null, 0.01) == (pytest.approx(expected), "parametric-tail")
    assert null.score_at(null.tail(4.5)) == pytest.approx(4.5)


@pytest.mark.parametrize("null", [None, Null(np.zeros(9), 0.0, 1.0, 9)])
def test_of_nothing_there_is_no_p(null: Null | None) -> None:
    assert p_value(math.nan, null, 0.01) == (None, "none")
    assert p_value(1.0, None, 0.01) == (None, "none")


def test_a_null_has_one_share_a_cluster() -> None:
    """Clusters a (0 and 2), b (3), c (5), d (7), and e left out: the mean of 1, 3, 5, 7."""
    total = np.array([[0.0], [2], [3], [5], [7], [100]])
    (null,) = nulls_without(total, pairs_with("aabcde", 1), "e")
    assert null is not None
    assert (null.mean, null.clusters, len(null.values)) == (4, 4, 5)
    # Squares from 4 with the same shares: (16 + 4) / 8 + (1 + 1 + 9) / 4, times 4 / 3.
    assert null.deviation == pytest.approx(math.sqrt((20 / 8 + 11 / 4) * 4 / 3))


def test_the_deviation_leans_on_the_other_families() -> None:
    total = np.stack([np.arange(6.0), 10 * np.arange(6.0)], 1)
    wide = 35 / 12 * 6 / 5
    first, second = nulls_without(total, pairs_with("abcdef", 2), "none of them")
    assert first is not None
    assert second is not None
    own, pooled = 6 / (6 + PRIOR_CLUSTERS), (wide + 100 * wide) / 2
    assert first.deviation == pytest.approx(math.sqrt(own * wide + (1 - own) * pooled))
    assert second.deviation == pytest.approx(math.sqrt(own * 100 * wide + (1 - own) * pooled))


def test_too_few_clusters_and_scores_that_are_all_the_same_are_no_null() -> None:
    names = "abcde"[:LEAST_CLUSTERS]
    total = np.arange(float(LEAST_CLUSTERS))[:, None]
    assert nulls_without(total, pairs_with(names, 1), "other")[0] is not None
    assert nulls_without(total, pairs_with(names, 1), "a") == [None]
    assert nulls_without(np.where(total == 0, np.nan, total), pairs_with(names, 1), "other") == [None]
    assert nulls_without(np.zeros_like(total), pairs_with(names, 1), "other") == [None]
    assert nulls_without(total, pairs_with(names, 1), "other", total[:, 0] > 0) == [None]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.01], [0.5, 0.02]),
        ([0.4, 0.4, 0.4], [1, 1, 1]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holms_table(values: list[float], expected: list[float]) -> None:
    assert holm(values) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03], [0.03, 0.04, 0.04]),
        ([0.5, 0.01], [0.5, 0.02]),
        ([0.01, 0.02, 0.03, 0.9], [0.04, 0.04, 0.04, 0.9]),
        ([0.9, 0.95], [0.95, 0.95]),
    ],
)
def test_benjamini_and_hochbergs_table(values: list[float], expected: list[float]) -> None:
    assert benjamini_hochberg(values) == pytest.approx(expected)


PROBABILITIES = st.lists(st.floats(0, 1), max_size=8)


@given(PROBABILITIES)
def test_holm_rejects_what_its_steps_reject(values: list[float]) -> None:
    adjusted = holm(values)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
            if values[place] * (len(values) - step) > level:
                break
            rejected.add(place)
        assert {place for place, p in enumerate(adjusted) if p <= level} == rejected


@given(PROBABILITIES)
def test_benjamini_and_hochberg_is_scipys(values: list[float]) -> None:
    expected = stats.false_discovery_control(values).tolist() if values else []
    assert benjamini_hochberg(values) == pytest.approx(expected)
    assert all(a <= b + 1e-12 for a, b in zip(values, benjamini_hochberg(values), strict=True))


def drawn(shape: str, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    if shape == "skewed":
        return rng.gamma(4, size=size)
    return rng.standard_t(5, size) if shape == "heavy-tailed" else rng.normal(size=size)


@pytest.mark.parametrize("shape", LEVELS)
def test_models_that_nobody_taught_are_rejected_as_often_as_is_said(shape: str) -> None:
    """Twenty clusters of one or two models, whose members have half their variance in common."""
    rng = np.random.default_rng(7)
    sizes = [1 + number % 2 for number in range(20)]
    clusters = [f"c{number}" for number, size in enumerate(sizes) for _ in range(size)]
    rates, uniform = [], []
    for _ in range(60):
        root = np.repeat(drawn(shape, rng, (20, 2)), sizes, 0)
        rates.append(error_rates(root + drawn(shape, rng, root.shape), pairs_with(clusters), 0.05))
    uniform = [found.uniformity_p for found in rates if found.uniformity_p is not None]
    level = float(np.mean([found.controls for found in rates if found.controls is not None]))
    assert {found.control_pairs for found in rates} == {60}
    assert level == pytest.approx(LEVELS[shape], abs=0.001)
    assert level < 0.08  # a tail through skewed controls is too thin: what `error_rates` is there to show
    assert np.mean(np.array(uniform) < 0.05) <= 0.05


def test_a_teacher_that_came_later_and_is_rejected_is_a_placebo_that_failed() -> None:
    rng = np.random.default_rng(3)
    clusters = [f"c{number}" for number in range(30)]
    total = rng.normal(size=(30, 2))
    control, placebo = np.ones((30, 2), bool), np.zeros((30, 2), bool)
    placebo[:10, 0] = True
    control[:10, 0] = False
    calm = error_rates(total, pairs_with(clusters, control=control, placebo=placebo), 0.05)
    assert (calm.control_pairs, calm.placebo_pairs) == (50, 10)
    total[:4, 0] = 20
    alarmed = error_rates(total, pairs_with(clusters, control=control, placebo=placebo), 0.05)
    assert alarmed.placebo == pytest.approx(0.4)
    assert alarmed.controls == calm.controls


def test_a_control_is_judged_without_its_cluster() -> None:
    """Six copies of an outlier in one cluster would else vouch for one another: each would be one of six."""
    total = np.array([*np.linspace(-1, 1, 60), *[50.0] * 6])[:, None]
    clusters = [*(f"c{number}" for number in range(60)), *["copies"] * 6]
    found = error_rates(total, pairs_with(clusters, 1), 0.05)
    assert found.controls == pytest.approx(6 / 66)


def test_without_controls_there_are_no_rates() -> None:
    none = np.zeros((6, 2), bool)
    assert error_rates(np.zeros((6, 2)), pairs_with("abcdef", control=none), 0.05) == (None, None, 0, 0, None)


def test_a_p_among_exchangeable_models_is_uniform() -> None:
    """Exactly so: the rank of one of n + 1 values that may stand in any order."""
    values = [0.1, 0.7, 1.4, 2.2]
    found = [p_value(order[0], Null(np.array(order[1:]), 0, 1, 3), 1.0).p for order in itertools.permutations(values)]
    assert sorted(set(found)) == pytest.approx([0.25, 0.5, 0.75, 1])
    assert [sum(p == level for p in found) for level in set(found)] == [6, 6, 6, 6]
