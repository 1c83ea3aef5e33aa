"""Columns of lists, without an object for each entry."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def inner(lists: pa.ListArray) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The entries of all lists, and where in them each list begins and the last one ends. A null has no entries."""
    bounds = lists.offsets.to_numpy().astype(np.int64)
    return lists.values.slice(bounds[0], bounds[-1] - bounds[0]), bounds - bounds[0]


def messages_of(column: pa.ListArray) -> list[list[tuple[str, str]]]:
    """(role, content) of each row's messages."""
    entries, bounds = inner(column)
    pairs = list(zip(entries.field("role").to_pylist(), entries.field("content").to_pylist(), strict=True))
    return [pairs[start:end] for start, end in pairwise(bounds.tolist())]
