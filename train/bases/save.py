"""The student as files that transformers and vLLM load as they are: weights, configs, tokenizer, chat template.

All of them are written beside the earlier ones and take their place at the end, weights last; a disk that runs full
leaves the earlier student whole.
"""

import contextlib
import copy
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage.schemas.storage_errors import storage_errors
from tutelage.train.bases.lora import has_lora, merged_weights
from tutelage.train.bases.offline import offline

UNFINISHED = ".student.unfinished"
WEIGHTS, CONFIG, GENERATION = "model.safetensors", "config.json", "generation_config.json"
TOKENIZER_CONFIG, TEMPLATE = "tokenizer_config.json", "chat_template.jinja"

_OF_THIS_MACHINE = (
    "_name_or_path",
    "_model_name_or_path",
    "name_or_path",
    "vocab_file",
    "is_local",
    "local_files_only",
)


def save_student(
    model: Any,
    tokenizer: Any,
    folder: Path,
    chat_template: str | None,
    eos_token_id: int | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> dict[str, str]:
    """{file: sha256} of what was written. Raises StorageError where the disk refuses; the model stays as it is.

    `chat_template` None leaves the tokenizer's own, an empty one takes it away. `eos_token_id` is the end of turn that
    was trained, None the tokenizer's; text generation ends at either. `weights` are whole tensors by the names of
    `model.state_dict()`, where the model holds but a shard of them. Adapters are merged. The weights' dtype is kept.
    """
    ends = _ends(tokenizer, eos_token_id)
    with storage_errors(str(folder)), _refusals_as_os_errors():
        unfinished = folder / UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            _write_model(model, weights, tokenizer, ends, unfinished)
            _write_tokenizer(tokenizer, chat_template, unfinished)
            return _put_in_place(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _ends(tokenizer: Any, eos_token_id: int | None) -> list[int]:
    found = [eos_token_id, tokenizer.eos_token_id]
    return list(dict.fromkeys(int(end) for end in found if end is not None))


def _write_model(
    model: Any, weights: Mapping[str, Tensor] | None, tokenizer: Any, ends: list[int], folder: Path
) -> None:
    from transformers import AutoModelForCausalLM, GenerationConfig

    whole = dict(model.state_dict() if weights is None else weights)
    whole = merged_weights(model, whole) if has_lora(model) else whole
    config = copy.deepcopy(model.config)
    # Ours is known to this process only; it is not written, but building the shell looks it up.
    config._attn_implementation = "eager"
    config.bos_token_id = tokenizer.bos_token_id if config.bos_token_id is None else config.bos_token_id
    config.eos_token_id = (ends[0] if len(ends) == 1 else ends) if ends else config.eos_token_id
    dtype = next(tensor.dtype for tensor in whole.values() if tensor.is_floating_point())
    # Without weights: it knows which of them are tied, and how they are called in files.
    with torch.device("meta"):
        shell = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    for tied, kept in shell.all_tied_weights_keys.items():
        if kept in whole:
            whole[tied] = whole[kept]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (ends[0] if ends else None)
    shell.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=(ends[0] if len(ends) == 1 else ends) if ends else None,
        pad_token_id=pad,
    )
    with offline():
        shell.save_pretrained(folder, state_dict=whole, max_shard_size=1 << 50)
    _rewrite(folder / CONFIG)
    _rewrite(folder / GENERATION)


def _write_tokenizer(tokenizer: Any, chat_template: str | None, folder: Path) -> None:
    own = copy.deepcopy(tokenizer)
    own.backend_tokenizer.no_padding()
    own.backend_tokenizer.no_truncation()
    if chat_template is not None:
        own.chat_template = chat_template or None
    with offline():
        own.save_pretrained(str(folder))
    # "TokenizersBackend" is this class's name since transformers 5, and unknown to what came before.
    _rewrite(folder / TOKENIZER_CONFIG, tokenizer_class="PreTrainedTokenizerFast")


def _rewrite(path: Path, **changed: Any) -> None:
    """Without what only this machine would understand."""
    found = {**json.loads(path.read_bytes()), **changed}
    kept = {key: value for key, value in found.items() if key not in _OF_THIS_MACHINE}
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def _put_in_place(unfinished: Path, folder: Path) -> dict[str, str]:
    names = sorted((path.name for path in unfinished.iterdir()), key=lambda name: (name == WEIGHTS, name))
    mode = 0o666 & ~_umask()
    digests = {}
    for name in names:
        with (unfinished / name).open("rb") as stream:
            digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
            # safetensors leaves its file to its owner alone.
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
    for name in names:
        os.replace(unfinished / name, folder / name)
    if TEMPLATE not in digests:
        (folder / TEMPLATE).unlink(missing_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return dict(sorted(digests.items()))


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _refusals_as_os_errors() -> Iterator[None]:
    """safetensors and tokenizers write from Rust: a full disk is an error of their own, its number in the text."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
