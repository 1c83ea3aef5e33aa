"""Where a run goes on: nowhere, where its student is there already; at the newest checkpoint that is whole; or from
nothing."""

from pathlib import Path
from typing import Any, NamedTuple

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.differences import differences, shown
from tutelage.schemas.errors import ConfigError, TutelageError
from tutelage.schemas.permit import Permit
from tutelage.train import checkpoint as checkpoints
from tutelage.train.append_log import Saved, log_damage
from tutelage.train.bases.load import base_sha256, tokenizer_sha256
from tutelage.train.checkpoint import Checkpoint
from tutelage.train.config import TrainConfig
from tutelage.train.progress import METRICS, Watcher
from tutelage.train.record.run_record import DutyEntry, StudentRun
from tutelage.train.record.trace import checked_run
from tutelage.train.rows.templates import chat_template_text
from tutelage.train.student_folder import CHECKPOINTS, ROW_LOG, RUN


class Found(NamedTuple):
    """`student` is this training's, and whole. `other` says in words what else is there: another's, or a damaged one;
    None where there is none."""

    student: StudentRun | None = None
    other: str | None = None


def made_of(config: TrainConfig, permit: Permit, tokenizer: Any) -> dict[str, Any]:
    """What makes a training this one."""
    template = chat_template_text(tokenizer, config.data)
    return {
        "config": config.identity(),
        "dataset": {
            "merkle_root": permit.manifest.merkle.root,
            # The root is of all rows; the policy says which are held out.
            "policy_sha256": permit.manifest.policy_sha256,
            "tombstones": permit.tombstone_head,
        },
        "base": base_sha256(config.student.base),
        "tokenizer": tokenizer_sha256(tokenizer),
        "chat_template": None if template is None else sha256_hex(template.encode()),
    }


def finished_student(folder: Path, made: dict[str, Any], config: TrainConfig, permit: Permit) -> Found:
    """What its record says is held against what would be trained now, and under which terms."""
    if not (folder / RUN).exists():
        return Found()
    try:
        found = checked_run(folder)
        theirs = TrainConfig.model_validate(found.config)
    except (TutelageError, ValueError) as error:
        return Found(other=f"holds a student that is not whole ({error})")
    there = {
        "config": theirs.identity(),
        "dataset": {
            "merkle_root": found.dataset.merkle_root,
            "policy_sha256": found.dataset.policy_sha256,
            "tombstones": found.dataset.tombstone_head,
        },
        "base": found.base.sha256,
        "tokenizer": found.tokenizer.sha256,
        "chat_template": found.tokenizer.chat_template_sha256,
        "policy": theirs.policy.model_dump(mode="json"),
        "duties": [duty.model_dump(mode="json") for duty in found.duties],
    }
    duties = [DutyEntry(**duty._asdict()).model_dump(mode="json") for duty in permit.duties]
    here = {**made, "policy": config.policy.model_dump(mode="json"), "duties": duties}
    if lines := differences(there, here):
        return Found(other=f"holds the student of another training (there -> here):\n{shown(lines)}")
    return Found(found)


def newest(folder: Path, identity: dict[str, Any], watcher: Watcher) -> Checkpoint | None:
    """The newest checkpoint that is whole, with the logs that belong to it. Raises ConfigError where it is of another
    run, or where there are some and none can be gone on from."""
    where = folder / CHECKPOINTS
    names = checkpoints.steps_saved(where)
    broken = None
    for name in reversed(names):
        broken = checkpoints.damage(where / name)
        if broken is None:
            state = checkpoints.read_state(where / name)
            checkpoints.require_same_run(state["identity"], identity, where)
            broken = _logs_damage(folder, state)
        if broken is None:
            watcher.note(f"going on from step {state['step']}")
            return checkpoints.load(where / name)
        watcher.note(f"{where / name}: can't be gone on from ({broken}); it is passed over")
    if names:
        raise ConfigError(
            f"{where}: none of its {len(names)} checkpoints can be gone on from ({names[0]}: {broken}); restore that "
            "from a copy, or delete the folder to begin anew"
        )
    return None


def _logs_damage(folder: Path, state: dict[str, Any]) -> str | None:
    logs = {METRICS: state["metrics"], ROW_LOG: state["row_log"]}
    damaged = (log_damage(folder / name, Saved(*saved)) for name, saved in logs.items())
    return next(filter(None, damaged), None)
