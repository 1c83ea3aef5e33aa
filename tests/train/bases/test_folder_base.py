"""A folder as a student's base: loaded as it is, or refused in words."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from base_folders import edit_json, edit_weights, fresh, loaded, same, tiny_model, weights, write_folder
from tiny_tokenizer import tiny_tokenizer
from tokenizers import Tokenizer, models
from torch import Tensor

from tutelage.schemas.errors import ConfigError
from tutelage.train.bases.load import load_model, load_tokenizer
from tutelage.train.config import Base

WEIGHT = "model__layers__1__mlp__up_proj__weight"


def test_a_folder_is_loaded_as_it_is_ready_to_be_trained(whole: Path, tokenizer: Any) -> None:
    model = loaded(whole)
    assert same(weights(model), weights(tiny_model(tokenizer)))
    assert model.training
    assert all(weight.requires_grad and weight.device.type == "cpu" for weight in model.parameters())
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_weights_of_half_precision_are_trained_in_fp32_and_keep_their_values(tmp_path: Path, tokenizer: Any) -> None:
    half = tiny_model(tokenizer).to(torch.bfloat16)
    model = loaded(write_folder(tmp_path / "half", half))
    assert same(weights(model), {name: weight.float() for name, weight in weights(half).items()})


def test_a_file_that_is_written_to_later_changes_nothing(folder: Path, tokenizer: Any) -> None:
    """safetensors maps it, and a page that nobody changed yet would be read again."""
    model = loaded(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(bytes((folder / "model.safetensors").stat().st_size))
    assert same(weights(model), weights(tiny_model(tokenizer)))


def test_nobody_is_asked_over_the_network(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", called)
    monkeypatch.setattr(socket, "getaddrinfo", called)
    loaded(whole)
    with pytest.raises(ConfigError, match="HuggingFaceTB/SmolLM2-135M: found no such folder"):
        load_tokenizer(Base(folder="HuggingFaceTB/SmolLM2-135M"))


@pytest.mark.parametrize("kind", ["llama", "stranger"])
def test_no_code_of_a_model_is_run(folder: Path, tmp_path: Path, kind: str) -> None:
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    own = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.C", "AutoTokenizer": ["own.C", "own.C"]}
    edit_json(folder / "config.json", auto_map=own, model_type=kind)
    edit_json(folder / "tokenizer_config.json", auto_map=own)
    if kind == "llama":  # which transformers has itself
        loaded(folder)
    else:
        with pytest.raises(ConfigError, match=r"'stranger', which runs code of its own .*no code of a model's is run"):
            loaded(folder)
    assert not (tmp_path / "ran").exists()


def only_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def torn(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def a_shard_short(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "config.json", **changes)


def tensors(**changes: Tensor | None) -> Callable[[Path], None]:
    return lambda folder: edit_weights(folder / "model.safetensors", **changes)


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (shutil.rmtree, r"found no such folder on this machine, one with config\.json.*nothing is downloaded"),
    "no config": (remove("config.json"), r"found no config\.json.*name a folder with"),
    "a torn config": (write("config.json", '{"model_type": "lla'), r"config\.json: can't be read as JSON.*whole copy"),
    "a config of nothing": (write("config.json", "[]"), r"names no model_type"),
    "adapters alone": (write("adapter_config.json", "{}"), r"these are adapters, a whole model was wanted; merge"),
    "packed weights": (
        config(quantization_config={"quant_method": "gptq", "bits": 4}),
        r"its weights are packed \(gptq\), which can't be trained; name .* full precision",
    ),
    "a model that transformers lacks": (config(model_type="stranger"), r"'stranger', which transformers 5\S* does not"),
    "a model of masks": (
        config(model_type="bert", architectures=["BertForMaskedLM"]),
        r"is BertForMaskedLM, a causal language model was wanted \(BertLMHeadModel\)",
    ),
    "a translator": (
        config(model_type="t5", architectures=["T5ForConditionalGeneration"]),
        "is T5ForConditionalGeneration, a causal language model was wanted; choose",
    ),
    "a model without a head": (config(architectures=["LlamaModel"]), "is LlamaModel, a causal language model was want"),
    "no weights": (remove("model.safetensors"), r"found no model\.safetensors; take a whole copy"),
    "pickled weights": (only_pickled, r"only pytorch_model\.bin, which can hide code; load and save it once"),
    "torn weights": (torn, r"transformers can't load it \(.*incomplete.*whole copy"),
    "a shard is missing": (a_shard_short, r"lacks model-00001-of-00002\.safetensors, which model\.safetensors\.index"),
    "an index of nothing": (write("model.safetensors.index.json", "{}"), "is no index of weights"),
    "a tensor is missing": (
        tensors(**{WEIGHT: None}),
        r"1 tensors are missing \(model\.layers\.1\.mlp\.up_proj\.weight, …\); its config and its weights are of diff",
    ),
    "a tensor too many": (
        tensors(model__layers__2__mlp__up_proj__weight=torch.ones(64, 32)),
        r"1 have no place in its architecture \(model\.layers\.2",
    ),
    "a tensor of another shape": (tensors(**{WEIGHT: torch.ones(48, 32)}), r"transformers can't load it \("),
    "NaN": (
        tensors(**{WEIGHT: torch.full((64, 32), torch.nan)}),
        r"2,048 values of model\.layers\.1\.mlp\.up_proj\.weight are NaN or infinite; every loss would be NaN\. Take",
    ),
    "an infinity, and one below": (
        tensors(
            **{WEIGHT: torch.cat([torch.ones(62, 32), torch.full((1, 32), torch.inf), -torch.full((1, 32), torch.inf)])}
        ),
        r"64 values of model\.layers\.1",
    ),
    "no fast tokenizer": (
        remove("tokenizer.json"),
        r"found no tokenizer\.json, .*load the folder once with AutoTokeniz",
    ),
    "a torn tokenizer": (write("tokenizer.json", '{"version": "1.0"'), r"can't be read as a tokenizer \(.*whole copy"),
    "a tokenizer of nothing": (
        write("tokenizer.json", str(Tokenizer(models.BPE()).to_str())),
        r"tokenizer\.json: holds no tokens; take the tokenizer\.json that the model was trained with",
    ),
    "another end of turn": (
        config(eos_token_id=7),
        r"its tokenizer ends with '<\|im_end\|>' \(id 2\), its config\.json and generation_config\.json with \[7\]; ",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_folder_that_can_not_be_trained_is_refused_in_words(folder: Path, name: str) -> None:
    spoil, said = SPOILT[name]
    if name == "another end of turn":
        (folder / "generation_config.json").unlink()
    spoil(folder)
    with pytest.raises(ConfigError, match=rf"(?s)^{folder}.*(?:{said})"):
        loaded(folder)


def test_a_model_that_sees_what_comes_after_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    """BERT as a decoder loads without a word, and is causal only where its config says so."""
    from transformers import BertConfig, BertLMHeadModel

    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    for decoder in (True, False):
        model = BertLMHeadModel(BertConfig(**sizes, intermediate_size=64, is_decoder=True)).eval()
        path = write_folder(tmp_path / str(decoder), model)
        edit_json(path / "config.json", is_decoder=decoder, eos_token_id=None, pad_token_id=3)
        if decoder:
            loaded(path)
        else:
            with pytest.raises(ConfigError, match="BertLMHeadModel sees the tokens that come after"):
                loaded(path)


def test_another_models_tokenizer_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    small = write_folder(tmp_path / "small", vocab_size=300)
    with pytest.raises(
        ConfigError, match=r"has ids up to 447, its embedding 300 rows, so this is another model's token"
    ):
        loaded(small)
    large = write_folder(tmp_path / "large", vocab_size=448 + 1025)
    with pytest.raises(ConfigError, match=r"has 448 ids, its embedding 1,473 rows, so this is another"):
        loaded(large)
    loaded(write_folder(tmp_path / "padded", vocab_size=448 + 1024))


def test_an_end_of_turn_among_several_is_the_models_own(folder: Path) -> None:
    edit_json(folder / "generation_config.json", eos_token_id=[7, 2])
    edit_json(folder / "config.json", eos_token_id=7)
    loaded(folder)


def test_rows_longer_than_the_model_reads_are_refused(whole: Path) -> None:
    loaded(whole, max_tokens=512)
    with pytest.raises(ConfigError, match=r"reads at most 512 positions, data\.max_tokens is 513; lower it"):
        loaded(whole, max_tokens=513)


@pytest.mark.parametrize("kind", ["folder", "fresh"])
def test_the_end_of_turn_learns_as_a_word_of_the_prompt_even_where_it_is_also_the_pad(
    tmp_path: Path, kind: str
) -> None:
    """transformers gives the pad's row of the embedding no gradient."""
    tokenizer = tiny_tokenizer(pad_is_eos=True)
    path = write_folder(tmp_path / "tiny", tokenizer=tokenizer, tie_word_embeddings=False)
    base = Base(folder=str(path)) if kind == "folder" else fresh(tokenizer=str(path), tie_embeddings=False)
    model = load_model(base, load_tokenizer(base), 0)
    end = tokenizer.eos_token_id
    assert model.config.pad_token_id == end
    model(input_ids=torch.tensor([[20, end, 30]]), use_cache=False).logits[0, -1].square().sum().backward()
    assert model.model.embed_tokens.weight.grad[end].abs().sum() > 0
