"""Is one family clearly more like the suspect than every other? A bootstrap over clusters of prompts answers.

The studentised maximum over all comparisons gives intervals that hold at once (Westfall and Young 1993), so that
looking for the best of many families is paid for. Two families of one maker often can't be told apart, and then the set
is the answer.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

DRAWS = 2_000
CONFIDENCE = 0.95
LEAST_BLOCKS = 8
"""Clusters of prompts under which a bootstrap over them means nothing."""


class Contrast(NamedTuple):
    """`low` and `high`, shape (families,): a family's score less the best other's, NaN where there is none.

    `indistinguishable` are places of families whose score may be the highest, the best one first.
    """

    low: Matrix
    high: Matrix
    indistinguishable: tuple[int, ...]


def contrast(blocks: Matrix, block_prompts: npt.NDArray[np.int64], seed: int) -> Contrast:
    """`blocks[b, f]` is the suspect's score against family f on cluster b of prompts; NaN columns are left out."""
    families = blocks.shape[1]
    low, high = np.full(families, np.nan), np.full(families, np.nan)
    usable = np.flatnonzero(~np.isnan(blocks).any(0))
    if not len(usable):
        return Contrast(low, high, ())
    share = block_prompts / block_prompts.sum()
    values = blocks[:, usable]
    total = share @ values
    order = np.argsort(-total)
    if len(usable) < 2 or len(blocks) < LEAST_BLOCKS:
        return Contrast(low, high, tuple(usable[order].tolist()))
    picked = np.random.default_rng(seed).multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), DRAWS)
    drawn = picked * share
    drawn = (drawn / drawn.sum(1, keepdims=True)) @ values
    best = order[0]
    # Every family against the best, and the best against every other: one set of comparisons.
    others = order[1:]
    difference = total[best] - total[others]
    noise = drawn[:, [best]] - drawn[:, others] - difference
    error = np.maximum(noise.std(0), 1e-12)
    width = np.quantile(np.abs(noise / error).max(1), CONFIDENCE) * error
    low[usable[others]], high[usable[others]] = -difference - width, -difference + width
    low[usable[best]], high[usable[best]] = (difference - width).min(), (difference + width).min()
    near = others[difference - width <= 0]
    return Contrast(low, high, (int(usable[best]), *usable[near].tolist()))
