"""The learning rate as a function of how much of the run is done."""

import math

from tutelage.train.config import Optimizer


def learning_rate(done: float, optimizer: Optimizer) -> float:
    """Rate at a share `done` of the run, 0 to 1: linear warm-up, then the schedule's shape down to its floor.

    cosine: Loshchilov and Hutter 2016. wsd: level until 1 - decay_share, then linear (MiniCPM, Hu et al. 2024).
    """
    peak, floor = optimizer.learning_rate, optimizer.learning_rate * optimizer.min_lr_share
    if done < optimizer.warmup_share:
        return peak * done / optimizer.warmup_share
    match optimizer.schedule:
        case "constant":
            left = 1.0
        case "linear":
            left = _left(done, optimizer.warmup_share)
        case "cosine":
            left = 0.5 * (1 + math.cos(math.pi * (1 - _left(done, optimizer.warmup_share))))
        case "wsd":
            left = _left(done, max(optimizer.warmup_share, 1 - optimizer.decay_share))
    return floor + (peak - floor) * left


def _left(done: float, start: float) -> float:
    """1 until `start`, then linearly to 0 at 1."""
    return min(1.0, max(0.0, (1 - done) / (1 - start))) if start < 1 else 1.0
