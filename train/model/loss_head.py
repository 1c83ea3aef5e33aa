"""The loss and its gradients in one pass over chunks of trained positions: logits never exist for more than a chunk.

A loss over a vocabulary of 49,152 spends most of its memory on logits and their gradient. Here each chunk's gradient is
made while its logits are at hand (as in Liger, Hsu et al. 2024), and backward only hands it on. Positions that are not
trained never come here. Gradients of the head are summed in fp32, whatever the model computes in.

N trained positions, H hidden size, V vocabulary, K of the teacher's logprobs.
"""

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tutelage.train.config import Loss
from tutelage.train.model.losses import (
    TeacherTopK,
    cross_entropy,
    forward_kl,
    jsd,
    random_sampling,
    renormalised_kl,
    reverse_kl,
)

CHUNK_ROWS = 256
"""Fastest of 64 to 512 on two cores at V = 49,152, where a chunk of fp32 logits is 50 MB."""


class Targets(NamedTuple):
    """What N positions are trained towards."""

    ids_N: Tensor
    teacher: TeacherTopK | None = None


def warn_of_traps(loss: Loss) -> None:
    if loss.needs_logits and loss.tail == "renormalise":
        warnings.warn(
            "loss.tail is renormalise: the student learns to give the teacher's top k nearly all of the probability, "
            "whatever the teacher gave them; loss.tail: bucket keeps the teacher's tail",
            stacklevel=2,
        )


def head_loss(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets: Targets,
    loss: Loss,
    *,
    denominator: int,
    generator: torch.Generator | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> Tensor:
    """Sum of the positions' losses over `denominator`, fp32: the number of trained tokens of the whole step on all
    ranks, so that neither accumulation nor the number of ranks weighs one token more than another."""
    arguments = (targets, loss, denominator, generator, chunk_rows)
    total: Tensor = _HeadLoss.apply(hidden_NH, weight_VH, bias_V, arguments)  # type: ignore[no-untyped-call]
    return total


def position_losses(logits_NV: Tensor, targets: Targets, loss: Loss, generator: torch.Generator | None) -> Tensor:
    """One loss a position, fp32: the config's mix. Where the teacher gave no logprobs (the end of turn),
    cross-entropy."""
    if not loss.needs_logits:
        return cross_entropy(logits_NV, targets.ids_N)
    teacher = targets.teacher
    assert teacher is not None, "a loss that needs logits got none"
    if loss.tail == "renormalise" and loss.kind == "forward_kl":
        distilled = renormalised_kl(logits_NV, teacher, temperature=loss.temperature)
    elif loss.kind == "forward_kl":
        distilled = forward_kl(logits_NV, teacher, temperature=loss.temperature)
    elif loss.kind == "reverse_kl":
        distilled = reverse_kl(logits_NV, teacher, temperature=loss.temperature)
    elif loss.kind == "jsd":
        distilled = jsd(logits_NV, teacher, beta=loss.beta, temperature=loss.temperature)
    else:
        assert generator is not None, "random sampling needs a generator"
        distilled = random_sampling(logits_NV, teacher, samples=loss.samples, generator=generator)
    share = torch.where(teacher.has_teacher_N, loss.cross_entropy_share, 1.0)
    return share * cross_entropy(logits_NV, targets.ids_N) + (1 - share) * distilled


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        arguments: tuple[Targets, Loss, int, torch.Generator | None, int],
    ) -> Tensor:
        targets, loss, denominator, generator, chunk_rows = arguments
        wanted_hidden, wanted_weight, wanted_bias, _ = ctx.needs_input_grad
        rows, vocabulary = len(hidden_NH), len(weight_VH)
        total = torch.zeros((), device=hidden_NH.device)
        grad_hidden = torch.empty_like(hidden_NH) if wanted_hidden else None
        grad_weight = torch.zeros_like(weight_VH, dtype=torch.float32) if wanted_weight else None
        grad_bias = torch.zeros(vocabulary, device=hidden_NH.device) if wanted_bias else None
        scale = 1 / max(denominator, 1)
        # In the hidden states' type; the gradient is of the weight as it is kept.
        computing_VH = weight_VH.to(hidden_NH.dtype)
        # One for all chunks: memory of this size goes back to the system, and each page would be asked for anew.
        chunk = hidden_NH.new_empty(min(rows, chunk_rows), vocabulary)
        for start in range(0, rows, chunk_rows):
            hidden = hidden_NH[start : start + chunk_rows]
            logits = torch.mm(hidden, computing_VH.T, out=chunk[: len(hidden)])
            if bias_V is not None:
                logits += bias_V
            part = _part(targets, slice(start, start + chunk_rows))
            losses, grad_logits = _losses_and_gradient(logits.float(), part, loss, generator, any(ctx.needs_input_grad))
            total += losses.sum() * scale
            if grad_logits is None:
                continue
            if grad_bias is not None:
                grad_bias.add_(grad_logits.sum(0), alpha=scale)
            computed = grad_logits.to(hidden.dtype)
            if grad_hidden is not None:
                torch.addmm(
                    hidden, computed, computing_VH, beta=0, alpha=scale, out=grad_hidden[start : start + chunk_rows]
                )
            if grad_weight is not None and grad_weight.dtype == hidden.dtype:
                grad_weight.addmm_(computed.T, hidden, alpha=scale)
            elif grad_weight is not None:
                grad_weight.add_(computed.T @ hidden, alpha=scale)
        ctx.grads = (grad_hidden, grad_weight, grad_bias)
        ctx.dtypes = (weight_VH.dtype, None if bias_V is None else bias_V.dtype)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (factor,) = upstream
        grads, ctx.grads = ctx.grads, None
        if factor != 1:
            for grad in grads:
                if grad is not None:
                    grad.mul_(factor)
        hidden, weight, bias = grads
        weight_dtype, bias_dtype = ctx.dtypes
        return (
            hidden,
            None if weight is None else weight.to(weight_dtype),
            None if bias is None else bias.to(bias_dtype),
            None,
        )


def _part(targets: Targets, rows: slice) -> Targets:
    teacher = targets.teacher
    some = TeacherTopK(teacher.ids_NK[rows], teacher.logprobs_NK[rows]) if teacher is not None else None
    return Targets(targets.ids_N[rows], some)


def _losses_and_gradient(
    logits_NV: Tensor, targets: Targets, loss: Loss, generator: torch.Generator | None, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    if not loss.needs_logits and wanted:
        return _cross_entropy_and_gradient(logits_NV, targets.ids_N)
    with torch.set_grad_enabled(wanted):
        logits = logits_NV.detach().requires_grad_(wanted)
        losses = position_losses(logits, targets, loss, generator)
        grad = torch.autograd.grad(losses.sum(), logits)[0] if wanted else None
    return losses.detach(), grad


def _cross_entropy_and_gradient(logits_NV: Tensor, ids_N: Tensor) -> tuple[Tensor, Tensor]:
    """The same by hand, d loss / d z = softmax(z) - onehot, in half the passes over the logits, which it overwrites."""
    # amax: max, which also says where, takes five times as long.
    largest, of_target = logits_NV.amax(-1, keepdim=True), logits_NV.gather(1, ids_N[:, None])
    probabilities = torch.softmax(logits_NV, -1, out=logits_NV)
    # log softmax of the target, by way of the likeliest token: exp() has lost what is very unlikely.
    losses = (largest - of_target - probabilities.amax(-1, keepdim=True).log()).squeeze(1)
    probabilities.scatter_add_(1, ids_N[:, None], torch.full_like(of_target, -1.0))
    return losses, probabilities
