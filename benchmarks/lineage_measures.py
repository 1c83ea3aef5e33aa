"""How good scores of pairs (model, family) are: AUROC, a threshold fixed elsewhere, naming, p-values; by clusters.

Intervals resample whole clusters with replacement, students' and controls' apart, 2,000 times; all draws at once, as
matrix products with the number of times that each cluster was drawn. 95 %, percentiles.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import kstwo

Vector = npt.NDArray[np.float64]
Draws = npt.NDArray[np.float64]

DRAWS = 2000
SEED = 20_261_126
LEVEL = 0.95


class Scored(NamedTuple):
    """Scores of pairs and the cluster of each pair's model. A pair that got no score (NaN) ranks below all that did."""

    values: Vector
    clusters: tuple[str, ...]

    def ranked(self) -> Vector:
        return np.where(np.isnan(self.values), -np.inf, self.values)


class Estimate(NamedTuple):
    """`draws` are kept so that two methods can be compared on the same draws."""

    found: float
    low: float
    high: float
    draws: Draws

    def __str__(self) -> str:
        return f"{self.found:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Caught(NamedTuple):
    true_positive_rate: Estimate
    false_positive_rate: Estimate


def estimate(found: float, draws: Draws) -> Estimate:
    """Draws in which nothing was left to measure are NaN, and drop out of the interval."""
    kept = draws[~np.isnan(draws)]
    if not len(kept):
        return Estimate(found, float("nan"), float("nan"), draws)
    low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Estimate(found, low, high, draws)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Paired: both must have been measured on the same pairs, so that the same clusters were drawn."""
    return estimate(one.found - other.found, one.draws - other.draws)


def auroc(taught: Scored, untaught: Scored, draws: int = DRAWS) -> Estimate:
    """P(a taught pair scores above an untaught one), ties half."""
    if not len(taught.values) or not len(untaught.values):
        return _nothing(draws)
    high, low = taught.ranked(), untaught.ranked()
    wins = (high[:, None] > low[None, :]) + 0.5 * (high[:, None] == low[None, :])
    rows, columns = _membership(taught.clusters), _membership(untaught.clusters)
    won = rows @ wins @ columns.T
    one, other = _times_drawn(len(rows), draws, 0), _times_drawn(len(columns), draws, 1)
    pairs = (one @ rows.sum(1)) * (other @ columns.sum(1))
    return estimate(float(wins.mean()), ((one @ won) * other).sum(1) / pairs)


def caught_elsewhere(taught: Scored, untaught: Scored, level: float = 0.05, draws: int = DRAWS) -> Caught:
    """Rates of scores above a threshold that was fixed on the controls of all clusters but the pair's own.

    The threshold is the lowest of their scores that keeps the level for one more control like them, (1 + those above) /
    (their number + 1) at most `level`; their highest where they are too few. It is fixed anew in every draw, so that
    its own uncertainty is in the interval. The weights of the draws' first row are all 1: the data as they are.
    """
    if not len(taught.values) or not len(untaught.values):
        return Caught(_nothing(draws), _nothing(draws))
    known = tuple(dict.fromkeys(untaught.clusters))
    number = {name: place for place, name in enumerate(known)}
    own = _membership(untaught.clusters)
    weight = np.vstack([np.ones(len(own)), _times_drawn(len(own), draws, 1)]) @ own
    of_control = np.array([number[name] for name in untaught.clusters], np.int64)
    rows = _membership(taught.clusters)
    times = np.vstack([np.ones(len(rows)), _times_drawn(len(rows), draws, 0)]) @ rows
    of_taught = np.array([number.get(name, -1) for name in taught.clusters], np.int64)
    high, low = taught.ranked(), untaught.ranked()
    hits, alarms = np.zeros(len(weight)), np.zeros(len(weight))
    asked, tried = np.zeros(len(weight)), np.zeros(len(weight))
    for fold in range(-1, len(known)):
        threshold = _thresholds(low, weight * (of_control != fold), level)
        usable = ~np.isnan(threshold)
        for scores, weights, members, above, count in (
            (high, times, of_taught == fold, hits, asked),
            (low, weight, of_control == fold, alarms, tried),
        ):
            above += np.where(usable, (weights[:, members] * (scores[members] > threshold[:, None])).sum(1), 0)
            count += np.where(usable, weights[:, members].sum(1), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        true, false = hits / asked, alarms / tried
    return Caught(estimate(float(true[0]), true[1:]), estimate(float(false[0]), false[1:]))


def _thresholds(scores: Vector, weight: Draws, level: float) -> Vector:
    """One a draw: the lowest score that keeps the level, or the highest; NaN where a draw has no weight."""
    values = np.unique(scores)[::-1]
    by_value = weight @ (scores[:, None] == values[None, :])
    above = np.cumsum(by_value, 1) - by_value
    total = by_value.sum(1)
    allowed = np.maximum(level * (total[:, None] + 1), 1)  # the highest that has weight: others' are of no concern
    place = (above + 1 <= allowed + 1e-9).sum(1) - 1
    return np.where(total > 0, values[place], np.nan)


def recall(
    families: Sequence[frozenset[str]], right: Sequence[bool], clusters: Sequence[str], draws: int = DRAWS
) -> Estimate:
    """Mean over families of the share of their students that are named right. An abstention is not right.

    A student of several families counts in each of them, and is named right by any of them.
    """
    if not families:
        return _nothing(draws)
    names = sorted(frozenset[str]().union(*families))
    of = np.array([[name in own for name in names] for own in families], np.float64).reshape(-1, len(names))
    rows = _membership(clusters)
    count = rows @ of
    hits = rows @ (of * np.array(right, np.float64)[:, None])
    times = np.vstack([np.ones(len(rows)), _times_drawn(len(rows), draws, 0)])
    with np.errstate(invalid="ignore", divide="ignore"):
        by_family = (times @ hits) / (times @ count)
    present = ~np.isnan(by_family)
    means = np.where(present, by_family, 0).sum(1) / np.maximum(present.sum(1), 1)
    return estimate(float(means[0]), means[1:])


def share(right: Sequence[bool], clusters: Sequence[str], draws: int = DRAWS) -> Estimate:
    if not right:
        return _nothing(draws)
    rows = _membership(clusters)
    values = np.array(right, np.float64)
    times = _times_drawn(len(rows), draws, 0)
    return estimate(float(values.mean()), (times @ (rows @ values)) / (times @ rows.sum(1)))


class Uniformity(NamedTuple):
    """Kolmogorov-Smirnov's distance, and its p for as many independent draws as there are clusters, and as pairs."""

    distance: Estimate
    p: float
    p_were_pairs_independent: float


