"""Losses against dense formulas, finite differences and the fixed points that they are chosen for."""

import pytest
import torch
from torch import Tensor

from tutelage.train.model.losses import (
    TeacherTopK,
    cross_entropy,
    forward_kl,
    jsd,
    random_sampling,
    renormalised_kl,
    reverse_kl,
)

N, V, K = 5, 17, 4


def logits(seed: int, rows: int = N, vocabulary: int = V) -> Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


def top(teacher_NV: Tensor, k: int) -> TeacherTopK:
    found = torch.log_softmax(teacher_NV, -1).topk(k)
    return TeacherTopK(found.indices, found.values)


def dense_kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.exp() * (p - q)).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_with_all_of_the_vocabulary_each_loss_is_its_dense_formula(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    p, q = (torch.log_softmax(z / temperature, -1) for z in (teacher, student))
    mixed = torch.log(0.3 * p.exp() + 0.7 * q.exp())
    expected = {
        "forward": dense_kl(p, q),
        "reverse": dense_kl(q, p),
        "jsd": 0.3 * dense_kl(p, mixed) + 0.7 * dense_kl(q, mixed),
    }
    every = top(teacher, V)
    found = {
        "forward": forward_kl(student, every, temperature=temperature),
        "reverse": reverse_kl(student, every, temperature=temperature),
        "jsd": jsd(student, every, beta=0.3, temperature=temperature),
    }
    for name, value in expected.items():
        assert torch.allclose(found[name], temperature**2 * value, atol=1e-9), name


def test_a_bucket_holds_the_tail() -> None:
    student, teacher = logits(0), logits(1)
    few = top(teacher, K)
    p = torch.cat([few.logprobs_NK.exp(), 1 - few.logprobs_NK.exp().sum(-1, keepdim=True)], -1)
    of_student = torch.softmax(student, -1).gather(1, few.ids_NK)
    q = torch.cat([of_student, 1 - of_student.sum(-1, keepdim=True)], -1)
    assert torch.allclose(forward_kl(student, few), (p * (p / q).log()).sum(-1))
    assert torch.allclose(reverse_kl(student, few), (q * (q / p).log()).sum(-1))


@pytest.mark.parametrize("name", ["forward", "reverse", "jsd", "renormalised", "cross_entropy"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    few = top(logits(1), K)
    losses = {
        "forward": lambda z: forward_kl(z, few, temperature=1.7),
        "reverse": lambda z: reverse_kl(z, few, temperature=1.7),
        "jsd": lambda z: jsd(z, few, beta=0.4, temperature=1.7),
        "renormalised": lambda z: renormalised_kl(z, few, temperature=1.7),
        "cross_entropy": lambda z: cross_entropy(z, few.ids_NK[:, 0]),
    }
    assert torch.autograd.gradcheck(losses[name], (logits(0).requires_grad_(),))


FLAT_TEACHER = logits(3, rows=1, vocabulary=50) * 0.7


def trained_mass(name: str) -> float:
    """The student's probability of the teacher's top K after it was trained to the loss's fixed point."""
    teacher = FLAT_TEACHER
    few = top(teacher, K)
    student = torch.zeros(1, 50, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([student], lr=0.1)
    loss = {"bucket": forward_kl, "renormalised": renormalised_kl, "reverse": reverse_kl}[name]
    for _ in range(600):
        optimizer.zero_grad()
        loss(student, few).sum().backward()
        optimizer.step()
    return float(torch.softmax(student.detach(), -1).gather(1, few.ids_NK).sum())


def test_the_fixed_point_of_the_bucket_keeps_the_teachers_top_k_mass_and_renormalised_does_not() -> None:
    teachers = float(top(FLAT_TEACHER, K).logprobs_NK.exp().sum())
    assert 0.2 < teachers < 0.8
    assert trained_mass("bucket") == pytest.approx(teachers, abs=1e-3)
    assert trained_mass("reverse") == pytest.approx(teachers, abs=1e-3)
    assert trained_mass("renormalised") > 0.99


def test_the_student_that_is_the_teacher_has_no_loss_and_no_gradient() -> None:
    student = logits(1).requires_grad_()
    few = top(student.detach(), K)
    for value in (forward_kl(student, few), reverse_kl(student, few), jsd(student, few, beta=0.5)):
        (gradient,) = torch.autograd.grad(value.sum(), student)
        assert value.abs().max() < 1e-9
        assert gradient.abs().max() < 1e-8


def test_random_sampling_estimates_the_forward_kl_without_bias() -> None:
    student, few = logits(0), top(logits(1), K)
    p = torch.cat([few.logprobs_NK.exp(), 1 - few.logprobs_NK.exp().sum(-1, keepdim=True)], -1)
    entropy = -(p * p.log()).sum(-1)
    found = random_sampling(student, few, samples=200_000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found - entropy, forward_kl(student, few), atol=0.02)


def test_random_sampling_draws_by_its_generator_alone() -> None:
    student, few = logits(0), top(logits(1), K)
    once, again, other = (
        random_sampling(student, few, samples=8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_fewer_logprobs_than_k_are_a_longer_tail(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    two = top(teacher, 2)
    padded = TeacherTopK(
        torch.cat([two.ids_NK, torch.full((N, 2), -1)], -1),
        torch.cat([two.logprobs_NK, torch.full((N, 2), torch.nan, dtype=torch.float64)], -1),
    )
    for loss in (forward_kl, reverse_kl, renormalised_kl):
        assert torch.allclose(
            loss(student, padded, temperature=temperature), loss(student, two, temperature=temperature)
        )


def test_logprobs_that_add_up_to_a_little_more_than_one_are_no_nan() -> None:
    few = top(logits(1), K)
    over = TeacherTopK(few.ids_NK, few.logprobs_NK - torch.logsumexp(few.logprobs_NK, -1, keepdim=True) + 1e-4)
    for value in (forward_kl(logits(0), over), reverse_kl(logits(0), over), jsd(logits(0), over, beta=0.5)):
        assert torch.isfinite(value).all()
