"""Low-rank adapters (Hu et al. 2021): put into the model's own linear layers, and added to their weights at the end."""

import copy
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import Lora

ADAPTER = "default"


def require_peft() -> None:
    if importlib.util.find_spec("peft") is None:
        raise ConfigError(
            "student.lora is given, and needs peft, which is not installed; pip install 'tutelage[lora]', or take "
            "student.lora out"
        )


def with_lora(model: Any, lora: Lora, seed: int = 0) -> Any:
    """The same transformers model, its weights frozen, adapters in its linear layers: they alone have gradients. It
    begins as it was, since one half of every adapter is 0; the other half is a function of `seed`."""
    require_peft()
    from peft import LoraConfig, inject_adapter_in_model

    linears = dict(_linears(model))
    _require_targets(model, lora, linears)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        bias="none",
        # GPT-2's Conv1D keeps its matrix the other way round.
        fan_in_fan_out=any(not isinstance(linears[name], nn.Linear) for name in _hit(lora.targets, linears)),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, adapter_name=ADAPTER)
    return model


def has_lora(model: Any) -> bool:
    return any(True for _ in _adapted(model))


def merged(model: Any) -> Any:
    """A plain transformers model that answers as `model` does, whose adapters stay. It shares all tensors that they
    don't change."""
    shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    plain = copy.deepcopy(model, shared)
    for name, layer in list(_adapted(plain)):
        parent, _, child = name.rpartition(".")
        setattr(plain.get_submodule(parent), child, layer.get_base_layer())
    if hasattr(plain, "peft_config"):
        del plain.peft_config
    plain.load_state_dict(merged_weights(model, model.state_dict()), assign=True)
    plain.tie_weights()
    return plain


def merged_weights(model: Any, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """W + alpha / rank * B A, in fp32, under the names that the model had before its adapters. `weights` are whole
    tensors by the names of `model.state_dict()`."""
    found = dict(weights)
    for name, layer in _adapted(model):
        down, up = (found.pop(f"{name}.lora_{half}.{ADAPTER}.weight").float() for half in "AB")
        change = up @ down * layer.scaling[ADAPTER]
        kept = found.pop(f"{name}.base_layer.weight")
        change = change.T if layer.fan_in_fan_out else change
        found[f"{name}.weight"] = (kept.float() + change).to(kept.dtype)
        if f"{name}.base_layer.bias" in found:
            found[f"{name}.bias"] = found.pop(f"{name}.base_layer.bias")
    return found


def _adapted(model: Any) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name, module


def _linears(model: Any) -> Iterator[tuple[str, nn.Module]]:
    from transformers.pytorch_utils import Conv1D

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            yield name, module


def _hit(targets: tuple[str, ...], linears: Mapping[str, nn.Module]) -> list[str]:
    return [name for name in linears if any(name == target or name.endswith(f".{target}") for target in targets)]


def _require_targets(model: Any, lora: Lora, linears: Mapping[str, nn.Module]) -> None:
    missed = [target for target in lora.targets if not _hit((target,), linears)]
    if missed:
        names = sorted({name.rsplit(".", 1)[-1] for name in linears})
        raise ConfigError(
            f"student.lora.targets: {', '.join(missed)} is no linear layer of {type(model).__name__}, which has "
            f"{', '.join(names)}; name some of those"
        )
    head = model.get_output_embeddings()
    tied = head is not None and head.weight is model.get_input_embeddings().weight
    if tied and any(linears[name] is head for name in _hit(lora.targets, linears)):
        raise ConfigError(
            f"student.lora.targets: the head of {type(model).__name__} is also its embedding (tied), and an adapter on "
            "one of them would part them; take it out of the targets"
        )
