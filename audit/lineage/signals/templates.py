"""How sentences are built: function words and signs in a row with every other word blanked, and how sentences begin.

Part-of-speech templates tell students' teachers apart where the words themselves do not: Wadhwa et al. 2025, "Who
Taught You That? Tracing Teachers in Model Distillation" (ACL Findings, arXiv:2502.06659). Function words stand in for
tags, as in authorship attribution since Mosteller and Wallace 1963: no tagger, and the same in every run.
"""

import numpy as np

from tutelage.audit.lineage.signals.reading import Reading
from tutelage.audit.lineage.words import Bag, runs

TEMPLATE_LENGTH = 4


def views(reading: Reading) -> dict[str, Bag]:
    """Templates of four tokens; the first two and the first three words of every sentence or line."""
    tokens = reading.tokens
    sentence = np.cumsum(tokens.ends)[tokens.is_word]
    first = np.flatnonzero(np.diff(sentence, prepend=-1))
    twos, threes = runs(reading.words, 2), runs(reading.words, 3)
    starts = [twos[first[first < len(twos)]], threes[first[first < len(threes)]]]
    return {"templates": runs(tokens.template, TEMPLATE_LENGTH), "sentence-starts": np.concatenate(starts)}
