"""Other people's fused heads and compiled layers come to our own loss and gradients. Stand-ins have the published
signatures of the kernels, which need a GPU: that they themselves are right on one is not shown here."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from tiny_student import ALONE, TinyRows, tiny_llama
from torch.nn import functional as F

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import Loss
from tutelage.train.flops import model_flops_utilisation
from tutelage.train.model.kernels import MODULES, Kernels, SumOfLosses, fused_head
from tutelage.train.model.taught import Taught
from tutelage.train.rows.batches import collate, trained_tokens

GPU = torch.device("cuda")


class LigerFusedLinearCrossEntropyLoss:
    """liger_kernel.transformers's: (lin_weight, input, target, bias)."""

    def __init__(self, reduction: str = "mean") -> None:
        self._reduction = reduction

    def __call__(self, lin_weight: Any, _input: Any, target: Any, bias: Any = None) -> Any:
        return F.cross_entropy(F.linear(_input, lin_weight, bias), target, reduction=self._reduction)


def linear_cross_entropy(e: Any, c: Any, targets: Any, bias: Any = None, reduction: str = "mean") -> Any:
    """cut_cross_entropy's: embeddings, classifier, targets."""
    return F.cross_entropy(F.linear(e, c, bias), targets, reduction=reduction)


def installed(monkeypatch: pytest.MonkeyPatch, kernels: Kernels) -> SumOfLosses:
    liger, cce = ModuleType("liger_kernel.transformers"), ModuleType("cut_cross_entropy")
    liger.LigerFusedLinearCrossEntropyLoss = LigerFusedLinearCrossEntropyLoss  # type: ignore[attr-defined]
    cce.linear_cross_entropy = linear_cross_entropy  # type: ignore[attr-defined]
    for name, module in (("liger_kernel", ModuleType("liger_kernel")), (liger.__name__, liger), (cce.__name__, cce)):
        module.__spec__ = object()  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, name, module)
    found = fused_head(kernels, GPU)
    assert found is not None
    return found


def loss_and_gradients(fused: SumOfLosses | None, backend: str | None = None) -> tuple[float, dict[str, torch.Tensor]]:
    rows = TinyRows([5, 17, 3, 40])
    taught = Taught(tiny_llama(), Loss(), fused).train()
    for layer in taught.layers if backend else ():
        layer.compile(backend=backend)  # type: ignore[operator]
    loss = taught(collate(rows.documents(), rows, ALONE.device), trained_tokens(rows.documents(), rows), Loss())
    loss.backward()
    return loss.item(), {name: p.grad for name, p in taught.named_parameters() if p.grad is not None}


def require_equal(one: tuple[float, dict[str, torch.Tensor]], other: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert one[0] == pytest.approx(other[0], abs=1e-6)
    assert len(one[1]) == len(other[1]) > 10
    for left, right in zip(one[1].values(), other[1].values(), strict=True):
        assert (left - right).abs().max() < 1e-6


@pytest.mark.parametrize("kernels", ["liger", "cce"])
def test_a_fused_head_takes_the_place_of_ours(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    require_equal(loss_and_gradients(installed(monkeypatch, kernels)), loss_and_gradients(None))


@pytest.mark.parametrize("kernels", ["liger", "cce"])
def test_fused_heads_are_refused_where_they_can_not_run(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="needs a CUDA GPU; take it out"):
        fused_head(kernels, torch.device("cpu"))
    monkeypatch.setitem(sys.modules, MODULES[kernels], None)
    with pytest.raises(ConfigError, match=r"not installed; pip install 'tutelage\[kernels\]'"):
        fused_head(kernels, GPU)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own, while it traces
def test_compiled_layers_come_to_the_same_gradients() -> None:
    """Traced and differentiated ahead of time, as for a GPU, and then run as they are."""
    require_equal(loss_and_gradients(None, "aot_eager"), loss_and_gradients(None))


@pytest.mark.parametrize(
    ("device", "name", "share"),
    [("cuda", "NVIDIA H100 80GB HBM3", 0.5), ("cuda", "a stranger", None), ("cpu", "", None)],
)
def test_utilisation_is_six_flops_a_parameter_and_token_over_the_dense_peak(
    device: str, name: str, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    tokens_per_s = 989e12 / (6 * 1_000_000_000) / 2
    assert model_flops_utilisation(1_000_000_000, tokens_per_s, torch.device(device)) == (
        None if share is None else pytest.approx(share)
    )
