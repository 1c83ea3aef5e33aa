"""Opening agreement: how far two answers begin alike.

A student takes over how its teacher sets out ("Sure! Here are", a restatement of the question) before anything else.
The common prefix with the teacher's answer led every single score on the development data; it is a run from the first
word on, so the answers' lengths hardly touch it. Prefix features: Sun et al. 2025, "Idiosyncrasies in Large Language
Models" (arXiv:2502.12150) find the first words to carry most of what tells models apart.
"""

import numpy as np

from tutelage.audit.lineage.signals.reading import Reading
from tutelage.audit.lineage.words import Bag, placed, prefixes

PREFIX_WORDS = 60
FIRST_WORDS = (4, 12)


def views(reading: Reading) -> dict[str, Bag]:
    """Prefixes of the answer; and its first words as a bag, which forgives an inserted word."""
    few, some = FIRST_WORDS
    return {
        "prefix": prefixes(reading.words, PREFIX_WORDS),
        f"first-{few}": reading.words[:few],
        f"first-{some}": np.concatenate([reading.words[:some], placed(reading.words[:some])]),
    }
