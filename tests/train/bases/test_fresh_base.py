"""A fresh Llama: a function of its sizes, its tokenizer and its seed."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from base_folders import fresh, same, weights

from tutelage.train.bases.load import load_model, load_tokenizer, tokenizer_sha256


def test_equal_seeds_give_equal_weights_whatever_happened_before(tokenizer: Any) -> None:
    first = weights(load_model(fresh(), tokenizer, 7))
    torch.manual_seed(12345)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert same(first, weights(load_model(fresh(), tokenizer, 7)))
    finally:
        torch.set_num_threads(threads)
    assert not same(first, weights(load_model(fresh(), tokenizer, 8)))


def test_a_fresh_llama_has_the_sizes_that_were_asked_for(tokenizer: Any) -> None:
    base = fresh(hidden_size=48, layers=3, heads=4, kv_heads=2, tie_embeddings=False)
    model = load_model(base, tokenizer, 0, max_tokens=4096)
    found = model.config
    assert (found.hidden_size, found.num_hidden_layers) == (48, 3)
    assert (found.num_attention_heads, found.num_key_value_heads) == (4, 2)
    assert found.intermediate_size == 128, "8/3 of 48, rounded up to a multiple of 64"
    assert found.max_position_embeddings == 4096
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert load_model(fresh(), tokenizer, 0).config.max_position_embeddings == 2048
    assert (found.eos_token_id, found.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


def test_a_fresh_llama_begins_at_the_loss_of_chance(tokenizer: Any) -> None:
    model = load_model(fresh(), tokenizer, 0).eval()
    ids = torch.arange(14, 78)[None]
    with torch.no_grad():
        loss = float(model(input_ids=ids, labels=ids, use_cache=False).loss)
    assert loss == pytest.approx(torch.log(torch.tensor(448.0)).item(), abs=0.1)


def test_the_vocabulary_of_a_fresh_llama_is_rounded_up_to_64(tokenizer: Any) -> None:
    assert load_model(fresh(), tokenizer, 0).config.vocab_size == 448
    more = copy.deepcopy(tokenizer)
    more.add_tokens(["<one more>"])
    assert load_model(fresh(), more, 0).config.vocab_size == 512
    assert load_model(fresh(), load_tokenizer(fresh()), 0).config.vocab_size == 49_152


def test_a_fresh_llama_takes_its_tokenizer_from_a_folder_or_a_gguf(
    whole: Path, tiny_gguf: Path, tokenizer: Any, tmp_path: Path
) -> None:
    alone = tmp_path / "tokenizer"
    tokenizer.save_pretrained(alone)
    for source in (alone, whole):
        assert tokenizer_sha256(load_tokenizer(fresh(tokenizer=str(source)))) == tokenizer_sha256(tokenizer)
    assert len(load_tokenizer(fresh(tokenizer=str(tiny_gguf)))) == 448
