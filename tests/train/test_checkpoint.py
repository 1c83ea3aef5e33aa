"""Checkpoints: whole or absent, found out when damaged, and refused when they are of another run."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_student import TinyRows, learner

from tutelage.schemas.errors import ConfigError
from tutelage.train import checkpoint as checkpoints
from tutelage.train.checkpoint import (
    Checkpoint,
    damage,
    load,
    remove_unfinished,
    require_same_run,
    save,
    step_name,
    steps_saved,
)


def some(value: float = 1.0) -> Checkpoint:
    weights = {"a": torch.full((3, 2), value), "b": torch.arange(4.0)}
    return Checkpoint(weights, {"a/exp_avg": torch.ones(3, 2), "a/step": torch.tensor(2.0)}, {"step": 2, "text": "ü"})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, "step-1", some())
    found = load(tmp_path / "step-1")
    assert damage(tmp_path / "step-1") is None
    assert found.state == some().state
    for mine, theirs in ((found.weights, some().weights), (found.optimizer, some().optimizer)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_the_oldest_go_and_the_best_stays(tmp_path: Path) -> None:
    save(tmp_path, checkpoints.BEST, some())
    for step in (1, 2, 30):
        save(tmp_path, step_name(step), some(), kept=2)
    assert steps_saved(tmp_path) == [step_name(2), step_name(30)]
    assert damage(tmp_path / checkpoints.BEST) is None


def test_a_checkpoint_can_be_replaced(tmp_path: Path) -> None:
    save(tmp_path, "best", some(1.0))
    save(tmp_path, "best", some(2.0))
    assert load(tmp_path / "best").weights["a"][0, 0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.safetensors", "state.json", "checksums.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_every_damage_is_found(file: str, how: str, tmp_path: Path) -> None:
    save(tmp_path, "step-1", some())
    path = tmp_path / "step-1" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content if how == "flipped" else content[: len(content) // 2])
    assert damage(tmp_path / "step-1") is not None


def test_what_a_kill_left_half_written_is_no_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, step_name(1), some())
    (tmp_path / f".{step_name(2)}.unfinished").mkdir()
    (tmp_path / f".{step_name(2)}.unfinished" / "weights.safetensors").write_bytes(b"half")
    assert steps_saved(tmp_path) == [step_name(1)]
    save(tmp_path, step_name(2), some())
    assert damage(tmp_path / step_name(2)) is None


def test_of_steps_so_many_stay_and_none_that_was_passed_over(tmp_path: Path) -> None:
    for step in (1, 2, 3, 9):
        save(tmp_path, step_name(step), some())
    save(tmp_path, step_name(4), some(), kept=2)
    assert steps_saved(tmp_path) == [step_name(3), step_name(4)]
    save(tmp_path, step_name(5), some(), kept=9)
    assert steps_saved(tmp_path) == [step_name(3), step_name(4), step_name(5)]


def test_a_checkpoint_that_was_moved_aside_for_one_that_never_came_is_back(tmp_path: Path) -> None:
    save(tmp_path, step_name(1), some())
    (tmp_path / step_name(1)).rename(tmp_path / f".{step_name(1)}.old")
    (tmp_path / f".{step_name(1)}.unfinished").mkdir()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [step_name(1)]
    assert damage(tmp_path / step_name(1)) is None


def test_a_full_disk_is_said_and_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, step_name(1), some())
    script = (
        "import sys, torch; from pathlib import Path\n"
        "from tutelage.train.checkpoint import Checkpoint, save\n"
        "try: save(Path(sys.argv[1]), 'step-0000000002', Checkpoint({'a': torch.ones(100_000)}, {}, {'step': 2}))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert found.stdout.startswith("StorageError"), found.stdout + found.stderr
    assert "the checkpoints before it are whole" in found.stdout
    assert steps_saved(tmp_path) == [step_name(1)]
    assert damage(tmp_path / step_name(1)) is None


def test_another_runs_checkpoint_is_refused_with_the_difference(tmp_path: Path) -> None:
    found = {"config": {"optimizer": {"learning_rate": 0.1}, "loss": {"kind": "jsd"}}, "base": "x"}
    wanted = {"config": {"optimizer": {"learning_rate": 0.2}, "loss": {"kind": "jsd"}}, "base": "x", "world": 2}
    require_same_run(found, json.loads(json.dumps(found)), tmp_path)
    with pytest.raises(ConfigError) as raised:
        require_same_run(found, wanted, tmp_path)
    assert "config.optimizer.learning_rate: 0.1 -> 0.2\n  world: absent -> 2" in str(raised.value)


def test_a_learner_goes_on_bit_for_bit_from_saved_weights_and_moments(tmp_path: Path) -> None:
    rows = TinyRows([5, 17, 3, 40, 11, 29])
    packs = rows.packs(range(3), range(3, 6))

    def named(of: Any) -> dict[str, torch.nn.Parameter]:
        return dict(of.taught.named_parameters())

    undisturbed = learner(rows)
    wanted = [undisturbed.step(packs, 1e-2).loss for _ in range(6)]
    first = learner(rows)
    for _ in range(3):
        first.step(packs, 1e-2)
    tensors = checkpoints.optimizer_tensors(first.optimizer, named(first))
    weights = {name: checkpoints.whole(value) for name, value in named(first).items()}
    save(tmp_path, step_name(3), Checkpoint(weights, tensors, {}))
    resumed = learner(rows, seed=99)
    found = load(tmp_path / step_name(3))
    with torch.no_grad():
        for name, parameter in named(resumed).items():
            parameter.copy_(found.weights[name])
    checkpoints.restore_optimizer(resumed.optimizer, named(resumed), found.optimizer)
    assert [resumed.step(packs, 1e-2).loss for _ in range(3)] == wanted[3:]
