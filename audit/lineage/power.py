"""What this panel could have seen: a null result is worth as much as the effect it would have shown.

The effect is a typical known student's score; the noise is that of controls (one more model drawn) and of prompts. A
dose is a share of that effect: a model that answers like a known student on a tenth of the prompts scores a tenth of
it. What share of taught training rows leads to which dose is another question, and not answered here.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from tutelage.audit.lineage.calibration import LEAST_CLUSTERS, Null
from tutelage.audit.lineage.pairs import Pairs
from tutelage.audit.lineage.result import Power
from tutelage.audit.lineage.scores import PRIOR_CLUSTERS

Matrix = npt.NDArray[np.float64]

POWER = 0.8
MOST_CLUSTERS = 1_000
LEAST_PROMPTS = 50
"""Prompts under which nothing is decided: fewer than any published attribution reports, and blocks of one prompt."""


def student_scores(total: Matrix, pairs: Pairs, without: str) -> Matrix:
    """Scores of known students against who taught them, the mean of each cluster; the cluster `without` is out."""
    found = []
    for name in dict.fromkeys(pairs.cluster):
        rows = np.array(pairs.cluster) == name
        values = total[rows][pairs.student[rows]]
        values = values[~np.isnan(values)]
        if name != without and len(values):
            found.append(float(values.mean()))
    return np.array(found)


def power_of(
    nulls: Sequence[Null | None], students: Matrix, blocks: Matrix, prompts: int, nominal: float, families: int
) -> Power:
    """`blocks` are the suspect's scores by cluster of prompts, shape (blocks, families): how much prompts add."""
    known = [null for null in nulls if null is not None]
    if not known or not families:
        return Power(
            None,
            None,
            prompts,
            None,
            0,
            None,
            "Too few controls to say what could have been seen.",
        )
    needed_p = nominal / families
    null = sorted(known, key=lambda item: item.score_at(needed_p))[len(known) // 2]
    detectable, controls, clusters = null.score_at(needed_p), len(null.values), null.clusters
    if not len(students):
        return Power(
            detectable,
            None,
            prompts,
            None,
            controls,
            None,
            f"The decision needs a score of {detectable:.1f}; the panel has no known students to say how much that is.",
        )
    effect = float(np.median(students)) - null.mean
    margin = float(stats.norm.ppf(POWER))
    reach = detectable - null.mean + margin * null.deviation  # seen in 4 of 5 cases from here on
    dose = reach / effect if effect > 0 else np.inf
    usable = blocks[:, ~np.isnan(blocks).any(0)]
    by_prompt = float(usable.var(0).mean()) * prompts / len(blocks) if usable.size else 0.0  # variance of one prompt's
    clusters_needed = _clusters_needed(effect / null.deviation, needed_p, margin)
    seen = float(np.mean(students >= detectable))
    return Power(
        detectable,
        float(dose) if dose <= 1 else None,
        prompts,
        _prompts_needed(
            effect / (detectable - null.mean + margin * null.deviation), null.deviation, by_prompt, prompts
        ),
        controls,
        None if clusters_needed is None else int(np.ceil(clusters_needed * controls / clusters)),
        f"The decision needs a score of {detectable:.1f}. The typical known student of this panel scores "
        f"{np.median(students):.1f}; {seen:.0%} of {len(students)} clusters of known students reach what is needed.",
    )


def _prompts_needed(room: float, deviation: float, by_prompt: float, prompts: int) -> int | None:
    """Fewest prompts with which a typical student is seen; None where the models' own deviation is too much already.

    A control's deviation is the models' own and the prompts' together; `room` is what the whole may grow by.
    """
    models = deviation**2 - by_prompt / prompts
    allowed = (room * deviation) ** 2 if room > 0 else 0.0
    if allowed <= models:
        return None
    return max(LEAST_PROMPTS, int(np.ceil(by_prompt / (allowed - max(models, 0.0)))))


def _clusters_needed(effect: float, needed_p: float, margin: float) -> int | None:
    """Fewest clusters of controls with which a typical student, `effect` deviations off, is seen; None if no number."""
    clusters = np.arange(LEAST_CLUSTERS, MOST_CLUSTERS)
    threshold = np.sqrt(1 + 1 / clusters) * stats.t.isf(needed_p, clusters - 1 + PRIOR_CLUSTERS) + margin
    enough = np.flatnonzero(effect >= threshold)
    return int(clusters[enough[0]]) if len(enough) else None
