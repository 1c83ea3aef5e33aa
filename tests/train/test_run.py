"""Whole runs: what goes in comes out, killed or not, and what can't be gone on from is refused."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from run_scene import RunScene, killed_after

from tutelage.pipelines.seal import read_manifest
from tutelage.schemas.errors import ConfigError, DatasetHeld, SealBroken, TrainingStopped
from tutelage.schemas.rows import Completion
from tutelage.train import checkpoint
from tutelage.train.checkpoint import steps_saved
from tutelage.train.config import TrainConfig
from tutelage.train.loop import Learner
from tutelage.train.progress import Watcher
from tutelage.train.record.run_record import read_run_record
from tutelage.train.record.training_rows import require_training_rows
from tutelage.train.run import train
from tutelage.train.student_folder import held

Build = Callable[..., Completion]
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory, completion: Build) -> RunScene:
    rows = [
        completion(
            messages=[("user", f"Say {WORDS[number % 10]} {number} times")],
            response=" ".join(WORDS[(number * place) % 10] for place in range(1, 3 + number % 9)),
        )
        for number in range(60)
    ]
    return RunScene(tmp_path_factory.mktemp("run")).with_rows(rows)


@pytest.fixture(name="undisturbed", scope="module")
def _undisturbed(scene: RunScene) -> RunScene:
    """The run that the others are held against, in `undisturbed`; evaluated now and then."""
    scene.run("undisturbed", training=EVALUATED)
    return scene


EVALUATED = {"evaluate_every_steps": 5}


def test_a_run_reads_every_row_in_every_epoch_and_its_record_says_so(undisturbed: RunScene) -> None:
    folder = undisturbed.folder / "undisturbed"
    record = read_run_record(folder)
    ids = {row["row_id"] for row in undisturbed.rows("train")}
    readings = undisturbed.readings("undisturbed")
    assert sorted((row["epoch"], row["row_id"]) for row in readings) == sorted((e, i) for e in range(3) for i in ids)
    assert [row["position"] for row in readings] == list(range(len(readings)))
    assert {row["terms_id"] for row in readings} == {"CC0-1.0;smollm2-apache-2.0"}
    require_training_rows(
        folder / "training_rows.parquet", **record.training_rows.model_dump(include={"rows", "merkle_root", "sha256"})
    )
    assert record.trained_tokens == sum(row["tokens_trained"] for row in readings)
    assert record.teachers[0].tokens_trained == record.trained_tokens


def test_the_loss_falls_and_so_does_the_held_out_rows(undisturbed: RunScene) -> None:
    steps = [line for line in undisturbed.metrics("undisturbed") if line["kind"] == "step"]
    held_out = [line for line in undisturbed.metrics("undisturbed") if line["kind"] == "evaluation"]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert steps[-1]["loss"] < steps[0]["loss"] - 1
    assert held_out[0]["step"] == 0
    assert held_out[-1]["loss"] < held_out[0]["loss"] - 1
    assert held_out[-1]["bits_per_byte"] < held_out[0]["bits_per_byte"]


def test_the_student_loads_in_transformers_and_says_the_loss_that_was_recorded(undisturbed: RunScene) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = undisturbed.folder / "undisturbed"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    total = count = 0.0
    for row in undisturbed.rows("held_out"):
        messages = [*row["messages"], {"role": "assistant", "content": row["response"]}]
        prompt, whole = (
            tokenizer.apply_chat_template(some, add_generation_prompt=end, return_tensors="pt", return_dict=True)
            for some, end in ((messages[:-1], True), (messages, False))
        )
        ids, first = whole["input_ids"], prompt["input_ids"].shape[1]
        last = int((ids[0] == tokenizer.eos_token_id).nonzero()[-1])
        with torch.no_grad():
            losses = torch.nn.functional.cross_entropy(model(ids).logits[0, first - 1 : last], ids[0, first : last + 1])
        total += losses.item() * (last + 1 - first)
        count += last + 1 - first
    exported = read_run_record(folder).student.exported_step
    recorded = {line["step"]: line for line in undisturbed.metrics("undisturbed") if line["kind"] == "evaluation"}
    assert recorded[exported]["trained_tokens"] == count
    assert recorded[exported]["loss"] == pytest.approx(total / count, abs=1e-4)


@pytest.mark.parametrize("lines", [2, 6, 9])
def test_killed_at_any_step_and_run_again_it_is_the_undisturbed_run_bit_for_bit(
    lines: int, undisturbed: RunScene
) -> None:
    name = f"killed-{lines}"
    process = undisturbed.process(name, training=EVALUATED)
    code = killed_after(lines, process, undisturbed.folder / name / "metrics.jsonl")
    assert code == -signal.SIGKILL
    undisturbed.run(name, training=EVALUATED)
    assert undisturbed.metrics(name) == undisturbed.metrics("undisturbed")
    assert undisturbed.readings(name) == undisturbed.readings("undisturbed")
    assert undisturbed.weights(name) == undisturbed.weights("undisturbed")


def test_dropout_is_drawn_anew_as_it_was(scene: RunScene) -> None:
    pytest.importorskip("peft")
    sections = {
        "student": {**scene.sections()["student"], "lora": {"rank": 4, "dropout": 0.5, "targets": ["q_proj"]}},
        "training": {"epochs": 2},
    }
    scene.run("dropped", **sections)
    process = scene.process("dropped-killed", **sections)
    assert killed_after(3, process, scene.folder / "dropped-killed" / "metrics.jsonl") == -signal.SIGKILL
    scene.run("dropped-killed", **sections)
    assert scene.metrics("dropped-killed") == scene.metrics("dropped")
    assert scene.weights("dropped-killed") == scene.weights("dropped")


def test_sigterm_saves_and_exits_0_and_the_same_command_goes_on(undisturbed: RunScene) -> None:
    process = undisturbed.process("stopped", training={**EVALUATED, "checkpoint_every_steps": 1000})
    code = killed_after(4, process, undisturbed.folder / "stopped" / "metrics.jsonl", signal.SIGTERM)
    assert code == 0
    assert len(steps_saved(undisturbed.folder / "stopped" / "checkpoints")) == 1
    assert not (undisturbed.folder / "stopped" / "run.json").exists()
    undisturbed.run("stopped", training=EVALUATED)
    assert undisturbed.metrics("stopped") == undisturbed.metrics("undisturbed")
    assert undisturbed.weights("stopped") == undisturbed.weights("undisturbed")


def test_a_damaged_newest_checkpoint_costs_its_steps_and_nothing_else(undisturbed: RunScene) -> None:
    undisturbed.run("damaged", training={**EVALUATED, "max_steps": None})
    folder = undisturbed.folder / "damaged"
    newest = folder / "checkpoints" / steps_saved(folder / "checkpoints")[-1]
    weights = newest / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    (folder / "run.json").unlink()
    undisturbed.run("damaged", training=EVALUATED)
    assert undisturbed.metrics("damaged") == undisturbed.metrics("undisturbed")
    assert undisturbed.weights("damaged") == undisturbed.weights("undisturbed")


def test_a_finished_run_is_run_again_for_nothing(undisturbed: RunScene) -> None:
    folder = undisturbed.folder / "undisturbed"
    (folder / "evaluation.json").write_text("{}")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}
    trained = undisturbed.run("undisturbed", training=EVALUATED)
    assert trained.finished
    assert trained.exported_step == read_run_record(folder).student.exported_step
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}
    assert after == before


@pytest.mark.parametrize("file", ["checkpoints/rows.log", "metrics.jsonl"])
@pytest.mark.parametrize("how", ["gone", "changed"])
def test_logs_that_are_not_what_was_logged_cost_the_checkpoints_that_know_of_them(
    file: str, how: str, undisturbed: RunScene
) -> None:
    folder = undisturbed.folder / "logs"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(undisturbed.folder / "undisturbed", folder)
    (folder / "run.json").unlink()
    content = (folder / file).read_bytes()
    (folder / file).unlink()
    if how == "changed":
        (folder / file).write_bytes(b"\xff" + content[1:])
    with pytest.raises(ConfigError, match=rf"none of its 2 checkpoints .* {Path(file).name} (has|is not what)"):
        undisturbed.run("logs", training=EVALUATED)


def changed_rate(folder: Path) -> dict[str, Any]:
    return {"optimizer": {"learning_rate": 0.02}}


def damaged(folder: Path) -> dict[str, Any]:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    return {}


def narrowed(folder: Path) -> dict[str, Any]:
    return {"policy": {"distributed": False}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed_rate, r"another training \(there -> here\):\n  config\.optimizer\.learning_rate: 0\.01 -> 0\.02"),
        (narrowed, r"another training \(there -> here\):\n  policy\.distributed: true -> false"),
        (damaged, "holds a student that is not whole .*model.safetensors"),
    ],
)
def test_a_student_that_is_there_is_not_written_over_without_checkpoints(
    change: Callable[[Path], dict[str, Any]], said: str, undisturbed: RunScene
) -> None:
    folder = undisturbed.folder / "there"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(undisturbed.folder / "undisturbed", folder)
    shutil.rmtree(folder / "checkpoints")
    sections = change(folder)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}
    with pytest.raises(ConfigError, match=said):
        undisturbed.run("there", training=EVALUATED, **sections)
    assert {path: path.read_bytes() for path in before} == before


def test_the_same_rows_split_by_another_policy_are_another_training(undisturbed: RunScene, tmp_path: Path) -> None:
    """Their Merkle root is the same: it is of all rows."""
    other = RunScene(tmp_path)
    other.curate(other.config(undisturbed.harvest, dedupe=None, held_out={"share": 0.25, "seed": 2}))
    roots = [read_manifest(scene.out).merkle.root for scene in (undisturbed, other)]
    assert roots[0] == roots[1]
    folder = undisturbed.folder / "split"
    shutil.copytree(undisturbed.folder / "undisturbed", folder)
    base = str(undisturbed.folder / "base")
    sections = other.sections(training=EVALUATED, student={"base": {"folder": base}}, output={"folder": str(folder)})
    with pytest.raises(ConfigError, match=r"checkpoints of another run .*\n  dataset\.policy_sha256: "):
        train(TrainConfig.model_validate(sections), other.permit(name="tiny"))
    assert undisturbed.weights("split") == undisturbed.weights("undisturbed")


def test_a_dataset_that_has_moved_is_gone_on_with(undisturbed: RunScene, tmp_path: Path) -> None:
    folder = undisturbed.folder / "moved"
    shutil.copytree(undisturbed.folder / "undisturbed", folder)
    shutil.copytree(undisturbed.out.root, tmp_path / "elsewhere")
    config = TrainConfig.model_validate(
        undisturbed.sections("moved", training=EVALUATED, dataset=str(tmp_path / "elsewhere"))
    )
    permit = undisturbed.permit(config.dataset, name="tiny")
    before = (folder / "run.json").read_bytes()
    assert train(config, permit).finished
    assert (folder / "run.json").read_bytes() == before
    (folder / "run.json").unlink()
    assert train(config, permit).finished
    assert undisturbed.weights("moved") == undisturbed.weights("undisturbed")


def test_a_checkpoint_of_another_layout_is_refused(undisturbed: RunScene, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = undisturbed.folder / "layout"
    shutil.copytree(undisturbed.folder / "undisturbed", folder)
    (folder / "run.json").unlink()
    monkeypatch.setattr(checkpoint, "CONTRACT", "checkpoint/2")
    with pytest.raises(ConfigError, match='contract: "checkpoint/1" -> "checkpoint/2"'):
        undisturbed.run("layout", training=EVALUATED)


def test_a_damaged_student_is_made_again_from_its_checkpoints(undisturbed: RunScene) -> None:
    folder = undisturbed.folder / "mended"
    shutil.copytree(undisturbed.folder / "undisturbed", folder)
    damaged(folder)
    undisturbed.run("mended", training=EVALUATED)
    assert undisturbed.weights("mended") == undisturbed.weights("undisturbed")
    assert undisturbed.metrics("mended") == undisturbed.metrics("undisturbed")


def test_a_set_that_was_sealed_anew_behind_the_gate_is_not_trained_on(scene: RunScene) -> None:
    config = TrainConfig.model_validate(scene.sections("resealed"))
    permit = scene.permit(name="tiny")._replace(manifest_sha256="0" * 64)
    with pytest.raises(SealBroken, match="sealed anew after the gate"):
        train(config, permit)


def test_a_disk_that_runs_full_between_checkpoints_is_said(scene: RunScene) -> None:
    process = scene.process("full", limit_bytes=700, training={"checkpoint_every_steps": 1000})
    _, errors = process.communicate()
    assert process.returncode == 1, errors
    assert "the checkpoints are safe" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"optimizer": {"learning_rate": 0.02}}, r"config\.optimizer\.learning_rate: 0\.01 -> 0\.02"),
        ({"training": {"epochs": 4, **EVALUATED}}, r"config\.training\.epochs: 3\.0 -> 4\.0"),
        ({"data": {"max_tokens": 32}}, r"config\.data\.max_tokens: 64 -> 32"),
    ],
)
def test_checkpoints_of_another_config_are_refused_with_the_difference(
    changed: dict[str, Any], difference: str, undisturbed: RunScene
) -> None:
    sections = {"training": EVALUATED, **changed}
    with pytest.raises(ConfigError, match=difference):
        undisturbed.run("undisturbed", **sections)


def test_a_folder_that_another_run_holds_is_left_alone(undisturbed: RunScene) -> None:
    with held(undisturbed.folder / "held"), pytest.raises(DatasetHeld, match="works in it"):
        undisturbed.run("held")


def test_patience_ends_the_run_and_the_best_weights_are_exported(scene: RunScene) -> None:
    trained = scene.run(
        "impatient",
        optimizer={"learning_rate": 0.9, "schedule": "constant", "clip_norm": None},
        training={"epochs": 50, "evaluate_every_steps": 1, "patience": 2},
    )
    record = read_run_record(scene.folder / "impatient")
    losses = {step: loss for step, loss in trained.held_out_losses if step}
    assert trained.steps < 20
    assert record.student.exported_step == min(losses, key=lambda step: losses[step]) == trained.exported_step
    assert max(row["step"] for row in scene.readings("impatient")) == trained.exported_step


def test_where_the_best_weights_are_damaged_the_last_are_exported_and_it_is_said(
    scene: RunScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections: dict[str, Any] = {
        "optimizer": {"learning_rate": 0.3},
        "training": {"epochs": 40, "evaluate_every_steps": 2, "patience": 2},
    }
    best = scene.run("best", **sections).exported_step
    folder = scene.folder / "best"
    (folder / "run.json").unlink()
    state = folder / "checkpoints" / "best" / "state.json"
    state.write_text(state.read_text() + " ")
    noted: list[str] = []
    monkeypatch.setattr(Watcher, "note", lambda self, text: noted.append(text))
    trained = scene.run("best", **sections)
    assert trained.exported_step == trained.steps != best
    said = f"the best checkpoint, of step {best}, is damaged (state.json is not what was saved); the last, of step "
    assert [note for note in noted if note.startswith(said)]
    assert trained.notes[-1].startswith(said)


def test_held_out_rows_whose_loss_is_no_number_end_the_run(scene: RunScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learner, "evaluate", lambda *_: (float("nan"), 1))
    with pytest.raises(TrainingStopped, match="the loss of the held-out rows is nan"):
        scene.run("unheard")
    assert not (scene.folder / "unheard" / "run.json").exists()


def test_weights_that_are_not_finite_are_not_exported(scene: RunScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "whole", lambda tensor: torch.full_like(tensor.detach(), torch.nan))
    with pytest.raises(TrainingStopped, match=r"the weights after step 1 are not finite .*nothing was exported"):
        scene.run("burst", training={"max_steps": 1})
    assert not (scene.folder / "burst" / "model.safetensors").exists()


def test_max_steps_ends_the_run(scene: RunScene) -> None:
    assert scene.run("short", training={"max_steps": 3}).steps == 3


def test_a_loss_that_is_no_number_leaves_a_file_with_the_row_ids(scene: RunScene) -> None:
    with pytest.raises(TrainingStopped, match="no weight was changed"):
        scene.run("exploding", optimizer={"learning_rate": 0.99, "eps": 1e-30, "clip_norm": None, "beta2": 0.0})
    found = json.loads((scene.folder / "exploding" / "nonfinite.json").read_text())
    assert set(found["row_ids"]) <= {row["row_id"] for row in scene.rows("train")}
    assert found["row_ids"]


def test_without_held_out_rows_the_last_weights_are_exported(completion: Build, tmp_path: Path) -> None:
    rows = [completion(messages=[("user", f"Say {word}")], response=word) for word in WORDS]
    scene = RunScene(tmp_path).with_rows(rows, held_out=None)
    trained = scene.run()
    assert trained.held_out_losses == ()
    assert read_run_record(tmp_path / "student").student.exported_step == trained.steps
    with pytest.raises(ConfigError, match="evaluate_every_steps is given, and the set has no held-out rows"):
        scene.run("asked", training=EVALUATED)


def test_equal_runs_are_equal_and_another_seed_is_another_run(undisturbed: RunScene) -> None:
    undisturbed.run("again", training=EVALUATED)
    undisturbed.run("other", training={**EVALUATED, "seed": 1})
    assert undisturbed.weights("again") == undisturbed.weights("undisturbed")
    assert undisturbed.weights("other") != undisturbed.weights("undisturbed")
    shutil.rmtree(undisturbed.folder / "again")


def test_lora_trains_adapters_and_saves_a_plain_model(scene: RunScene) -> None:
    pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    sections = scene.sections("lora")
    sections["student"]["lora"] = {"rank": 4, "targets": ["q_proj", "v_proj"]}
    trained = scene.run("lora", student=sections["student"])
    model = AutoModelForCausalLM.from_pretrained(scene.folder / "lora")
    assert not [name for name, _ in model.named_parameters() if "lora" in name]
    assert trained.held_out_losses[-1][1] < trained.held_out_losses[0][1]
