"""What asks the attention kernels for CUDA, as far as a CPU can tell: who sees whom, in which shapes, by what names."""

import itertools
from typing import Any
from unittest.mock import create_autospec

import pytest
import torch
from tiny_student import ALONE
from torch.nn.attention import varlen
from torch.nn.attention.flex_attention import flex_attention

from tutelage.train.model import attention_cuda
from tutelage.train.model.attention import boundaries, packed_attention


@pytest.mark.parametrize("window", [None, 4])
def test_the_mask_for_gpu_kernels_is_what_the_cpu_attends_to(window: int | None) -> None:
    lengths = [3, 7, 1, 6]
    where = boundaries(lengths, ALONE.device, slots=10)
    total = sum(lengths)
    visible = attention_cuda.sees(where.cumulative, total, window)
    place = torch.arange(total)
    found = visible(0, 0, place[:, None], place[None])
    expected = torch.zeros(total, total, dtype=torch.bool)
    start = 0
    for length in lengths:
        for q in range(length):
            for k in range(q + 1):
                expected[start + q, start + k] = window is None or q - k < window
        start += length
    assert torch.equal(found, expected)
    assert len(where.cumulative) == 11
    assert int(where.cumulative[-1]) == total


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kernel", ["flex", "varlen"])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("heads", [2, 4])
def test_what_asks_the_gpu_kernels_comes_to_what_the_cpu_does(
    kernel: str, window: int | None, heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flex attention is torch's own, not compiled, and on a CPU without a backward. The flash kernel has no form for a
    CPU: what stands in keeps to its signature, and to its documents as cumulative lengths, some of them empty."""
    monkeypatch.setattr(attention_cuda, "_compiled_flex", lambda: flex_attention)
    monkeypatch.setattr(varlen, "varlen_attn", create_autospec(varlen.varlen_attn, side_effect=reference_varlen))
    torch.manual_seed(0)
    shapes = [(1, 4, 17, 8), (1, heads, 17, 8), (1, heads, 17, 8)]
    dtype = torch.float32 if kernel == "flex" else torch.bfloat16
    tensors = [torch.randn(shape).to(dtype).requires_grad_(kernel == "varlen") for shape in shapes]
    where = boundaries([3, 7, 1, 6], ALONE.device, slots=10)
    found = {}
    for name, attend in (("gpu", attention_cuda.attend), ("cpu", on_cpu)):
        out = attend(*tensors, where, scaling=0.3, window=window)
        found[name] = [out]
        if out.requires_grad:
            weights = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
            found[name] += torch.autograd.grad((out.float() * weights).sum(), tensors)
    for one, other in zip(found["gpu"], found["cpu"], strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one.float(), other.float(), atol=1e-6 if kernel == "flex" else 3e-2)
    asked = varlen.varlen_attn.call_count  # type: ignore[attr-defined]
    assert asked == (1 if kernel == "varlen" else 0)


def on_cpu(*tensors: Any, scaling: float, window: int | None) -> torch.Tensor:
    *qkv, where = tensors
    module = torch.nn.Module()
    return packed_attention(module, *qkv, None, scaling=scaling, sliding_window=window, tutelage_boundaries=where)[0]


def reference_varlen(
    query_TQD: torch.Tensor,
    key_TGD: torch.Tensor,
    value_TGD: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What torch documents of varlen_attn: -1 is no limit, else so many positions to the left and right are seen."""
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert (cu_seq_q.dtype, int(cu_seq_q[-1])) == (torch.int32, len(query_TQD))
    assert max_q == max_k == int(cu_seq_q.diff().max())
    groups = query_TQD.shape[1] // key_TGD.shape[1]
    assert enable_gqa is (groups > 1)
    left, right = window_size
    assert right == 0
    key, value = (tensor.repeat_interleave(groups, 1) for tensor in (key_TGD, value_TGD))
    pieces = []
    for start, end in itertools.pairwise(cu_seq_q.tolist()):
        place = torch.arange(end - start)
        behind = place[:, None] - place[None]
        seen = (behind >= 0) & ((behind <= left) | torch.tensor(left == -1))
        scores = torch.einsum("qhd,khd->hqk", query_TQD[start:end], key[start:end]) * scale
        share = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        pieces.append(torch.einsum("hqk,khd->qhd", share, value[start:end]))
    return torch.cat(pieces)
