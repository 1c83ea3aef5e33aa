"""Do the probabilities hold? Measured on texts whose author is known, to prompts that nothing was fitted on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

Matrix = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

BINS = 10
DRAWS = 1_000
INTERVAL = (0.025, 0.975)
STATED_ERROR = 0.1
"""Share of the texts named that may be named wrongly: it sets the probability under which nobody is named."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Texts whose most probable model has a probability from `low` to `high`. Means are None where there is no text."""

    low: float
    high: float
    texts: int
    mean_probability: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """With a 95 % interval from a bootstrap over clusters of prompts. None where there was nothing to measure on."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """`accuracy` is that of naming every text, `chance` that of always naming the model with the most texts.

    `calibration_error` is the expected one: the mean distance of probability and accuracy, weighted by the bins' texts.
    `coverage` is the share of texts whose model is named at all, and `accuracy_named` how many of them rightly. The
    probability from which on a model is named was chosen on other prompts.
    """

    texts: int
    classes: int
    chance: float
    accuracy: Measured
    calibration_error: Measured
    stated_error: float
    coverage: Measured
    accuracy_named: Measured
    bins: tuple[ReliabilityBin, ...]


def reliability(
    probability: Matrix, right: Flags, named: Flags, own: Numbers, block: Numbers, classes: int, seed: int
) -> Reliability:
    """`probability[r]` is that of the text's most probable model, `own[r]` the class that wrote it."""
    places = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    blocks = int(block.max()) + 1
    each = np.stack(
        [
            np.bincount(block * BINS + places, values, blocks * BINS)
            for values in (np.ones(len(own)), probability, right, named, named & right)
        ]
    ).reshape(5, blocks, BINS)
    present = each[0].any(1)
    each = each[:, present]
    blocks = int(present.sum())
    drawn = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), DRAWS).astype(np.float64)
    whole, spread = _measures(each.sum(1, keepdims=True)), _measures(drawn @ each)
    accuracy, error, coverage, accuracy_named = (
        _measured(float(value[0]), draws) for value, draws in zip(whole, spread, strict=True)
    )
    return Reliability(
        texts=len(own),
        classes=classes,
        chance=float(np.bincount(own).max() / len(own)),
        accuracy=accuracy,
        calibration_error=error,
        stated_error=STATED_ERROR,
        coverage=coverage,
        accuracy_named=accuracy_named,
        bins=tuple(_bin(place, *each[:3, :, place].sum(1).tolist()) for place in range(BINS)),
    )


def recalibrated(probability: Matrix, right: Flags, known: Numbers, fold: Numbers) -> Matrix:
    """Probabilities that hold: Platt's logistic curve through the *other* folds' known texts, for every text.

    It is drawn towards changing nothing, and never says more than so many texts can bear: with n of them right and none
    wrong, the next is (n + 1) / (n + 2) likely to be.
    """
    given = np.clip(probability, 1e-6, 1 - 1e-6)
    odds = np.log(given) - np.log1p(-given)
    found = np.zeros_like(probability)
    for number in np.unique(fold):
        learned = known[fold[known] != number]
        own = fold == number
        intercept, slope = _logistic(odds[learned], right[learned])
        most = (len(learned) + 1) / (len(learned) + 2)
        found[own] = np.minimum(expit(intercept + slope * odds[own]), most)
    return found


def _logistic(odds: Matrix, right: Flags) -> tuple[float, float]:
    start = np.array([0.0, 1.0])

    def loss(at: Matrix) -> tuple[float, Matrix]:
        score = at[0] + at[1] * odds
        miss = expit(score) - right
        away = at - start
        total = np.logaddexp(0, score).sum() - score[right].sum() + away @ away / 2
        return total, np.array([miss.sum(), miss @ odds]) + away

    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(None, None), (0.01, None)]).x
    return float(found[0]), float(found[1])


def threshold_for(probability: Matrix, right: Flags, error: float = STATED_ERROR) -> float | None:
    """The lowest probability such that of texts with it or more at most `error` are named wrongly; None if none is.

    One wrong text is counted on top, so that a lucky few don't set it.
    """
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    wrong = np.cumsum(~right[order])
    kept = (wrong + 1) / np.arange(2, len(order) + 2) <= error
    # Texts with one and the same probability are named all or not at all.
    kept &= np.diff(ranked, append=-1.0) < 0
    places = np.flatnonzero(kept)
    return float(ranked[places[-1]]) if len(places) else None


def _measures(sums: Matrix) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Accuracy, calibration error, coverage and accuracy of those named, of sums with shape (5, draws, bins)."""
    texts, probability, right, named, named_right = sums
    count, told = texts.sum(1), named.sum(1)
    accuracy_named = np.divide(named_right.sum(1), told, where=told > 0, out=np.full(len(told), np.nan))
    return right.sum(1) / count, np.abs(probability - right).sum(1) / count, told / count, accuracy_named


def _measured(value: float, draws: Matrix) -> Measured:
    draws = draws[np.isfinite(draws)]
    if not np.isfinite(value) or not len(draws):
        return Measured(None, None, None)
    low, high = np.quantile(draws, INTERVAL)
    return Measured(value, float(low), float(high))


def _bin(place: int, texts: float, probability: float, right: float) -> ReliabilityBin:
    mean, accuracy = (probability / texts, right / texts) if texts else (None, None)
    return ReliabilityBin(place / BINS, (place + 1) / BINS, int(texts), mean, accuracy)
