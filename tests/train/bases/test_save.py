"""The student's files: what transformers loads of them is the student; a full disk leaves the earlier one whole."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from base_folders import tiny_model, write_folder
from chat_templates import CHATML
from safetensors import safe_open
from small_disk import files_of_at_most
from tiny_tokenizer import tiny_tokenizer
from torch import Tensor

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import StorageError
from tutelage.train.bases.load import load_model, load_tokenizer, tokenizer_sha256
from tutelage.train.bases.lora import has_lora, merged, with_lora
from tutelage.train.bases.save import save_student
from tutelage.train.config import Base, Lora
from tutelage.train.model.attention import use_packed_attention

IDS = torch.tensor([[14, 300, 20, 2, 90, 41]])
FILES = {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
TEXT = "<|im_start|>user\nWhat is 4 and 8?\n\n1. très bien<|im_end|>\n"


@pytest.fixture
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "student"


def logits(model: Any) -> Tensor:
    model.eval()
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def read_by_transformers(folder: Path) -> tuple[Any, Any]:
    """As anybody would."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    return model, AutoTokenizer.from_pretrained(folder)


def stored(folder: Path) -> dict[str, Tensor]:
    with safe_open(folder / "model.safetensors", "pt") as found:
        assert found.metadata() == {"format": "pt"}
        return {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118  no mapping


def read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_hex(path.read_bytes()) for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_reads_the_student_that_was_saved(folder: Path, tokenizer: Any, tied: bool) -> None:
    model = tiny_model(tokenizer, tie_word_embeddings=tied)
    save_student(model, tokenizer, folder, None)
    again, words = read_by_transformers(folder)
    assert torch.equal(logits(again), logits(model))
    assert type(again) is type(model)
    assert words(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert tokenizer_sha256(words) == tokenizer_sha256(tokenizer)
    assert words.chat_template == CHATML
    assert (again.lm_head.weight is again.model.embed_tokens.weight) is tied
    assert ("lm_head.weight" in stored(folder)) is not tied, "what is tied is stored once"


def test_what_was_saved_is_a_base_again(folder: Path, tokenizer: Any) -> None:
    model = tiny_model(tokenizer)
    save_student(model, tokenizer, folder, None, eos_token_id=9)
    base = Base(folder=str(folder))
    words = load_tokenizer(base)
    assert tokenizer_sha256(words) == tokenizer_sha256(tokenizer)
    assert torch.equal(logits(load_model(base, words, 0)), logits(model))


def test_the_digests_are_of_all_files_and_nothing_else_is_left(folder: Path, tokenizer: Any) -> None:
    (folder / ".student.unfinished").mkdir(parents=True)
    (folder / ".student.unfinished" / "model.safetensors").write_bytes(b"of a run that died")
    found = save_student(tiny_model(tokenizer), tokenizer, folder, None)
    assert found == digests(folder)
    assert set(found) == FILES | {"chat_template.jinja"}
    assert {path.name for path in folder.iterdir()} == set(found)


def test_equal_students_have_equal_files(folder: Path, tokenizer: Any) -> None:
    first = save_student(tiny_model(tokenizer), tokenizer, folder, None)
    assert save_student(tiny_model(tokenizer), tokenizer, folder, None) == first
    assert save_student(tiny_model(tokenizer), tokenizer, folder.with_name("elsewhere"), None) == first


def test_everyone_may_read_what_the_umask_lets_them(folder: Path, tokenizer: Any) -> None:
    before = os.umask(0o027)
    try:
        save_student(tiny_model(tokenizer), tokenizer, folder, None)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}


def test_no_file_names_a_place_on_this_machine(folder: Path, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source")
    base = Base(folder=str(source))
    words = load_tokenizer(base)
    model = load_model(base, words, 0)
    use_packed_attention(model)
    save_student(model, words, folder, None)
    for path in folder.iterdir():
        content = path.read_bytes()
        for name in (str(tmp_path), os.path.expanduser("~/"), "_name_or_path", "local_files_only", "tutelage"):
            assert name.encode() not in content, f"{path.name} has {name}"


def test_the_model_and_the_tokenizer_stay_as_they_are(folder: Path, tokenizer: Any) -> None:
    model = tiny_model(tokenizer).train()
    use_packed_attention(model)
    tokenizer(["a", "b c"], padding=True, truncation=True, max_length=4)
    before = model.config.to_dict(), model.generation_config.to_dict(), tokenizer.backend_tokenizer.to_str()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_student(model, tokenizer, folder, "{{ messages }}", eos_token_id=7)
    assert before == (model.config.to_dict(), model.generation_config.to_dict(), tokenizer.backend_tokenizer.to_str())
    assert model.config._attn_implementation == "tutelage_packed"
    assert tokenizer.chat_template == CHATML
    assert model.training
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_a_student_that_was_taught_packed_is_read_with_attention_that_others_have(folder: Path, tokenizer: Any) -> None:
    model = tiny_model(tokenizer)
    wanted = logits(model)
    use_packed_attention(model)
    save_student(model, tokenizer, folder, None)
    again, _ = read_by_transformers(folder)
    assert again.config._attn_implementation == "sdpa"
    assert torch.equal(logits(again), wanted)


def test_the_state_of_a_call_is_not_saved_with_the_tokenizer(folder: Path, tokenizer: Any) -> None:
    tokenizer(["a", "b c"], padding=True, truncation=True, max_length=4)
    save_student(tiny_model(tokenizer), tokenizer, folder, None)
    saved = read_json(folder / "tokenizer.json")
    assert (saved["truncation"], saved["padding"]) == (None, None)


# What vLLM goes by: architectures in its registry, safetensors, a tokenizer class, generation_config's end. That it
# loads the folder shows in benchmarks/vllm_drill.py, for it needs an environment of 3.4 GB.


def test_configs_say_what_a_server_goes_by(folder: Path, tokenizer: Any) -> None:
    save_student(tiny_model(tokenizer), tokenizer, folder, None)
    config = read_json(folder / "config.json")
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "float32"
    assert config["vocab_size"] == 448
    assert "quantization_config" not in config
    assert read_json(folder / "tokenizer_config.json")["tokenizer_class"] == "PreTrainedTokenizerFast"


@pytest.mark.parametrize(("trained", "ends"), [(None, 2), (2, 2), (7, [7, 2])])
def test_a_text_ends_at_the_end_of_turn_that_was_trained(
    folder: Path, tokenizer: Any, trained: int | None, ends: Any
) -> None:
    """And at the tokenizer's, which a server looks for too."""
    save_student(tiny_model(tokenizer), tokenizer, folder, None, eos_token_id=trained)
    generation = read_json(folder / "generation_config.json")
    assert generation["eos_token_id"] == ends
    assert generation["pad_token_id"] == tokenizer.pad_token_id
    assert read_json(folder / "config.json")["eos_token_id"] == ends


def test_generation_stops_there(folder: Path, tokenizer: Any) -> None:
    model = tiny_model(tokenizer)
    with torch.no_grad():
        first = int(logits(model)[0, -1].argmax())
    save_student(model, tokenizer, folder, None, eos_token_id=first)
    again, _ = read_by_transformers(folder)
    said = again.generate(IDS, attention_mask=torch.ones_like(IDS), max_new_tokens=9)
    assert said[0, IDS.shape[1] :].tolist() == [first]


def test_a_tokenizer_without_a_pad_is_padded_with_the_end(folder: Path, tokenizer: Any) -> None:
    tokenizer.pad_token = None
    save_student(tiny_model(tokenizer), tokenizer, folder, None)
    assert read_json(folder / "generation_config.json")["pad_token_id"] == 2


def test_the_chat_template_that_was_taught_is_saved(folder: Path, tokenizer: Any) -> None:
    model = tiny_model(tokenizer)
    save_student(model, tokenizer, folder, "{{ messages[0]['content'] }}")
    assert (folder / "chat_template.jinja").read_text() == "{{ messages[0]['content'] }}"
    assert (
        read_by_transformers(folder)[1].apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) == "x"
    )
    tokenizer.chat_template = None
    found = save_student(model, tokenizer, folder, None)
    assert set(found) == FILES
    assert not (folder / "chat_template.jinja").exists(), "an earlier one would be read for this student's"


# Weights


def test_half_precision_is_kept(folder: Path, tokenizer: Any) -> None:
    from transformers import AutoModelForCausalLM

    model = tiny_model(tokenizer).to(torch.bfloat16)
    save_student(model, tokenizer, folder, None)
    assert {tensor.dtype for tensor in stored(folder).values()} == {torch.bfloat16}
    assert read_json(folder / "config.json")["dtype"] == "bfloat16"
    again = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    assert torch.equal(logits(again), logits(model))


def test_adapters_are_merged_and_stay_in_the_model(folder: Path, tokenizer: Any) -> None:
    model = with_lora(tiny_model(tokenizer), Lora(rank=4))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    save_student(model, tokenizer, folder, None)
    assert has_lora(model)
    assert not [name for name in stored(folder) if "lora" in name or "base_layer" in name]
    again, _ = read_by_transformers(folder)
    assert torch.equal(logits(again), logits(merged(model)))
    assert torch.allclose(logits(again), logits(model), atol=1e-5)


@pytest.mark.parametrize("lora", [False, True])
def test_whole_weights_from_elsewhere_stand_in_for_a_shard_of_them(folder: Path, tokenizer: Any, lora: bool) -> None:
    """Gathered tensors no longer share memory where they are tied."""
    model = tiny_model(tokenizer)
    model = with_lora(model, Lora(rank=4)) if lora else model
    whole = {name: tensor.clone() + 0.01 for name, tensor in model.state_dict().items()}
    save_student(model, tokenizer, folder, None, weights=whole)
    assert "lm_head.weight" not in stored(folder)
    again, _ = read_by_transformers(folder)
    model.load_state_dict(whole)
    assert torch.allclose(logits(again), logits(model), atol=1e-5)


# A full disk


@pytest.mark.parametrize("room", [500, 5_000, 18_000])
def test_a_full_disk_leaves_the_earlier_student_whole(folder: Path, tokenizer: Any, room: int) -> None:
    """It runs full at the config, at the weights, at the tokenizer."""
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    save_student(tiny_model(tokenizer, **small), tokenizer, folder, None)
    before = digests(folder)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert 500 < sizes["config.json"] < 5_000 < sizes["model.safetensors"] < 18_000 < sizes["tokenizer.json"], sizes
    with (
        files_of_at_most(room),
        pytest.raises(
            StorageError, match=rf"^{folder}: File too large; what was saved before is safe\. Make room .* again"
        ),
    ):
        save_student(tiny_model(tokenizer, seed=1, **small), tokenizer, folder, None)
    assert digests(folder) == before
    assert {path.name for path in folder.iterdir()} == set(before)
    read_by_transformers(folder)


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"the file .*taken is in the way"):
        save_student(tiny_model(tokenizer), tokenizer, tmp_path / "taken", None)
