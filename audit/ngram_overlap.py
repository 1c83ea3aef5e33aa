"""Which items' runs of 13 words stand in a text? The contamination test of GPT-3 (Brown et al. 2020, appendix C)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.postings import Postings, distinct_pairs, owners_of, postings_of
from tutelage.schemas.shingles import Places, Shingles

NGRAM_WORDS = 13
BOILERPLATE_ITEMS = 3
"""A 13-gram in that many different items is instruction or template. Two items may share one because the one is an
edited copy of the other, or quotes the same source: of the 111,633 13-grams of GSM8K's test set 14 stand in two items,
and none in three. The third item is what makes it a form."""


class NgramIndex(NamedTuple):
    """`counts[e]` is the number of distinct 13-grams of entry e that are looked for; `boilerplate` those left out."""

    grams: Postings
    counts: Places
    boilerplate: int


class NgramMatches(NamedTuple):
    """`shares[k]` of the 13-grams of entry `entries[k]` stand in text `texts[k]`, between two of its words."""

    texts: Places
    entries: Places
    shares: npt.NDArray[np.float64]
    first_words: Places
    last_words: Places


def ngram_index(grams: Shingles, words: Places, items: Places) -> NgramIndex:
    """An index of entries (`grams` are their shingles of NGRAM_WORDS, `words` their numbers of words); `items` says
    which item each entry is of."""
    hashes, owners = distinct_pairs(grams.hashes, owners_of(grams.offsets))
    # A text of fewer words has one shingle, the whole of it: that is no 13-gram.
    is_whole = words[owners] >= NGRAM_WORDS
    hashes, owners = hashes[is_whole], owners[is_whole]
    of_items, _ = distinct_pairs(hashes, items[owners])
    distinct, spread = np.unique(of_items, return_counts=True)
    boilerplate = distinct[spread >= BOILERPLATE_ITEMS]
    is_told = ~np.isin(hashes, boilerplate)
    hashes, owners = hashes[is_told], owners[is_told]
    return NgramIndex(postings_of(hashes, owners), np.bincount(owners, minlength=len(words)), len(boilerplate))


def ngram_matches(index: NgramIndex, grams: Shingles) -> NgramMatches:
    """The entries of which texts, given by their shingles of NGRAM_WORDS, hold a 13-gram."""
    places, terms = index.grams.find(grams.hashes)
    owners, sources = index.grams.expand(terms)
    places, terms = places[sources], terms[sources]
    texts = np.searchsorted(grams.offsets, places, side="right") - 1
    order = np.lexsort((places, terms, owners, texts))
    texts, owners, terms, places = texts[order], owners[order], terms[order], places[order]
    # One entry of one text is a group, each of its 13-grams counted once however often the text repeats it.
    is_group = np.ones(len(order), bool)
    is_group[1:] = (texts[1:] != texts[:-1]) | (owners[1:] != owners[:-1])
    is_gram = is_group.copy()
    is_gram[1:] |= terms[1:] != terms[:-1]
    groups = np.flatnonzero(is_group)
    if not len(groups):
        return NgramMatches(groups, groups, np.empty(0), groups, groups)
    texts, owners = texts[groups], owners[groups]
    within = places - np.repeat(grams.offsets[texts], np.diff(np.append(groups, len(order))))
    # Where the text repeats a 13-gram, the place that it first stands at.
    first = np.minimum.reduceat(within, groups)
    last = np.maximum.reduceat(np.where(is_gram, within, 0), groups) + NGRAM_WORDS - 1
    return NgramMatches(
        texts, owners, np.add.reduceat(is_gram.astype(np.int64), groups) / index.counts[owners], first, last
    )
