"""A training from its first check to the student's folder: `train(config, permit)`.

    tokens -> model -> isolation -> steps, evaluations, checkpoints -> best weights -> student, rows, record, card

Cheap checks come before dear ones, and all of them before the optimizer exists. Killed at any moment, the same command
goes on from the last good checkpoint, and what comes out is what would have come out: on a CPU bit for bit.
"""

import contextlib
import threading
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.permit import Permit
from tutelage.train import checkpoint as checkpoints
from tutelage.train.bases.load import load_model, load_tokenizer
from tutelage.train.checkpoint import Checkpoint
from tutelage.train.config import TrainConfig
from tutelage.train.course import Course, Stores
from tutelage.train.export import export
from tutelage.train.model.isolation import require_isolation
from tutelage.train.model.kernels import fused_head, require_head
from tutelage.train.model.loss_head import warn_of_traps
from tutelage.train.model.taught import Taught, require_plain_head
from tutelage.train.parallel import Ranks, join_ranks, leave_ranks, shard
from tutelage.train.progress import Watcher
from tutelage.train.record.run_record import StudentRun
from tutelage.train.resume import finished_student, made_of, newest
from tutelage.train.rows.dataset import Dataset
from tutelage.train.rows.token_store import TokenStore, build_store, check_vocabulary
from tutelage.train.runnable import require_rows, require_runnable
from tutelage.train.stop_signals import Stopped, stop_signals
from tutelage.train.student_folder import CHECKPOINTS, TOKENS, held, require_own_folder


class Trained(NamedTuple):
    """`finished` is False where the run was asked to stop: the same command goes on. Losses are nats per trained token;
    of the held-out rows' the first is the untaught base's."""

    folder: str
    finished: bool
    steps: int
    exported_step: int | None
    loss: float | None
    held_out_losses: tuple[tuple[int, float], ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            **self._asdict(),
            "held_out_losses": [{"step": step, "loss": loss} for step, loss in self.held_out_losses],
        }


def train(config: TrainConfig, permit: Permit, watcher: Watcher | None = None) -> Trained:
    """Trains or resumes; the permit says that the rows may be used. Raises what schemas/errors.py lists."""
    watcher = watcher or Watcher()
    ranks = join_ranks()
    try:
        return _train(config, permit, watcher, ranks)
    finally:
        leave_ranks()


def _train(config: TrainConfig, permit: Permit, watcher: Watcher, ranks: Ranks) -> Trained:
    folder = Path(config.output.folder)
    require_own_folder(folder, config, permit)
    require_runnable(config)
    with held(folder) if ranks.leads else contextlib.nullcontext(), stop_signals() as stop:
        tokenizer = load_tokenizer(config.student.base)
        made = made_of(config, permit, tokenizer)
        student, other = finished_student(folder, made, config, permit)
        if student is not None:
            watcher.note(f"{folder}: this training has ended already; nothing is done again")
            return _as_trained(student, folder, permit.notes)
        if other is not None:
            if not checkpoints.steps_saved(folder / CHECKPOINTS):
                raise ConfigError(f"{folder}: {other}\nname another output.folder, or delete this one")
            watcher.note(
                f"{folder}: {other}\nit is made anew from the checkpoints, if they are this training's, and has to be "
                "evaluated anew"
            )
        watcher.phase("tokens")
        try:
            stores = _stores(config, permit, tokenizer, folder, ranks, stop)
        except Stopped:
            saved = checkpoints.steps_saved(folder / CHECKPOINTS)
            step = checkpoints.step_of(saved[-1]) if saved else 0
            return Trained(str(folder), False, step, None, None, (), permit.notes)
        identity = {
            **made,
            "contract": checkpoints.CONTRACT,
            "tokens": stores.train.sha256,
            "world": ranks.world,
        }
        if ranks.leads:
            checkpoints.remove_unfinished(folder / CHECKPOINTS)
        ranks.wait()
        resumed = newest(folder, identity, watcher)
        _require_one_start(resumed, ranks, folder)
        watcher.phase("model")
        taught = _taught(config, tokenizer, stores, ranks)
        course = Course(config, stores, taught, ranks, folder, identity, watcher, resumed)
        try:
            finished = course.to_the_end(stop)
        finally:
            course.close()
        exported_step, notes = None, permit.notes
        if finished:
            watcher.phase("saving")
            ended = course.finished()
            export(config, permit, tokenizer, stores.train, taught, ended, folder, ranks)
            exported_step = ended.exported_step
            if ended.note is not None:
                watcher.note(ended.note)
                notes = (*notes, ended.note)
        return Trained(str(folder), finished, course.steps, exported_step, course.loss, course.held_out_losses, notes)


