"""Checkpoints: everything that a run needs to go on as if nothing had happened, or nothing at all.

A checkpoint is a folder of safetensors and JSON. It is written beside, every byte on the disk, `checksums.json` last,
then renamed: what is half written has another name, and what was damaged later no longer has its checksums.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tutelage.schemas.differences import differences, shown
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.storage_errors import storage_errors
from tutelage.train.whole_file import sha256_of

CHECKSUMS, STATE, WEIGHTS, OPTIMIZER = "checksums.json", "state.json", "weights.safetensors", "optimizer.safetensors"
BEST = "best"
CONTRACT = "checkpoint/1"
"""Part of what a checkpoint must agree on: one of another layout is refused, not misread."""


class Checkpoint(NamedTuple):
    """`weights` are the trained ones by name, `optimizer` its tensors by name and kind, `state` JSON."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, name: str, checkpoint: Checkpoint, kept: int | None = None) -> None:
    """Writes `folder/name`; with `kept`, of the steps' checkpoints so many stay, this one and those before it. Raises
    StorageError where the disk is full: what was there before is whole."""
    unfinished = folder / f".{name}.unfinished"
    with storage_errors(str(folder / name), "the checkpoints before it are whole"):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            save_file(checkpoint.weights, unfinished / WEIGHTS)
            if checkpoint.optimizer:
                save_file(checkpoint.optimizer, unfinished / OPTIMIZER)
            (unfinished / STATE).write_text(json.dumps(checkpoint.state, sort_keys=True))
            sums = {path.name: _synced_sha256(path) for path in sorted(unfinished.iterdir())}
            (unfinished / CHECKSUMS).write_text(json.dumps(sums))
            _synced_sha256(unfinished / CHECKSUMS)
            _replace(unfinished, folder / name)
        except BaseException as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if type(error).__name__ == "SafetensorError":  # its own word for a refused write
                raise OSError(getattr(error, "errno", None) or 28, str(error)) from error
            raise
    if kept:
        names = steps_saved(folder)
        # Those after it were passed over when the run went on from before them: they can't be whole.
        upto = names.index(name) + 1
        for old in (*names[: upto - kept if upto > kept else 0], *names[upto:]):
            shutil.rmtree(folder / old, ignore_errors=True)


def steps_saved(folder: Path) -> list[str]:
    """Names of the steps' checkpoints, oldest first."""
    return sorted(path.name for path in folder.glob("step-*") if path.is_dir()) if folder.is_dir() else []


def remove_unfinished(folder: Path) -> None:
    """What killed runs had half written. A checkpoint that was moved aside for one that never came stays."""
    for old in folder.glob(".*.old"):
        final = folder / old.name[1:].removesuffix(".old")
        if not final.exists():
            old.rename(final)
    for left in (*folder.glob(".*.unfinished"), *folder.glob(".*.old")):
        shutil.rmtree(left, ignore_errors=True)


def step_name(step: int) -> str:
    return f"step-{step:010d}"


def step_of(name: str) -> int:
    return int(name.removeprefix("step-"))


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        sums: Mapping[str, str] = json.loads((folder / CHECKSUMS).read_text())
        if STATE not in sums or WEIGHTS not in sums:
            return f"{CHECKSUMS} does not list {STATE} and {WEIGHTS}"
        for name, digest in sums.items():
            if sha256_of(folder / name) != digest:
                return f"{name} is not what was saved"
    except (OSError, ValueError, AttributeError, TypeError) as error:
        return str(error)
    return None


def read_state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / STATE).read_text())
    return found


def load(folder: Path) -> Checkpoint:
    """A checkpoint that `damage` has nothing to say of."""
    optimizer = load_file(folder / OPTIMIZER) if (folder / OPTIMIZER).exists() else {}
    return Checkpoint(load_file(folder / WEIGHTS), optimizer, read_state(folder))


def require_same_run(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Raises ConfigError, with the first differences, where a checkpoint is of another config, dataset or base."""
    if lines := differences(found, wanted):
        raise ConfigError(
            f"{folder}: holds checkpoints of another run (there -> here):\n{shown(lines)}\n"
            "name another output.folder, go back to what made these, or delete the folder"
        )


def optimizer_tensors(optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimizer's state as `name/kind`; of a sharded parameter the whole."""
    found = {}
    for name, parameter in named.items():
        for kind, value in optimizer.state.get(parameter, {}).items():
            found[f"{name}/{kind}"] = whole(torch.as_tensor(value)).contiguous()
    return found


def restore_optimizer(
    optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    for key, value in tensors.items():
        name, _, kind = key.rpartition("/")
        parameter = named[name]
        optimizer.state[parameter][kind] = value.clone() if value.ndim == 0 else like(parameter, value)


def whole(tensor: Tensor) -> Tensor:
    """A tensor on the CPU; a sharded one is gathered, so every rank has to ask."""
    tensor = tensor.detach()
    if hasattr(tensor, "full_tensor"):
        tensor = tensor.full_tensor()
    return tensor.cpu()


def like(parameter: Tensor, value: Tensor) -> Tensor:
    """`value`, laid out as the parameter is: on its device, and in its shards."""
    value = value.to(parameter.device)
    if hasattr(parameter, "device_mesh"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(parameter, DTensor), "only a sharded parameter has a mesh"
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value.clone()


def _replace(unfinished: Path, final: Path) -> None:
    if final.exists():  # the same step again, or a better `best`
        old = final.with_name(f".{final.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
        unfinished.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    else:
        unfinished.rename(final)
    directory = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _synced_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    return sha256_of(path)
