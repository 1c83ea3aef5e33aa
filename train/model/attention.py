"""Attention that keeps the documents of a pack apart, and the batch that says where they begin.

transformers isolates packed documents by itself only with `attention_mask=None` and `use_cache=False`; with its default
cache the second document sees the first, with no error. Here isolation doesn't rest on a mask: each document is
attended to by itself (CPU), or by a kernel that is told the boundaries (CUDA).

B batch (always 1), Q query heads, G key heads, T tokens of the pack, D head size.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.schemas.errors import ConfigError

IMPLEMENTATION = "tutelage_packed"


class Boundaries(NamedTuple):
    """Where the documents of a pack lie. `cumulative` is [documents + 1] int32, for kernels; padded to a fixed length
    by repeating the total, so that a compiled graph sees one shape."""

    lengths: tuple[int, ...]
    cumulative: Tensor
    longest: int


def boundaries(lengths: Sequence[int], device: torch.device, slots: int | None = None) -> Boundaries:
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + length)
    ends += [ends[-1]] * ((slots or len(lengths)) - len(lengths))
    return Boundaries(tuple(lengths), torch.tensor(ends, dtype=torch.int32, device=device), max(lengths, default=0))


def positions(lengths: Sequence[int], device: torch.device) -> Tensor:
    """[1, T]: every document counts from 0."""
    return torch.cat([torch.arange(length, device=device) for length in lengths])[None]


def use_packed_attention(model: Any) -> None:
    """Makes the model attend document by document; raises ConfigError where it can't be told to."""
    from transformers import AttentionInterface

    # No mask is registered under this name, so transformers builds none.
    AttentionInterface.register(IMPLEMENTATION, packed_attention)
    try:
        model.set_attn_implementation(IMPLEMENTATION)
    except (ValueError, NotImplementedError, AttributeError) as error:
        raise ConfigError(
            f"{type(model).__name__}: its attention can't be exchanged ({error}), so packed rows would see one "
            "another; choose a base whose attention goes through transformers' AttentionInterface (Llama, Qwen)"
        ) from error


def packed_attention(
    module: nn.Module,
    query_BQTD: Tensor,
    key_BGTD: Tensor,
    value_BGTD: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    tutelage_boundaries: Boundaries | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each document; [B, T, Q, D] as transformers wants it."""
    if tutelage_boundaries is None:
        raise AssertionError("packed attention was called without boundaries")
    if softcap is not None:
        raise ConfigError("the base caps its attention logits (softcap), which packed attention can't; choose another")
    kind = query_BQTD.device.type
    if torch.is_autocast_enabled(kind):  # rotary positions are fp32, and would take the kernels for half precision away
        dtype = torch.get_autocast_dtype(kind)
        query_BQTD, key_BGTD, value_BGTD = query_BQTD.to(dtype), key_BGTD.to(dtype), value_BGTD.to(dtype)
    longest = tutelage_boundaries.longest
    window = sliding_window if sliding_window is not None and sliding_window < longest else None
    if query_BQTD.is_cuda:
        if dropout:
            raise ConfigError("the base drops attention out, which the kernels for CUDA can't; set its dropout to 0")
        from tutelage.train.model.attention_cuda import attend

        return attend(query_BQTD, key_BGTD, value_BGTD, tutelage_boundaries, scaling=scaling, window=window), None
    grouped = query_BQTD.shape[1] != key_BGTD.shape[1]
    pieces = [
        F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if window is None else _windowed(query.shape[2], window, query.device),
            is_causal=window is None,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=grouped,
        )
        for query, key, value in zip(
            *(
                torch.split(tensor, list(tutelage_boundaries.lengths), dim=2)
                for tensor in (query_BQTD, key_BGTD, value_BGTD)
            ),
            strict=True,
        )
    ]
    return torch.cat([piece.transpose(1, 2) for piece in pieces], dim=1), None


def _windowed(length: int, window: int, device: torch.device) -> Tensor:
    """[T, T] bool: what each position may see, itself and the window - 1 before it."""
    place = torch.arange(length, device=device)
    behind = place[:, None] - place[None]
    return (behind >= 0) & (behind < window)
