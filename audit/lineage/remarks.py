"""What is special about a suspect's input, and what it says of itself: told beside its scores, and part of none."""

from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.audit.lineage.outputs import LEAST_ANSWERED, Outputs
from tutelage.audit.lineage.pairs import Pairs
from tutelage.audit.lineage.panel import Panel
from tutelage.audit.lineage.questions import left_out
from tutelage.audit.lineage.result import SelfIdentification
from tutelage.audit.lineage.scores import Scores
from tutelage.schemas.self_identification import QUICK_LOOKS, self_identifications
from tutelage.schemas.text import normalise


def remarks(outputs: Outputs, pairs: Pairs, scores: Scores, panel: Panel, row: int, cut: int | None) -> tuple[str, ...]:
    """`row` is the suspect's number among the models, `cut` the words that everybody was cut to."""
    found = []
    if cut is not None:
        found.append(f"Its answers seem cut off: all were compared on their first {cut} words, and endings not at all.")
    for place in range(len(pairs.families)):
        why = left_out(pairs, row, place, outputs.models[row], panel)
        if why is not None:
            found.append(why)
    lacking = [
        signal
        for signal, values in scores.signals.items()
        if np.isnan(values[row]).all() and not np.isnan(scores.total[row]).all()
    ]
    if lacking:
        found.append(f"Nothing could be said of its {', '.join(lacking)}: counted as a control's would be.")
    texts = _texts(outputs, row)
    if len(texts) > 1 and len(set(texts)) == 1:
        found.append("All its answers are the same text.")
    empty = sum(not text.strip() for text in texts)
    if empty:
        too_few = ", too many for it to be compared" if empty > (1 - LEAST_ANSWERED) * len(texts) else ""
        found.append(f"{empty:,} of its {len(texts):,} answers are empty{too_few}.")
    return tuple(found)


def _texts(outputs: Outputs, row: int) -> list[str]:
    return [outputs.texts[place] for place in np.flatnonzero(outputs.model_no == row).tolist()]


def self_identification(outputs: Outputs, row: int) -> SelfIdentification:
    places = np.flatnonzero(outputs.model_no == row)
    normal = pa.array([normalise(outputs.texts[place]) for place in places.tolist()], pa.large_string())
    likely = reduce(pc.and_, (pc.match_substring_regex(normal, look) for look in QUICK_LOOKS))
    labels: dict[str, set[int]] = {}
    for place, text in zip(
        places[likely.to_numpy(zero_copy_only=False)], normal.filter(likely).to_pylist(), strict=True
    ):
        for label in self_identifications(text):
            labels.setdefault(label, set()).add(int(outputs.prompt_no[place]))
    return SelfIdentification(
        len(outputs.prompt_ids), {label: len(prompts) for label, prompts in sorted(labels.items())}
    )
