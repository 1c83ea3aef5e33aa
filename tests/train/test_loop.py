"""Steps: the same mathematics however the rows are dealt out; and nothing moves when a number is not one."""

from typing import Any

import pytest
import torch
from tiny_student import TinyRows, learner, weights_of

from tutelage.schemas.errors import TrainingStopped
from tutelage.train.config import Loss
from tutelage.train.loop import NonFinite

LENGTHS = [5, 17, 3, 40, 11, 29, 8, 60]
TEACHER = {"tokenizer_sha256": "0" * 64, "k": 6}
LOSSES = [Loss(), Loss(kind="forward_kl", teacher=TEACHER, cross_entropy_share=0.5)]


def gradients(found: Any, packs: Any) -> tuple[float, list[torch.Tensor]]:
    """Of a step that is not taken."""
    kept: list[torch.Tensor] = []
    found.optimizer.step = lambda: kept.extend(parameter.grad.clone() for parameter in found.parameters)
    return found.step(packs, 1e-3).loss, kept


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_one_pack_of_eight_rows_is_eight_packs_of_one(loss: Loss) -> None:
    rows = TinyRows(LENGTHS, k=6)
    quiet = {"clip_norm": None}
    together = gradients(learner(rows, loss=loss, optimizer=quiet), rows.packs(range(8)))
    apart = gradients(learner(rows, loss=loss, optimizer=quiet), rows.packs(*([row] for row in range(8))))
    assert together[0] == pytest.approx(apart[0], abs=1e-6)
    for one, other in zip(together[1], apart[1], strict=True):
        assert (one - other).abs().max() < 1e-6


def test_a_mean_of_packs_means_would_be_another_gradient() -> None:
    """The sabotage: what normalising each micro-batch by itself comes to."""
    rows = TinyRows(LENGTHS)
    right = gradients(learner(rows, optimizer={"clip_norm": None}), rows.packs(range(8)))[1]
    quiet = {"clip_norm": None}
    means = [gradients(learner(rows, optimizer=quiet), rows.packs([row]))[1] for row in range(8)]
    wrong = [sum(parts) / 8 for parts in zip(*means, strict=True)]
    assert max((one - other).abs().max().item() for one, other in zip(right, wrong, strict=True)) > 1e-3


def test_clipping_bounds_the_gradient_and_the_report_has_it_unclipped() -> None:
    rows = TinyRows(LENGTHS)
    found = learner(rows, optimizer={"clip_norm": 0.01})
    kept: list[torch.Tensor] = []
    found.optimizer.step = lambda: kept.extend(parameter.grad.clone() for parameter in found.parameters)
    report = found.step(rows.packs(range(8)), 1e-3)
    assert report.gradient_norm > 0.1
    assert torch.nn.utils.get_total_norm(kept).item() == pytest.approx(0.01, rel=1e-3)


def test_a_student_learns_32_rows_by_heart() -> None:
    rows = TinyRows([12] * 32)
    found = learner(rows, optimizer={"weight_decay": 0.0, "clip_norm": 1.0})
    packs = rows.packs(range(16), range(16, 32))
    losses = [found.step(packs, 1e-2).loss for _ in range(150)]
    assert losses[0] > 5
    assert losses[-1] < 0.05


def test_memory_that_runs_out_changes_nothing_but_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = TinyRows(LENGTHS)
    wanted = gradients(learner(rows, optimizer={"clip_norm": None}), rows.packs(range(5), range(5, 8)))
    found = learner(rows, optimizer={"clip_norm": None})
    forward, most = found.taught.forward, 45

    def small(batch: Any, *rest: Any, **more: Any) -> Any:
        loss = forward(batch, *rest, **more)
        if batch.ids_1T.shape[1] > most and len(batch.boundaries.lengths) > 1:
            loss.register_hook(_out_of_memory)  # in the middle of a backward, with gradients half added up
        return loss

    monkeypatch.setattr(found.taught, "forward", small)
    loss, kept = gradients(found, rows.packs(range(5), range(5, 8)))
    assert found.splits > 0
    assert loss == pytest.approx(wanted[0], abs=1e-6)
    for one, other in zip(kept, wanted[1], strict=True):
        assert (one - other).abs().max() < 1e-6


def _out_of_memory(_: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_row_that_does_not_fit_alone_is_no_endless_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = TinyRows(LENGTHS)
    found = learner(rows)

    def never(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(found.taught, "forward", never)
    with pytest.raises(TrainingStopped, match="memory ran out, with each row by itself; its longest row has 60 tokens"):
        found.step(rows.packs(range(8)), 1e-3)


def test_a_loss_that_is_no_number_stops_before_a_weight_moves_and_names_the_rows() -> None:
    rows = TinyRows(LENGTHS)
    dumped: list[NonFinite] = []
    found = learner(rows)
    found._dump = dumped.append
    before = weights_of(found.taught)
    hidden = found.taught.hidden
    found.taught.hidden = lambda batch: hidden(batch) * (torch.nan if batch.ids_1T.shape[1] == 29 else 1)  # type: ignore[method-assign]
    with pytest.raises(TrainingStopped, match=r"the loss is nan .* nonfinite\*\.json"):
        found.step(rows.packs([0, 1], [5], [6, 7]), 1e-3)
    assert dumped[0].rows == (5,)
    for name, weight in weights_of(found.taught).items():
        assert torch.equal(weight, before[name])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_every_precision_and_loss_learns(precision: str, loss: Loss) -> None:
    rows = TinyRows([12] * 8, k=6)
    found = learner(rows, loss=loss, precision=precision)
    losses = [found.step(rows.packs(range(8)), 1e-2).loss for _ in range(20)]
    assert losses[-1] < 0.9 * losses[0]


def test_bf16_keeps_its_weights_in_fp32() -> None:
    rows = TinyRows([12] * 8)
    found = learner(rows, precision="bf16")
    found.step(rows.packs(range(8)), 1e-2)
    assert {parameter.dtype for parameter in found.parameters} == {torch.float32}


def test_activation_checkpointing_changes_no_gradient() -> None:
    rows = TinyRows(LENGTHS)
    plain = gradients(learner(rows, optimizer={"clip_norm": None}), rows.packs(range(8)))
    found = learner(rows, optimizer={"clip_norm": None})
    found.taught.model.activation_checkpointing_enable({"use_reentrant": False})
    saved = gradients(found, rows.packs(range(8)))
    assert saved[0] == plain[0]
    for one, other in zip(saved[1], plain[1], strict=True):
        assert (one - other).abs().max() < 1e-6


def test_held_out_rows_are_judged_by_cross_entropy_whatever_the_student_is_trained_by() -> None:
    rows = TinyRows(LENGTHS, k=6)
    found = {loss.kind: learner(rows, loss=loss).evaluate(rows.packs(range(4), range(4, 8)), rows) for loss in LOSSES}
    assert found["cross_entropy"] == found["forward_kl"]
    assert found["cross_entropy"][1] == sum(int(n - f) for n, f in zip(rows.lengths, rows.first_trained, strict=True))


def test_random_sampling_draws_the_same_for_the_same_step() -> None:
    rows = TinyRows(LENGTHS, k=6)
    loss = Loss(kind="random_sampling", teacher=TEACHER, samples=4)
    once, again = (learner(rows, loss=loss).step(rows.packs(range(8)), 1e-3).loss for _ in range(2))
    assert once == again
