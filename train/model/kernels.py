"""Other people's fused heads for CUDA, each an extra: the same cross-entropy by other means. Unmeasured: they have not
run on a GPU here yet."""

import importlib.util
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from tutelage.schemas.errors import ConfigError

Kernels = Literal["own", "liger", "cce"]
SumOfLosses = Callable[[Tensor, Tensor, Tensor | None, Tensor], Tensor]
"""(hidden [N, H], weight [V, H], bias [V] or None, targets [N]) -> sum of the cross-entropies."""
MODULES = {"liger": "liger_kernel", "cce": "cut_cross_entropy"}


def fused_head(kernels: Kernels, device: torch.device) -> SumOfLosses | None:
    """None for our own. Raises ConfigError where the kernels can't run: they are Triton's, and need a GPU."""
    if kernels == "own":
        return None
    if device.type != "cuda":
        raise ConfigError(f"training.kernels is {kernels}, which needs a CUDA GPU; take it out to use our own")
    if importlib.util.find_spec(MODULES[kernels]) is None:
        raise ConfigError(f"training.kernels is {kernels}, which is not installed; pip install 'tutelage[kernels]'")
    return _liger if kernels == "liger" else _cce


def _liger(hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_N: Tensor) -> Tensor:
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    found: Tensor = LigerFusedLinearCrossEntropyLoss(reduction="sum")(weight_VH, hidden_NH, targets_N, bias_V)
    return found


def _cce(hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_N: Tensor) -> Tensor:
    from cut_cross_entropy import linear_cross_entropy

    found: Tensor = linear_cross_entropy(hidden_NH, weight_VH, targets_N, bias=bias_V, reduction="sum")
    return found
