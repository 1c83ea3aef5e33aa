"""The end of a run: from trained weights to the student's folder, with the record of what taught it.

The record is written last: a folder with run.json holds a whole student.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tutelage.schemas.errors import SealBroken, TrainingStopped
from tutelage.schemas.permit import Permit
from tutelage.schemas.rows import TrainingRow
from tutelage.train import checkpoint as checkpoints
from tutelage.train.bases.load import describe
from tutelage.train.bases.save import save_student
from tutelage.train.config import TrainConfig
from tutelage.train.model.taught import Taught
from tutelage.train.parallel import Ranks
from tutelage.train.record.card import write_card
from tutelage.train.record.new_record import new_run_record
from tutelage.train.record.row_log import readings
from tutelage.train.record.run_record import write_run_record
from tutelage.train.record.training_rows import write_training_rows
from tutelage.train.rows.templates import NO_CHAT_TEMPLATE, chat_template_text, student_chat_template, template_of
from tutelage.train.rows.token_store import TokenStore
from tutelage.train.student_folder import ANSWERS, EVALUATION, REPORT, ROW_LOG, RUN, TRAINING_ROWS


class Finished(NamedTuple):
    """A run that came to its end: the step whose weights are exported, the course's state, each step's loss, and what
    it was made of."""

    exported_step: int
    state: dict[str, Any]
    losses: list[tuple[int, float]]
    identity: dict[str, Any]
    note: str | None


def export(
    config: TrainConfig,
    permit: Permit,
    tokenizer: Any,
    store: TokenStore,
    taught: Taught,
    finished: Finished,
    folder: Path,
    ranks: Ranks,
) -> None:
    """Every rank has to call it: sharded weights are gathered; the first rank writes."""
    prefix = "model."
    weights = {name.removeprefix(prefix): checkpoints.whole(tensor) for name, tensor in taught.state_dict().items()}
    if not ranks.leads:
        ranks.wait()
        return
    _require_finite(weights, finished.exported_step)
    end_of_turn = template_of(tokenizer, config.data).end_of_turn
    text = chat_template_text(tokenizer, config.data)
    own_text = student_chat_template(tokenizer, config.data)
    # A record is of the student beside it, and so is an evaluation: an earlier one's go before its weights do.
    for name in (RUN, EVALUATION, ANSWERS, REPORT):
        (folder / name).unlink(missing_ok=True)
    files = save_student(taught.model, tokenizer, folder, own_text, end_of_turn, weights)
    rows = write_training_rows(folder / TRAINING_ROWS, _training_rows(store, folder, finished.exported_step))
    state = finished.state
    counted = sum(share.tokens_trained for share in rows.taught_by)
    if finished.exported_step == state["step"] and counted != state["trained_tokens"]:
        raise SealBroken(
            f"{folder / ROW_LOG}: tells of {counted:,} trained tokens, the run made {state['trained_tokens']:,}; "
            "nobody knows what taught this student. Delete the folder, and train again"
        )
    record = new_run_record(
        config,
        permit,
        rows,
        files=files,
        exported_step=finished.exported_step,
        base_sha256=finished.identity["base"],
        base_description=describe(config.student.base),
        tokenizer_sha256=finished.identity["tokenizer"],
        chat_template=text,
        started_at=state["started_at"],
        ended_at=datetime.now(UTC).isoformat("T", "seconds"),
        steps=state["step"],
        tokens=state["tokens"],
        trained_tokens=state["trained_tokens"],
        losses=finished.losses,
        evaluations=state["evaluations"],
        device=_device(ranks),
        notes=[*_notes(finished, own_text), *_counted(store)],
    )
    write_card(folder, record)
    write_run_record(folder, record)
    ranks.wait()


def _require_finite(weights: dict[str, torch.Tensor], step: int) -> None:
    """A step's gradient is looked at before it is made; what the last one made of the weights, here."""
    broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise TrainingStopped(
            f"the weights after step {step} are not finite ({broken[0]}); nothing was exported. Train anew, into "
            "another output.folder, with a lower optimizer.learning_rate"
        )


def _training_rows(store: TokenStore, folder: Path, last_step: int) -> Iterator[TrainingRow]:
    """Readings up to the step whose weights are exported: what came later did not teach them."""
    for position, reading in enumerate(readings(folder / ROW_LOG, last_step)):
        row = int(reading["row"])
        yield TrainingRow(
            position=position,
            step=int(reading["step"]),
            row_id=store.row_id(row),
            epoch=int(reading["epoch"]),
            tokens_trained=int(reading["tokens_trained"]),
            tokens=int(reading["tokens"]),
            teacher=store.teachers[store.teacher[row]],
            terms_id=store.terms_ids[store.terms[row]],
        )


def _notes(finished: Finished, chat_template: str | None) -> Iterator[str]:
    if finished.note:
        yield finished.note
    if chat_template == NO_CHAT_TEMPLATE:
        yield (
            "it has no chat template: as text its tokenizer would read messages otherwise than as they were taught; "
            "ask it by texts that begin as its rows do"
        )


def _counted(store: TokenStore) -> list[str]:
    """What happened to rows on their way in, for the card."""
    return [
        f"{store.counts[name]:,} rows were {words}"
        for name, words in (("truncated", "cut at data.max_tokens"), ("dropped", "longer than it, and left out"))
        if store.counts.get(name)
    ]


def _device(ranks: Ranks) -> str:
    name = torch.cuda.get_device_name(ranks.device) if ranks.device.type == "cuda" else "CPU"
    return f"{ranks.world} x {name}" if ranks.world > 1 else name
