"""A folder that transformers loads as a base: looked through before any of it is loaded, and none of it is run."""

import json
from pathlib import Path
from typing import Any

from tutelage.schemas.errors import ConfigError
from tutelage.train.bases.offline import first_line, offline

CONFIG, WEIGHTS, INDEX, TOKENIZER = "config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json"


def local_folder(folder: str) -> Path:
    if not Path(folder).is_dir():
        raise ConfigError(
            f"{folder}: found no such folder on this machine, one with {CONFIG}, {WEIGHTS} and {TOKENIZER} was wanted; "
            "nothing is downloaded: fetch the model yourself and name its path"
        )
    return Path(folder)


def load_folder_tokenizer(folder: str) -> Any:
    """What tokenizer.json says, and nothing that a class of transformers would make of it."""
    path = local_folder(folder) / TOKENIZER
    if not path.is_file():
        raise ConfigError(
            f"{folder}: found no {TOKENIZER}, which every fast tokenizer has; load the folder once with AutoTokenizer, "
            "save it with save_pretrained, and name that folder"
        )
    from transformers import PreTrainedTokenizerFast

    try:
        with offline():
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
            size = tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ConfigError(
            f"{path}: can't be read as a tokenizer ({first_line(error)}); it is damaged or of another version: take a "
            "whole copy of it"
        ) from error
    if not size:
        raise ConfigError(f"{path}: holds no tokens; take the {TOKENIZER} that the model was trained with")
    return tokenizer


def load_folder_model(folder: str) -> tuple[Any, dict[str, Any]]:
    """In fp32, and what transformers says of the loading."""
    require_causal_model(folder)
    weight_files(folder)
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        with offline():
            loaded: tuple[Any, dict[str, Any]] = AutoModelForCausalLM.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (
        SafetensorError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        ImportError,
    ) as error:
        raise ConfigError(
            f"{folder}: transformers can't load it ({first_line(error)}); a file of it is damaged or of another model: "
            "take a whole copy of it"
        ) from error
    return loaded


def read_config(folder: str) -> dict[str, Any]:
    path = local_folder(folder) / CONFIG
    if (path.parent / "adapter_config.json").is_file():
        raise ConfigError(
            f"{folder}: found adapter_config.json, so these are adapters, a whole model was wanted; merge them first "
            "(merge_and_unload of peft, then save_pretrained)"
        )
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder}: found no {CONFIG}, so this is no model that transformers loads; name a folder with {CONFIG}, "
            f"{WEIGHTS} and {TOKENIZER}"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: can't be read as JSON ({error}); take a whole copy of it") from error
    if not isinstance(found, dict) or not isinstance(found.get("model_type"), str):
        raise ConfigError(
            f"{path}: names no model_type, which every model of transformers has; take a whole copy of it"
        )
    return found


def require_causal_model(folder: str) -> None:
    """By what its config says: a causal language model that transformers has, in full precision."""
    config = read_config(folder)
    from transformers import CONFIG_MAPPING, __version__
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config["model_type"]
    if "quantization_config" in config:
        method = (config["quantization_config"] or {}).get("quant_method", "quantised")
        raise ConfigError(
            f"{folder}: its weights are packed ({method}), which can't be trained; name the folder of the same model "
            "in full precision"
        )
    if kind not in CONFIG_MAPPING:
        own = "which runs code of its own (auto_map), and no code of a model's is run" if "auto_map" in config else ""
        raise ConfigError(
            f"{folder}: is of model_type {kind!r}, {own or f'which transformers {__version__} does not have'}; choose "
            "a base that transformers has itself"
        )
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind, ())
    wanted = (causal,) if isinstance(causal, str) else tuple(causal)
    named = config.get("architectures") or ()
    if not wanted or config.get("is_encoder_decoder") or (named and not set(named) & set(wanted)):
        raise ConfigError(
            f"{folder}: is {' or '.join(named) or kind}, a causal language model was wanted"
            f"{f' ({wanted[0]})' if wanted else ''}; choose a base that predicts the next token"
        )


def weight_files(folder: str) -> list[Path]:
    """config.json and all weights, sorted by name: what the base is, but for its tokenizer."""
    path = local_folder(folder)
    names = {CONFIG}
    if (path / INDEX).is_file():
        try:
            names |= {INDEX, *json.loads((path / INDEX).read_bytes())["weight_map"].values()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path / INDEX}: is no index of weights ({error!r}); take a whole copy of it") from error
    elif (path / WEIGHTS).is_file():
        names.add(WEIGHTS)
    else:
        pickled = sorted(file.name for file in path.glob("*.bin"))
        raise ConfigError(
            f"{folder}: found no {WEIGHTS}{f', only {pickled[0]}, which can hide code' if pickled else ''}; "
            + (
                "load and save it once with transformers (it writes safetensors)"
                if pickled
                else "take a whole copy of it"
            )
        )
    missing = sorted(name for name in names if not (path / name).is_file())
    if missing:
        raise ConfigError(f"{folder}: lacks {', '.join(missing)}, which {INDEX} names; take a whole copy of it")
    return [path / name for name in sorted(names)]
