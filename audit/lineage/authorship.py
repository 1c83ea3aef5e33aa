"""One suspect as a whole: which of the panel's models wrote its texts, or none of them.

Two doubts, and each is measured. Another model of the panel may be as probable: a bootstrap over clusters of prompts
says how often it would be ahead. And the author may be none of them: how alike a model that is left out of the panel
is to its nearest there is found by leaving each out in turn, with its cluster, so no suspect is named that is no nearer
than those are. What is named is then that model or another of its cluster.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

DRAWS = 2_000
CONFIDENCE = 0.95
LEAST_BLOCKS = 8
"""Clusters of prompts under which nothing can be held out, and a bootstrap over them means nothing."""
LEAST_LEFT_OUT = 4
"""Classes under which leaving one out doesn't show what a model that is none of them looks like."""
NO_HABIT = 1e-9
"""Share of the largest product under which a model's habits are rounding."""
_MARGIN = 1e-4


class Standing(NamedTuple):
    """`order` are the classes, the most probable first. `ahead` is the share of draws in which the first leads.

    `rivals` are the classes, the first included, that can't be told apart from it; `leads[c]` is the share of draws in
    which class c is the most probable.
    """

    order: Numbers
    ahead: float
    rivals: Numbers
    leads: Matrix


def standing(by_block: Matrix, weight: Matrix, seed: int) -> Standing:
    """`by_block[b, c]` is the mean log-probability of class c on a cluster of prompts, `weight[b]` its texts."""
    present = weight > 0
    by_block, weight = by_block[present], weight[present]
    total = weight @ by_block / weight.sum()
    order = np.argsort(-total, kind="stable")
    best = order[0]
    blocks = len(weight)
    picked = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), DRAWS) * weight
    drawn = (picked / picked.sum(1, keepdims=True)) @ by_block
    lead = drawn[:, [best]] - drawn
    lead[:, best] = np.inf
    # Two models of one and the same texts are apart by rounding alone.
    behind = (lead > _MARGIN).mean(0)
    ahead = float((lead.min(1) > _MARGIN).mean())
    near = (behind[order] < CONFIDENCE) | (order == best)
    near[1:2] |= ahead < CONFIDENCE
    leads = np.bincount(drawn.argmax(1), minlength=len(total)) / DRAWS
    return Standing(order, ahead, order[near], leads)


def likeness_to(products: Matrix, classes: Numbers, suspect: int) -> Matrix:
    """Cosine of the suspect's habits with each class's, away from the classes' mean; NaN where habits can't be seen.

    `products` are unbiased: each of both sides' means is from other prompts. So is a model's with itself, and its
    cosine with a model that is the same one is 1, give or take sampling.
    """
    return _cosines(products, classes, suspect)


def left_out(products: Matrix, classes: Numbers, kin: Sequence[str]) -> Matrix:
    """For each class, its cosine with the nearest of the others, were it not in the panel; NaN if not seen.

    Models of the same `kin` are left out together: a sibling in the panel would stand in for the model itself.
    """
    found = np.full(len(classes), np.nan)
    for place, number in enumerate(classes.tolist()):
        others = classes[[other != kin[place] for other in kin]]
        if len(others) < 2:
            continue
        cosines = _cosines(products, others, number)
        if np.isfinite(cosines).any():
            found[place] = np.nanmax(cosines)
    return found


def _cosines(products: Matrix, classes: Sequence[int] | Numbers, asked: int) -> Matrix:
    chosen = np.array([*classes, asked], np.int64)
    among = products[np.ix_(chosen, chosen)]
    among = (among + among.T) / 2
    least = NO_HABIT * np.abs(np.diag(among)).max()
    # Away from the classes' mean, on both sides.
    among = among - among[:, :-1].mean(1, keepdims=True)
    among = among - among[:-1].mean(0, keepdims=True)
    power = np.diag(among)
    seen = (power[:-1] > least) & (power[-1] > least)
    found = np.full(len(classes), np.nan)
    found[seen] = among[-1, :-1][seen] / np.sqrt(power[:-1][seen] * power[-1])
    return found


def outside_p(likeness: float, left: Matrix) -> float:
    """How many of the models left out are as like their nearest, the suspect counted in."""
    left = left[np.isfinite(left)]
    return float((1 + (left >= likeness).sum()) / (len(left) + 1))
