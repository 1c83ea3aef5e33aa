import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_student import VOCABULARY, TinyRows, tiny_llama
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.train.evaluation.held_out import Aligned, KeptTop, measure, row_losses

LENGTHS = (20, 7, 33, 50, 2, 90)


class Bigram(nn.Module):
    """A model whose next token depends on the last one alone, as a table of probabilities says."""

    def __init__(self, probabilities: list[list[float]]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.tensor(probabilities).log())
        self.config = SimpleNamespace(_attn_implementation="sdpa")

    def forward(self, input_ids: Tensor, logits_to_keep: Tensor, **_: Any) -> Any:
        return SimpleNamespace(logits=self.table[input_ids][:, logits_to_keep])


class HandRows:
    """One row of tokens 0 0 1, its last two trained, with what a teacher said of them."""

    lengths, first_trained = np.array([3], np.int32), np.array([1], np.int32)

    def __init__(self, ids: list[list[int]] | None = None, probabilities: list[list[float]] | None = None) -> None:
        self._top = None
        if ids is not None:
            logprobs = np.array(
                [[math.log(p) if p else np.nan for p in row] for row in probabilities or []], np.float32
            )
            self._top = np.array(ids, np.int32), logprobs

    def tokens(self, row: int) -> Any:
        return np.array([0, 0, 1], np.int32)

    def top_logprobs(self, row: int) -> Any:
        return self._top


MODEL = Bigram([[0.35, 0.45, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4], [0.25] * 4, [0.25] * 4])


def compared(ids: list[list[int]], probabilities: list[list[float]]) -> tuple[int, int, float]:
    rows = HandRows(ids, probabilities)
    found = measure(MODEL, rows, np.arange(1), packed=False, reference=rows)
    return int(found.compared[0]), int(found.same_top[0]), float(found.kl_nats[0])


def test_the_loss_of_a_row_by_hand() -> None:
    assert measure(MODEL, HandRows(), np.arange(1), packed=False).nats == pytest.approx([-math.log(0.35 * 0.45)])


def test_agreement_and_kl_with_a_tail_by_hand() -> None:
    """The model says 0.35, 0.45 and 0.2 for the rest; the teacher's tails are 0.2 and 0.1."""
    kl = 0.5 * math.log(0.5 / 0.35) + 0.3 * math.log(0.3 / 0.45) + 0.2 * math.log(0.2 / 0.2)
    kl += 0.7 * math.log(0.7 / 0.45) + 0.2 * math.log(0.2 / 0.35) + 0.1 * math.log(0.1 / 0.2)
    assert compared([[0, 1], [0, 1]], [[0.5, 0.3], [0.2, 0.7]]) == (2, 1, pytest.approx(kl, abs=1e-6))


def test_positions_without_the_teachers_logprobs_are_left_out() -> None:
    kl = 0.6 * math.log(0.6 / 0.45) + 0.4 * math.log(0.4 / 0.55)
    assert compared([[-1, 1], [-1, -1]], [[0, 0.6], [0, 0]]) == (1, 1, pytest.approx(kl, abs=1e-6))
    assert compared([[-1, -1], [-1, -1]], [[0, 0], [0, 0]]) == (0, 0, 0.0)


def test_a_teacher_whose_top_is_all_there_is_has_no_tail() -> None:
    kl = math.log(1 / 0.35)
    assert compared([[0, -1], [-1, -1]], [[1.0, 0], [0, 0]]) == (1, 0, pytest.approx(kl, abs=1e-6))


def test_packed_rows_lose_what_they_lose_alone() -> None:
    model, rows = tiny_llama(), TinyRows(LENGTHS)
    alone = []
    for row in range(rows.rows):
        tokens, first = torch.tensor(rows.tokens(row)).long(), int(rows.first_trained[row])
        logits = model(input_ids=tokens[None]).logits[0, first - 1 : -1]
        alone.append(F.cross_entropy(logits, tokens[first:], reduction="sum").item())
    assert row_losses(model, rows) == pytest.approx(alone, rel=1e-5)
    for batch_tokens in (8, 64, 4096):
        found = measure(model, rows, np.arange(rows.rows), batch_tokens=batch_tokens)
        assert found.nats == pytest.approx(alone, rel=1e-5)
    unpacked = measure(model, rows, np.arange(rows.rows), packed=False)
    assert unpacked.nats == pytest.approx(alone, rel=1e-5)


