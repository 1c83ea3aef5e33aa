"""Exact phrases that two answers share, weighted by how rare they are among the panel's answers to that prompt.

A phrase of five words that nobody else says to the same prompt counts most; one that half the panel says counts next
to nothing. Verbatim sharing as evidence of training: Carlini et al. 2021 (arXiv:2012.07805), with the per-prompt null
that they lack.
"""

from tutelage.audit.lineage.signals.reading import Reading
from tutelage.audit.lineage.words import Bag, runs

PHRASE_WORDS = 5


def views(reading: Reading) -> dict[str, Bag]:
    return {"phrases": runs(reading.words, PHRASE_WORDS)}
