"""A small Llama of random weights: a student that owes nothing to any other."""

from typing import Any

import torch
from torch import nn

from tutelage.train.bases.vocabulary import vocabulary_size
from tutelage.train.config import FreshLlama

ROUNDED_TO = 64
"""Rows of the embedding, so that matrix units of GPUs run full; SmolLM2's 49,152 stay. Rows without a token are never
read, and learn from every token that they are not it."""
POSITIONS = 2048
"""What it says it can read, unless its rows are longer; no weight depends on it."""
DEVIATION = 0.02
"""Of every matrix (Radford et al. 2019; Llama in transformers)."""


def fresh_llama(fresh: FreshLlama, tokenizer: Any, seed: int, max_tokens: int) -> Any:
    """Equal seeds give equal weights, bit for bit, whatever torch's own generator has been through."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(fresh_config(fresh, tokenizer, max_tokens))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=DEVIATION, generator=generator)
            else:  # scales of RMS norms
                nn.init.ones_(parameter)
    return model


def fresh_config(fresh: FreshLlama, tokenizer: Any, max_tokens: int) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=_rounded(vocabulary_size(tokenizer)),
        hidden_size=fresh.hidden_size,
        # 8/3 of it: three matrices then cost what two of 4 did (Touvron et al. 2023, 2.2).
        intermediate_size=fresh.intermediate_size or _rounded(8 * fresh.hidden_size / 3),
        num_hidden_layers=fresh.layers,
        num_attention_heads=fresh.heads,
        num_key_value_heads=fresh.kv_heads or fresh.heads,
        max_position_embeddings=max(POSITIONS, max_tokens),
        tie_word_embeddings=fresh.tie_embeddings,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _rounded(size: float) -> int:
    return int(-(-size // ROUNDED_TO) * ROUNDED_TO)
