"""Train and held out, split by groups: rows that share a near-duplicate prompt or response are never parted.

A group goes where the hash of its id says, whatever else is in the set: a row that is added or dropped elsewhere moves
no group to the other side. So `share` is met on average, and by whole groups.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def groups_of(prompts: npt.NDArray[np.int32], clusterings: Iterable[tuple[Numbers, Numbers]]) -> Numbers:
    """A number for each row's group: the connected components of "asks the same" and "stands in one cluster".

    `prompts` has equal numbers for equal prompts. A clustering is row numbers, and beside each its cluster's number.
    """
    parents = list(range(int(prompts.max()) + 1 if len(prompts) else 0))

    def root(label: int) -> int:
        while (above := parents[label]) != label:
            parents[label] = label = parents[above]
        return label

    for rows, clusters in clusterings:
        first: dict[int, int] = {}
        for label, cluster in zip(prompts[rows].tolist(), clusters.tolist(), strict=True):
            left, right = root(first.setdefault(cluster, label)), root(label)
            parents[max(left, right)] = min(left, right)
    roots = np.array([root(label) for label in range(len(parents))], np.int64)
    return roots[prompts]


def group_names(groups: Numbers, order: Numbers) -> dict[int, int]:
    """The row that each group is called by: its first in `order`."""
    first = np.argsort(order)
    found, places = np.unique(groups[first], return_index=True)
    return dict(zip(found.tolist(), first[places].tolist(), strict=True))


def unit_hash(seed: int, name: str) -> float:
    """A number from 0 to 1 that only the seed and the name decide: the first 8 bytes of their SHA-256."""
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def is_held_out(group_id: str, share: float, seed: int) -> bool:
    return unit_hash(seed, group_id) < share
