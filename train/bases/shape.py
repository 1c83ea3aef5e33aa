"""How large a base is, from its config alone: no weight is read."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from tutelage.train.bases.folder_base import local_folder, require_causal_model
from tutelage.train.bases.fresh_base import fresh_config
from tutelage.train.bases.gguf_base import gguf_file, read_header
from tutelage.train.bases.offline import offline
from tutelage.train.config import Base, Lora


class Shape(NamedTuple):
    """`vocabulary` is rows of the embedding, `kv_width` the heads of keys together."""

    parameters: int
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_width: int

    def adapter_parameters(self, lora: Lora) -> int:
        """Rank times inputs and outputs of each layer's targets, by Llama's names for them."""
        hidden, kv, wide = self.hidden, self.kv_width, self.intermediate
        sides = {
            "q_proj": hidden + hidden,
            "k_proj": hidden + kv,
            "v_proj": hidden + kv,
            "o_proj": hidden + hidden,
            "gate_proj": hidden + wide,
            "up_proj": hidden + wide,
            "down_proj": wide + hidden,
        }
        return self.layers * lora.rank * sum(sides.get(target, 0) for target in lora.targets)


def shape_of(base: Base, tokenizer: Any, max_tokens: int) -> Shape:
    if base.gguf is not None:
        return _gguf_shape(base.gguf)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if base.fresh is not None:
        config = fresh_config(base.fresh, tokenizer, max_tokens)
    else:
        assert base.folder is not None
        require_causal_model(base.folder)
        with offline():
            config = AutoConfig.from_pretrained(
                str(local_folder(base.folder)), local_files_only=True, trust_remote_code=False
            )
    with offline(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    sizes = config.get_text_config().to_dict()
    hidden, heads = int(sizes["hidden_size"]), int(sizes["num_attention_heads"])
    kv_heads = int(sizes.get("num_key_value_heads") or heads)
    return Shape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        vocabulary=int(model.get_input_embeddings().num_embeddings),
        hidden=hidden,
        intermediate=int(sizes.get("intermediate_size") or 4 * hidden),
        layers=int(sizes["num_hidden_layers"]),
        heads=heads,
        kv_width=kv_heads * int(sizes.get("head_dim") or hidden // heads),
    )


def _gguf_shape(gguf: str) -> Shape:
    path = gguf_file(gguf)
    architecture = read_header(path).architecture
    from transformers.integrations.gguf.reader import GgufHeader, read_gguf_metadata

    metadata: Mapping[str, Any] = read_gguf_metadata(str(path))[0]
    tensors = GgufHeader.from_file(str(path)).tensors

    def size(name: str, otherwise: int = 0) -> int:
        return int(metadata.get(f"{architecture}.{name}", otherwise))

    hidden, heads = size("embedding_length"), size("attention.head_count", 1)
    kv_heads = size("attention.head_count_kv", heads)
    return Shape(
        parameters=sum(math.prod(tensor.shape) for tensor in tensors),
        vocabulary=max((tensor.shape[0] for tensor in tensors if tensor.name == "token_embd.weight"), default=0),
        hidden=hidden,
        intermediate=size("feed_forward_length", 4 * hidden),
        layers=size("block_count"),
        heads=heads,
        kv_width=kv_heads * size("attention.key_length", hidden // heads),
    )
