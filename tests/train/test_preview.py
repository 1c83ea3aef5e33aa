"""A dry run shows what would be trained, and how large it is, before a weight is loaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from base_folders import write_folder
from tiny_student import TinyRows, tiny_llama
from tiny_tokenizer import tiny_tokenizer
from token_scene import split_set
from transformers import LlamaConfig

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import Completion
from tutelage.train.bases.shape import Shape, shape_of
from tutelage.train.config import Base, Lora, Loss, TrainConfig
from tutelage.train.memory import FP32, estimate
from tutelage.train.model.taught import Taught
from tutelage.train.preview import Preview, preview_training
from tutelage.train.rows.batches import collate

MakeRow = Callable[..., Completion]
HOME = ("smollm2", "gpt")


@pytest.fixture(scope="module")
def preview(tmp_path_factory: pytest.TempPathFactory, completion: MakeRow) -> Preview:
    folder = tmp_path_factory.mktemp("preview")
    rows = [completion(teacher=HOME[number % 2], response=f"answer {'x' * number}") for number in range(40)]
    return preview_of(folder, rows, [completion()])


def preview_of(folder: Path, rows: list[Completion], held_out: list[Completion], **sections: Any) -> Preview:
    config = config_of(folder, **sections)
    split_set(folder / "set", rows, held_out)
    return preview_training(config, config.dataset, {"train": len(rows), "held_out": len(held_out)})


def config_of(folder: Path, **sections: Any) -> TrainConfig:
    if not (folder / "tokenizer").exists():
        tiny_tokenizer().save_pretrained(folder / "tokenizer")
    fresh = {"tokenizer": str(folder / "tokenizer"), "hidden_size": 32, "layers": 2, "heads": 2}
    return TrainConfig.model_validate(
        {
            "version": 1,
            "dataset": str(folder / "set"),
            "student": {"name": "tiny", "base": {"fresh": fresh}},
            "data": {"max_tokens": 64},
            "training": {"pack_tokens": 128, "packs_per_step": 2, "epochs": 3},
            "output": {"folder": str(folder / "student")},
            **sections,
        }
    )


def test_trained_and_untrained_text_stand_apart(preview: Preview) -> None:
    assert len(preview.examples) == 3
    for example in preview.examples:
        prompt, trained = example.pieces
        assert (prompt.trained, trained.trained) == (False, True)
        assert prompt.text.endswith("<|im_start|>assistant\n")
        assert trained.text.startswith("answer x")
        assert trained.text.endswith("<|im_end|>")
        assert 0 < example.trained_tokens < example.tokens
        assert example.teacher in HOME


def test_rows_are_counted_by_split_and_teacher(preview: Preview) -> None:
    train, held_out = preview.splits
    assert train.teachers == {"smollm2": 20, "gpt": 20}
    assert (train.counts["rows"], held_out.counts["rows"]) == (40, 1)
    assert list(train.lengths) == sorted(train.lengths)
    assert train.counts["tokens"] > train.counts["trained_tokens"] > 0


def test_packs_are_packed_as_a_training_would(preview: Preview) -> None:
    tokens = preview.splits[0].counts["tokens"]
    packing = preview.packing
    assert packing.packed_rows == packing.rows == 40
    assert 0.5 < packing.fill <= 1
    packs = round(tokens / packing.fill / 128)
    assert packing.steps_an_epoch == -(-packs // 2)
    assert packing.steps == -(-packs * 3 // 2)


def test_the_tokenizer_is_held_to_the_model(preview: Preview) -> None:
    vocabulary = preview.vocabulary
    assert (vocabulary.tokenizer, vocabulary.model, vocabulary.unused) == (448, 448, 0)
    assert (vocabulary.end_of_turn, vocabulary.pad_is_end_of_turn) == ("<|im_end|>", False)
    assert len(preview.tokenizer_sha256) == 64
    assert vocabulary.largest_id < 448


def test_a_preview_is_json(preview: Preview) -> None:
    said = json.loads(json.dumps(preview.to_json()))
    assert said["examples"][0]["pieces"][1]["trained"] is True
    assert said["memory"]["total"] == preview.memory.total
    assert said["splits"][0]["name"] == "train"


def test_a_preview_loads_no_weight_and_makes_no_optimizer(
    tmp_path: Path, completion: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_folder(tmp_path / "base")
    (base / "model.safetensors").unlink()

    def made(*_: Any, **__: Any) -> None:
        raise AssertionError("a preview made an optimizer")

    monkeypatch.setattr(torch.optim.Optimizer, "__init__", made)
    found = preview_of(tmp_path, [completion()], [], student={"name": "tiny", "base": {"folder": str(base)}})
    assert found.shape.vocabulary == 448


def test_the_training_finds_the_tokens_that_the_preview_made(tmp_path: Path, completion: MakeRow) -> None:
    rows = [completion() for _ in range(3)]
    preview_of(tmp_path, rows, [])
    stored = tmp_path / "student/tokens/train/store.json"
    made = stored.stat().st_ino
    config = config_of(tmp_path)
    preview_training(config, config.dataset, {"train": 3})
    assert stored.stat().st_ino == made
    assert not (tmp_path / "student/checkpoints").exists()


def test_a_preview_refuses_what_a_training_would(tmp_path: Path, completion: MakeRow) -> None:
    row = completion()
    again = completion(messages=row.messages, response=row.response)
    with pytest.raises(ConfigError, match="ask what a training row asks"):
        preview_of(tmp_path, [row], [again])
    mix = {"max_tokens": 64, "mix": {"weights": {"nobody": 1}}}
    with pytest.raises(ConfigError, match="names teacher 'nobody'"):
        preview_of(tmp_path / "mix", [row], [], data=mix)


def test_evaluations_without_held_out_rows_are_refused_with_the_reason(tmp_path: Path, completion: MakeRow) -> None:
    training = {"pack_tokens": 128, "evaluate_every_steps": 4}
    with pytest.raises(ConfigError, match="and the set has no held-out rows; take it out, or curate a set"):
        preview_of(tmp_path, [completion()], [], training=training)
    data = {"max_tokens": 24, "over_long": "drop"}
    long = completion(messages=[("user", "What is long?")], response="long " * 90)
    short = completion(messages=[("user", "?")], response="o")
    with pytest.raises(ConfigError, match=r"all 1 held-out rows are longer than data\.max_tokens = 24; raise that"):
        preview_of(tmp_path / "dropped", [short], [long], training=training, data=data)


def test_an_epoch_that_a_small_mix_leaves_empty_does_not_stand_for_all(tmp_path: Path, completion: MakeRow) -> None:
    rows = [completion() for _ in range(3)]
    data = {"max_tokens": 64, "mix": {"weights": {rows[0].teacher: 0.1}}}
    training = {"pack_tokens": 128, "packs_per_step": 1, "epochs": 20}
    found = preview_of(tmp_path, rows, [], data=data, training=training)
    assert found.examples
    assert found.packing.rows > 0
    assert found.packing.fill > 0
    assert 1 <= found.packing.steps <= 6


def test_notes_say_what_is_easily_taken_wrongly(tmp_path: Path, completion: MakeRow) -> None:
    tiny_tokenizer(eos="<|endoftext|>").save_pretrained(tmp_path / "tokenizer")
    found = preview_of(tmp_path, [completion(outcome="truncated"), completion()], [])
    assert any("a server has to stop at both" in note for note in found.notes)
    assert any(note.startswith("1 rows were cut off by their harvest's max_tokens") for note in found.notes)
    (tmp_path / "pad").mkdir()
    tiny_tokenizer(pad_is_eos=True).save_pretrained(tmp_path / "pad/tokenizer")
    found = preview_of(tmp_path / "pad", [completion()], [])
    assert any(
        note.startswith("pad is the end of turn, <|im_end|> (2); it is trained all the same") for note in found.notes
    )


def test_a_folders_shape_is_read_from_its_config(tmp_path: Path) -> None:
    write_folder(tmp_path / "base")
    (tmp_path / "base/model.safetensors").unlink()
    shape = shape_of(Base(folder=str(tmp_path / "base")), None, 64)
    config = LlamaConfig.from_pretrained(tmp_path / "base")
    assert (shape.hidden, shape.layers, shape.vocabulary) == (
        config.hidden_size,
        config.num_hidden_layers,
        config.vocab_size,
    )
    assert shape.kv_width == config.num_key_value_heads * config.head_dim
    assert shape.parameters > 0


def test_a_ggufs_shape_is_read_from_its_header() -> None:
    shape = shape_of(Base(gguf="embedded"), None, 64)
    assert shape == Shape(134_515_008, 49_152, 576, 1536, 30, 9, 192)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_estimated_as_they_are(tmp_path: Path, precision: str, checkpointing: bool) -> None:
    """What autograd really keeps of a Llama, layer by layer."""
    config = config_of(
        tmp_path,
        training={"pack_tokens": 128, "precision": precision, "activation_checkpointing": checkpointing},
    )
    kept = {layers: _kept_bytes(layers, precision, checkpointing) for layers in (2, 3)}
    estimated = {layers: estimate(_shape(layers), config).activations for layers in (2, 3)}
    assert kept[3] - kept[2] == estimated[3] - estimated[2]
    if not checkpointing:
        assert kept[3] == pytest.approx(estimated[3], rel=0.1)


def test_adapters_alone_need_gradients_and_moments(tmp_path: Path) -> None:
    lora = Lora(rank=4, targets=("q_proj", "down_proj"))
    config = config_of(tmp_path)
    student = config.student.model_copy(update={"lora": lora})
    shape = _shape(2)
    full, adapted = estimate(shape, config), estimate(shape, config.model_copy(update={"student": student}))
    assert adapted.trained_parameters == 2 * 4 * ((32 + 32) + (48 + 32))
    assert adapted.gradients == FP32 * adapted.trained_parameters
    assert adapted.weights == full.weights
    assert full.optimizer == 2 * FP32 * shape.parameters


def _shape(layers: int) -> Shape:
    return Shape(parameters=1000, vocabulary=211, hidden=32, intermediate=48, layers=layers, heads=4, kv_width=16)


def _kept_bytes(layers: int, precision: str, checkpointing: bool) -> int:
    """Of storages that backward holds on to, without weights and the copies that autocast makes of them."""
    model = tiny_llama(num_hidden_layers=layers)
    taught = Taught(model, Loss()).train()
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    rows = TinyRows([32] * 4)
    batch = collate(rows.documents(), rows, torch.device("cpu"))
    weights = {tuple(parameter.shape) for parameter in taught.parameters()}
    weights |= {shape[::-1] for shape in weights}
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tuple(tensor.shape) not in weights:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        taught(batch, 10, Loss())
    return sum(storage.nbytes() for storage in kept.values())
