"""Are a suspect's answers cut off? Then its endings say nothing, and everybody is compared on as many words.

A harvest with a small `max_tokens`, or somebody who cuts texts to hide where they come from, would else look like no
likeness at all.
"""

import re
from collections.abc import Sequence

import numpy as np

from tutelage.audit.lineage.outputs import Outputs

LEAST_SHARE = 0.5
"""Share of answers that end in the middle of a sentence from which on a model's answers count as cut."""
LEAST_WORDS = 10
_END = re.compile(r"[.!?…:;)\]}>\"'”’»`*_|~。！？」）।॥؟۔።։#-]\s*$")
_WORD = re.compile(r"\S+\s*")


def cut_lengths(outputs: Outputs, suspects: Sequence[str]) -> dict[str, int]:
    """For each suspect whose answers are cut: how many words they have at most, as most of them have.

    An answer ends in the middle where its last sign closes nothing, as 40 words of any longer text do. Answers that all
    end so but differ in length (a chat style without full stops) are not cut.
    """
    found = {}
    for name in suspects:
        if name not in outputs.models:
            continue
        rows = np.flatnonzero(outputs.model_no == outputs.models.index(name))
        texts = [outputs.texts[row] for row in rows.tolist()]
        words = np.array([len(text.split()) for text in texts])
        open_ended = np.array([bool(text.strip()) and not _END.search(text) for text in texts])
        longest = int(np.quantile(words, 0.95)) if len(words) else 0
        if open_ended.mean() < LEAST_SHARE or longest < LEAST_WORDS:
            continue
        # Cut answers stop at one length, or near it where tokens were counted.
        if np.mean(words[open_ended] >= 0.6 * longest) >= 0.9:
            found[name] = longest
    return found


def shortened(outputs: Outputs, words: int) -> Outputs:
    """Every answer's first words, spaces and lines as they were."""
    return outputs._replace(texts=["".join(_WORD.findall(text)[:words]).rstrip() for text in outputs.texts])
