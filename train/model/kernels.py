"""Other people's fused heads for CUDA, each an extra: the same cross-entropy by other means. That their code comes to
our loss and gradients is tested with Triton's interpreter, on a CPU; on a GPU they are unmeasured."""

import importlib.util
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

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


def require_head(kernels: Kernels, head: nn.Linear) -> None:
    """Raises ConfigError where the kernels don't know what the base's head has."""
    if kernels == "cce" and head.bias is not None:
        raise ConfigError("training.kernels is cce, which knows no bias, and the base's head has one; take it out")


def _liger(hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_N: Tensor) -> Tensor:
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    # Else gradients of a head in half precision are added up in half precision.
    loss = LigerFusedLinearCrossEntropyLoss(reduction="sum", accum_dtype=torch.float32)
    found: Tensor = loss(weight_VH, hidden_NH, targets_N, bias_V)
    return found


def _cce(hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_N: Tensor) -> Tensor:
    from cut_cross_entropy import linear_cross_entropy

    assert bias_V is None, "require_head let a bias through"
    # Its backward leaves out what is below 1/32 of half precision's step (filter_eps), as its paper has it.
    found: Tensor = linear_cross_entropy(hidden_NH, weight_VH, targets_N, reduction="sum")
    return found
