"""One classifier a family, against the rest of the panel, over habits that do not depend on the prompt.

The family's teachers against everybody else, as Sun et al. 2025 (arXiv:2502.12150) tell models apart, but by a linear
discriminant in closed form, its covariance shrunk towards a sphere, in place of a fine-tuned encoder. Fitted on other
clusters of prompts than it is asked about. Its scores are inner products as every other view's (answers' habits,
whitened, with a model's mean habits), so centring deals with the panel's negatives and the suspect's own cluster, and
nothing is fitted again for each suspect.
"""

import numpy as np
import numpy.typing as npt
from scipy import linalg

from tutelage.audit.lineage.signals.reading import Reading
from tutelage.audit.lineage.words import root_shares, runs

Floats = npt.NDArray[np.float32]

SIZES = {"signs": 512, "templates": 512, "openings": 256, "endings": 256}
HABITS = sum(SIZES.values())
FOLDS = 5
SHRINKAGE = 0.1


def habits_of(reading: Reading) -> Floats:
    """Square roots of the shares of hashed features, one unit vector a kind, shape (HABITS,).

    Function words and signs, alone and in pairs with every other word blanked; the first and the last three tokens.
    """
    tokens = reading.tokens
    kinds = {
        "signs": tokens.template,
        "templates": np.concatenate([runs(tokens.template, 2), runs(tokens.template, 3)]),
        "openings": np.concatenate([tokens.cased[:3], runs(tokens.cased[:3], 2)]),
        "endings": np.concatenate([tokens.cased[-3:], runs(tokens.cased[-3:], 2)]),
    }
    return np.concatenate(
        [root_shares((kinds[name] % np.uint64(size)).astype(np.int64), size) for name, size in SIZES.items()]
    )


def classifier_products(by_block: Floats) -> Floats:
    """Whitened inner products by block of prompts, shape (blocks, models, models).

    `by_block` are mean habits, shape (blocks, models, HABITS). With one block there is nothing to fit on: all 0.
    """
    blocks, models, _ = by_block.shape
    found = np.zeros((blocks, models, models), np.float32)
    # What all models do on a block is its topic.
    values = by_block.astype(np.float64) - by_block.mean(1, keepdims=True, dtype=np.float64)
    fold = np.arange(blocks) % min(FOLDS, blocks)
    for number in range(int(fold.max()) + 1):
        others, own = fold != number, fold == number
        if not others.any():
            continue
        mean = values[others].mean(0)
        residual = (values[others] - mean).reshape(-1, HABITS)
        covariance = residual.T @ residual / len(residual)
        scale = np.trace(covariance) / HABITS
        if scale <= 0:
            continue
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * scale * np.eye(HABITS)
        whitened = linalg.solve(covariance, mean.T, assume_a="pos")
        asked = values[own] @ whitened
        found[own] = (asked + np.swapaxes(asked, -1, -2)) / 2
    return found
