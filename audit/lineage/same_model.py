"""Which model is nearest, and is it nearer than siblings are to each other? For API substitution and variants.

Siblings share a cluster or a family (sizes and versions of one model): what they have in common comes from their data
and their maker. A suspect that is nearer to some model than siblings are is that model, or a light change of it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.panel import Panel

Matrix = npt.NDArray[np.float64]

DEVIATIONS = 3.0
"""Beyond the siblings' median, in their scaled median deviation, where nearer than siblings begins."""
QUANTILE = 0.9
"""And beyond this share of them, since siblings are few and some are the same model."""
LEAST_PAIRS = 5


class SameModel(NamedTuple):
    """`score` is in scaled median deviations from the siblings' median; None where there are too few siblings."""

    nearest: str | None
    score: float | None
    same: bool


def closeness(correlations: Mapping[str, Matrix]) -> Matrix:
    """Mean of all views' centred correlations, shape (models, models)."""
    found: Matrix = np.mean(list(correlations.values()), 0)
    return found


def same_model(near: Matrix, models: Sequence[str], clusters: Sequence[str], panel: Panel, suspect: str) -> SameModel:
    """Variants are not asked (they stand for their parents), nor is the suspect's own cluster unless it is a variant:
    what the panel already calls kin would answer every time."""
    place = models.index(suspect)
    entry = panel.models.get(suspect)
    is_variant = entry is not None and "variant" in entry.roles
    asked = [
        other
        for other, name in enumerate(models)
        if other != place
        and name in panel.models
        and not panel.models[name].roles <= {"variant", "suspect"}
        and (is_variant or clusters[other] != clusters[place])
        and not np.isnan(near[place, other])
    ]
    if not asked:
        return SameModel(None, None, False)
    nearest = max(asked, key=lambda other: float(near[place, other]))
    siblings = _siblings(near, models, clusters, panel, clusters[place])
    if len(siblings) < LEAST_PAIRS:
        return SameModel(models[nearest], None, False)
    middle = float(np.median(siblings))
    spread = 1.4826 * float(np.median(np.abs(siblings - middle)))
    if spread < 1e-9:
        return SameModel(models[nearest], None, False)
    value = float(near[place, nearest])
    beyond = max(middle + DEVIATIONS * spread, float(np.quantile(siblings, QUANTILE)))
    return SameModel(models[nearest], (value - middle) / spread, value > beyond)


def _siblings(near: Matrix, models: Sequence[str], clusters: Sequence[str], panel: Panel, without: str) -> Matrix:
    """Closeness of every two models of one cluster, variants left out."""
    kept = [
        place
        for place, name in enumerate(models)
        if name in panel.models and not panel.models[name].roles & {"variant", "suspect"} and clusters[place] != without
    ]
    found = [
        near[a, b]
        for number, a in enumerate(kept)
        for b in kept[:number]
        if clusters[a] == clusters[b] and not np.isnan(near[a, b])
    ]
    return np.array(found, np.float64)
