"""Does a text hold an item whose words were partly replaced? Ordered word overlap, where no 13 words in a row survive.

Candidates are found by an item's rarest words: some of them have to stand close together in the text. A candidate is
verified by the longest common subsequence of words, between the item and a window of the text half as long again as
the item, divided by the item's words; so a long text does not match by chance.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.postings import Postings, distinct_pairs, owners_of, postings_of
from tutelage.schemas.shingles import Hashes, Places, Shingles, shingles_of

Words = npt.NDArray[np.uint32]

RAREST_WORDS = 12
LONGEST_ITEM = 512
"""Words of an item that are compared; what is behind them is left to the 13-grams."""
MOST_FREQUENT = 0.05
"""A word in a larger share of items and texts tells no item from another..."""
ALWAYS_RARE = 20
"""...unless there are so few that the share has no meaning."""
LONGEST_POSTING = 1000
"""Bounds the cost of a word that many items of a large benchmark share."""
BYTES_AT_ONCE = 1 << 22
LEAST_SHARE = 0.5
"""Between what unrelated texts share by chance (of 95,066 answers 28 had 0.35 of a GSM8K text, 6 had 0.4, one 0.469)
and the 0.6 that is to be found. Word problems of one form do share more; contamination.py has the figures."""
COMMON_WORDS = (
    "a about after all also am an and any are as at back be because been but by can come could day did do does each "
    "even find first for from get give go good had has have he her him his how i if in into is it its just know like "
    "look made make many may me more most much my new no not now of on one only or other our out over people s say see "
    "she should so some such t take tell than that the their them then there these they think this those time to two "
    "up us use want was way we well were what when where which who why will with would write year you your"
)
"""Never rare, however small the benchmark: about the hundred commonest words of English, and those of instructions."""


class NearIndex(NamedTuple):
    """`words` are the items' words in order; `needed[i]` of item i's rarest have to stand within `windows[i]` words.

    `needed` is 0 for an item with too few rare words: it can't be found.
    """

    rarest: Postings
    words: Shingles
    needed: Places
    windows: Places
    strides: Places


class NearMatches(NamedTuple):
    """`shares[k]` of the words of item `items[k]` are in text `texts[k]` in order, from word `first_words[k]` on."""

    texts: Places
    items: Places
    shares: npt.NDArray[np.float64]
    first_words: Places


def near_index(words: Shingles, seen: Shingles) -> NearIndex:
    """An index of items by their words (`words`, at most LONGEST_ITEM each); `seen` are words of the audited texts,
    which tell the rare from the common."""
    lengths = np.diff(words.offsets)
    hashes, owners = distinct_pairs(words.hashes, owners_of(words.offsets))
    vocabulary, which = np.unique(hashes, return_inverse=True)
    frequency = np.bincount(which, minlength=len(vocabulary))
    most = max(MOST_FREQUENT * (len(lengths) + len(seen.offsets) - 1), ALWAYS_RARE)
    is_rare = ~np.isin(vocabulary, shingles_of([COMMON_WORDS], 1).hashes) & (frequency <= LONGEST_POSTING)
    if len(vocabulary):
        others, _ = distinct_pairs(seen.hashes, owners_of(seen.offsets))
        places = np.minimum(np.searchsorted(vocabulary, others), len(vocabulary) - 1)
        frequency += np.bincount(places[vocabulary[places] == others], minlength=len(vocabulary))
    is_rare &= frequency <= most
    # Of each item the rarest first; of equally rare ones the smaller hash, so that the choice is always the same.
    order = np.lexsort((hashes, frequency[which], owners))
    order = order[is_rare[which[order]]]
    ranked = owners[order]
    rank = np.arange(len(ranked)) - np.searchsorted(ranked, ranked)
    chosen = order[rank < RAREST_WORDS]
    counts = np.bincount(owners[chosen], minlength=len(lengths))
    windows = -(-lengths * 3 // 2)
    return NearIndex(
        postings_of(hashes[chosen], owners[chosen]), words, _needed(counts), windows, np.maximum(lengths // 2, 1)
    )


def near_matches(index: NearIndex, words: Shingles) -> NearMatches:
    """The items that stand in texts given by their words; of each pair the window that holds most."""
    pairs, starts = _candidates(index, words)
    items = len(index.windows)
    texts, found = np.divmod(pairs, items)
    lengths = np.diff(index.words.offsets)[found]
    ends = words.offsets[texts + 1]
    first = words.offsets[texts] + starts
    common = common_words(
        index.words.hashes,
        index.words.offsets[found],
        lengths,
        words.hashes,
        first,
        np.minimum(index.windows[found], ends - first),
    )
    shares = common / np.maximum(lengths, 1)
    keep = shares >= LEAST_SHARE
    # The largest share of each pair first, and of equal ones the window that comes first.
    order = np.lexsort((starts[keep], -shares[keep], pairs[keep]))
    kept = pairs[keep][order]
    best = order[np.concatenate([[True], kept[1:] != kept[:-1]])[: len(kept)]]
    return NearMatches(texts[keep][best], found[keep][best], shares[keep][best], starts[keep][best])


def _needed(counts: Places) -> Places:
    """How many of an item's rarest words have to stand together, a third of them: at 60 % overlap 7 of 12 are
    expected, and 3 or fewer come up in 1.5 % of items."""
    needed = np.maximum(-(-counts // 3), 3)
    return np.where(counts >= needed, needed, 0)


def _candidates(index: NearIndex, words: Shingles) -> tuple[Places, Places]:
    """Pairs as `text * items + item`, with the first words of the windows of the text that are worth a comparison."""
    items = len(index.windows)
    places, terms = index.rarest.find(words.hashes)
    texts = np.searchsorted(words.offsets, places, side="right") - 1
    # Distinct words of the whole text first: that leaves few pairs whose places have to be looked at.
    distinct = np.unique(texts * len(index.rarest.hashes) + terms)
    owners, sources = index.rarest.expand(distinct % max(len(index.rarest.hashes), 1))
    keys = distinct[sources] // max(len(index.rarest.hashes), 1) * items + owners
    pairs, counts = np.unique(keys, return_counts=True)
    pairs = pairs[counts >= index.needed[pairs % items]]
    owners, sources = index.rarest.expand(terms)
    keys = texts[sources] * items + owners
    nearest = np.minimum(np.searchsorted(pairs, keys), max(len(pairs) - 1, 0))
    is_kept = pairs[nearest] == keys if len(pairs) else np.zeros(len(keys), bool)
    keys, sources = keys[is_kept], sources[is_kept]
    order = np.argsort(keys, kind="stable")
    keys, sources = keys[order], sources[order]
    where, terms = places[sources] - words.offsets[texts[sources]], terms[sources]
    found = [_runs(index, keys, where, terms, needed) for needed in np.unique(index.needed[index.needed > 0]).tolist()]
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    both = np.unique(np.concatenate(found), axis=0)
    return both[:, 0], both[:, 1]


def _runs(index: NearIndex, keys: Places, where: Places, terms: Places, needed: int) -> Places:
    """Pairs and window starts, for items that need `needed` words: those many different ones within a window."""
    last = len(keys) - needed + 1
    if last <= 0:
        return np.empty((0, 2), np.int64)
    items = keys[:last] % len(index.windows)
    spans = where[needed - 1 :] - where[:last]
    is_run = (keys[needed - 1 :] == keys[:last]) & (spans < index.windows[items]) & (index.needed[items] == needed)
    starts = np.flatnonzero(is_run)
    run_terms = np.sort(np.stack([terms[starts + step] for step in range(needed)]), axis=0)
    starts = starts[(run_terms[1:] != run_terms[:-1]).all(axis=0)]
    item, stride = items[starts], index.strides[items[starts]]
    # Windows start at multiples of the stride: from the first that still holds the run's last word...
    first = np.maximum(-(-(where[starts + needed - 1] - index.windows[item] + 1) // stride), 0)
    # ...to the last that still holds its first word.
    counts = where[starts] // stride - first + 1
    sources = np.repeat(np.arange(len(starts)), counts)
    steps = np.arange(len(sources)) - (np.cumsum(counts) - counts)[sources]
    return np.stack([keys[starts][sources], (first[sources] + steps) * stride[sources]], axis=1)


def common_words(
    left: Hashes, left_starts: Places, left_lengths: Places, right: Hashes, right_starts: Places, right_lengths: Places
) -> Places:
    """Lengths of the longest common subsequences of many pairs of stretches of two flat arrays.

    Bit-parallel (Hyyrö 2004, after Crochemore et al. 2001), all pairs at once: a bit for each word of the left, a step
    for each word of the right. About 5 us for 45 against 68 words.
    """
    lengths = np.zeros(len(left_starts), np.int64)
    # Alike in size together, so that little of the rectangles is padding.
    order = np.lexsort((right_lengths, -(-left_lengths // 64)))
    start = 0
    while start < len(order):
        limbs = -(-int(left_lengths[order[start]]) // 64)
        widest = int(right_lengths[order[start:]].max())
        most = max(1, BYTES_AT_ONCE // max(limbs * 64 * widest, 1))
        some = order[start : start + most]
        some = some[-(-left_lengths[some] // 64) == limbs]
        lefts = _rectangle(left, left_starts[some], left_lengths[some], limbs * 64, 0)
        rights = _rectangle(right, right_starts[some], right_lengths[some], int(right_lengths[some].max()), 1)
        lengths[some] = _lcs(lefts, rights)
        start += len(some)
    return lengths


def _rectangle(flat: Hashes, starts: Places, lengths: Places, width: int, padding: int) -> Words:
    columns = np.arange(width)
    is_inside = columns < lengths[:, None]
    rectangle = flat[np.where(is_inside, starts[:, None] + columns, 0)].astype(np.uint32)
    rectangle[~is_inside] = padding
    return rectangle


def _lcs(lefts: Words, rights: Words) -> Places:
    """Of each row; `lefts` has a multiple of 64 columns. V' = (V + (V & M)) | (V & ~M): a zero of V is one word."""
    rows, width = lefts.shape
    masks = np.packbits(rights[:, :, None] == lefts[:, None, :], axis=2, bitorder="little").view("<u8")
    rest = np.full((rows, width // 64), ~np.uint64(0))
    for step in range(rights.shape[1]):
        carry = np.zeros(rows, np.uint64)
        for limb in range(width // 64):
            mask, old = masks[:, step, limb], rest[:, limb]
            matched = old & mask
            with_match = old + matched
            total = with_match + carry
            carry = ((with_match < old) | (total < with_match)).astype(np.uint64)
            rest[:, limb] = total | (old & ~mask)
    unmatched: Places = np.bitwise_count(rest).sum(axis=1, dtype=np.int64)
    common: Places = width - unmatched
    return common
