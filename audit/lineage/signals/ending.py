"""How two answers close: the last words and signs, and the last characters.

Closing formulas ("I hope this helps", "Overall, …", an offer of more help) are habits that training on outputs passes
on, and that say little about the question. Sun et al. 2025 (arXiv:2502.12150), on characteristic phrases.
It says nothing where answers are cut off: see `truncation`.
"""

from tutelage.audit.lineage.signals.reading import Reading
from tutelage.audit.lineage.words import Bag, characters

LAST_TOKENS = 25
LAST_CHARACTERS = 150


def views(reading: Reading) -> dict[str, Bag]:
    return {
        "last-tokens": reading.tokens.cased[-LAST_TOKENS:],
        "last-characters": characters(reading.text[-LAST_CHARACTERS:]),
    }
