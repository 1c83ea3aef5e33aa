"""Power: what more controls, a smaller dose and more prompts do to it, and what is not said without students."""

import numpy as np
import pytest
from lineage_texts import pairs_with

from tutelage.audit.lineage.calibration import Null
from tutelage.audit.lineage.power import LEAST_PROMPTS, power_of, student_scores
from tutelage.audit.lineage.result import Power

NOISE = np.random.default_rng(0).normal(size=(40, 2))


def null_of(clusters: int, deviation: float = 1.0) -> Null:
    return Null(np.zeros(clusters), 0.0, deviation, clusters)


def power(
    clusters: int = 20, effect: float = 8.0, *, deviation: float = 1.0, prompts: int = 400, families: int = 3
) -> Power:
    students = np.full(6, effect)
    return power_of([null_of(clusters, deviation)], students, NOISE, prompts, 0.05, families)


def doses(powers: list[Power]) -> list[float]:
    return [item.smallest_dose if item.smallest_dose is not None else np.inf for item in powers]


def test_more_controls_see_smaller_doses_and_more_families_cost() -> None:
    by_controls = doses([power(clusters) for clusters in (4, 8, 16, 64)])
    assert by_controls == sorted(by_controls, reverse=True)
    by_families = doses([power(families=families) for families in (1, 3, 9)])
    assert by_families == sorted(by_families)


def test_stronger_students_and_calmer_controls_make_smaller_doses_visible() -> None:
    by_effect = doses([power(effect=effect) for effect in (2, 4, 8, 16)])
    assert by_effect == sorted(by_effect, reverse=True)
    by_deviation = doses([power(deviation=deviation) for deviation in (0.5, 1, 2)])
    assert by_deviation == sorted(by_deviation)


def test_a_dose_is_what_is_needed_as_a_share_of_a_students_score() -> None:
    found = power(20, 8.0)
    assert found.detectable_score == pytest.approx(null_of(20).score_at(0.05 / 3))
    # 0.84 deviations more are reached in 4 of 5 cases.
    assert found.smallest_dose == pytest.approx(((found.detectable_score or 0) + 0.8416) / 8, rel=1e-4)


@pytest.mark.parametrize("effect", [2.0, 0.0, -3.0])
def test_a_dose_above_1_is_no_dose(effect: float) -> None:
    found = power(effect=effect)
    assert found.smallest_dose is None
    assert found.detectable_score is not None


def test_students_that_are_hardly_seen_need_more_controls_and_prompts_or_no_number_would_do() -> None:
    needed = [power(effect=effect).controls_needed for effect in (12.0, 6.0, 4.0)]
    assert all(count is not None for count in needed)
    assert sorted(needed, key=lambda count: count or 0) == needed
    assert power(effect=1.0).controls_needed is None


def test_prompts_needed_are_never_fewer_than_anything_is_decided_with() -> None:
    assert power(effect=20.0).prompts_needed == LEAST_PROMPTS


def test_noise_of_the_models_own_is_not_cured_by_prompts() -> None:
    calm = 0.01 * NOISE
    found = power_of([null_of(20)], np.full(5, 3.0), calm, 400, 0.05, 3)
    assert found.prompts_needed is None


def test_noise_of_prompts_is() -> None:
    """All of a control's deviation is here the prompts': a variance of 40 by block, 1 over 40 blocks."""
    noise = NOISE / NOISE.std(0) * np.sqrt(40)
    weak, strong = (
        power_of([null_of(20)], np.full(5, effect), noise, 400, 0.05, 3).prompts_needed for effect in (2.0, 3.0)
    )
    assert weak is not None
    assert strong is not None
    assert weak > 400 > 50 <= strong < weak


@pytest.mark.parametrize(("nulls", "families"), [([None, None], 2), ([], 0), ([null_of(9)], 0)])
def test_without_controls_nothing_is_said_of_power(nulls: list[Null | None], families: int) -> None:
    found = power_of(nulls, np.array([3.0]), NOISE, 100, 0.05, families)
    assert (found.detectable_score, found.smallest_dose, found.prompts_needed, found.controls_needed) == (None,) * 4
    assert "Too few controls" in found.sentence


def test_without_students_the_score_that_is_needed_is_all_that_is_said() -> None:
    found = power_of([null_of(9)], np.empty(0), NOISE, 100, 0.05, 2)
    assert found.detectable_score is not None
    assert (found.smallest_dose, found.prompts_needed, found.controls_needed) == (None, None, None)


def test_families_that_were_not_asked_are_no_error() -> None:
    blocks = NOISE.copy()
    blocks[:, 1] = np.nan
    assert power_of([null_of(9), None], np.array([5.0]), blocks, 100, 0.05, 1).smallest_dose is not None
    assert power_of([null_of(9)], np.array([5.0]), np.full((40, 2), np.nan), 100, 0.05, 1).prompts_needed is not None


def test_student_scores_are_means_of_clusters_against_who_taught_them() -> None:
    student = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], bool)
    total = np.array([[1.0, 9], [3, 9], [9, 7], [9, 9]])
    pairs = pairs_with(["a", "a", "b", "c"], student=student)
    assert student_scores(total, pairs, "none").tolist() == [2, 7]
    assert student_scores(total, pairs, "a").tolist() == [7]
    total[0, 0] = np.nan
    assert student_scores(total, pairs, "b").tolist() == [3]
    assert student_scores(np.full_like(total, np.nan), pairs, "none").tolist() == []
