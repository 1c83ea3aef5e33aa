"""A training from its first check to the student's folder: `train(config, permit)`.

    tokens -> model -> isolation -> steps, evaluations, checkpoints -> best weights -> student, rows, record, card

Cheap checks come before dear ones, and all of them before the optimizer exists. Killed at any moment, the same command
goes on from the last good checkpoint, and what comes out is what would have come out: on a CPU bit for bit.
"""

import contextlib
import math
import resource
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.permit import Permit
from tutelage.train import checkpoint as checkpoints
from tutelage.train.bases.load import base_sha256, load_model, load_tokenizer, tokenizer_sha256
from tutelage.train.checkpoint import Checkpoint
from tutelage.train.config import TrainConfig
from tutelage.train.export import Finished, export, finished_student
from tutelage.train.flops import model_flops_utilisation
from tutelage.train.loop import Learner, NonFinite, StepReport
from tutelage.train.model.isolation import require_isolation
from tutelage.train.model.kernels import fused_head
from tutelage.train.model.loss_head import warn_of_traps
from tutelage.train.model.taught import Taught, require_plain_head
from tutelage.train.parallel import Ranks, join_ranks, leave_ranks, shard
from tutelage.train.progress import METRICS, Metrics, Watcher
from tutelage.train.record.row_log import NOTHING, RowLog, Saved, log_damage
from tutelage.train.record.run_record import StudentRun
from tutelage.train.rows.order import check_mix, epoch_order
from tutelage.train.rows.overlap import require_no_overlap
from tutelage.train.rows.packing import Document, Pack, PackStream, best_fit, steps_of
from tutelage.train.rows.token_store import TokenStore, build_store, check_vocabulary
from tutelage.train.schedule import learning_rate
from tutelage.train.student_folder import CHECKPOINTS, NON_FINITE, ROW_LOG, TOKENS, held, require_own_folder, write_json
from tutelage.train.trackers import open_trackers, require_trackers


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


class Stores(NamedTuple):
    train: TokenStore
    held_out: TokenStore | None


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
    require_trackers(config.trackers)
    with held(folder) if ranks.leads else contextlib.nullcontext(), _stop_signals() as stop:
        if (done := finished_student(folder, config, permit)) is not None:
            watcher.note(f"{folder}: this training has ended already; nothing is done again")
            return _as_trained(done, folder, permit.notes)
        watcher.phase("tokens")
        tokenizer = load_tokenizer(config.student.base)
        stores = _stores(config, permit, tokenizer, folder, ranks)
        identity = {
            "config": config.identity(),
            "dataset": {"merkle_root": permit.manifest.merkle.root, "tombstones": permit.tombstone_head},
            "tokens": stores.train.sha256,
            "base": base_sha256(config.student.base),
            "tokenizer": tokenizer_sha256(tokenizer),
            "world": ranks.world,
        }
        resumed = _newest(folder, identity, watcher)
        watcher.phase("model")
        taught = _taught(config, tokenizer, stores, ranks)
        run = _Run(config, stores, taught, ranks, folder, identity, watcher, resumed)
        try:
            finished = run.to_the_end(stop)
        finally:
            run.close()
        if not finished:
            return run.trained(None, permit.notes)
        watcher.phase("saving")
        ended = run.finished()
        export(config, permit, tokenizer, stores.train, taught, ended, folder, ranks)
        return run.trained(ended.exported_step, permit.notes)


