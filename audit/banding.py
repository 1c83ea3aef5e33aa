"""How a signature is cut into bands: from the threshold, by the S-curve of locality-sensitive hashing.

Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4: two texts of Jaccard similarity s share a band of r
rows with probability s^r, and at least one of b bands with 1 - (1 - s^r)^b.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.schemas.contracts import PERMUTATIONS
from tutelage.schemas.errors import ConfigError

LEAST_RECALL = 0.97
"""What the bands are chosen for, at the threshold itself; pairs above it are found more often."""


class Banding(NamedTuple):
    bands: int
    rows_per_band: int

    def recall_at(self, similarity: float) -> float:
        """The share of pairs of that similarity that become candidates."""
        return float(1 - (1 - similarity**self.rows_per_band) ** self.bands)


def choose_banding(threshold: float) -> Banding:
    """The longest bands (fewest false candidates) that still find LEAST_RECALL of the pairs at the threshold.

    Where even bands of one row don't, those: far below 0.1 signatures of this length can do no better.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold {threshold}: a similarity above 0 and at most 1 was wanted, like 0.8")
    every = [Banding(PERMUTATIONS // rows, rows) for rows in range(PERMUTATIONS, 0, -1)]
    return next((banding for banding in every if banding.recall_at(threshold) >= LEAST_RECALL), every[-1])


def band_digests(signatures: npt.NDArray[np.uint32], banding: Banding) -> npt.NDArray[np.uint64]:
    """A 64-bit digest for each text and band, from signatures of shape (texts, PERMUTATIONS)."""
    used = signatures[:, : banding.bands * banding.rows_per_band]
    rows = used.reshape(len(signatures), banding.bands, banding.rows_per_band)
    digests = np.zeros(rows.shape[:2], np.uint64)
    for row in range(banding.rows_per_band):
        # A polynomial of the rows, mixed at each step: equal digests are equal bands but for 1 pair in 2**64.
        digests = (digests ^ rows[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        digests ^= digests >> np.uint64(29)
    return digests
