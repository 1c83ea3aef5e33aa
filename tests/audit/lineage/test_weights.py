"""Weights of signals: the default, a bounded step towards what known students show, and whose say is left out."""

import numpy as np
import numpy.typing as npt
import pytest
from lineage_texts import pairs_with

from tutelage.audit.lineage.pairs import Pairs
from tutelage.audit.lineage.signals import SIGNALS
from tutelage.audit.lineage.weights import (
    DEFAULT_WEIGHTS,
    LEAST_STUDENT_CLUSTERS,
    PRIOR_STUDENT_CLUSTERS,
    weights_without,
)

NAMES = ["opening", "templates", "layout"]
DEFAULT = [2 / 5, 1 / 5, 2 / 5]


def scene(students: int, seed: int = 0, controls: int = 12) -> tuple[npt.NDArray[np.float64], Pairs]:
    """Scores (signals, models, families): students stand out in their family's `templates`, and there alone."""
    rng = np.random.default_rng(seed)
    clusters = [f"s{number}" for number in range(students)] + [f"c{number}" for number in range(controls)]
    stacked = rng.normal(size=(3, len(clusters), 2))
    student = np.zeros((len(clusters), 2), bool)
    student[np.arange(students), np.arange(students) % 2] = True
    stacked[1][student] += 6
    control = np.zeros_like(student)
    control[students:] = True
    return stacked, pairs_with(clusters, student=student, control=control)


def test_every_signal_has_a_default() -> None:
    assert DEFAULT_WEIGHTS.keys() >= SIGNALS.keys()
    assert min(DEFAULT_WEIGHTS.values()) > 0


@pytest.mark.parametrize(("students", "controls"), [(0, 12), (LEAST_STUDENT_CLUSTERS - 1, 12), (9, 3), (9, 0)])
def test_too_few_students_or_controls_leave_the_default(students: int, controls: int) -> None:
    stacked, pairs = scene(students, controls=controls)
    weights, source = weights_without(stacked, NAMES, pairs, None)
    assert weights.tolist() == pytest.approx(DEFAULT)
    assert source.startswith("the default: ")


@pytest.mark.parametrize("students", [4, 10, 40])
def test_students_move_the_weights_by_their_share_and_no_further(students: int) -> None:
    weights, source = weights_without(*_with_names(scene(students)), None)
    moved = students / (students + PRIOR_STUDENT_CLUSTERS)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= (1 - moved) * np.array(DEFAULT) - 1e-12).all()
    assert weights[1] > DEFAULT[1]
    assert source.startswith(f"{moved:.0%} learned from {students} clusters")


def test_the_step_is_a_diagonal_discriminant() -> None:
    stacked, pairs = scene(8)
    taught = np.array([stacked[:, row, row % 2] for row in range(8)])
    untaught = stacked[:, 8:].mean(2).T
    learned = np.maximum(taught.mean(0) - untaught.mean(0), 0) / ((taught.var(0) + untaught.var(0)) / 2)
    expected = np.array(DEFAULT) * 40 / 48 + learned / learned.sum() * 8 / 48
    np.testing.assert_allclose(weights_without(stacked, NAMES, pairs, None)[0], expected)


@pytest.mark.parametrize("cluster", ["s0", "c0"])
def test_a_cluster_that_is_left_out_has_no_say(cluster: str) -> None:
    stacked, pairs = scene(8)
    before = weights_without(stacked, NAMES, pairs, cluster)[0]
    stacked[:, pairs.cluster.index(cluster)] = 1e6
    np.testing.assert_array_equal(weights_without(stacked, NAMES, pairs, cluster)[0], before)
    assert not np.allclose(weights_without(stacked, NAMES, pairs, None)[0], before)


def test_a_cluster_of_many_models_counts_once() -> None:
    stacked, pairs = scene(6)
    again = np.concatenate([stacked, *[stacked[:, :1]] * 5], 1)
    masks = {name: np.concatenate([mask, *[mask[:1]] * 5]) for name, mask in pairs._asdict().items() if name in MASKS}
    more = pairs_with([*pairs.cluster, *["s0"] * 5], **masks)
    np.testing.assert_allclose(
        weights_without(again, NAMES, more, None)[0], weights_without(stacked, NAMES, pairs, None)[0]
    )


MASKS = {"student", "control"}


def test_students_that_are_no_different_leave_the_default() -> None:
    stacked, pairs = scene(8)
    weights, source = weights_without(np.where(pairs.student, -9.0, stacked), NAMES, pairs, None)
    assert weights.tolist() == pytest.approx(DEFAULT)
    assert "no signal" in source


def test_pairs_without_a_score_are_left_out() -> None:
    stacked, pairs = scene(8)
    stacked[2, 0] = np.nan
    assert "7 clusters" in weights_without(stacked, NAMES, pairs, None)[1]


def _with_names(drawn: tuple[npt.NDArray[np.float64], Pairs]) -> tuple[npt.NDArray[np.float64], list[str], Pairs]:
    return drawn[0], NAMES, drawn[1]