def test_the_model_is_left_as_it_was_and_dropout_plays_no_part() -> None:
    model, rows = tiny_llama(attention_dropout=0.5).train(), TinyRows(LENGTHS)
    attention = model.config._attn_implementation
    assert np.array_equal(row_losses(model, rows), row_losses(model, rows))
    assert model.training
    assert model.config._attn_implementation == attention


def test_figures_are_in_the_order_of_the_rows_that_were_asked_for() -> None:
    model, rows = tiny_llama(), TinyRows(LENGTHS)
    whole = row_losses(model, rows)
    some = np.array([4, 0, 5])
    assert measure(model, rows, some).nats == pytest.approx(whole[some], rel=1e-5)
    assert len(measure(model, rows, np.array([], np.int64)).nats) == 0


def test_a_model_agrees_with_itself_wholly_and_with_another_by_the_whole_kl(tmp_path: Path) -> None:
    model, other, rows = tiny_llama(0), tiny_llama(1), TinyRows(LENGTHS)
    every = np.arange(rows.rows)
    kept = KeptTop(rows, every, tmp_path, k=VOCABULARY)
    measure(model, rows, every, kept=kept)
    itself = measure(model, rows, every, reference=kept)
    assert np.array_equal(itself.same_top, itself.compared)
    assert itself.compared.sum() == (rows.lengths - rows.first_trained).sum()
    assert itself.kl_nats == pytest.approx(np.zeros(rows.rows), abs=1e-3)
    found = measure(other, rows, every, reference=kept)
    tokens, first = torch.tensor(rows.tokens(3)).long()[None], int(rows.first_trained[3])
    p, q = (one.eval()(input_ids=tokens).logits[0, first - 1 : -1].log_softmax(-1) for one in (model, other))
    assert found.kl_nats[3] == pytest.approx(float((p.exp() * (p - q)).sum().detach()), rel=1e-3)
    assert found.same_top[3] == int((p.argmax(-1) == q.argmax(-1)).sum())


def test_of_a_top_k_the_kl_is_at_most_the_whole_one(tmp_path: Path) -> None:
    model, other, rows = tiny_llama(0), tiny_llama(1), TinyRows(LENGTHS)
    every = np.arange(rows.rows)
    sums = []
    for k in (2, 16, VOCABULARY):
        kept = KeptTop(rows, every, tmp_path / str(k), k=k)
        measure(model, rows, every, kept=kept)
        sums.append(measure(other, rows, every, reference=kept).kl_nats.sum())
    assert 0 < sums[0] < sums[1] < sums[2]


class Rendered:
    """Rows of ids with a prompt of their own before them."""

    def __init__(self, prompt: list[int], *trained: list[int]) -> None:
        self._rows = [np.array([*prompt, *ids], np.int32) for ids in trained]
        self.lengths = np.array([len(row) for row in self._rows], np.int32)
        self.first_trained = np.full(len(trained), len(prompt), np.int32)

    def tokens(self, row: int) -> Any:
        return self._rows[row]

    def top_logprobs(self, row: int) -> None:
        return None


def test_rows_of_another_template_are_compared_as_far_as_they_ask_for_the_same(tmp_path: Path) -> None:
    ours = Rendered([1, 2], [5, 6, 7, 8], [5, 6, 7], [9, 9])
    theirs = Rendered([3], [5, 6, 9, 9], [5, 6, 7, 4])
    kept = KeptTop(theirs, np.arange(2), tmp_path, k=3)
    measure(tiny_llama(), theirs, np.arange(2), kept=kept)
    aligned = Aligned(kept, theirs, ours, {0: 0, 1: 1})
    shapes = [None if (top := aligned.top_logprobs(row)) is None else top[0].shape for row in range(3)]
    # 5, 6 and then another token: all three were asked for after the same ones, what follows was not.
    assert shapes == [(3, 3), (3, 3), None]
    found = measure(tiny_llama(), ours, np.arange(3), reference=aligned)
    assert found.compared.tolist() == [3, 3, 0]
