"""Habits of format and markdown: what kind of lines an answer begins with, and how they follow one another.

The first lines only: later ones tell how long an answer is. A line's kind is its first signs with letters and digits
made alike ("#a", "9.", "- ", "**a"), so that no word of the answer is in it. Markdown habits tell models apart: Sun et
al. 2025 (arXiv:2502.12150).
"""

import re

import numpy as np

from tutelage.audit.lineage.signals.reading import Reading
from tutelage.audit.lineage.words import Bag, hashed, placed, runs

FIRST_CHARACTERS = 300
_LETTER, _DIGITS = re.compile(r"[^\W\d_]"), re.compile(r"\d+")


def views(reading: Reading) -> dict[str, Bag]:
    lines = reading.text[:FIRST_CHARACTERS].split("\n")
    kinds = np.array([hashed(_LETTER.sub("a", _DIGITS.sub("9", line.strip()[:8]))[:3]) for line in lines], np.uint64)
    return {"lines": np.concatenate([kinds, runs(kinds, 2), placed(kinds)])}
