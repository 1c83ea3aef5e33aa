"""Other people's fused heads and compiled layers come to our own loss and gradients. The kernels are for GPUs: here
Triton's interpreter runs their own code, on a CPU."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_student import ALONE, TinyRows, tiny_llama
from torch import nn

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import Loss
from tutelage.train.flops import model_flops_utilisation
from tutelage.train.model.kernels import MODULES, Kernels, fused_head, require_head
from tutelage.train.model.taught import Taught
from tutelage.train.rows.batches import collate, trained_tokens

GPU = torch.device("cuda")
FUSED_HEADS = Path(__file__).resolve().parent.parent / "faults" / "fused_heads.py"


def loss_and_gradients(backend: str | None) -> tuple[float, dict[str, torch.Tensor]]:
    rows = TinyRows([5, 17, 3, 40])
    taught = Taught(tiny_llama(), Loss()).train()
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


@pytest.mark.skipif(
    any(importlib.util.find_spec(module) is None for module in MODULES.values()),
    reason="needs the kernels; `make extras` installs them",
)
def test_a_fused_head_comes_to_our_loss_and_gradients() -> None:
    """Apart by no more than a type's rounding: 6e-8 of a number in fp32, 5e-4 in fp16, 4e-3 in bf16."""
    limits = {"fp32": (1e-6, 1e-5), "fp16": (1e-4, 5e-3), "bf16": (1e-3, 2e-2)}
    run = subprocess.run([sys.executable, FUSED_HEADS], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    found = json.loads(run.stdout)
    assert len(found) == 5
    for case, (loss, gradient) in found.items():
        of_loss, of_gradient = next(limit for name, limit in limits.items() if name in case)
        assert loss < of_loss, case
        assert gradient < of_gradient, case


def test_a_head_with_a_bias_is_refused_where_the_kernels_know_none() -> None:
    with pytest.raises(ConfigError, match="cce, which knows no bias"):
        require_head("cce", nn.Linear(2, 3))
    require_head("cce", nn.Linear(2, 3, bias=False))
    require_head("liger", nn.Linear(2, 3))


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
    require_equal(loss_and_gradients("aot_eager"), loss_and_gradients(None))


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
