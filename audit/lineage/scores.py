"""From likeness to scores: how much more a model is like a family's teachers than controls are, in their deviations.

Four steps; whatever is subtracted from a model leaves out that model's own cluster:
1. a view's correlation with each family's teachers, centred (`centring`);
2. less what follows from answers of like length, then less the controls' mean for that family, over their deviation;
3. less the likeness to other makers' families: a model that is like every teacher is capable, not taught;
4. signals weighted (`weights`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.centring import centred, lengths, reference
from tutelage.audit.lineage.likeness import Likeness
from tutelage.audit.lineage.outputs import LEAST_ANSWERED
from tutelage.audit.lineage.pairs import Pairs
from tutelage.audit.lineage.signals import SIGNALS
from tutelage.audit.lineage.weights import weights_without

Matrix = npt.NDArray[np.float64]

PRIOR_CLUSTERS = 3
"""What the deviation pooled over families is worth in a family's own, in clusters of controls."""
LEAST_CLUSTERS = 3
"""Clusters of controls under which a family has no deviation to speak of."""


class Scores(NamedTuple):
    """`total` has shape (models, families), in deviations of the controls; NaN for a family's own teachers where it has
    one only, and where there were too few controls. `blocks` is the same for every block of prompts alone, shape
    (blocks, models, families); its mean, weighted by the blocks' prompts, is `total`. `signals` are the parts.
    `consensus`, shape (models,), is how much of its words a model shares with the panel's other clusters: capable
    models agree. `correlations` are those of the views of answers to one prompt, shape (models, models).
    """

    total: Matrix
    signals: dict[str, Matrix]
    blocks: Matrix
    correlations: dict[str, Matrix]
    consensus: Matrix
    weights: Mapping[str, float]
    weights_from: str


class _View(NamedTuple):
    """Mean correlation with each family's teachers, overall and by block of prompts."""

    overall: Matrix
    blocks: Matrix


def scores_of(likeness: Likeness, pairs: Pairs) -> Scores:
    ref = reference(pairs.cluster, pairs.reference.tolist())
    share = likeness.block_prompts / likeness.block_prompts.sum()
    teachers = np.flatnonzero(pairs.teacher.any(1)).tolist()
    correlations: dict[str, Matrix] = {}
    seen: dict[str, list[_View]] = {}
    for signal, views in likeness.views.items():
        for name, products in views.items():
            overall = centred(np.tensordot(share, products.astype(np.float64), 1), ref)
            length = np.where(likeness.answered >= LEAST_ANSWERED, lengths(overall), np.nan)
            scale = 1 / length[:, None] / length[None, :]
            correlation = overall * scale
            if signal in SIGNALS:
                correlations[name] = correlation
            blocks = centred(products.astype(np.float64), ref, teachers) * scale[:, teachers]
            seen.setdefault(signal, []).append(
                _View(
                    _to_families(correlation[:, teachers], pairs.teacher, teachers),
                    _to_families(blocks, pairs.teacher, teachers),
                )
            )
    clusters = tuple(dict.fromkeys(pairs.cluster))
    unlike_length = _length_gaps(likeness.words, pairs)
    signals: dict[str, Matrix] = {}
    by_block: dict[str, Matrix] = {}
    for signal, found in seen.items():
        standard = [_standardised(view, pairs, clusters, unlike_length) for view in found]
        standard = [view for view in standard if not np.isnan(view.overall).all()] or standard
        overall = np.mean([view.overall for view in standard], 0)
        signals[signal] = _less_other_makers(overall, pairs, overall)
        by_block[signal] = _less_other_makers(np.mean([view.blocks for view in standard], 0), pairs, overall)
    words = np.tensordot(share, likeness.views["lexical"]["words"].astype(np.float64), 1)
    return _combined(signals, by_block, pairs)._replace(
        correlations=correlations, consensus=_consensus(words, ref.weight, np.array(pairs.cluster))
    )


def _to_families(correlations: Matrix, teacher: npt.NDArray[np.bool_], teachers: Sequence[int]) -> Matrix:
    """Mean over each family's teachers, a model itself left out; from (..., models, teachers) to (..., models,
    families)."""
    others = correlations.copy()
    others[..., teachers, np.arange(len(teachers))] = np.nan  # a teacher with itself
    taught_by = teacher[teachers].astype(np.float64)
    count = ~np.isnan(others) @ taught_by
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Matrix = np.where(count == 0, np.nan, np.nan_to_num(others) @ taught_by / count)
    return found


def _cluster_shares(pairs: Pairs, family: int, without: str, usable: npt.NDArray[np.bool_]) -> Matrix:
    """Weights of a family's controls, one share a cluster, the cluster `without` left out; all 0 where too few."""
    inside = pairs.control[:, family] & usable & (np.array(pairs.cluster) != without)
    names = [name for name, kept in zip(pairs.cluster, inside, strict=True) if kept]
    sizes = {name: names.count(name) for name in names}
    if len(sizes) < LEAST_CLUSTERS:
        return np.zeros(len(inside))
    return np.array(
        [1 / sizes[name] / len(sizes) if kept else 0.0 for name, kept in zip(pairs.cluster, inside, strict=True)]
    )


