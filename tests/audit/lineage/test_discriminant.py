"""The discriminant against a hand's computation, its folds, and what its temperature does."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lineage_texts import outputs_of

from tutelage.audit.lineage import discriminant
from tutelage.audit.lineage import discriminant as module
from tutelage.audit.lineage.discriminant import (
    BEND,
    WIDTH,
    Habits,
    evidence,
    features,
    fit,
    habits,
    log_probabilities,
    temperatures,
)
from tutelage.audit.lineage.signals.reading import read

CLASSES = np.array([0, 1])


def sums_of(values: Any, owner: Any, models: int = 2) -> tuple[Any, Any, Any]:
    """Gram, sums and mass as `fit` takes them; the gram is that of classes 0 and 1."""
    values, owner = np.array(values, np.float32), np.array(owner)
    inside = values[owner < 2]
    sums = np.stack([values[owner == number].sum(0) for number in range(models)])
    return inside.T @ inside, sums, np.bincount(owner, minlength=models).astype(float)


def test_the_discriminant_is_that_of_a_hand_s_computation() -> None:
    # Two classes around (1, 0) and (-1, 0). Within them the variance is 1/2 along each axis, so the whole variance is
    # 1 + 1/2 + 1/2 = 2; with a ridge of 1/4 the covariance is the identity: log-likelihood ratios are 2 x.
    values = [(1, 1), (1, -1), (2, 0), (0, 0), (-1, 1), (-1, -1), (-2, 0), (0, 0)]
    gram, sums, mass = sums_of(values, [0, 0, 0, 0, 1, 1, 1, 1])
    found = fit(gram, sums, mass, CLASSES, ridge=0.25)
    assert found is not None
    assert found.centre.tolist() == [0, 0]
    assert found.weights.T.tolist() == [[pytest.approx(1), 0], [pytest.approx(-1), 0]]
    assert found.offset.tolist() == [pytest.approx(-0.5), pytest.approx(-0.5)]


def test_a_model_that_is_no_class_moves_nothing_but_its_own_profile() -> None:
    values = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    alone = fit(*sums_of(values, [0, 0, 1, 1]), CLASSES)
    joined = fit(*sums_of([*values, (9, 9)], [0, 0, 1, 1, 2], models=3), CLASSES)
    assert alone is not None
    assert joined is not None
    assert np.array_equal(joined.weights[:, :2], alone.weights)
    assert np.array_equal(joined.centre, alone.centre)


def test_classes_that_always_say_the_same_are_told_apart_and_equal_ones_are_not_fitted() -> None:
    apart = fit(*sums_of([(1, 0), (1, 0), (0, 1), (0, 1)], [0, 0, 1, 1]), CLASSES)
    assert apart is not None
    assert np.isfinite(apart.weights).all()
    assert fit(*sums_of([(1, 0)] * 4, [0, 0, 1, 1]), CLASSES) is None
    assert fit(*sums_of([(1, 0), (0, 1)], [0, 0]), CLASSES) is None, "the second class has no text"


def random_habits(texts: int, seed: int = 0) -> Habits:
    values = np.random.default_rng(seed).normal(size=(texts, WIDTH)).astype(np.float16)
    return Habits(values, np.ones(texts, np.bool_), np.ones(texts, np.float32))


def test_what_is_said_of_a_text_depends_on_no_text_of_its_fold() -> None:
    found, model_no = random_habits(48), np.tile(np.arange(2, dtype=np.int32), 24)
    block = np.repeat(np.arange(8), 6)
    before = evidence(found, model_no, 2, CLASSES, block, block % 4).logits
    first = block % 4 == 0
    # A text of that fold tells for its own model in no way: with labels the other way round, the same is said of it.
    turned = np.where(first, 1 - model_no, model_no).astype(np.int32)
    after = evidence(found, turned, 2, CLASSES, block, block % 4).logits
    assert np.allclose(before[first], after[first], atol=1e-3)
    assert not np.allclose(before[~first], after[~first], atol=1e-3)


def test_few_texts_are_turned_into_few_dimensions_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    found, model_no = random_habits(24), np.tile(np.arange(2, dtype=np.int32), 12)
    block = np.repeat(np.arange(4), 6)
    turned = evidence(found, model_no, 2, CLASSES, block, block % 2)
    monkeypatch.setattr(module, "_rotated", lambda values: values)
    plain = evidence(found, model_no, 2, CLASSES, block, block % 2)
    assert np.allclose(turned.logits, plain.logits, atol=2e-3)
    assert np.allclose(turned.products, plain.products, rtol=0.05, atol=0.2)


def test_evidence_is_bent_where_it_is_beyond_what_habits_can_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((16, WIDTH), np.float16)
    model_no = np.tile(np.arange(2, dtype=np.int32), 8)
    values[model_no == 0, 0] = 1
    found = Habits(values, np.ones(16, np.bool_), np.ones(16, np.float32))
    block = np.repeat(np.arange(4), 4)
    bent = evidence(found, model_no, 2, CLASSES, block, block).logits
    monkeypatch.setattr(module, "BEND", 1e6)
    straight = evidence(found, model_no, 2, CLASSES, block, block).logits
    assert straight.max() > 100
    assert bent == pytest.approx(BEND * np.arcsinh(straight / BEND), rel=1e-3)


def test_a_temperature_makes_overconfident_logits_hold() -> None:
    drawn = np.random.default_rng(1)
    true: npt.NDArray[np.float64] = drawn.normal(size=(6000, 3))
    odds = np.exp(log_probabilities(true.astype(np.float32), 1.0))
    own = np.array([drawn.choice(3, p=row / row.sum()) for row in odds.astype(float)])
    scale = temperatures((5 * true).astype(np.float32), own, np.arange(6000) % 4)
    assert scale == pytest.approx(np.full(4, 0.2), rel=0.1)


def test_log_probabilities_add_up_to_1_and_survive_any_evidence() -> None:
    found = log_probabilities(np.array([[1e4, 0, -1e4], [0, 0, 0]], np.float32), 1.0)
    assert np.exp(found).sum(1) == pytest.approx([1, 1])
    assert np.exp(found[1]) == pytest.approx([1 / 3] * 3)


@pytest.fixture
def centred(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a panel of many models."""
    monkeypatch.setattr(discriminant, "LEAST_FOR_CENTRING", 2)


