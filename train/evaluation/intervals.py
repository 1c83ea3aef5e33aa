"""How far figures of a sample can be trusted: Wilson's interval, the exact sign test, a paired bootstrap by groups."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
Z = 1.959963984540054
"""The normal quantile of (1 + CONFIDENCE) / 2."""
LEAST_GROUPS = 6
"""Of five differences all have the same sign in 2 of 32 samples of nothing, more often than an interval of 95 % may be
wrong: with fewer groups no bootstrap is shown."""
_DRAWS_AT_ONCE = 4_000_000

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    low: float
    high: float


def wilson(hits: int, of: int) -> Interval:
    """Where a share lies, given hits among `of` independent ones (Wilson 1927); 0 to 1 where there are none.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    """
    if not of:
        return Interval(0.0, 1.0)
    share, shrink = hits / of, 1 + Z**2 / of
    middle = (share + Z**2 / (2 * of)) / shrink
    half = Z * math.sqrt(share * (1 - share) / of + Z**2 / (4 * of**2)) / shrink
    # Rounding may leave an end a hair off where nothing or everything is a hit.
    return Interval(0.0 if hits == 0 else middle - half, 1.0 if hits == of else middle + half)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p of so uneven a split, were both as likely; ties are not counted (Dixon and Mood 1946).

    Of paired right and wrong answers it is McNemar's exact test: `wins` are those that only one of the two had right.
    """
    pairs = wins + losses
    if not pairs:
        return 1.0
    terms = [
        math.lgamma(pairs + 1) - math.lgamma(hits + 1) - math.lgamma(pairs - hits + 1)
        for hits in range(min(wins, losses) + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(term - pairs * math.log(2)) for term in terms))


def grouped(values: Floats, groups: npt.NDArray[np.int64]) -> Floats:
    """[groups, m] sums of the rows' values [rows, m]; groups are numbered from 0."""
    sums = np.zeros((int(groups.max()) + 1 if len(groups) else 0, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums


def bootstrap(sums: Floats, statistic: Callable[[Floats], Floats], *, draws: int, seed: int) -> Interval | None:
    """Interval of a statistic of sums, by drawing whole groups again (Efron and Tibshirani 1993, 13.3; see `_tail`).

    `sums` is [groups, m]; `statistic` maps [draws, m] totals to [draws]. The same seed draws the same groups, whatever
    is computed of them. None with fewer than LEAST_GROUPS.
    """
    groups = len(sums)
    if groups < LEAST_GROUPS:
        return None
    generator = np.random.Generator(np.random.PCG64(seed))
    at_once = max(1, _DRAWS_AT_ONCE // groups)
    found = []
    for start in range(0, draws, at_once):
        number = min(at_once, draws - start)
        drawn = generator.integers(groups, size=(number, groups)) + groups * np.arange(number)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=number * groups).reshape(number, groups)
        found.append(statistic(counts @ sums))
    values = np.concatenate(found)
    if not np.isfinite(values).all():
        return None
    tail = _tail(groups)
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _tail(groups: int) -> float:
    """What to cut off each end of a bootstrap's values so that the interval is as wide as Student's would be.

    Φ(-t √(n/(n-1))), t of n - 1 degrees of freedom (Hesterberg 2015, s. 5.3, the expanded percentile interval): drawing
    again from n groups spreads less than the groups came from, which plain percentiles forget. t is Fisher and
    Cornish's series of 1938, right to 0.003 from five degrees of freedom on.
    """
    free = groups - 1
    t = (
        Z
        + (Z**3 + Z) / (4 * free)
        + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * free**2)
        + (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / (384 * free**3)
    )
    return math.erfc(t * math.sqrt(groups / free) / math.sqrt(2)) / 2
