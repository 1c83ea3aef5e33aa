"""The course of a run: steps, evaluations and checkpoints, from wherever it was left to its end."""

import contextlib
import math
import resource
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tutelage.schemas.errors import TrainingStopped
from tutelage.schemas.storage_errors import storage_errors
from tutelage.train import checkpoint as checkpoints
from tutelage.train.append_log import NOTHING, AppendLog, Saved
from tutelage.train.checkpoint import Checkpoint
from tutelage.train.config import TrainConfig
from tutelage.train.export import Finished
from tutelage.train.flops import model_flops_utilisation
from tutelage.train.loop import Learner, NonFinite, StepReport
from tutelage.train.model.taught import Taught
from tutelage.train.parallel import Ranks
from tutelage.train.progress import METRICS, Watcher, metrics_line, read_metrics
from tutelage.train.record.row_log import readings_of
from tutelage.train.rows.order import epoch_order
from tutelage.train.rows.packing import Document, Pack, PackStream, best_fit, steps_of
from tutelage.train.rows.token_store import TokenStore
from tutelage.train.schedule import learning_rate
from tutelage.train.student_folder import CHECKPOINTS, NON_FINITE, ROW_LOG, write_json
from tutelage.train.trackers import open_trackers


class Stores(NamedTuple):
    """`readings`: how often rows of `train` are read in the whole run."""

    train: TokenStore
    held_out: TokenStore | None
    readings: int


class Course:
    """Goes on from `resumed`. All of its state that a checkpoint does not rebuild is in `_state`."""

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
        self._config, self._stores, self._ranks = config, stores, ranks
        self._folder, self._identity, self._watcher = folder, identity, watcher
        self._named = {name: p for name, p in taught.model.named_parameters() if p.requires_grad}
        self._parameters = sum(parameter.numel() for parameter in taught.parameters())
        self._held_out_packs = _packs_of(stores.held_out, config.training.pack_tokens)
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
            "evaluations": [],
            "best_step": None,
            "worse": 0,
            "loss": None,
            "metrics": list(NOTHING),
            "row_log": list(NOTHING),
            "started_at": datetime.now(UTC).isoformat("T", "seconds"),
        }
        if resumed is not None:
            self._restore(resumed)
        self._stream = PackStream(
            stores.train.lengths,
            lambda epoch: epoch_order(stores.train, config.training.seed, epoch, config.data.mix),
            epochs=config.training.epochs,
            pack_tokens=config.training.pack_tokens,
            window=config.training.packing_window,
            seed=config.training.seed,
            state=self._state["stream"],
        )
        with storage_errors(str(folder / CHECKPOINTS)):
            (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        # Every rank knows every pack; only the first writes.
        self._metrics = AppendLog(folder / METRICS, Saved(*self._state["metrics"])) if ranks.leads else None
        self._row_log = AppendLog(folder / ROW_LOG, Saved(*self._state["row_log"])) if ranks.leads else None
        self._trackers = open_trackers(config, folder, watcher.note) if ranks.leads else []

    def to_the_end(self, stop: threading.Event) -> bool:
        """False where it was stopped; a checkpoint says where."""
        training = self._config.training
        if self._state["step"] == 0:
            self._evaluate()
            if self._ranks.any(stop.is_set()):  # nothing was trained, so there is nothing to save
                return False
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
        done = (state["documents"] + documents) / self._stores.readings
        if training.max_steps is not None:
            done = max(done, (state["step"] + 1) / training.max_steps)
        report = self._learner.step(packs, learning_rate(min(done, 1.0), self._config.optimizer))
        state["step"], state["loss"] = report.step, report.loss
        state["documents"] += documents
        state["tokens"] += report.tokens
        state["trained_tokens"] += report.trained_tokens
        state["stream"] = self._stream.state()
        line = self._line(report, packs)
        if self._row_log is not None:
            self._row_log.write(readings_of(report.step, packs, self._stores.train))
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
        rate = report.tokens / report.seconds / self._ranks.world
        return {"mfu": model_flops_utilisation(self._parameters, rate, self._ranks.device)}

    def _evaluate(self) -> None:
        """Held-out cross-entropy; a better one than ever keeps the weights. Step 0 is the untaught base."""
        store, state = self._stores.held_out, self._state
        if store is None:
            return
        loss, tokens = self._learner.evaluate(self._held_out_packs, store)
        if not math.isfinite(loss):
            raise TrainingStopped(
                f"step {state['step']}: the loss of the held-out rows is {loss}. Train anew, into another "
                "output.folder, with a lower optimizer.learning_rate"
            )
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
            self._state["metrics"] = list(self._metrics.saved())
            self._state["row_log"] = list(self._row_log.saved())
        state = {**self._state, "identity": self._identity}
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
                    f"the best checkpoint, of step {state['best_step']}, is damaged ({broken}); the last, of step "
                    f"{state['step']}, was exported"
                )
        return Finished(exported, state, self._losses(), self._identity, note)

    def _of_another(self, best: dict[str, Any]) -> str | None:
        wanted = (self._state["best_step"], self._identity)
        return None if (best["step"], best["identity"]) == wanted else f"it is of step {best['step']}, or another run"

    def _losses(self) -> list[tuple[int, float]]:
        """Of every step, from metrics.jsonl; the first rank's, which writes it and the record."""
        lines = read_metrics(self._folder / METRICS) if self._ranks.leads else []
        return [(line["step"], line["loss"]) for line in lines if line["kind"] == "step"]

    @property
    def loss(self) -> float | None:
        """Of the last step."""
        found: float | None = self._state["loss"]
        return found

    @property
    def steps(self) -> int:
        return int(self._state["step"])

    @property
    def held_out_losses(self) -> tuple[tuple[int, float], ...]:
        return tuple((seen["step"], seen["loss"]) for seen in self._state["evaluations"])

    def _write(self, line: dict[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.write(metrics_line(line))
            self._metrics.flush()
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


def _packs_of(store: TokenStore | None, pack_tokens: int) -> list[Pack]:
    if store is None:
        return []
    return [
        Pack(tuple(Document(row, 0, int(store.lengths[row])) for row in rows))
        for rows in best_fit(store.lengths.tolist(), pack_tokens)
    ]


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
