"""How much each signal counts: a stated default, moved a little by the panel's known students.

Fitting freely is the trap here: on the development data a logistic regression over twenty scores reached .94 with
clusters left out in turn, and .84 on other models. So: one number a signal, its own separation of known students from
controls (a diagonal linear discriminant, Bickel and Levina 2004), and most of the weight stays the default's.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.pairs import Pairs

Matrix = npt.NDArray[np.float64]

DEFAULT_WEIGHTS = {
    "opening": 2.0,
    "ending": 2.0,
    "templates": 1.0,
    "lexical": 0.5,
    "phrases": 0.5,
    "layout": 2.0,
    "classifier": 0.25,
    "embedding": 0.5,
}
"""How an answer begins, is laid out and ends says most; what stands between is mostly the question's."""
PRIOR_STUDENT_CLUSTERS = 40
"""What the default is worth, in clusters of known students: 20 of them move the weights by a third."""
LEAST_STUDENT_CLUSTERS = 4


def weights_without(stacked: Matrix, names: Sequence[str], pairs: Pairs, without: str | None) -> tuple[Matrix, str]:
    """Weights that sum to 1, and where they come from in a sentence; the cluster `without` has no say.

    `stacked` has shape (signals, models, families).
    """
    default = np.array([DEFAULT_WEIGHTS[name] for name in names], np.float64)
    default /= default.sum()
    cluster = np.array(pairs.cluster)
    usable = ~np.isnan(stacked).any(0) & (cluster != without)[:, None]
    taught, untaught = (
        _by_cluster(stacked, pairs.student & usable, cluster),
        _by_cluster(stacked, pairs.control & usable, cluster),
    )
    if len(taught) < LEAST_STUDENT_CLUSTERS or len(untaught) < LEAST_STUDENT_CLUSTERS:
        return default, f"the default: {len(taught)} clusters of known students are too few to learn from"
    variance = (taught.var(0) + untaught.var(0)) / 2
    learned = np.maximum(taught.mean(0) - untaught.mean(0), 0) / np.maximum(variance, 1e-9)
    if not learned.sum():
        return default, "the default: no signal tells known students from controls"
    moved = len(taught) / (len(taught) + PRIOR_STUDENT_CLUSTERS)
    found: Matrix = (1 - moved) * default + moved * learned / learned.sum()
    return found, f"{moved:.0%} learned from {len(taught)} clusters of known students, the rest the default"


def _by_cluster(stacked: Matrix, mask: npt.NDArray[np.bool_], cluster: npt.NDArray[np.str_]) -> Matrix:
    """Means of the pairs of each cluster, shape (clusters, signals)."""
    rows, columns = np.nonzero(mask)
    names = sorted(set(cluster[rows].tolist()))
    found = [stacked[:, rows[cluster[rows] == name], columns[cluster[rows] == name]].mean(1) for name in names]
    return np.array(found).reshape(len(names), len(stacked))
