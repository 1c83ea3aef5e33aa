"""Rows' losses as the figures that an evaluation reports: each with its interval, and with what it was counted over.

Every figure is an object: `value`, `interval` of 95 % or null where there is too little for one, `rows`, `groups`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.train.evaluation.intervals import Floats, Interval, bootstrap, grouped, sign_test, wilson

Ints = npt.NDArray[np.int64]
Figure = dict[str, Any]


class Losses(NamedTuple):
    """Of one model by row, NaN in `nats` where it has none: nats, tokens and bytes of the text that they are of."""

    nats: Floats
    tokens: Ints
    text_bytes: Ints


class Sample(NamedTuple):
    """What the rows are drawn from: rows of one group are drawn together."""

    groups: Ints
    draws: int
    seed: int


def column(losses: Losses, sample: Sample) -> dict[str, Any]:
    """One model's figures; None in them where it has no row."""
    known = np.isfinite(losses.nats)
    parts = np.stack([losses.nats, losses.tokens, losses.text_bytes], 1)
    return {
        "rows": int(known.sum()),
        "tokens": int(losses.tokens[known].sum()),
        "text_bytes": int(losses.text_bytes[known].sum()),
        "loss_per_token": ratio(parts[:, [0, 1]], sample),
        "bits_per_byte": ratio(parts[:, [0, 2]] / [math.log(2), 1], sample),
    }


def difference(losses: Losses, other: Losses, sample: Sample, *, by_token: bool) -> dict[str, Any]:
    """`losses` minus `other` over the rows that both have. Per token only where both have the same tokens."""
    parts = np.stack([losses.nats, losses.tokens, losses.text_bytes, other.nats, other.tokens, other.text_bytes], 1)
    bits = parts[:, [0, 2, 3, 5]] / [math.log(2), 1, math.log(2), 1]
    return {
        "loss_per_token": ratio(parts[:, [0, 1, 3, 4]], sample) if by_token else None,
        "bits_per_byte": ratio(bits, sample),
    }


def ratio(parts: Floats, sample: Sample) -> Figure | None:
    """Sum of the first column over that of the second, minus the same of the third and fourth where there are four.

    Rows with a NaN are left out. None where nothing is left to divide by.
    """
    known = np.isfinite(parts).all(1)
    groups = _numbered(sample.groups[known])
    sums = grouped(parts[known], groups)
    value = _ratios(sums.sum(0, keepdims=True))[0] if len(sums) else math.nan
    if not math.isfinite(value):
        return None
    interval = bootstrap(sums, _ratios, draws=sample.draws, seed=sample.seed)
    return {
        "value": float(value),
        "interval": None if interval is None else list(interval),
        "rows": int(known.sum()),
        "groups": len(sums),
    }


def wins(losses: Floats, other: Floats, groups: Ints) -> dict[str, Any]:
    """How often `losses` is the lower, by row, and by group where rows share some: rows of one group are no
    independent witnesses. Rows that either lacks are left out."""
    known = np.isfinite(losses) & np.isfinite(other)
    found = {"rows": _wins(losses[known], other[known])}
    numbers = _numbered(groups[known])
    sums = grouped(np.stack([losses[known], other[known]], 1), numbers)
    found["groups"] = _wins(sums[:, 0], sums[:, 1])
    return found


def share(hits: Sequence[float], sample: Sample) -> Figure:
    """The mean of scores of independent questions; Wilson's interval where each is right or wrong."""
    count, total = len(hits), math.fsum(hits)
    if all(hit in (0.0, 1.0) for hit in hits):
        interval: Interval | None = wilson(round(total), count)
    else:
        sums = np.stack([np.array(hits), np.ones(count)], 1)
        interval = bootstrap(sums, _ratios, draws=sample.draws, seed=sample.seed)
    return {
        "value": total / count if count else None,
        "interval": None if interval is None else list(interval),
        "rows": count,
        "groups": count,
    }


def paired(scores: Sequence[float], other: Sequence[float], sample: Sample) -> dict[str, Any]:
    """Two models on the same questions: who alone was better how often, McNemar's exact p, and the difference."""
    ours, theirs = np.array(scores, np.float64), np.array(other, np.float64)
    better, worse = int((ours > theirs).sum()), int((ours < theirs).sum())
    ones = np.ones(len(ours))
    parts = np.stack([ours, ones, theirs, ones], 1)
    return {
        "better": better,
        "worse": worse,
        "same": len(ours) - better - worse,
        "p_value": sign_test(better, worse),
        "difference": ratio(parts, sample._replace(groups=np.arange(len(ours)))),
    }


def by_name(values: Sequence[str], losses: Mapping[str, Losses], sample: Sample) -> dict[str, dict[str, Any]]:
    """Columns for the rows of each value (a teacher), by value."""
    labels = np.array(values, object)
    found = {}
    for name in sorted(set(values)):
        own = labels == name
        some = sample._replace(groups=sample.groups[own])
        found[name] = {who: column(Losses(*(part[own] for part in of)), some) for who, of in losses.items()}
    return found


def _wins(ours: Floats, theirs: Floats) -> dict[str, Any]:
    won, lost = int((ours < theirs).sum()), int((ours > theirs).sum())
    decided = won + lost
    return {
        "of": len(ours),
        "won": won,
        "lost": lost,
        "tied": len(ours) - decided,
        "share": {
            "value": won / decided if decided else None,
            "interval": list(wilson(won, decided)),
            "rows": decided,
        },
        "p_value": sign_test(won, lost),
    }


def _ratios(sums: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = sums[:, 0] / sums[:, 1]
        return found if sums.shape[1] == 2 else found - sums[:, 2] / sums[:, 3]


def _numbered(groups: Ints) -> Ints:
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)
