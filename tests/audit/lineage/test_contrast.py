"""Contrasts between families by a bootstrap over clusters of prompts: who leads, and how often the interval holds."""

import numpy as np
import pytest

from tutelage.audit.lineage import contrast as module
from tutelage.audit.lineage.contrast import LEAST_BLOCKS, contrast

EVEN = np.full(40, 5)
# Recorded, over 200 runs at DRAWS of 300: share in which all intervals at once hold the truth, at a nominal 0.95.
COVERAGE = 0.96


def blocks(means: list[float], seed: int = 0, count: int = 40, noise: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, len(means))) * noise + np.array(means)


def test_a_clear_winner_is_alone_and_its_lower_bound_is_above_zero() -> None:
    found = contrast(blocks([0, 3, 0.5]), EVEN, 0)
    assert found.indistinguishable == (1,)
    assert found.low[1] > 0
    assert found.low[1] < 2.5 < found.high[1]
    assert (found.high[[0, 2]] < 0).all()


def test_equals_cannot_be_told_apart_and_the_best_stands_first() -> None:
    values = blocks([2, 2, 0], 3)
    found = contrast(values, EVEN, 0)
    best = int(values.mean(0).argmax())
    assert found.indistinguishable == (best, 1 - best)
    assert found.low[best] < 0 < found.high[best]


def test_a_family_compared_with_the_best_mirrors_it() -> None:
    found = contrast(blocks([0, 1]), EVEN, 0)
    assert found.low[1] == pytest.approx(-found.high[0])
    assert found.high[1] == pytest.approx(-found.low[0])


def test_the_intervals_hold_at_once_as_often_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWS", 300)
    means = np.array([1.0, 0.8, 0.0, 0.5])
    held = 0
    for seed in range(200):
        found = contrast(blocks(means.tolist(), seed, noise=0.5), EVEN, seed)
        best = found.indistinguishable[0]
        others = [place for place in range(4) if place != best]
        truth = means[others] - means[best]
        held += int(((found.low[others] <= truth) & (truth <= found.high[others])).all())
    assert held / 200 == pytest.approx(COVERAGE, abs=0.005)
    assert held / 200 > 0.9


def test_a_wrong_family_is_hardly_ever_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWS", 200)
    found = [contrast(blocks([1, 0.9, 0.9], seed), EVEN, seed).indistinguishable for seed in range(150)]
    assert sum(places in {(1,), (2,)} for places in found) <= 0.05 * len(found)


@pytest.mark.parametrize("count", [1, LEAST_BLOCKS - 1])
def test_too_few_blocks_name_no_winner(count: int) -> None:
    found = contrast(blocks([0, 9], count=count), np.ones(count, int), 0)
    assert found.indistinguishable == (1, 0)
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()


def test_enough_blocks_do() -> None:
    assert contrast(blocks([0, 9], count=LEAST_BLOCKS), np.ones(LEAST_BLOCKS, int), 0).indistinguishable == (1,)


def test_families_without_scores_are_left_out() -> None:
    values = blocks([5, 0, 2])
    values[3, 0] = np.nan
    found = contrast(values, EVEN, 0)
    assert found.indistinguishable == (2,)
    assert np.isnan([found.low[0], found.high[0]]).all()
    assert contrast(np.full((40, 2), np.nan), EVEN, 0).indistinguishable == ()
    assert contrast(np.zeros((40, 0)), EVEN, 0).indistinguishable == ()


def test_one_family_is_compared_with_nobody() -> None:
    found = contrast(blocks([3]), EVEN, 0)
    assert found.indistinguishable == (0,)
    assert np.isnan(found.low[0])


def test_identical_families_are_no_error_and_no_winner() -> None:
    same = blocks([1, 1])
    same[:, 1] = same[:, 0]
    assert set(contrast(same, EVEN, 0).indistinguishable) == {0, 1}


def test_larger_blocks_weigh_more() -> None:
    values = np.zeros((10, 2))
    values[0] = [10, 0]
    values[1:] = [0, 1]
    sizes = np.array([100, *[1] * 9])
    assert contrast(values, sizes, 0).indistinguishable[0] == 0
    assert contrast(values, np.ones(10, int), 0).indistinguishable[0] == 0  # 10 / 10 against 9 / 10
    values[0, 0] = 8
    assert contrast(values, np.ones(10, int), 0).indistinguishable[0] == 1


def test_a_seed_gives_the_same_interval_again() -> None:
    values = blocks([0, 0.4, 0.2])
    one, two, other = contrast(values, EVEN, 1), contrast(values, EVEN, 1), contrast(values, EVEN, 2)
    np.testing.assert_array_equal(one.low, two.low)
    assert one.low[1] == pytest.approx(other.low[1], abs=0.1)
