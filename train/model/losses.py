"""What a trained token costs, as pure functions of logits: no chunks, no reduction, no I/O.

N trained positions, V vocabulary, K of the teacher's top logprobs, B = K + 1 buckets: one for each of the top K tokens,
and one for all the others together (the tail). Everything is fp32, in nats, one value a position: callers reduce.

A teacher's row that has fewer than K logprobs holds id -1 there; `has_teacher` tells the rows that have any.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

TAIL_FLOOR = 1e-6
"""Least tail that a teacher is believed to have where the loss divides by it (reverse KL): its logprobs are fp32 of
rounded text, and a sum of 1 says no more than that the rest is small."""
NOTHING = -1e4
"""Log-probability of a bucket that is not there: exp() makes it 0, and unlike -inf it leaves no NaN in a gradient."""


class TeacherTopK(NamedTuple):
    """The teacher's most likely tokens at each position; `ids` -1 and any logprob where it named fewer."""

    ids_NK: Tensor
    logprobs_NK: Tensor

    @property
    def has_teacher_N(self) -> Tensor:
        return (self.ids_NK >= 0).any(-1)


def cross_entropy(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """-log softmax(z)[target]: sequence-level distillation (Kim and Rush 2016) where the target is the teacher's
    token."""
    return F.cross_entropy(logits_NV, targets_N, reduction="none")


def forward_kl(logits_NV: Tensor, teacher: TeacherTopK, *, temperature: float = 1.0) -> Tensor:
    """T^2 KL(p || q) over the buckets: sum p_b (log p_b - log q_b) (Hinton et al. 2015, s. 2).

    The fixed point is q_b = p_b in every bucket, so the student keeps the teacher's tail.
    """
    p, q = _buckets(logits_NV, teacher, temperature)
    return temperature**2 * _kl(p, q)


def reverse_kl(logits_NV: Tensor, teacher: TeacherTopK, *, temperature: float = 1.0) -> Tensor:
    """T^2 KL(q || p) over the buckets: sum q_b (log q_b - log p_b) (MiniLLM, Gu et al. 2023, eq. 1)."""
    p, q = _buckets(logits_NV, teacher, temperature, floor=TAIL_FLOOR)
    return temperature**2 * _kl(q, p)


def jsd(logits_NV: Tensor, teacher: TeacherTopK, *, beta: float, temperature: float = 1.0) -> Tensor:
    """T^2 (beta KL(p || m) + (1 - beta) KL(q || m)), m = beta p + (1 - beta) q (GKD, Agarwal et al. 2023, s. 2)."""
    p, q = _buckets(logits_NV, teacher, temperature)
    weights = torch.tensor([beta, 1 - beta], device=p.device, dtype=p.dtype).log()
    mixed = torch.logsumexp(torch.stack([p + weights[0], q + weights[1]]), dim=0)
    return temperature**2 * (beta * _kl(p, mixed) + (1 - beta) * _kl(q, mixed))


def random_sampling(logits_NV: Tensor, teacher: TeacherTopK, *, samples: int, generator: torch.Generator) -> Tensor:
    """-sum n_b / S log q_b, with n_b of S draws from the teacher's buckets (Anshumann et al. 2025, arXiv 2503.16870).

    An unbiased estimate of the forward KL and the teacher's entropy, at temperature 1. The paper draws from the whole
    vocabulary while it still has it; of K logprobs, what is drawn beyond them can only be the tail as a whole.
    """
    p, q = _buckets(logits_NV, teacher, 1.0)
    drawn = torch.multinomial(p.exp(), samples, replacement=True, generator=generator)
    counts = torch.zeros_like(p).scatter_add_(1, drawn, torch.ones_like(drawn, dtype=p.dtype))
    return -(counts / samples * q).sum(-1)


def renormalised_kl(logits_NV: Tensor, teacher: TeacherTopK, *, temperature: float = 1.0) -> Tensor:
    """T^2 KL(p / sum p || q) over the top K alone, as DistillKit and others have it. A trap, and an option that warns:
    its fixed point gives the top K all of the probability, whatever the teacher gave them."""
    known = teacher.ids_NK >= 0
    p = torch.where(known, teacher.logprobs_NK / temperature, NOTHING)
    p = p - torch.logsumexp(p, -1, keepdim=True)
    scaled = logits_NV / temperature
    q = scaled.gather(1, teacher.ids_NK.clamp_min(0)) - torch.logsumexp(scaled, -1, keepdim=True)
    return temperature**2 * _kl(p, q)


def _kl(p_NB: Tensor, q_NB: Tensor) -> Tensor:
    return (p_NB.exp() * (p_NB - q_NB)).sum(-1)


def _buckets(
    logits_NV: Tensor, teacher: TeacherTopK, temperature: float, floor: float = 1e-30
) -> tuple[Tensor, Tensor]:
    """log p and log q of the buckets [N, B], teacher's and student's; of [N, K] where K is the whole vocabulary.

    The temperature acts on the buckets, since of the tail only the sum is known: both are raised to 1/T and normalised.
    Where K = V, that is softmax(z / T).
    """
    known = teacher.ids_NK >= 0
    ids = teacher.ids_NK.clamp_min(0)
    p = torch.where(known, teacher.logprobs_NK, NOTHING)
    everything = torch.logsumexp(logits_NV, -1, keepdim=True)
    q = torch.where(known, logits_NV.gather(1, ids) - everything, NOTHING)
    if ids.shape[1] < logits_NV.shape[1]:
        left = (1 - p.exp().sum(-1, keepdim=True)).clamp_min(floor)
        p = torch.cat([p, left.log()], -1)
        # Not 1 - sum q: near 0 that is rounding. Masked tokens are those with an id; -1 masks none.
        masked = torch.zeros_like(logits_NV, dtype=torch.bool).scatter_reduce_(1, ids, known, "amax")
        tail = torch.logsumexp(logits_NV.masked_fill(masked, -torch.inf), -1, keepdim=True)
        q = torch.cat([q, tail - everything], -1)
    return _tempered(p, temperature), _tempered(q, temperature)


def _tempered(logs_NB: Tensor, temperature: float) -> Tensor:
    # Also at T = 1: the teacher's rounded logprobs, and a floor under its tail, need not add up to 1.
    scaled = logs_NB / temperature
    return scaled - torch.logsumexp(scaled, -1, keepdim=True)
