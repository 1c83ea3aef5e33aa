"""Which families are a question for a suspect, and what their controls say of it, corrected for many questions."""

from collections.abc import Sequence
from typing import NamedTuple

from tutelage.audit.lineage.calibration import Null, PValue, benjamini_hochberg, holm, nulls_without, p_value
from tutelage.audit.lineage.pairs import Pairs
from tutelage.audit.lineage.panel import Panel
from tutelage.audit.lineage.scores import Scores


class Questions(NamedTuple):
    """A suspect's families (their places), in the panel's order, with what their controls say of it. `tested` are those
    that the correction is for; the others are compared only."""

    row: int
    families: tuple[int, ...]
    tested: tuple[int, ...]
    nulls: list[Null | None]
    p_values: dict[int, PValue]
    holm: dict[int, float]


def questions_of(
    scores: Scores, pairs: Pairs, panel: Panel, models: Sequence[str], name: str, nominal: float, asked: Sequence[str]
) -> Questions:
    """Holm's correction within the suspect, over the families that are a question for it (`left_out`); with `asked`
    over those alone. `nominal` is what the smallest p-value of one suspect may have to reach."""
    row = models.index(name)
    families = tuple(place for place in range(len(pairs.families)) if left_out(pairs, row, place, name, panel) is None)
    nulls = nulls_without(scores.total, pairs, pairs.cluster[row])
    tested = tuple(place for place in families if not asked or pairs.families[place] in asked)
    needed = nominal / max(len(tested), 1)
    p_values = {place: p_value(float(scores.total[row, place]), nulls[place], needed) for place in families}
    known = {place: p for place in tested if (p := p_values[place].p) is not None}
    corrected = dict(zip(known, holm(list(known.values())), strict=True))
    return Questions(row, families, tested, nulls, p_values, corrected)


def left_out(pairs: Pairs, row: int, place: int, name: str, panel: Panel) -> str | None:
    """Why a family is no question for a suspect, in a sentence; None where it is one."""
    family, entry = pairs.families[place], panel.models.get(name)
    if pairs.teacher[row, place]:
        return f"It is a teacher of {family}, so that is not asked."
    if pairs.impossible[row, place]:
        return f"{family} can't have taught it, as it came out later or the panel says so: not asked."
    if entry is None:
        return None
    if family in entry.maybe_taught_by:
        return f"The panel says that {family} may have taught it: left out, as neither answer could be wrong."
    made_from = {panel.models[kin].family for kin in (entry.parent, entry.base_model) if kin in panel.models}
    if family in made_from and "variant" not in entry.roles:
        return f"It was made from a model of {family}, whose likeness it inherits: not asked."
    return None


def across_suspects(questions: dict[str, Questions]) -> dict[str, dict[int, float]]:
    """Benjamini and Hochberg over the suspects' smallest p-values; a suspect's others grow by as much."""
    smallest = {name: min(found.holm.values()) for name, found in questions.items() if found.holm}
    grown = dict(zip(smallest, benjamini_hochberg(list(smallest.values())), strict=True))
    return {
        name: {
            # Where nothing grew the value stays as it is: rounding must not decide at the level.
            place: min(1.0, p * grown[name] / smallest[name]) if smallest.get(name, 0) < grown.get(name, 0) else p
            for place, p in found.holm.items()
        }
        for name, found in questions.items()
    }
