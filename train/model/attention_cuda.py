"""Packed attention on CUDA: the varlen flash kernel in half precision, flex attention otherwise. Unmeasured: it has not
run on a GPU yet. What it asks of them is tested on CPU, with torch's own flex attention and a stand-in of the flash
kernel's signature.

B batch (1), Q query heads, G key heads, T tokens, D head size.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

from tutelage.train.model.attention import Boundaries


def attend(
    query_BQTD: Tensor,
    key_BGTD: Tensor,
    value_BGTD: Tensor,
    boundaries: Boundaries,
    *,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    """[B, T, Q, D]."""
    if query_BQTD.dtype in (torch.bfloat16, torch.float16):
        return _varlen(query_BQTD, key_BGTD, value_BGTD, boundaries, scaling, window)
    from torch.nn.attention.flex_attention import create_block_mask

    tokens = query_BQTD.shape[2]
    mask = create_block_mask(
        sees(boundaries.cumulative, tokens, window), None, None, tokens, tokens, device=query_BQTD.device.type
    )
    grouped = query_BQTD.shape[1] != key_BGTD.shape[1]
    found: Tensor = _compiled_flex()(
        query_BQTD, key_BGTD, value_BGTD, block_mask=mask, scale=scaling, enable_gqa=grouped
    )
    return found.transpose(1, 2)


def sees(cumulative: Tensor, tokens: int, window: int | None) -> Callable[[Any, Any, Tensor, Tensor], Tensor]:
    """The mask as flex attention asks for it: is position k of the pack visible from q?"""
    document = torch.bucketize(torch.arange(tokens, device=cumulative.device), cumulative[1:], right=True)

    def visible(batch: Any, head: Any, q: Tensor, k: Tensor) -> Tensor:
        near = q >= k if window is None else (q >= k) & (q - k < window)
        return near & (document[q] == document[k])

    return visible


def _varlen(
    query_BQTD: Tensor,
    key_BGTD: Tensor,
    value_BGTD: Tensor,
    boundaries: Boundaries,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    # The kernel wants [T, heads, D].
    query, key, value = (tensor[0].transpose(0, 1).contiguous() for tensor in (query_BQTD, key_BGTD, value_BGTD))
    found = cast(
        Tensor,
        varlen_attn(
            query,
            key,
            value,
            boundaries.cumulative,
            boundaries.cumulative,
            boundaries.longest,
            boundaries.longest,
            scale=scaling,
            # A position sees itself too, so a window of W reaches W - 1 back.
            window_size=(-1 if window is None else window - 1, 0),
            enable_gqa=query_BQTD.shape[1] != key_BGTD.shape[1],
        ),
    )
    return found[None]


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)
