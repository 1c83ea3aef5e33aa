"""From hashes to whose they are: an inverted index over numpy arrays, asked for millions of hashes at once."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.schemas.shingles import Hashes, Places

_LEAST_FILTER_BITS, _MOST_FILTER_BITS = 16, 26


class Postings(NamedTuple):
    """Term t is `hashes[t]` (ascending) and belongs to the owners `owners[offsets[t]:offsets[t + 1]]` (ascending).

    `is_possible` is indexed by the topmost bits of a hash: most of what is asked for is in no term, and that is told
    by one look into an array that stays in the processor's cache.
    """

    hashes: Hashes
    offsets: Places
    owners: Places
    is_possible: npt.NDArray[np.bool_]

    def find(self, hashes: Hashes) -> tuple[Places, Places]:
        """Where in `hashes` a term stands, and which term."""
        if not len(self.hashes):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        places = np.flatnonzero(self.is_possible[_topmost(hashes, len(self.is_possible))])
        asked = hashes[places]
        terms = np.minimum(np.searchsorted(self.hashes, asked), len(self.hashes) - 1)
        is_term = self.hashes[terms] == asked
        return places[is_term], terms[is_term]

    def expand(self, terms: Places) -> tuple[Places, Places]:
        """Every owner of every term, and the place in `terms` that it comes from."""
        counts = self.offsets[terms + 1] - self.offsets[terms]
        sources = np.repeat(np.arange(len(terms)), counts)
        ahead = np.cumsum(counts) - counts
        return self.owners[np.arange(len(sources)) + (self.offsets[terms] - ahead)[sources]], sources


def postings_of(hashes: Hashes, owners: Places) -> Postings:
    """An index of pairs of a hash and its owner, each pair given once."""
    order = np.lexsort((owners, hashes))
    terms, first = np.unique(hashes[order], return_index=True)
    bits = min(max(int(len(terms) * 8).bit_length(), _LEAST_FILTER_BITS), _MOST_FILTER_BITS)
    is_possible = np.zeros(1 << bits, bool)
    is_possible[_topmost(terms, len(is_possible))] = True
    return Postings(terms, np.append(first, len(hashes)), owners[order], is_possible)


def owners_of(offsets: Places) -> Places:
    """For each entry of a flat array the number of the text that it belongs to."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def distinct_pairs(hashes: Hashes, owners: Places) -> tuple[Hashes, Places]:
    """Each pair of a hash and an owner once."""
    order = np.lexsort((hashes, owners))
    hashes, owners = hashes[order], owners[order]
    is_new = np.ones(len(hashes), bool)
    is_new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return hashes[is_new], owners[is_new]


def _topmost(hashes: Hashes, size: int) -> Places:
    return (hashes >> np.uint64(64 - (size.bit_length() - 1))).astype(np.int64)
