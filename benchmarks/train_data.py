"""The models and rows that both sides of train.py load: seeded, and made once under `.data/train/`.

A row is a piece of real text by SmolLM2's tokenizer, the second half of its tokens trained. Lengths are lognormal: as
many rows as there are quantiles, in a drawn order, so that few rows too are spread as many would be.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
DATA = HERE / ".data" / "train"
SHARED = HERE.parent.parent / "shared" / "data" / "prompts"
EXAMPLES = HERE.parent / "examples" / "prompts.jsonl"
VERSION = 2  # a change of what is drawn makes the folders anew
SEED = 20_261_125
VOCABULARY = 49_152
SIGMA, LONGEST, SHORTEST = 0.8, 1024, 4

# Llama, tied embeddings, fp32. 135m is SmolLM2-135M's shape.
SHAPES: dict[str, dict[str, Any]] = {
    "16m": {
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 688,
    },
    "135m": {
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
        "rope_theta": 100_000.0,
    },
}


class RowFile(NamedTuple):
    """`tokens` of all rows in one array; the trained tokens of row r are those from `first_trained[r]` on."""

    tokens: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    first_trained: npt.NDArray[np.int32]


def model_folder(name: str) -> Path:
    """What transformers loads: random weights of that shape, and the tokenizer beside them."""
    place = DATA / f"{name}-v{VERSION}"
    if not place.is_dir():
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        print(f"making the model {name} ...", file=sys.stderr, flush=True)
        unfinished = _fresh(place)
        torch.manual_seed(SEED)
        config = LlamaConfig(
            vocab_size=VOCABULARY, max_position_embeddings=2048, tie_word_embeddings=True, **SHAPES[name]
        )
        LlamaForCausalLM(config).save_pretrained(unfinished)
        smollm2_tokenizer().save_pretrained(unfinished)
        unfinished.rename(place)
    return place


def parameters_of(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as tensors:
        return sum(int(np.prod(tensors.get_slice(name).get_shape())) for name in tensors.keys())  # noqa: SIM118


def rows_file(rows: int, median: int = 150, longest: int = LONGEST) -> Path:
    """An .npz with the fields of RowFile."""
    source = "shared" if SHARED.is_dir() else "examples"
    place = DATA / f"rows-{rows}x{median}-{longest}-{source}-v{VERSION}.npz"
    if not place.is_file():
        draw = np.random.default_rng([SEED, rows, median])
        quantiles = NormalDist(np.log(median), SIGMA)
        logs = [quantiles.inv_cdf((place + 0.5) / rows) for place in range(rows)]
        lengths = draw.permutation(np.rint(np.exp(logs)).clip(SHORTEST, longest).astype(np.int32))
        text = _text_tokens(int(lengths.sum()))
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_suffix(".unfinished.npz")
        np.savez(unfinished, tokens=text, lengths=lengths, first_trained=lengths - lengths // 2)
        unfinished.rename(place)
    return place


def read_rows(file: Path) -> RowFile:
    with np.load(file) as arrays:
        return RowFile(arrays["tokens"], arrays["lengths"], arrays["first_trained"])


def _text_tokens(count: int) -> npt.NDArray[np.int32]:
    tokenizer = smollm2_tokenizer()
    found: list[int] = []
    while len(found) < count:
        for text in texts():
            found += tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(found) >= count:
                break
    return np.array(found[:count], dtype=np.int32)


def texts() -> Iterator[str]:
    files = sorted(SHARED.glob("*.jsonl")) or [EXAMPLES]
    for file in files:
        for line in file.open(encoding="utf-8"):
            row = json.loads(line)
            yield row["prompt"]
            if "answer" in row:
                yield row["answer"]


def smollm2_tokenizer() -> Any:
    from tutelage.train.bases.load import load_tokenizer
    from tutelage.train.config import Base

    return load_tokenizer(Base(gguf="embedded"))


def _fresh(place: Path) -> Path:
    unfinished = place.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    return unfinished
