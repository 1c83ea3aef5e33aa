"""p-values among models, not prompts: what varies by chance is the model, however many prompts it answers.

A test over prompts (nominal 5 %) rejects 29 % of models that were never taught by that teacher; one over control models
keeps its level as far as the controls are like the suspect, and that is measured (`error_rates`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from tutelage.audit.lineage.pairs import Pairs
from tutelage.audit.lineage.result import PValueKind
from tutelage.audit.lineage.scores import PRIOR_CLUSTERS

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CHANCE = 0.05
"""How rarely so many wrong rejections of controls may come by chance, for a verdict to be withheld for them."""
LEAST_CLUSTERS = 4
"""Clusters of controls under which no p-value is given."""


class PValue(NamedTuple):
    p: float | None
    kind: PValueKind


class Null(NamedTuple):
    """A family's controls: their scores, their mean and deviation with one share a cluster, and how many clusters."""

    values: Matrix
    mean: float
    deviation: float
    clusters: int

    def tail(self, score: float) -> float:
        """Student's t for one more draw from the controls; the pooled deviation adds its degrees (Smyth 2004)."""
        return float(stats.t.sf((score - self.mean) / self._spread(), self._degrees()))

    def score_at(self, p: float) -> float:
        """The score whose tail is p."""
        return float(self.mean + self._spread() * stats.t.isf(p, self._degrees()))

    def _spread(self) -> float:
        return float(self.deviation * np.sqrt(1 + 1 / self.clusters))

    def _degrees(self) -> int:
        return self.clusters - 1 + PRIOR_CLUSTERS


def nulls_without(total: Matrix, pairs: Pairs, without: str, usable: Mask | None = None) -> list[Null | None]:
    """One null a family, from its controls outside the cluster `without`; None where too few clusters remain.

    `usable` restricts the controls further, shape (models,).
    """
    cluster = np.array(pairs.cluster)
    found: list[tuple[Matrix, float, float, int] | None] = []
    for family in range(len(pairs.families)):
        rows = pairs.control[:, family] & ~np.isnan(total[:, family]) & (cluster != without)
        if usable is not None:
            rows &= usable
        names, sizes = np.unique(cluster[rows], return_counts=True)
        if len(names) < LEAST_CLUSTERS:
            found.append(None)
            continue
        share = 1 / sizes[np.searchsorted(names, cluster[rows])] / len(names)
        values = total[rows, family]
        mean = float(share @ values)
        variance = float(share @ (values - mean) ** 2) * len(names) / (len(names) - 1)
        found.append((values, mean, variance, len(names)))
    variances = [item[2] for item in found if item is not None]
    pooled = float(np.mean(variances)) if variances else 0.0
    nulls: list[Null | None] = []
    for item in found:
        if item is None:
            nulls.append(None)
            continue
        values, mean, variance, clusters = item
        own = clusters / (clusters + PRIOR_CLUSTERS)
        deviation = float(np.sqrt(own * variance + (1 - own) * pooled))
        nulls.append(Null(values, mean, deviation, clusters) if deviation > 1e-9 else None)
    return nulls


def p_value(score: float, null: Null | None, smallest_needed: float) -> PValue:
    """p = (1 + #{controls at least as high}) / (controls + 1), and the tail where that can't get small enough.

    `smallest_needed` is the least p that the decision could ask for: the nominal level over the number of questions.
    It is clusters that have to be enough for it, since models of one are hardly more than one control.
    """
    if null is None or np.isnan(score):
        return PValue(None, "none")
    count = len(null.values)
    if 1 / (min(count, null.clusters) + 1) <= smallest_needed:
        return PValue(float((1 + np.sum(null.values >= score)) / (count + 1)), "rank")
    return PValue(null.tail(score), "parametric-tail")


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down (1979): family-wise error within one suspect."""
    order = np.argsort(values)
    found = [0.0] * len(values)
    least = 0.0
    for step, place in enumerate(order.tolist()):
        least = max(least, min(1.0, (len(values) - step) * values[place]))
        found[place] = least
    return found


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's step-up (1995): false discoveries among suspects."""
    order = np.argsort(values)[::-1]
    found = [0.0] * len(values)
    most = 1.0
    for step, place in enumerate(order.tolist()):
        most = min(most, values[place] * len(values) / (len(values) - step))
        found[place] = most
    return found


class ErrorRates(NamedTuple):
    """Shares of pairs rejected at the nominal level though nothing was taught, each with its cluster left out.

    `uniformity_p` is Kolmogorov-Smirnov's for the controls' p-values, counted as so many independent draws as there
    are clusters.
    """

    controls: float | None
    placebo: float | None
    control_pairs: int
    placebo_pairs: int
    uniformity_p: float | None


def error_rates(total: Matrix, pairs: Pairs, nominal: float) -> ErrorRates:
    controls: list[float] = []
    placebo: list[float] = []
    clusters: set[str] = set()
    for row, name in enumerate(pairs.cluster):
        if not (pairs.control[row] | pairs.placebo[row]).any():
            continue
        for family, null in enumerate(nulls_without(total, pairs, name)):
            p = p_value(float(total[row, family]), null, nominal / len(pairs.families)).p
            if p is None:
                continue
            if pairs.control[row, family]:
                controls.append(p)
                clusters.add(name)
            if pairs.placebo[row, family]:
                placebo.append(p)
    distance = stats.kstest(controls, "uniform").statistic if controls else 0.0
    return ErrorRates(
        float(np.mean(np.array(controls) <= nominal)) if controls else None,
        float(np.mean(np.array(placebo) <= nominal)) if placebo else None,
        len(controls),
        len(placebo),
        float(stats.kstwo.sf(distance, len(clusters))) if controls else None,
    )


def withheld(rates: ErrorRates, nominal: float) -> str | None:
    """Why no verdict may rest on such error rates, in a sentence; None where it may.

    Of controls, two of fifteen pairs are more than twice 5 % and no evidence of anything. A placebo has no such excuse:
    what it is rejected for can't be so.
    """
    excused = rates.controls is None or bool(
        stats.binom.sf(round(rates.controls * rates.control_pairs) - 1, rates.control_pairs, nominal) > CHANCE
    )
    for rate, pairs, what in (
        (None if excused else rates.controls, rates.control_pairs, "pairs of a control and a family"),
        (rates.placebo, rates.placebo_pairs, "placebo pairs, of a family that can't have taught the model"),
    ):
        if rate is not None and rate > 2 * nominal:
            return (
                f"The verdict is withheld: at a nominal {nominal:.0%} this panel rejects {rate:.1%} of {pairs} {what}, "
                "more than twice as many as it should. Its controls are not like the models that they stand for."
            )
    return None
