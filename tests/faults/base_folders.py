"""Bases on disk, written by transformers and gguf's own writer, not by us: tiny, whole, and spoilt by a test later."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tiny_tokenizer import tiny_llama_config, tiny_tokenizer

from tutelage.train.bases.load import load_model, load_tokenizer
from tutelage.train.config import Base


def tiny_model(tokenizer: Any, seed: int = 0, **changes: Any) -> Any:
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(tiny_llama_config(tokenizer, **changes))


def loaded(path: Path | str, max_tokens: int = 0) -> Any:
    base = Base(folder=str(path))
    return load_model(base, load_tokenizer(base), 0, max_tokens)


def fresh(**sizes: Any) -> Base:
    return Base.model_validate({"fresh": {"hidden_size": 32, "layers": 2, "heads": 2, **sizes}})


def weights(model: Any) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters())


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def write_folder(folder: Path, model: Any = None, tokenizer: Any = None, **changes: Any) -> Path:
    tokenizer = tokenizer or tiny_tokenizer()
    (model if model is not None else tiny_model(tokenizer, **changes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    """None takes a key out."""
    found = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def edit_weights(path: Path, **changes: torch.Tensor | None) -> None:
    """Names with __ for dots; None takes a tensor out."""
    found = load_file(path)
    for name, tensor in changes.items():
        if tensor is None:
            del found[name.replace("__", ".")]
        else:
            found[name.replace("__", ".")] = tensor
    save_file(found, path, metadata={"format": "pt"})


def write_gguf(
    path: Path, model: Any, tokenizer: Any, *, architecture: str = "llama", pre: str | None = "gpt-2"
) -> Path:
    """fp32. llama.cpp keeps the halves of rotated pairs side by side, transformers one half after the other."""
    from gguf import GGUFWriter

    config = model.config
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, tokenizer, pre)
    for name, tensor in _gguf_tensors(model).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any, tokenizer: Any, pre: str | None) -> None:
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {token["id"] for token in parts["added_tokens"]}
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([3 if number in special else 1 for _, number in tokens])
    writer.add_token_merges([" ".join(pair) for pair in parts["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)


def _gguf_tensors(model: Any) -> dict[str, Any]:
    config, found = model.config, {}
    weights = {name: tensor.detach().numpy() for name, tensor in model.named_parameters()}
    found["token_embd.weight"] = weights["model.embed_tokens.weight"]
    found["output_norm.weight"] = weights["model.norm.weight"]
    for layer in range(config.num_hidden_layers):
        own, theirs = f"model.layers.{layer}", f"blk.{layer}"
        found[f"{theirs}.attn_norm.weight"] = weights[f"{own}.input_layernorm.weight"]
        found[f"{theirs}.ffn_norm.weight"] = weights[f"{own}.post_attention_layernorm.weight"]
        found[f"{theirs}.attn_q.weight"] = _paired(
            weights[f"{own}.self_attn.q_proj.weight"], config.num_attention_heads
        )
        found[f"{theirs}.attn_k.weight"] = _paired(
            weights[f"{own}.self_attn.k_proj.weight"], config.num_key_value_heads
        )
        found[f"{theirs}.attn_v.weight"] = weights[f"{own}.self_attn.v_proj.weight"]
        found[f"{theirs}.attn_output.weight"] = weights[f"{own}.self_attn.o_proj.weight"]
        for ours, name in (("gate_proj", "ffn_gate"), ("up_proj", "ffn_up"), ("down_proj", "ffn_down")):
            found[f"{theirs}.{name}.weight"] = weights[f"{own}.mlp.{ours}.weight"]
    return found


def _paired(matrix: Any, heads: int) -> Any:
    rows, columns = matrix.shape
    return np.ascontiguousarray(
        matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )
