"""What a student begins as: a folder of transformers, a gguf file, or a fresh Llama; and whether that can be trained.

Nothing is downloaded and no code of a model's is run. What can't be used is refused before any training, in words.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tutelage.schemas.canonical import canonical_json, sha256_hex
from tutelage.schemas.errors import ConfigError
from tutelage.train.bases.folder_base import load_folder_model, load_folder_tokenizer, read_config, weight_files
from tutelage.train.bases.fresh_base import fresh_llama
from tutelage.train.bases.gguf_base import EMBEDDED, gguf_file, load_gguf_model, load_gguf_tokenizer, read_header
from tutelage.train.bases.tokenizer_digest import tokenizer_sha256
from tutelage.train.bases.vocabulary import vocabulary_size
from tutelage.train.config import Base

__all__ = ["base_sha256", "describe", "load_model", "load_tokenizer", "tokenizer_sha256"]

EMPTY_ROWS = 1024
"""An embedding may have so many rows without a token, or a tenth of it: models are padded to some power of two
(Pythia's by 411, Phi-2's by 905). More of them, and it is another model's tokenizer."""
NOT_CAUSAL = 1e-3
"""Share of the largest logit by which a position may move with the token after it: rounding. A leak moves it by its own
size."""


def load_tokenizer(base: Base) -> Any:
    """A fast tokenizer of transformers."""
    source = base.folder or base.gguf or (base.fresh.tokenizer if base.fresh else "")
    if base.gguf or source == EMBEDDED or source.endswith(".gguf"):
        return load_gguf_tokenizer(source)
    return load_folder_tokenizer(source)


def load_model(base: Base, tokenizer: Any, seed: int, max_tokens: int = 0) -> Any:
    """fp32, on the CPU, in train mode. `seed` and `tokenizer` make a fresh one; otherwise the tokenizer is checked
    against the model. `max_tokens` is the longest row: what the model's positions have to reach."""
    where = _where(base)
    if base.fresh is not None:
        model = fresh_llama(base.fresh, tokenizer, seed, max_tokens)
    else:
        model, loading = load_folder_model(base.folder) if base.folder else load_gguf_model(base.gguf or "")
        _require_all_loaded(where, loading)
        _require_finite(where, model)
        _require_own_tokenizer(where, model, tokenizer)
        _require_positions(where, model, max_tokens)
        _require_causal(where, model)
    for parameter in model.parameters():  # safetensors maps the file: whoever writes to it would change the student
        parameter.data = parameter.data.clone()
    # With it, the embedding of a pad that is also the end of turn would get no gradient; rows are packed, not padded.
    model.get_input_embeddings().padding_idx = None
    return model.train()


def base_sha256(base: Base) -> str:
    """Of weights and config before training: of the gguf file, or of the folder's files, whatever their place. Of a
    fresh one's recipe: with the run's seed, its weights follow from it."""
    if base.gguf:
        return _file_sha256(gguf_file(base.gguf))
    if base.folder:
        return sha256_hex(canonical_json({path.name: _file_sha256(path) for path in weight_files(base.folder)}))
    assert base.fresh is not None
    recipe = base.fresh.model_dump(mode="json", exclude={"tokenizer"})
    tokenizer = tokenizer_sha256(load_tokenizer(base))
    return sha256_hex(canonical_json({"fresh_llama": recipe, "tokenizer_sha256": tokenizer}))


def describe(base: Base) -> str:
    """One line for people, without this machine's paths."""
    if base.gguf:
        path = gguf_file(base.gguf)
        return f"{path.name} ({read_header(path).architecture}, unpacked to fp32)"
    if base.folder:
        config = read_config(base.folder)
        sizes = [
            f"{words} {config[key]}"
            for key, words in (("num_hidden_layers", "layers"), ("hidden_size", "hidden size"))
            if key in config
        ]
        return f"{Path(base.folder).resolve().name} ({', '.join([config['model_type'], *sizes])})"
    assert base.fresh is not None
    fresh = base.fresh
    return (
        f"fresh Llama (layers {fresh.layers}, hidden size {fresh.hidden_size}, heads {fresh.heads}; tokenizer "
        f"{'SmolLM2' if fresh.tokenizer == EMBEDDED else Path(fresh.tokenizer).resolve().name})"
    )


