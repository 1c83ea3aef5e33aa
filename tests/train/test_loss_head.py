"""The chunked core against the dense loss: same value, same gradients, whatever the chunk."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from tutelage.train.config import Loss
from tutelage.train.model.loss_head import Targets, head_loss, position_losses, warn_of_traps
from tutelage.train.model.losses import TeacherTopK

N, H, V, K = 37, 16, 101, 5
TEACHER = {"tokenizer_sha256": "0" * 64, "k": K}
LOSSES = [
    Loss(),
    Loss(kind="forward_kl", teacher=TEACHER),
    Loss(kind="forward_kl", teacher=TEACHER, cross_entropy_share=0.3, temperature=2.0),
    Loss(kind="forward_kl", teacher=TEACHER, tail="renormalise"),
    Loss(kind="reverse_kl", teacher=TEACHER),
    Loss(kind="jsd", teacher=TEACHER, beta=0.2),
]


def tensors(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Targets]:
    random = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        (torch.randn(*shape, generator=random) * scale).to(dtype).requires_grad_()
        for shape, scale in (((N, H), 1.0), ((V, H), 0.3), ((V,), 0.1))
    )
    top = torch.log_softmax(torch.randn(N, V, generator=random) * 2, -1).topk(K)
    ids, logprobs = top.indices.clone(), top.values.clone()
    ids[3], logprobs[3] = -1, torch.nan
    return hidden, weight, bias, Targets(torch.randint(0, V, (N,), generator=random), TeacherTopK(ids, logprobs))


def dense(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Targets, loss: Loss) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return position_losses(logits, targets, loss, None).sum() / 50


@pytest.mark.parametrize("chunk", [1, 8, N, 1000])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.kind}-{loss.tail}-{loss.temperature}")
def test_chunked_is_dense_in_loss_and_gradients(loss: Loss, chunk: int) -> None:
    hidden, weight, bias, targets = tensors()
    expected = dense(hidden, weight, bias, targets, loss)
    gradients = torch.autograd.grad(expected, (hidden, weight, bias))
    found = head_loss(hidden, weight, bias, targets, loss, denominator=50, chunk_rows=chunk)
    assert abs((found - expected).item()) < 1e-6
    for ours, theirs in zip(torch.autograd.grad(found, (hidden, weight, bias)), gradients, strict=True):
        assert (ours - theirs).abs().max() < 1e-6


@pytest.mark.parametrize("loss", LOSSES[:2], ids=lambda loss: loss.kind)
def test_no_trained_position_is_a_loss_of_zero_and_gradients_of_zero(loss: Loss) -> None:
    hidden, weight, bias, targets = tensors()
    teacher = targets.teacher
    assert teacher is not None
    nothing = Targets(targets.ids_N[:0], TeacherTopK(teacher.ids_NK[:0], teacher.logprobs_NK[:0]))
    found = head_loss(hidden[:0], weight, bias, nothing, loss, denominator=50)
    assert found.item() == 0
    for gradient in torch.autograd.grad(found, (hidden, weight, bias)):
        assert not gradient.any()


def test_upstream_factors_and_frozen_weights_are_respected() -> None:
    hidden, weight, _, targets = tensors()
    frozen = weight.detach()
    whole = head_loss(hidden, frozen, None, targets, Loss(), denominator=50, chunk_rows=8)
    (plain,) = torch.autograd.grad(whole, hidden)
    (tripled,) = torch.autograd.grad(3 * head_loss(hidden, frozen, None, targets, Loss(), denominator=50), hidden)
    assert torch.allclose(tripled, 3 * plain, atol=1e-7)


def test_what_is_too_unlikely_for_exp_still_has_its_loss() -> None:
    hidden = torch.zeros(2, 1) + 1
    weight = torch.tensor([[0.0], [200.0], [1.0]]).requires_grad_()
    found = head_loss(hidden, weight, None, Targets(torch.tensor([0, 1])), Loss(), denominator=1)
    assert found.item() == pytest.approx(200.0)


def test_a_nan_in_the_hidden_states_is_a_nan_in_the_loss() -> None:
    hidden, weight, bias, targets = tensors()
    with torch.no_grad():
        hidden[5] = torch.nan
    assert torch.isnan(head_loss(hidden, weight, bias, targets, Loss(), denominator=50))


def test_without_gradients_the_loss_is_the_same() -> None:
    hidden, weight, bias, targets = tensors()
    wanted = head_loss(hidden, weight, bias, targets, Loss(), denominator=50).item()
    with torch.no_grad():
        assert head_loss(hidden, weight, bias, targets, Loss(), denominator=50).item() == pytest.approx(
            wanted, abs=1e-6
        )


def test_in_bfloat16_the_heads_gradient_is_still_summed_in_fp32() -> None:
    hidden, weight, _, targets = tensors(torch.bfloat16)
    exact = [tensor.detach().double().requires_grad_() for tensor in (hidden, weight)]
    expected = torch.autograd.grad(dense(exact[0], exact[1], None, targets, Loss()), exact)
    found = head_loss(hidden, weight, None, targets, Loss(), denominator=50, chunk_rows=1)
    for ours, theirs in zip(torch.autograd.grad(found, (hidden, weight)), expected, strict=True):
        assert (ours.double() - theirs).abs().max() < 0.02 * theirs.abs().max()


def test_random_sampling_goes_through_the_head() -> None:
    hidden, weight, bias, targets = tensors()
    loss = Loss(kind="random_sampling", teacher=TEACHER, samples=4)
    arguments: Any = {"denominator": 50, "chunk_rows": N}
    once, again = (
        head_loss(hidden, weight, bias, targets, loss, generator=torch.Generator().manual_seed(1), **arguments)
        for _ in range(2)
    )
    assert torch.equal(once, again)
    assert torch.isfinite(once)


def test_renormalising_warns_and_the_bucket_does_not() -> None:
    with pytest.warns(UserWarning, match=r"loss\.tail: bucket keeps the teacher's tail"):
        warn_of_traps(LOSSES[3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_traps(LOSSES[1])