def uniformity(p_values: Vector, clusters: Sequence[str], draws: int = DRAWS) -> Uniformity:
    """p-values of one cluster's models against several families hang together: that they are independent is never true,
    that they are as good as one is the other extreme. The interval is of the distance.
    """
    if not len(p_values):
        return Uniformity(_nothing(draws), float("nan"), float("nan"))
    order = np.argsort(p_values)
    values = p_values[order]
    own = _membership([clusters[place] for place in order.tolist()])
    weight = np.vstack([np.ones(len(own)), _times_drawn(len(own), draws, 1)]) @ own
    total = weight.sum(1, keepdims=True)
    ties = np.searchsorted(values, values, "right") - 1  # the distribution steps once, over all that are equal
    first = np.searchsorted(values, values, "left")
    after = np.cumsum(weight, 1) / total
    before = after - weight / total
    distances = np.maximum(np.abs(after[:, ties] - values), np.abs(values - before[:, first])).max(1)
    found = estimate(float(distances[0]), distances[1:])
    return Uniformity(found, float(kstwo.sf(found.found, len(own))), float(kstwo.sf(found.found, len(values))))


def _nothing(draws: int) -> Estimate:
    return estimate(float("nan"), np.full(draws, np.nan))


def _membership(clusters: Sequence[str]) -> Draws:
    """Shape (clusters, pairs): 1 where the pair's model belongs to the cluster. Clusters stand in order of their names:
    a draw draws the same clusters for every method."""
    names = sorted(set(clusters))
    return np.array([[float(own == name) for own in clusters] for name in names]).reshape(len(names), len(clusters))


def _times_drawn(clusters: int, draws: int, side: int) -> Draws:
    """How often each cluster is drawn, shape (draws, clusters). `side` keeps students' and controls' draws apart."""
    found: Draws = np.random.default_rng([SEED, side]).multinomial(clusters, np.full(clusters, 1 / clusters), draws)
    return found.astype(np.float64)