class _Run:
    """The loop's state; all of it that a checkpoint doesn't rebuild is in `_state`."""

    def __init__(
        self,
        config: TrainConfig,
        stores: Stores,
        taught: Taught,
        ranks: Ranks,
        folder: Path,
        identity: dict[str, Any],
        watcher: Watcher,
        resumed: Checkpoint | None,
    ) -> None:
        self._config, self._stores, self._taught, self._ranks = config, stores, taught, ranks
        self._folder, self._identity, self._watcher = folder, identity, watcher
        self._named = {name: p for name, p in taught.model.named_parameters() if p.requires_grad}
        k = config.loss.teacher.k if config.loss.teacher is not None else None
        self._learner = Learner(
            taught,
            stores.train,
            optimizer=config.optimizer,
            training=config.training,
            ranks=ranks,
            k=k,
            dump=self._dump,
        )
        self._state: dict[str, Any] = {
            "stream": None,
            "step": 0,
            "documents": 0,
            "tokens": 0,
            "trained_tokens": 0,
            "losses": [],
            "evaluations": [],
            "best_step": None,
            "worse": 0,
            "metrics_bytes": 0,
            "row_log": list(NOTHING),
            "started_at": datetime.now(UTC).isoformat("T", "seconds"),
        }
        if resumed is not None:
            self._restore(resumed)
        order = lambda epoch: epoch_order(stores.train, config.training.seed, epoch, config.data.mix)  # noqa: E731
        self._stream = PackStream(
            stores.train.lengths,
            order,
            epochs=config.training.epochs,
            pack_tokens=config.training.pack_tokens,
            window=config.training.packing_window,
            seed=config.training.seed,
            state=self._state["stream"],
        )
        if not self._stream.documents:
            raise ConfigError(
                f"0 of {stores.train.rows:,} rows would be read; raise training.epochs, or a weight of data.mix"
            )
        (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        # Every rank knows every pack; only the first writes.
        self._metrics = Metrics(folder / METRICS, self._state["metrics_bytes"]) if ranks.leads else None
        self._row_log = RowLog(folder / ROW_LOG, Saved(*self._state["row_log"])) if ranks.leads else None
        self._trackers = open_trackers(config, folder) if ranks.leads else []

    def to_the_end(self, stop: threading.Event) -> bool:
        """False where it was stopped; a checkpoint says where."""
        training = self._config.training
        if self._state["step"] == 0:
            self._evaluate()
        for packs in steps_of(iter(self._stream), training.packs_per_step):
            if self._over():
                break
            self._step(packs)
            step = self._state["step"]
            if training.evaluate_every_steps and step % training.evaluate_every_steps == 0:
                self._evaluate()
            stopped = self._ranks.any(stop.is_set())
            if stopped or step % training.checkpoint_every_steps == 0:
                self._save()
            if stopped:
                return False
        if self._state["step"] not in [seen["step"] for seen in self._state["evaluations"]]:
            self._evaluate()
        self._save()
        return True

    def _over(self) -> bool:
        training = self._config.training
        enough = training.max_steps is not None and self._state["step"] >= training.max_steps
        return enough or (training.patience is not None and self._state["worse"] >= training.patience)

    def _step(self, packs: list[Pack]) -> None:
        state, training = self._state, self._config.training
        documents = sum(len(pack.documents) for pack in packs)
        done = (state["documents"] + documents) / max(self._stream.documents, 1)
        if training.max_steps is not None:
            done = max(done, (state["step"] + 1) / training.max_steps)
        report = self._learner.step(packs, learning_rate(min(done, 1.0), self._config.optimizer))
        state["step"] = report.step
        state["documents"] += documents
        state["tokens"] += report.tokens
        state["trained_tokens"] += report.trained_tokens
        state["losses"] = _thinned([*state["losses"], [report.step, report.loss]])
        state["stream"] = self._stream.state()
        line = self._line(report, packs)
        if self._row_log is not None:
            self._row_log.write(report.step, packs, self._stores.train)
        self._write(line)
        self._watcher.step(line | self._shown(report), min(done, 1.0))

    def _line(self, report: StepReport, packs: list[Pack]) -> dict[str, Any]:
        return {
            "kind": "step",
            "step": report.step,
            "epoch": max(document.epoch for pack in packs for document in pack.documents),
            "loss": report.loss,
            "trained_tokens": report.trained_tokens,
            "tokens": report.tokens,
            "rows": sum(len(pack.documents) for pack in packs),
            "fill": round(report.tokens / (len(packs) * self._config.training.pack_tokens), 4),
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            "seconds": round(report.seconds, 4),
            "tokens_per_s": round(report.tokens / report.seconds, 1),
            "memory_bytes": _memory_bytes(self._ranks.device),
            "splits": report.splits,
        }

    def _shown(self, report: StepReport) -> dict[str, Any]:
        parameters = sum(parameter.numel() for parameter in self._taught.parameters())
        rate = report.tokens / report.seconds / self._ranks.world
        return {"mfu": model_flops_utilisation(parameters, rate, self._ranks.device)}

    def _evaluate(self) -> None:
        """Held-out cross-entropy; a better one than ever keeps the weights. Step 0 is the untaught base."""
        store, state = self._stores.held_out, self._state
        if store is None:
            return
        packs = [
            Pack(tuple(Document(row, 0, int(store.lengths[row])) for row in rows))
            for rows in best_fit(store.lengths.tolist(), self._config.training.pack_tokens)
        ]
        loss, tokens = self._learner.evaluate(packs, store)
        text_bytes = int(store.text_bytes.sum())
        line = {
            "kind": "evaluation",
            "step": state["step"],
            "loss": loss,
            "bits_per_byte": loss * tokens / math.log(2) / text_bytes if text_bytes else None,
            "trained_tokens": tokens,
        }
        earlier = [seen["loss"] for seen in state["evaluations"] if seen["step"] > 0]
        state["evaluations"].append({key: line[key] for key in ("step", "loss", "bits_per_byte", "trained_tokens")})
        self._write(line)
        self._watcher.evaluated(line)
        if state["step"] == 0:
            return
        if not earlier or loss < min(earlier):
            state["best_step"], state["worse"] = state["step"], 0
            self._write_checkpoint(checkpoints.BEST, {"step": state["step"], "identity": self._identity}, False)
        else:
            state["worse"] += 1

    def _save(self) -> None:
        if self._metrics is not None and self._row_log is not None:
            self._state["metrics_bytes"] = self._metrics.saved()
            self._state["row_log"] = list(self._row_log.saved())
        state = {**self._state, "identity": self._identity, "random": torch.get_rng_state().tolist()}
        self._write_checkpoint(checkpoints.step_name(self._state["step"]), state, True)

    def _write_checkpoint(self, name: str, state: dict[str, Any], with_optimizer: bool) -> None:
        weights = {key: checkpoints.whole(value).contiguous() for key, value in self._named.items()}
        optimizer = checkpoints.optimizer_tensors(self._learner.optimizer, self._named) if with_optimizer else {}
        if self._ranks.leads:
            kept = self._config.training.checkpoints_kept if with_optimizer else None
            checkpoints.save(self._folder / CHECKPOINTS, name, Checkpoint(weights, optimizer, state), kept)
        self._ranks.wait()

    def _restore(self, found: Checkpoint) -> None:
        self._load_weights(found.weights)
        checkpoints.restore_optimizer(self._learner.optimizer, self._named, found.optimizer)
        self._state = {key: found.state[key] for key in self._state}
        self._learner.step_number = self._state["step"]
        torch.set_rng_state(torch.tensor(found.state["random"], dtype=torch.uint8))

    def _load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._named.items():
                parameter.copy_(checkpoints.like(parameter, weights[name]))

    def finished(self) -> Finished:
        """What is exported: the best weights by the held-out rows, or the last where there are none."""
        state = dict(self._state)
        exported, note = state["step"], None
        best = self._folder / CHECKPOINTS / checkpoints.BEST
        if state["best_step"] not in (None, state["step"]):
            broken = checkpoints.damage(best) or self._of_another(checkpoints.read_state(best))
            if broken is None:
                self._load_weights(checkpoints.load(best).weights)
                exported = state["best_step"]
            else:
                note = (
                    f"the best checkpoint, of step {state['best_step']}, is damaged ({broken}); the last was exported"
                )
        return Finished(exported, state, self._identity, note)

    def _of_another(self, best: dict[str, Any]) -> str | None:
        wanted = (self._state["best_step"], self._identity)
        return None if (best["step"], best["identity"]) == wanted else f"it is of step {best['step']}, or another run"

    def trained(self, exported_step: int | None, notes: tuple[str, ...]) -> Trained:
        state = self._state
        held_out = tuple((seen["step"], seen["loss"]) for seen in state["evaluations"])
        last = state["losses"][-1][1] if state["losses"] else None
        return Trained(
            str(self._folder), exported_step is not None, state["step"], exported_step, last, held_out, notes
        )

    def _write(self, line: dict[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.write(line)
        numbers = {key: float(value) for key, value in line.items() if isinstance(value, int | float)}
        for tracker in self._trackers:
            tracker.log({f"{line['kind']}/{key}": value for key, value in numbers.items()}, line["step"])

    def _dump(self, found: NonFinite) -> None:
        name = NON_FINITE if self._ranks.world == 1 else f"nonfinite-{self._ranks.rank}.json"
        rows = self._stores.train.row_ids(list(found.rows))
        numbers = {"loss": str(found.loss), "gradient_norm": str(found.gradient_norm)}
        write_json(self._folder / name, {"step": found.step, **numbers, "rank": self._ranks.rank, "row_ids": rows})

    def close(self) -> None:
        with contextlib.ExitStack() as parts:  # all of them, whichever refuses
            for part in (self._metrics, self._row_log, *self._trackers):
                if part is not None:
                    parts.callback(part.close)


def _as_trained(run: StudentRun, folder: Path, notes: tuple[str, ...]) -> Trained:
    held_out = tuple((seen["step"], seen["loss"]) for seen in run.evaluations)
    last = run.losses[-1].loss if run.losses else None
    return Trained(str(folder), True, run.steps, run.student.exported_step, last, held_out, notes)


def _stores(config: TrainConfig, permit: Permit, tokenizer: Any, folder: Path, ranks: Ranks) -> Stores:
    """The first rank makes them, the others find them made."""

    def built(split: str) -> TokenStore:
        return build_store(permit.dataset, split, tokenizer, config.data, config.loss, folder / TOKENS)

    splits = ["train"] + (["held_out"] if permit.receipt.splits["held_out"] else [])
    if not ranks.leads:
        ranks.wait()
    found = [built(split) for split in splits]
    if ranks.leads:
        ranks.wait()
    rows, held_out = found[0], found[1] if len(found) > 1 and found[1].rows else None
    if config.data.mix is not None:
        check_mix(rows, config.data.mix)
    if held_out is not None:
        require_no_overlap(rows, held_out)
    return Stores(rows, held_out)


def _taught(config: TrainConfig, tokenizer: Any, stores: Stores, ranks: Ranks) -> Taught:
    """The model, checked, on its device. Its weights are a function of base and seed."""
    training = config.training
    if training.compile and ranks.device.type == "cpu":
        raise ConfigError(
            "training.compile is true, and there is no GPU: on a CPU every pack is another graph; take it out"
        )
    torch.manual_seed(training.seed)
    model = load_model(config.student.base, tokenizer, training.seed, config.data.max_tokens)
    vocabulary = model.get_input_embeddings().num_embeddings
    for store in stores:
        if store is not None:
            check_vocabulary(store, vocabulary)
    if config.student.lora is not None:
        from tutelage.train.bases.lora import with_lora

        model = with_lora(model, config.student.lora, training.seed)
    taught = Taught(model, config.loss, fused_head(training.kernels, ranks.device)).to(ranks.device)
    require_plain_head(taught, vocabulary)
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


def _newest(folder: Path, identity: dict[str, Any], watcher: Watcher) -> Checkpoint | None:
    """The newest checkpoint that is whole, with the logs that belong to it. Raises ConfigError where it is of another
    run, or where there are some and none is whole."""
    where = folder / CHECKPOINTS
    checkpoints.remove_unfinished(where)
    names = checkpoints.steps_saved(where)
    for name in reversed(names):
        broken = checkpoints.damage(where / name)
        if broken is None:
            state = checkpoints.read_state(where / name)
            checkpoints.require_same_run(state["identity"], identity, where)
            broken = _logs_damage(folder, state)
        if broken is None:
            watcher.note(f"going on from step {state['step']}")
            return checkpoints.load(where / name)
        watcher.note(f"{where / name}: is damaged ({broken}); it is passed over")
    if names:
        raise ConfigError(
            f"{where}: holds {len(names)} checkpoints, and none is whole; restore one from a copy, or delete the "
            "folder to begin anew"
        )
    return None


def _logs_damage(folder: Path, state: dict[str, Any]) -> str | None:
    metrics = folder / METRICS
    size = metrics.stat().st_size if metrics.exists() else 0
    if size < state["metrics_bytes"]:
        return f"{METRICS} has {size} bytes of {state['metrics_bytes']}"
    return log_damage(folder / ROW_LOG, Saved(*state["row_log"]))


def _thinned(losses: list[Any], most: int = 1000) -> list[Any]:
    """Every second of them is left out whenever there are too many; the last stays."""
    return losses if len(losses) <= most else [*losses[:-1:2], losses[-1]]


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """SIGTERM and Ctrl-C end the run after the step that is being made, with a checkpoint; a second one ends it at
    once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def heard(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
