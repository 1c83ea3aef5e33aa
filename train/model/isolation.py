"""The check before any training: can a document of a pack see another one?"""

from collections.abc import Callable

import torch
from torch import Tensor

from tutelage.schemas.errors import ConfigError
from tutelage.train.model.attention import boundaries, positions
from tutelage.train.model.loss_head import Targets
from tutelage.train.model.taught import Taught
from tutelage.train.rows.batches import Batch

LENGTHS = (13, 19)
TOLERANCE = 1e-3
"""Share of the largest hidden value by which a document in a pack may differ from itself alone: kernels sum in another
order at another length. A leak moves it by its own size."""


def require_isolation(taught: Taught, vocabulary: int, seed: int = 0) -> None:
    """Changes the first of two packed documents and requires that the second's hidden states stay bit for bit what they
    were, and near what they are alone; raises ConfigError otherwise. Costs three forwards of at most 32 tokens."""
    training = taught.training
    taught.eval()
    device = taught.head.weight.device
    try:
        with torch.no_grad():
            leak = find_leak(lambda *documents: taught.hidden(_batch(documents)), vocabulary, device, seed)
    finally:
        taught.train(training)
    if leak is not None:
        raise ConfigError(
            f"{type(taught.model).__name__}: {leak}, so packed rows would be trained on one another; choose a base "
            "whose attention goes through transformers' AttentionInterface and has no other path between positions"
        )


def find_leak(hidden_of: Callable[..., Tensor], vocabulary: int, device: torch.device, seed: int = 0) -> str | None:
    """What is wrong in words, or None. `hidden_of(a, b)` is [T, H] of the pack of two documents of ids, `hidden_of(b)`
    of one."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randint(0, vocabulary, (length,), generator=generator).to(device) for length in LENGTHS)
    other = (first + 1) % vocabulary
    packed, changed, alone = hidden_of(first, second), hidden_of(other, second), hidden_of(second)
    if torch.equal(packed[: len(first)], changed[: len(first)]):
        return "its hidden states do not depend on its input"
    if not torch.equal(packed[len(first) :], changed[len(first) :]):
        moved = (packed[len(first) :] - changed[len(first) :]).abs().max().item()
        return f"a packed document sees the one before it (its hidden states move by {moved:.2g})"
    apart = (packed[len(first) :] - alone).abs().max().item()
    if apart > TOLERANCE * alone.abs().max().item():
        return f"a packed document is not what it is alone (its hidden states differ by {apart:.2g})"
    return None


def _batch(documents: tuple[Tensor, ...]) -> Batch:
    ids = torch.cat(documents)
    lengths = [len(document) for document in documents]
    nothing = torch.zeros(0, dtype=torch.long, device=ids.device)
    where = boundaries(lengths, ids.device, slots=len(ids))  # padded, as compiled graphs have them
    return Batch(ids[None], positions(lengths, ids.device), where, nothing, Targets(nothing))
