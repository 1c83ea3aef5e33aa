"""Controls that are like the suspect in what isn't lineage: as capable, of its time, from the same base.

A verdict that holds against all controls and not against those is one about capability, era or base model.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.calibration import LEAST_CLUSTERS, nulls_without
from tutelage.audit.lineage.contrast import CONFIDENCE, DRAWS, LEAST_BLOCKS
from tutelage.audit.lineage.pairs import Pairs
from tutelage.audit.lineage.panel import Panel
from tutelage.audit.lineage.scores import Scores

Matrix = npt.NDArray[np.float64]

ERA_DAYS = 548
"""A year and a half to either side: about one generation of models."""


class Match(NamedTuple):
    """One comparison with matched controls, in a sentence, and whether the verdict stands up to it."""

    sentence: str
    holds: bool


def matches(
    scores: Scores, pairs: Pairs, panel: Panel, models: Sequence[str], row: int, family: int, nominal: float, seed: int
) -> list[Match]:
    """Comparisons that can be made; those with too few controls are left out without a word of confidence."""
    found = []
    for name, usable in (
        ("nearest in capability", _as_capable(scores, pairs, row, family)),
        (f"released within {ERA_DAYS} days of it", _of_its_era(panel, models, row)),
    ):
        if usable is None:
            continue
        null = nulls_without(scores.total, pairs, pairs.cluster[row], usable)[family]
        if null is None:
            continue
        p = null.tail(float(scores.total[row, family]))
        found.append(
            Match(f"Against the {len(null.values)} controls {name}, p is {_shown(p)} (parametric tail).", p <= nominal)
        )
    same_base = _same_base(scores, pairs, panel, models, row, family, seed)
    return found if same_base is None else [*found, same_base]


def _shown(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"


def _as_capable(scores: Scores, pairs: Pairs, row: int, family: int) -> npt.NDArray[np.bool_] | None:
    """The half of the controls whose share in the consensus is nearest to the suspect's."""
    distance = np.abs(scores.consensus - scores.consensus[row])
    controls = np.flatnonzero(pairs.control[:, family] & (np.array(pairs.cluster) != pairs.cluster[row]))
    if len({pairs.cluster[place] for place in controls}) < 2 * LEAST_CLUSTERS:
        return None
    usable = np.zeros(len(distance), np.bool_)
    nearest = controls[np.argsort(distance[controls], kind="stable")]
    most = max(len(controls) // 2, 1)
    usable[nearest[:most]] = True
    for place in nearest[most:]:  # a half that is few clusters grows until it can be used
        if len({pairs.cluster[other] for other in np.flatnonzero(usable)}) >= LEAST_CLUSTERS:
            break
        usable[place] = True
    return usable


def _of_its_era(panel: Panel, models: Sequence[str], row: int) -> npt.NDArray[np.bool_] | None:
    released = [panel.models[name].released if name in panel.models else None for name in models]
    own = released[row]
    if own is None:
        return None
    day = date.fromisoformat(own)
    return np.array(
        [when is not None and abs((date.fromisoformat(when) - day).days) <= ERA_DAYS for when in released], np.bool_
    )


def _same_base(
    scores: Scores, pairs: Pairs, panel: Panel, models: Sequence[str], row: int, family: int, seed: int
) -> Match | None:
    """The suspect less the models of its base that this family did not teach, by a bootstrap over prompts."""
    entry = panel.models.get(models[row])
    base = entry.base_model if entry is not None else None
    if base is None or len(scores.blocks) < LEAST_BLOCKS:
        return None
    name = pairs.families[family]
    kin = [
        place
        for place, model in enumerate(models)
        if place != row
        and model in panel.models
        and panel.models[model].base_model == base
        and panel.models[model].roles & {"control", "taught"}
        and name not in panel.models[model].taught_by | panel.models[model].maybe_taught_by
        and pairs.cluster[place] != pairs.cluster[row]
        and not np.isnan(scores.total[place, family])
    ]
    if not kin:
        return None
    difference = scores.blocks[:, row, family] - scores.blocks[:, kin, family].mean(1)
    picked = np.random.default_rng(seed).integers(len(difference), size=(DRAWS, len(difference)))
    low = float(np.quantile(difference[picked].mean(1), (1 - CONFIDENCE) / 2))
    return Match(
        f"Against {len(kin)} other model(s) of the base {base} that {name} is not known to have taught, it scores "
        f"{difference.mean():.1f} more (at least {low:.1f} in 95 % of draws of prompts).",
        low > 0,
    )
