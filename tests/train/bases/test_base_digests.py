"""What a base and its tokenizer are called in a record: by content, not by place."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from base_folders import edit_json, edit_weights, fresh
from tokenizers import Tokenizer, models, pre_tokenizers

from tutelage.pipelines import embedded_teacher
from tutelage.train.bases.load import base_sha256, describe, load_tokenizer, tokenizer_sha256
from tutelage.train.config import Base

WEIGHT = "model__layers__1__mlp__up_proj__weight"


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
