"""Which rows an epoch reads, in which order: a function of the seed and the epoch, whatever was read before."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import Mix

_ORDER, _SHARE = 0, 1
"""So that two draws of one seed have nothing in common."""


class Mixed(Protocol):
    rows: int
    teacher: npt.NDArray[np.int16]
    teachers: tuple[str, ...]
    prompt_source: npt.NDArray[np.int16]
    prompt_sources: tuple[str, ...]


def epoch_order(store: Mixed, seed: int, epoch: int, mix: Mix | None) -> npt.NDArray[np.int64]:
    """Row numbers. Under a mix a row of weight w is read floor(w) times or once more, and in n epochs n w times but for
    a fraction: at 0.5, every two epochs read every row once.

    0.1 s for 1M rows. Raises ConfigError where the mix names nobody, or leaves nothing.
    """
    rows = (
        np.arange(store.rows) if mix is None else np.repeat(np.arange(store.rows), _readings(store, seed, epoch, mix))
    )
    # Sorting raw draws, and not Generator.permutation: numpy promises the same draws for ever, not the same shuffles.
    draws = _generator(_ORDER, seed, epoch).random_raw(len(rows))
    return rows[np.argsort(draws, kind="stable")].astype(np.int64)


def readings_in_all(store: Mixed, seed: int, epochs: float, mix: Mix | None) -> int:
    """How many rows `epochs` read together, the last of them a part of one."""
    whole, part = int(epochs), epochs % 1
    if mix is None:
        return whole * store.rows + round(store.rows * part)
    weights, offsets = _weights(store, seed, mix)
    last = int(_readings(store, seed, whole, mix).sum())
    return int(np.floor(whole * weights + offsets).sum()) + round(last * part)


def require_readings(count: int, rows: int) -> None:
    if not count:
        raise ConfigError(f"0 of {rows:,} rows would be read; raise training.epochs, or a weight of data.mix")


def check_mix(store: Mixed, mix: Mix) -> None:
    names = _names(store, mix)
    unknown = sorted(set(mix.weights) - set(names))
    if unknown:
        raise ConfigError(
            f"data.mix names {mix.by} {', '.join(map(repr, unknown))}, the training rows have "
            f"{', '.join(sorted(names))}; correct the names in data.mix.weights"
        )
    if all(mix.weights.get(name, 1.0) == 0 for name in names):
        raise ConfigError("data.mix gives every row weight 0; raise a weight, or take data.mix out")


def _readings(store: Mixed, seed: int, epoch: int, mix: Mix) -> npt.NDArray[np.int64]:
    """How often this epoch reads each row: floor((epoch + 1) w + u) - floor(epoch w + u), u of the row from [0, 1)."""
    weights, offsets = _weights(store, seed, mix)
    return (np.floor((epoch + 1) * weights + offsets) - np.floor(epoch * weights + offsets)).astype(np.int64)


def _weights(store: Mixed, seed: int, mix: Mix) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of each row w and u."""
    check_mix(store, mix)
    codes = store.teacher if mix.by == "teacher" else store.prompt_source
    weights = np.array([mix.weights.get(name, 1.0) for name in _names(store, mix)])[codes]
    return weights, _generator(_SHARE, seed, 0).random_raw(store.rows).astype(np.uint64) / 2.0**64


def _names(store: Mixed, mix: Mix) -> tuple[str, ...]:
    return store.teachers if mix.by == "teacher" else store.prompt_sources


def _generator(purpose: int, seed: int, epoch: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence([purpose, seed, epoch]))