def _as_trained(run: StudentRun, folder: Path, notes: tuple[str, ...]) -> Trained:
    held_out = tuple((seen["step"], seen["loss"]) for seen in run.evaluations)
    last = run.losses[-1].loss if run.losses else None
    return Trained(str(folder), True, run.steps, run.student.exported_step, last, held_out, notes)


def _require_one_start(resumed: Checkpoint | None, ranks: Ranks, folder: Path) -> None:
    step = resumed.state["step"] if resumed is not None else 0
    (total,) = ranks.total(float(step))
    if ranks.any(total != step * ranks.world):
        raise ConfigError(
            f"{folder}: ranks found different checkpoints there; output.folder has to be one that all of them share"
        )


def _stores(
    config: TrainConfig, permit: Permit, tokenizer: Any, folder: Path, ranks: Ranks, stop: threading.Event
) -> Stores:
    """The first rank makes them, the others find them made. Raises Stopped where one process is asked to stop: of
    several, the others would wait for ever for what the first makes."""

    def progress(_done: int, _of: int) -> None:
        if stop.is_set() and ranks.world == 1:
            raise Stopped

    def built(split: str) -> TokenStore:
        return build_store(permit.dataset, split, tokenizer, config.data, config.loss, folder / TOKENS, progress)

    splits = ["train"] + (["held_out"] if permit.receipt.splits["held_out"] else [])
    if not ranks.leads:
        ranks.wait()
    found = [built(split) for split in splits]
    if ranks.leads:
        ranks.wait()
    if Dataset(permit.dataset).manifest_sha256 != permit.manifest_sha256:
        raise SealBroken(f"{permit.dataset}: was sealed anew after the gate had checked it; run the same command again")
    rows, held_out = found[0], found[1] if len(found) > 1 else None
    readings = require_rows(config, rows, held_out)
    return Stores(rows, held_out if held_out is not None and held_out.rows else None, readings)


def _taught(config: TrainConfig, tokenizer: Any, stores: Stores, ranks: Ranks) -> Taught:
    """The model, checked, on its device. Its weights are a function of base and seed."""
    training = config.training
    torch.manual_seed(training.seed)
    model = load_model(config.student.base, tokenizer, training.seed, config.data.max_tokens)
    vocabulary = model.get_input_embeddings().num_embeddings
    for store in (stores.train, stores.held_out):
        if store is not None:
            check_vocabulary(store, vocabulary)
    if config.student.lora is not None:
        from tutelage.train.bases.lora import with_lora

        model = with_lora(model, config.student.lora, training.seed)
    taught = Taught(model, config.loss, fused_head(training.kernels, ranks.device)).to(ranks.device)
    require_plain_head(taught, vocabulary)
    require_head(training.kernels, taught.head)
    warn_of_traps(config.loss)
    if training.activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if training.compile:
        for layer in taught.layers:
            layer.compile()
    # As it will be trained: in its precision, compiled. Sharding changes where weights lie, and nothing else.
    with torch.autocast(ranks.device.type, torch.bfloat16, enabled=training.precision == "bf16"):
        require_isolation(taught, vocabulary)
    if training.parallel == "fsdp2" and ranks.world > 1:
        shard(taught, taught.layers, ranks)
    taught.train()
    return taught
