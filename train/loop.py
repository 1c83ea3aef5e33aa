"""One step of training: packs in, changed weights out.

The loss of a step is its sum over the number of trained tokens of all its packs on all ranks. That number is known
before the first pack is looked at, so accumulation and ranks change nothing but the order of additions.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.schemas.errors import TrainingStopped
from tutelage.train.config import Loss, Optimizer, Training
from tutelage.train.model.taught import Taught
from tutelage.train.parallel import Ranks, reshard
from tutelage.train.rows.batches import Rows, collate, trained_tokens
from tutelage.train.rows.packing import Document, Pack, best_fit

CROSS_ENTROPY = Loss()


class StepReport(NamedTuple):
    """`loss` is nats per trained token; `gradient_norm` is before clipping; `seconds` are wall time of the step."""

    step: int
    loss: float
    trained_tokens: int
    tokens: int
    gradient_norm: float
    learning_rate: float
    seconds: float
    splits: int


class NonFinite(NamedTuple):
    """A step whose loss or gradient is not finite: the rows of the packs where it was seen, or of all of them."""

    step: int
    loss: float
    gradient_norm: float
    rows: tuple[int, ...]


class Learner:
    """The student, its optimizer, and the rows it learns from."""

    def __init__(
        self,
        taught: Taught,
        rows: Rows,
        *,
        optimizer: Optimizer,
        training: Training,
        ranks: Ranks,
        k: int | None = None,
        dump: Callable[[NonFinite], None] = lambda _: None,
    ) -> None:
        self.taught, self.rows, self.ranks = taught, rows, ranks
        self._config, self._training, self._k, self._dump = optimizer, training, k, dump
        self.parameters = [parameter for parameter in taught.parameters() if parameter.requires_grad]
        self.optimizer = _adamw(self.parameters, optimizer)
        self.step_number = 0
        self.splits = 0

    def step(self, packs: Sequence[Pack], learning_rate: float) -> StepReport:
        """Raises TrainingStopped where the loss or the gradient is not finite, on all ranks, before any weight
        moves."""
        started = time.perf_counter()
        self.step_number += 1
        documents = [document for pack in packs for document in pack.documents]
        denominator = trained_tokens(documents, self.rows)
        mine = packs[self.ranks.rank :: self.ranks.world]
        losses = self._accumulate(mine, denominator, -(-len(packs) // self.ranks.world))
        if not self._shards:
            self.ranks.sum_gradients(self.parameters)
        # Every rank has one norm: of the summed gradients, or of all shards together.
        norm = _norm(self.parameters)
        (loss,) = self.ranks.total(sum(losses))
        self._require_finite(loss, float(norm), mine, losses)
        if self._config.clip_norm is not None:
            _scale(self.parameters, (self._config.clip_norm / (norm + 1e-6)).clamp(max=1.0))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepReport(
            self.step_number,
            loss,
            denominator,
            sum(document.length for document in documents),
            float(norm),
            learning_rate,
            time.perf_counter() - started,
            self.splits,
        )

    def evaluate(self, packs: Sequence[Pack], rows: Rows) -> tuple[float, int]:
        """Cross-entropy per trained token over packs of `rows`, whatever the loss that is trained by; and how many."""
        count = trained_tokens([document for pack in packs for document in pack.documents], rows)
        found = 0.0
        self.taught.eval()
        with torch.no_grad():
            for pack in self._evened(packs[self.ranks.rank :: self.ranks.world], -(-len(packs) // self.ranks.world)):
                loss = self._forward(pack, count, CROSS_ENTROPY, rows) if pack.documents else self._empty_forward()
                found += float(loss)
        self.taught.train()
        if self._shards:
            reshard(self.taught)
        (total,) = self.ranks.total(found)
        return total, count

    @property
    def _shards(self) -> bool:
        return self._training.parallel == "fsdp2" and self.ranks.world > 1

    def _accumulate(self, packs: Sequence[Pack], denominator: int, most: int) -> list[float]:
        """Sums gradients over packs; the loss of each. After running out of memory the step begins anew with its packs
        in pieces: rows are independent, so the sum is the same."""
        while True:
            try:
                losses = []
                for number, pack in enumerate(self._evened(packs, most)):
                    loss = self._nothing_trained() if not pack.documents else None
                    for piece in _pieces(pack, self.splits, self._training.pack_tokens):
                        part = self._forward(piece, denominator, self.taught.loss, self.rows, number)
                        part.backward()  # type: ignore[no-untyped-call]
                        loss = part.detach() if loss is None else loss + part.detach()
                    losses.append(float(loss) if loss is not None else 0.0)
                return losses
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                if self._shards or self.splits >= max(map(_most_pieces, packs)):
                    raise TrainingStopped(self._out_of_memory_of(packs)) from error
            # Out here, the failed graph is gone.
            self.splits += 1
            self.optimizer.zero_grad(set_to_none=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _out_of_memory_of(self, packs: Sequence[Pack]) -> str:
        longest = max((document for pack in packs for document in pack.documents), key=lambda item: item.length)
        tried = "under fsdp2 packs are not taken apart" if self._shards else "with each row by itself"
        return (
            f"step {self.step_number}: memory ran out, {tried}; its longest row has {longest.length:,} tokens. Lower "
            "data.max_tokens or training.pack_tokens, or set training.activation_checkpointing"
        )

    def _forward(self, pack: Pack, denominator: int, loss: Loss, rows: Rows, number: int = 0) -> Tensor:
        device = self.ranks.device
        sampling, dropout = self._seeds(number)
        torch.manual_seed(dropout)
        batch = collate(pack.documents, rows, device, self._k if loss.needs_logits else None, self._padding(pack))
        with torch.autocast(device.type, torch.bfloat16, enabled=self._training.precision == "bf16"):
            found: Tensor = self.taught(batch, denominator, loss, self._generator(sampling, loss))
        return found

    def _padding(self, pack: Pack) -> int | None:
        """Compiled graphs want one shape: of a pack, or of its pieces after memory ran out."""
        if not self._training.compile:
            return None
        return max(self._training.pack_tokens >> self.splits, pack.tokens)

    def _seeds(self, number: int) -> list[int]:
        """For whatever draws in a pack's forward: a function of seed, step and the pack's place in the step, so that a
        resumed run and any number of ranks draw the same."""
        place = self.ranks.rank + number * self.ranks.world
        drawn = np.random.SeedSequence((self._training.seed, self.step_number, place)).generate_state(2, np.uint64)
        return [int(state >> 1) for state in drawn]

    def _generator(self, seed: int, loss: Loss) -> torch.Generator | None:
        return torch.Generator(self.ranks.device).manual_seed(seed) if loss.kind == "random_sampling" else None

    def _evened(self, packs: Sequence[Pack], most: int) -> Sequence[Pack]:
        """Under FSDP every rank has to take part in every collective: who has fewer packs takes empty ones."""
        return [*packs, *[Pack(())] * (most - len(packs))] if self._shards else packs

    def _nothing_trained(self) -> Tensor:
        loss = self._empty_forward()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _empty_forward(self) -> Tensor:
        """A row whose loss counts for nothing: gradients of 0, and all collectives."""
        pack = Pack((Document(0, 0, int(self.rows.lengths[0])),))
        return self._forward(pack, 1, CROSS_ENTROPY, self.rows) * 0.0

    def _require_finite(self, loss: float, norm: float, packs: Sequence[Pack], losses: Sequence[float]) -> None:
        finite = all(map(_is_finite, (loss, norm)))
        if not self.ranks.any(not finite):
            return
        broken: Sequence[Pack] = [pack for pack, own in zip(packs, losses, strict=False) if not _is_finite(own)]
        if not self.ranks.any(bool(broken)):  # no pack's loss alone: it is the gradient
            broken = packs
        if broken:
            rows = tuple(document.row for pack in broken for document in pack.documents)
            self._dump(NonFinite(self.step_number, loss, norm, rows))
        raise TrainingStopped(
            f"step {self.step_number}: the loss is {loss} and the gradient's norm {norm}; no weight was changed, and "
            "its rows are in nonfinite*.json. Look at them; then train anew, into another output.folder, with a "
            "lower optimizer.learning_rate"
        )


def _adamw(parameters: Sequence[nn.Parameter], config: Optimizer) -> torch.optim.AdamW:
    """Decay on matrices only: norms and biases have nothing to be decayed to."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm: Any = torch.nn.utils.get_total_norm(grads) if grads else torch.zeros(())
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # type: ignore[no-any-return]


def _scale(parameters: Sequence[nn.Parameter], factor: Tensor) -> None:
    if float(factor) < 1:
        torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], float(factor))


def _pieces(pack: Pack, splits: int, capacity: int) -> list[Pack]:
    """The pack as it is, or, after `splits` failures, in packs of half, a quarter … of the tokens."""
    if not splits or not pack.documents:
        return [pack] if pack.documents else []
    lengths = [document.length for document in pack.documents]
    room = max(capacity >> splits, max(lengths))
    return [Pack(tuple(pack.documents[place] for place in places)) for places in best_fit(lengths, room)]


def _most_pieces(pack: Pack) -> int:
    """After so many failures every document is alone."""
    return max(1, len(pack.documents)).bit_length()


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in ("not enough memory", "can't allocate memory")
    )


def _is_finite(value: float) -> bool:
    return value - value == 0