def _length_gaps(words: Matrix, pairs: Pairs) -> Matrix:
    """How unlike in length a model's answers are to a family's, in logarithms of words, shape (models, families)."""
    teachers = pairs.teacher.astype(np.float64)
    found: Matrix = np.abs(words[:, None] - words @ teachers / teachers.sum(0))
    return found


def _standardised(view: _View, pairs: Pairs, clusters: Sequence[str], length_gaps: Matrix) -> _View:
    overall, blocks = np.full_like(view.overall, np.nan), np.full_like(view.blocks, np.nan)
    cluster = np.array(pairs.cluster)
    families = range(len(pairs.families))
    for name in clusters:
        rows = cluster == name
        shares = [_cluster_shares(pairs, family, name, ~np.isnan(view.overall[:, family])) for family in families]
        counts = [len(set(cluster[share > 0])) for share in shares]
        slope = _length_slope(view.overall, length_gaps, shares, max(counts, default=0))
        values = view.overall - slope * length_gaps
        means = [float(share @ np.nan_to_num(values[:, family])) for family, share in enumerate(shares)]
        squares = [np.square(np.nan_to_num(values[:, family]) - means[family]) for family in families]
        variances = [float(share @ square) for share, square in zip(shares, squares, strict=True)]
        known = [variance for variance, count in zip(variances, counts, strict=True) if count]
        for family in families:
            own = counts[family] / (counts[family] + PRIOR_CLUSTERS)
            deviation = np.sqrt(own * variances[family] + (1 - own) * np.mean(known)) if counts[family] else 0.0
            deviation = deviation if deviation > 1e-9 else np.nan
            less = slope * length_gaps[rows, family] + means[family]
            overall[rows, family] = (view.overall[rows, family] - less) / deviation
            blocks[:, rows, family] = (view.blocks[:, rows, family] - less) / deviation
    return _View(overall, blocks)


def _length_slope(values: Matrix, length_gaps: Matrix, shares: Sequence[Matrix], clusters: int) -> float:
    """How much likeness an unlike length costs controls: one slope for all families, shrunk towards none."""
    together = square = 0.0
    for family, share in enumerate(shares):
        gap = length_gaps[:, family] - share @ length_gaps[:, family]
        together += float(share @ (gap * np.nan_to_num(values[:, family])))
        square += float(share @ np.square(gap))
    return together / square * clusters / (clusters + PRIOR_CLUSTERS) if square > 1e-9 else 0.0


def _less_other_makers(values: Matrix, pairs: Pairs, decide: Matrix) -> Matrix:
    """Less the likeness to the other makers' family in the middle, which is found in `decide`: blocks of prompts follow
    the whole."""
    found = values.copy()
    for family in range(len(pairs.families)):
        others = np.flatnonzero(pairs.other_maker[family])
        for row in range(values.shape[-2]):
            usable = [other for other in others if not np.isnan(decide[row, other]) and not pairs.teacher[row, other]]
            if usable:
                usable.sort(key=lambda other: decide[row, other])
                middle = usable[(len(usable) - 1) // 2 : len(usable) // 2 + 1]
                found[..., row, family] -= values[..., row, middle].mean(-1)
    return found


def _consensus(products: Matrix, weight: Matrix, cluster: npt.NDArray[np.str_]) -> Matrix:
    found = np.zeros(len(products))
    for row in range(len(products)):
        share = np.where(cluster == cluster[row], 0, weight)
        found[row] = products[row] @ share / share.sum() if share.any() else np.nan
    return found


def _combined(signals: dict[str, Matrix], by_block: dict[str, Matrix], pairs: Pairs) -> Scores:
    # A signal that says nothing of anybody is left out; where one says nothing of a model, what controls have counts.
    names = [name for name in signals if not np.isnan(signals[name]).all()] or list(signals)
    stacked = np.stack([signals[name] for name in names])
    blocks = np.stack([by_block[name] for name in names])
    unknown = np.isnan(stacked).all(0)
    stacked = np.where(np.isnan(stacked) & ~unknown, 0.0, stacked)
    blocks = np.where(np.isnan(blocks) & ~unknown, 0.0, blocks)
    total = np.full(stacked.shape[1:], np.nan)
    block_total = np.full(blocks.shape[1:], np.nan)
    cluster = np.array(pairs.cluster)
    for name in dict.fromkeys(pairs.cluster):
        rows = cluster == name
        weight = weights_without(stacked, names, pairs, name)[0]
        total[rows] = np.tensordot(weight, stacked[:, rows], 1)
        block_total[:, rows] = np.tensordot(weight, blocks[:, :, rows], 1)
    used = pairs.control & ~np.isnan(total)
    deviation = float(np.sqrt(np.mean(np.square(total[used])))) if used.any() else 1.0
    weight, source = weights_without(stacked, names, pairs, None)
    return Scores(
        total / deviation,
        {name: signals[name] / deviation for name in names},
        block_total / deviation,
        {},
        np.empty(0),
        dict(zip(names, weight.round(4).tolist(), strict=True)),
        source,
    )
