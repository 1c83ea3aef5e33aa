"""Adapters: they begin as nothing, they alone learn, and merged they answer as they did beside the weights."""

import sys
from typing import Any

import pytest
import torch
from base_folders import tiny_model
from tiny_tokenizer import tiny_tokenizer
from torch import Tensor

from tutelage.schemas.errors import ConfigError
from tutelage.train.bases.lora import has_lora, merged, merged_weights, with_lora
from tutelage.train.config import Lora

IDS = torch.tensor([[14, 300, 20, 2, 90, 41]])


def model_of(**changes: Any) -> Any:
    return tiny_model(tiny_tokenizer(), **changes).eval()


def taught(model: Any) -> Any:
    """As if it had been trained: the adapters' zero halves are no longer 0."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1, generator=generator)
    return model


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def test_a_model_with_adapters_begins_as_it_was_and_is_still_itself() -> None:
    model = model_of()
    before, kind = logits(model), type(model)
    adapted = with_lora(model, Lora(rank=4))
    assert has_lora(adapted)
    assert type(adapted) is kind
    assert torch.equal(logits(adapted), before)


def test_adapters_alone_have_gradients() -> None:
    model = taught(with_lora(model_of(), Lora(rank=4)))
    model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    learning = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert len(learning) == 2 * 7 * 2, "two halves, seven matrices, two layers"
    assert all("lora_" in name for name in learning)
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == learning


def test_adapters_are_a_function_of_the_seed_and_leave_torchs_generator_alone() -> None:
    def halves(seed: int) -> Tensor:
        adapted = with_lora(model_of(), Lora(rank=4), seed)
        return torch.cat([weight.flatten() for name, weight in adapted.named_parameters() if "lora_A" in name])

    model = model_of()
    state = torch.get_rng_state()
    with_lora(model, Lora(rank=4))
    assert torch.equal(torch.get_rng_state(), state)
    first = halves(0)
    torch.rand(7)
    assert torch.equal(first, halves(0))
    assert not torch.equal(first, halves(1))


@pytest.mark.parametrize("tied", [True, False])
def test_merged_it_is_a_plain_model_that_answers_the_same(tied: bool) -> None:
    adapted = taught(with_lora(model_of(tie_word_embeddings=tied, attention_bias=True), Lora(rank=4, alpha=16)))
    beside = logits(adapted)
    plain = merged(adapted)
    assert torch.allclose(logits(plain), beside, atol=1e-5)
    assert not torch.allclose(logits(model_of(tie_word_embeddings=tied, attention_bias=True)), beside, atol=1e-2)
    assert not has_lora(plain)
    assert plain.state_dict().keys() == model_of(attention_bias=True).state_dict().keys()
    assert (plain.lm_head.weight is plain.model.embed_tokens.weight) is tied
    assert type(plain) is type(adapted)


def test_merging_leaves_the_adapted_model_as_it_was() -> None:
    adapted = taught(with_lora(model_of(), Lora(rank=4)))
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    plain = merged(adapted)
    after = adapted.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert plain.model.embed_tokens.weight.data_ptr() == adapted.model.embed_tokens.weight.data_ptr(), "shared"


def test_merged_weights_are_what_peft_would_make_of_them() -> None:
    from peft.tuners.lora import LoraLayer

    adapted = taught(with_lora(model_of(), Lora(rank=4, alpha=3)))
    ours = merged_weights(adapted, adapted.state_dict())
    layers = {name: layer for name, layer in adapted.named_modules() if isinstance(layer, LoraLayer)}
    assert len(layers) == 14
    for name, layer in layers.items():
        layer.merge()
        assert torch.allclose(ours[f"{name}.weight"], layer.get_base_layer().weight, atol=1e-6)


def test_matrices_that_lie_the_other_way_round_are_merged_too() -> None:
    """GPT-2 keeps them so."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=448, n_embd=32, n_layer=2, n_head=2, n_positions=64)).eval()
    adapted = taught(with_lora(model, Lora(rank=4, targets=("c_attn", "c_fc"))))
    assert torch.allclose(logits(merged(adapted)), logits(adapted), atol=1e-5)


def test_a_target_that_is_no_linear_layer_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError,
        match=r"targets: c_attn, out is no linear layer of LlamaForCausalLM, which has down_proj, gate_proj, k_proj, "
        r"lm_head, o_proj, q_proj, up_proj, v_proj; name some of those",
    ):
        with_lora(model_of(), Lora(targets=("q_proj", "c_attn", "out")))
    with pytest.raises(ValueError, match="at least 1 item"):
        Lora(targets=())


def test_a_head_that_is_also_the_embedding_gets_no_adapter() -> None:
    with pytest.raises(ConfigError, match=r"the head of LlamaForCausalLM is also its embedding \(tied\).*take it out"):
        with_lora(model_of(), Lora(targets=("q_proj", "lm_head")))
    apart = taught(with_lora(model_of(tie_word_embeddings=False), Lora(targets=("q_proj", "lm_head"))))
    assert torch.allclose(logits(merged(apart)), logits(apart), atol=1e-5)


def test_without_peft_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"needs peft, which is not installed; pip install 'tutelage\[lora\]'"):
        with_lora(model_of(), Lora())
