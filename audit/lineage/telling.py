"""The prompts on which a suspect and a teacher share what hardly anybody else says."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.outputs import Outputs
from tutelage.audit.lineage.result import TellingPrompt
from tutelage.audit.lineage.signals.phrases import PHRASE_WORDS
from tutelage.schemas.text import normalise

MOST = 6
MOST_PHRASES = 12


def telling_prompts(
    outputs: Outputs,
    phrases: npt.NDArray[np.float16],
    suspect: int,
    teachers: Sequence[int],
    columns: Sequence[int],
    references: Sequence[int],
) -> tuple[TellingPrompt, ...]:
    """The most telling ones, the rarest sharing first.

    `phrases[p, m, c]` is how much model m shares on prompt p with the teacher `teachers[c]`; `references` are the
    models that say how rare it is.
    """
    if not len(columns):
        return ()
    shared = phrases[:, suspect][:, columns].astype(np.float32)
    usual = phrases[:, list(references)][:, :, columns].astype(np.float32).mean(1) if len(references) else 0
    excess = shared - usual
    best = excess.max(1)
    found = []
    for prompt in np.argsort(-best, kind="stable")[: 2 * MOST].tolist():
        teacher = teachers[columns[int(excess[prompt].argmax())]]
        item = _telling(outputs, prompt, suspect, teacher, references)
        if item is not None:
            found.append(item)
    return tuple(sorted(found, key=lambda item: -item.surprise)[:MOST])


def _telling(
    outputs: Outputs, prompt: int, suspect: int, teacher: int, references: Sequence[int]
) -> TellingPrompt | None:
    rows = range(*np.searchsorted(outputs.prompt_no, [prompt, prompt + 1]).tolist())
    by_model: dict[int, list[str]] = {}
    for row in rows:
        by_model.setdefault(int(outputs.model_no[row]), []).append(outputs.texts[row])
    theirs, ours = _phrases(by_model[teacher]), _phrases(by_model[suspect])
    asked = _phrases([outputs.prompts[prompt]])
    others = [_phrases(by_model[other]) for other in references if other in by_model]
    # In the suspect's order, so that what overlaps stands together.
    shared = [phrase for phrase in ours if phrase in theirs and phrase not in asked]
    if not shared:
        return None
    rarity = {phrase: np.log((len(others) + 1) / (1 + sum(phrase in other for other in others))) for phrase in shared}
    # Phrases that overlap tell one thing, so many of them count as their words do.
    surprise = float(sum(rarity.values())) / PHRASE_WORDS
    rarest = sorted(shared, key=lambda phrase: -rarity[phrase])[:MOST_PHRASES]
    return TellingPrompt(
        outputs.prompt_ids[prompt],
        outputs.prompts[prompt],
        outputs.models[teacher],
        by_model[suspect][0],
        by_model[teacher][0],
        surprise,
        tuple(rarest),
    )


def _phrases(texts: Sequence[str]) -> dict[str, None]:
    """Runs of words in normal form, in their order."""
    found: dict[str, None] = {}
    for text in texts:
        words = normalise(text).split()
        for start in range(len(words) - PHRASE_WORDS + 1):
            found[" ".join(words[start : start + PHRASE_WORDS])] = None
    return found