def _where(base: Base) -> str:
    return base.folder or base.gguf or "fresh"


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _require_all_loaded(where: str, loading: dict[str, Any]) -> None:
    """transformers would go on: random weights for what is missing, nothing for what has no place."""
    missing, unexpected = sorted(loading["missing_keys"]), sorted(loading["unexpected_keys"])
    problems = []
    if missing:
        problems.append(f"{len(missing)} tensors are missing ({missing[0]}, …)")
    if unexpected:
        problems.append(f"{len(unexpected)} have no place in its architecture ({unexpected[0]}, …)")
    if problems:
        raise ConfigError(
            f"{where}: of its weights {' and '.join(problems)}; its config and its weights are of different models: "
            "take both from one place"
        )


def _require_finite(where: str, model: Any) -> None:
    # A sum is finite only where every value is, and ten times quicker to have than a look at each.
    suspects = [(name, weight) for name, weight in model.named_parameters() if not torch.isfinite(weight.sum())]
    counts = [(name, int((~torch.isfinite(weight)).sum())) for name, weight in suspects]
    broken = [(name, count) for name, count in counts if count]
    if broken:
        name, count = broken[0]
        others = f", and {len(broken) - 1} more tensors have some" if len(broken) > 1 else ""
        raise ConfigError(
            f"{where}: {count:,} values of {name} are NaN or infinite{others}; every loss would be NaN. Take weights "
            "from before they diverged, or a whole copy of the file"
        )


def _require_own_tokenizer(where: str, model: Any, tokenizer: Any) -> None:
    """As far as can be seen: ids beyond the embedding, an embedding that is mostly empty, another end of turn."""
    rows, ids = model.get_input_embeddings().num_embeddings, vocabulary_size(tokenizer)
    advice = "name the tokenizer that the model was trained with"
    if ids > rows:
        raise ConfigError(
            f"{where}: its tokenizer has ids up to {ids - 1:,}, its embedding {rows:,} rows, so this is another "
            f"model's tokenizer; {advice}"
        )
    if rows - ids > max(EMPTY_ROWS, rows // 10):
        raise ConfigError(
            f"{where}: its tokenizer has {ids:,} ids, its embedding {rows:,} rows, so this is another model's "
            f"tokenizer; {advice}"
        )
    ends = set(_ends(model))
    if ends and tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ends:
        raise ConfigError(
            f"{where}: its tokenizer ends with {tokenizer.eos_token!r} (id {tokenizer.eos_token_id}), its config.json "
            f"and generation_config.json with {sorted(ends)}; {advice}, or mend eos_token_id where it is wrong"
        )


def _ends(model: Any) -> Iterator[int]:
    for config in (model.config, model.generation_config):
        found = getattr(config, "eos_token_id", None)
        yield from [found] if isinstance(found, int) else found or []


def _require_positions(where: str, model: Any, max_tokens: int) -> None:
    reach = getattr(model.config, "max_position_embeddings", None)
    if reach is not None and max_tokens > reach:
        raise ConfigError(
            f"{where}: reads at most {reach:,} positions, data.max_tokens is {max_tokens:,}; lower it, or choose a "
            "base that reads more"
        )


def _require_causal(where: str, model: Any) -> None:
    """Some architectures are causal only when their config says so (BERT's is_decoder), and load without a word."""
    rows = model.get_input_embeddings().num_embeddings
    ids = torch.arange(8).repeat(2, 1) % rows
    ids[1, -1] = (ids[1, -1] + 1) % rows
    model.eval()
    with torch.no_grad():
        before, after = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    if not torch.allclose(before, after, rtol=0, atol=NOT_CAUSAL * float(before.abs().max())):
        raise ConfigError(
            f"{where}: {type(model).__name__} sees the tokens that come after, a causal language model was wanted; "
            "choose a base that predicts the next token"
        )
