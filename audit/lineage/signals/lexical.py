"""Likeness of words and of characters over the whole answer.

Words and runs of four characters, weighted by how rare they are on that prompt: the TF-IDF cosine of every published
comparison, but centred on both sides by what any capable model says to the prompt. The weakest of the signals alone
(most of an answer's words are the question's), kept for paraphrased and reordered answers.
"""

from tutelage.audit.lineage.signals.reading import Reading
from tutelage.audit.lineage.words import Bag, characters


def views(reading: Reading) -> dict[str, Bag]:
    return {"words": reading.words, "characters": characters(reading.text)}