@pytest.mark.usefixtures("centred")
def test_an_empty_text_has_no_habits_and_is_in_no_mean() -> None:
    assert not features(read(" \n\t")).any()
    outputs = outputs_of({"a": ["one two", ""], "b": ["three four", "five"], "c": ["", "six"], "x": ["seven", "eight"]})
    found = habits(outputs, [0, 1, 2])
    assert found.usable.tolist() == [True, True, False, True, False, True, True, True]
    rows = found.values[[0, 1]].astype(np.float32)
    assert np.allclose(rows.sum(0), 0, atol=2e-3), "the panel's mean is off, and the empty text is not in it"


@pytest.mark.usefixtures("centred")
def test_samples_of_one_model_count_as_one_text() -> None:
    outputs = outputs_of({"a": [["one two", "three"]], "b": ["four five"]})
    found = habits(outputs, [0, 1])
    assert found.weight.tolist() == [0.5, 0.5, 1]
    values = found.values.astype(np.float32)
    assert np.allclose((values[0] + values[1]) / 2, -values[2], atol=2e-3)


@pytest.mark.usefixtures("centred")
def test_no_label_is_in_what_is_centred() -> None:
    texts = ["one two three", "four five", "six"]
    found = habits(outputs_of({"a": [texts[0]], "b": [texts[1]], "c": [texts[2]]}), [0, 1, 2])
    turned = habits(outputs_of({"a": [texts[2]], "b": [texts[0]], "c": [texts[1]]}), [0, 1, 2])
    assert np.allclose(found.values[[2, 0, 1]], turned.values, atol=2e-3)
