"""That a whole run asks every question: each check is made to say no, and each option is seen to arrive."""

import json
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from base_folders import write_folder
from rank_scene import started
from run_scene import RunScene, signalled_when
from tiny_tokenizer import tiny_tokenizer

from tutelage.schemas.errors import ConfigError, DatasetHeld
from tutelage.schemas.rows import Completion
from tutelage.train import run as run_module
from tutelage.train import runnable as runnable_module
from tutelage.train.bases.load import tokenizer_sha256
from tutelage.train.checkpoint import Checkpoint, steps_saved
from tutelage.train.config import TrainConfig
from tutelage.train.model import taught as taught_module
from tutelage.train.parallel import Ranks
from tutelage.train.preview import preview
from tutelage.train.student_folder import held

Build = Callable[..., Completion]
K = 3


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory, completion: Build) -> RunScene:
    return RunScene(tmp_path_factory.mktemp("wiring")).with_rows(list(map(_row(completion), range(24))))


def _row(completion: Build) -> Callable[[int], Completion]:
    """Rows of two teachers whose logprobs were kept: their own token and two others."""
    tokenizer = tiny_tokenizer()

    def build(number: int) -> Completion:
        answer = f"The answer is {number * 7} and not {number}"
        ids = tokenizer.encode(answer, add_special_tokens=False)
        tops = [[(token, -0.5), ((token + 1) % 256, -1.5), ((token + 2) % 256, -2.5)] for token in ids]
        return completion(
            messages=[("user", f"What of {number}?")],
            response=answer,
            teacher="smollm2" if number % 2 else "other",
            sampling=json.dumps({"max_tokens": 64, "top_logprobs": K}),
            tokens=[(token, tokenizer.decode([token]), -0.5) for token in ids],
            top_logprobs=tops,
        )

    return build


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("require_isolation", run_module),
        ("require_plain_head", run_module),
        ("require_rows", run_module),
        ("require_no_overlap", runnable_module),
        ("check_vocabulary", run_module),
    ],
)
def test_a_check_that_says_no_ends_the_run_before_a_step(
    name: str, place: Any, scene: RunScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise ConfigError("no")

    monkeypatch.setattr(place, name, refuses)
    with pytest.raises(ConfigError, match="no"):
        scene.run(f"refused-{name}")
    assert scene.metrics(f"refused-{name}") == []


def test_a_mix_reads_a_teacher_as_often_as_it_says(scene: RunScene) -> None:
    scene.run("mixed", data={"mix": {"by": "teacher", "weights": {"other": 2, "smollm2": 0}}}, training={"epochs": 1})
    readings = scene.readings("mixed")
    assert {row["teacher"] for row in readings} == {"other"}
    ids = {row["row_id"] for row in scene.rows("train") if row["teacher"] == "other"}
    assert sorted(row["row_id"] for row in readings) == sorted([*ids, *ids])


def test_a_run_that_would_read_no_row_is_refused(scene: RunScene) -> None:
    with pytest.raises(ConfigError, match=r"0 of \d+ rows would be read"):
        scene.run("nothing", training={"epochs": 0.001})
    assert not (scene.folder / "nothing" / "run.json").exists()


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd", "random_sampling"])
def test_a_students_loss_against_its_teachers_logprobs_falls(kind: str, scene: RunScene) -> None:
    teacher = {"tokenizer_sha256": tokenizer_sha256(tiny_tokenizer()), "k": K}
    scene.run(f"kd-{kind}", loss={"kind": kind, "teacher": teacher}, training={"epochs": 8})
    losses = [line["loss"] for line in scene.metrics(f"kd-{kind}") if line["kind"] == "step"]
    assert losses[-1] < 0.9 * losses[0]


def test_renormalising_warns_in_a_run(scene: RunScene) -> None:
    teacher = {"tokenizer_sha256": tokenizer_sha256(tiny_tokenizer()), "k": K}
    with pytest.warns(UserWarning, match="nearly all of the probability"):
        scene.run("trap", loss={"kind": "forward_kl", "teacher": teacher, "tail": "renormalise"})


def test_activation_checkpointing_arrives_and_changes_no_loss(scene: RunScene, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils import checkpoint

    calls: list[int] = []
    original = checkpoint.checkpoint

    def counted(*arguments: Any, **keys: Any) -> Any:
        calls.append(1)
        return original(*arguments, **keys)

    monkeypatch.setattr(checkpoint, "checkpoint", counted)
    scene.run("plain", training={"max_steps": 2})
    assert not calls
    scene.run("saved", training={"max_steps": 2, "activation_checkpointing": True})
    plain, saved = ([line["loss"] for line in scene.metrics(name)] for name in ("plain", "saved"))
    assert saved == pytest.approx(plain, abs=1e-5)


def test_in_bf16_attention_and_head_are_given_bf16(scene: RunScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the kernels for half precision are chosen by these."""
    seen: dict[str, set[torch.dtype]] = {"head": set(), "attention": set()}
    head, attend = taught_module.head_loss, torch.nn.functional.scaled_dot_product_attention

    def head_spy(hidden: Any, weight: Any, *rest: Any, **keys: Any) -> Any:
        seen["head"].add(hidden.dtype)
        assert weight.dtype == torch.float32  # its gradient is summed as it is kept
        return head(hidden, weight, *rest, **keys)

    def attention_spy(query: Any, key: Any, value: Any, **keys: Any) -> Any:
        seen["attention"] |= {query.dtype, key.dtype, value.dtype}
        return attend(query, key, value, **keys)

    monkeypatch.setattr(taught_module, "head_loss", head_spy)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention_spy)
    trained = scene.run("bf16", training={"precision": "bf16"})
    assert seen["head"] == {torch.bfloat16}
    assert torch.bfloat16 in seen["attention"]
    assert trained.held_out_losses[-1][1] < trained.held_out_losses[0][1]


def test_compiling_on_a_cpu_is_refused(scene: RunScene) -> None:
    with pytest.raises(ConfigError, match="there is no GPU"):
        scene.run("compiled", training={"compile": True})


@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_two_processes_of_the_command_train_the_student_of_one(parallel: str, scene: RunScene) -> None:
    name = f"two-{parallel}"
    training = {"max_steps": 4, "precision": "fp32"}
    scene.run(f"one-{parallel}", training=training)
    path = scene.folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(scene.sections(name, training={**training, "parallel": parallel})))
    command = ["-c", "from tutelage.cli.main import run; run()", "train", str(path)]
    started([command, command])
    one, two = ([line["loss"] for line in scene.metrics(of)] for of in (f"one-{parallel}", name))
    assert two == pytest.approx(one, abs=1e-4)
    ids = [[row["row_id"] for row in scene.readings(of)] for of in (f"one-{parallel}", name)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_two_processes_draw_what_one_draws_and_go_on_where_they_were_stopped(parallel: str, scene: RunScene) -> None:
    """Dropout and samples of the teacher's: both a function of the pack, not of who has it."""
    pytest.importorskip("peft")
    teacher = {"tokenizer_sha256": tokenizer_sha256(tiny_tokenizer()), "k": K}
    sections: dict[str, Any] = {
        "student": {**scene.sections()["student"], "lora": {"rank": 4, "dropout": 0.5, "targets": ["q_proj"]}},
        "loss": {"kind": "random_sampling", "teacher": teacher, "samples": 4},
    }
    one, two = f"{parallel}-one", f"{parallel}-two"
    scene.run(one, **sections, training={"max_steps": 4})
    path = scene.folder / f"{two}.yaml"
    path.write_text(yaml.safe_dump(scene.sections(two, **sections, training={"max_steps": 4, "parallel": parallel})))
    command = ["-c", "from tutelage.cli.main import run; run()", "train", str(path)]
    started([command, command])
    losses = [line["loss"] for line in scene.metrics(two)]
    assert losses == pytest.approx([line["loss"] for line in scene.metrics(one)], abs=1e-4)
    folder = scene.folder / two
    (folder / "run.json").unlink()
    shutil.rmtree(folder / "checkpoints" / steps_saved(folder / "checkpoints")[-1])
    weights = scene.weights(two)
    started([command, command])
    assert scene.weights(two) == weights
    assert [line["loss"] for line in scene.metrics(two)] == losses


def test_ranks_that_found_different_checkpoints_are_told(tmp_path: Path) -> None:
    class Others(Ranks):
        def total(self, *values: float) -> list[float]:
            return [sum(values)]  # of the other rank, which begins anew: 0

        def any(self, flag: bool) -> bool:
            return flag

    ranks = Others(0, 2, torch.device("cpu"))
    with pytest.raises(ConfigError, match="one that all of them share"):
        run_module._require_one_start(Checkpoint({}, {}, {"step": 4}), ranks, tmp_path)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"output": {"folder": "base"}}, "name a folder of its own"),
        ({"trackers": ["trackio"]}, "trackio is not installed"),
        ({"training": {"compile": True}}, "there is no GPU"),
        ({"training": {"epochs": 0.001}}, "0 of .* rows would be read"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(
    sections: dict[str, Any], said: str, scene: RunScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    if "output" in sections:
        sections = {"output": {"folder": str(scene.folder / "base")}}
    config = TrainConfig.model_validate(scene.sections("looked-at", **sections))
    before = sorted((scene.folder / "base").iterdir())
    with pytest.raises(ConfigError, match=said):
        preview(config, scene.permit(name="tiny"))
    assert sorted((scene.folder / "base").iterdir()) == before


def test_a_dry_run_leaves_a_folder_alone_that_a_run_holds(scene: RunScene) -> None:
    config = TrainConfig.model_validate(scene.sections("held"))
    with held(scene.folder / "held"), pytest.raises(DatasetHeld, match="works in it"):
        preview(config, scene.permit(name="tiny"))


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (lambda scene: _first(scene, "completions/train-*").write_bytes(b"x"), 4, "its bytes are not those that"),
        (lambda scene: (Path(scene.out.root) / "receipt.json").unlink(), 3, "has no receipt"),
    ],
    ids=["a broken seal", "no receipt"],
)
def test_the_command_refuses_before_it_loads_a_weight(
    spoil: Callable[[RunScene], object], code: int, said: str, completion: Build, tmp_path: Path
) -> None:
    scene = RunScene(tmp_path).with_rows(list(map(_row(completion), range(6))), held_out=None)
    spoil(scene)
    process = scene.process()
    out, errors = process.communicate()
    assert process.returncode == code, errors
    assert said in errors
    assert out == ""
    assert not (tmp_path / "student").exists()


def _first(scene: RunScene, pattern: str) -> Path:
    return Path(scene.out.path(scene.out.list(f"{pattern}.parquet")[0]))


def test_sigterm_while_tokens_are_made_ends_with_0_and_the_same_command_begins_anew(
    completion: Build, tmp_path: Path
) -> None:
    scene = RunScene(tmp_path).with_rows(list(map(_row(completion), range(6000))), held_out=None)
    process = scene.process(training={"max_steps": 1})
    out, errors = signalled_when((tmp_path / "student" / "tokens").exists, process, signal.SIGTERM)
    assert process.returncode == 0, errors
    assert "stopped   before the first step; run the same command to go on" in out
    assert not (tmp_path / "student" / "metrics.jsonl").exists()
    assert scene.run(training={"max_steps": 1}).finished


def test_a_run_that_is_stopped_while_tokens_are_made_again_says_from_where_it_goes_on(
    scene: RunScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.run("tokens-gone", training={"max_steps": 4})
    (scene.folder / "tokens-gone" / "run.json").unlink()
    shutil.rmtree(scene.folder / "tokens-gone" / "tokens")
    monkeypatch.setattr(threading.Event, "is_set", lambda self: True)
    found = scene.run("tokens-gone", training={"max_steps": 4})
    assert (found.finished, found.steps) == (False, 4)


def test_json_is_one_object_and_a_dry_run_loads_no_weight(scene: RunScene, capsys: pytest.CaptureFixture[str]) -> None:
    from tutelage.cli.train import run_train

    path = scene.folder / "json.yaml"
    path.write_text(yaml.safe_dump(scene.sections("json", training={"max_steps": 2})))
    assert run_train(path, dry_run=True, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["packing"]
    assert not (scene.folder / "json" / "model.safetensors").exists()
    assert run_train(path, dry_run=False, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["finished"], found["steps"]) == (True, 2)


def test_a_tokenizer_beyond_the_model_is_refused_by_a_run(scene: RunScene, tmp_path: Path) -> None:
    write_folder(tmp_path / "small", vocab_size=300)
    sections = scene.sections("small")["student"] | {"base": {"folder": str(tmp_path / "small")}}
    with pytest.raises(ConfigError, match=r"token"):
        scene.run("small", student=sections)
