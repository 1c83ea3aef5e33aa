"""The record of a training that has ended, from what the training knows."""

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.manifest import SealedTerms
from tutelage.schemas.permit import Permit
from tutelage.schemas.terms_entry import TRAIN_USES
from tutelage.schemas.version import CODE_VERSION
from tutelage.train.config import TrainConfig
from tutelage.train.record.run_record import (
    BaseEntry,
    DatasetEntry,
    DutyEntry,
    RowsEntry,
    StepLoss,
    StudentEntry,
    StudentRun,
    TeacherEntry,
    TokenizerEntry,
)
from tutelage.train.record.training_rows import TaughtBy, Written

PARTS = (
    *("cut-cross-entropy", "fsspec", "jinja2", "liger-kernel", "numpy", "orjson", "peft", "pyarrow", "pydantic"),
    *("safetensors", "tokenizers", "torch", "transformers"),
)
MOST_LOSSES = 1000


def new_run_record(
    config: TrainConfig,
    permit: Permit,
    rows: Written,
    *,
    files: Mapping[str, str],
    exported_step: int,
    base_sha256: str,
    base_description: str,
    tokenizer_sha256: str,
    chat_template: str | None,
    started_at: str,
    ended_at: str,
    steps: int,
    tokens: int,
    trained_tokens: int,
    losses: Sequence[tuple[int, float]],
    evaluations: Sequence[Mapping[str, Any]],
    device: str,
    notes: Sequence[str] = (),
) -> StudentRun:
    """What `write_run_record` writes. `losses` are those of every step; a thousand of them are kept."""
    base = config.student.base
    kind: Literal["folder", "gguf", "fresh"] = "fresh" if base.fresh else "gguf" if base.gguf else "folder"
    return StudentRun(
        student=StudentEntry(name=config.student.name, files=dict(files), exported_step=exported_step),
        dataset=DatasetEntry(
            uri=permit.dataset,
            merkle_root=permit.manifest.merkle.root,
            manifest_sha256=permit.manifest_sha256,
            tombstone_head=permit.tombstone_head,
            withdrawn_rows=len(permit.withdrawn),
            policy_sha256=permit.manifest.policy_sha256,
            parents=permit.manifest.parents,
        ),
        config=config.model_dump(mode="json"),
        config_sha256=config.sha256(),
        code_version=CODE_VERSION,
        base=BaseEntry(kind=kind, source=base.gguf or base.folder, sha256=base_sha256, description=base_description),
        tokenizer=TokenizerEntry(
            sha256=tokenizer_sha256,
            chat_template_sha256=None if chat_template is None else sha256_hex(chat_template.encode()),
        ),
        parts={"python": platform.python_version()} | {name: found for name in PARTS if (found := _version(name))},
        seeds={"training": config.training.seed},
        started_at=started_at,
        ended_at=ended_at,
        steps=steps,
        tokens=tokens,
        trained_tokens=trained_tokens,
        losses=tuple(StepLoss(step=step, loss=_finite(loss)) for step, loss in thinned(losses)),
        evaluations=tuple({key: _finite(value) for key, value in item.items()} for item in evaluations),
        teachers=tuple(_teachers(rows.taught_by, permit.terms)),
        duties=tuple(DutyEntry(**duty._asdict()) for duty in permit.duties),
        training_rows=RowsEntry(
            rows=rows.rows, distinct_rows=rows.distinct_rows, merkle_root=rows.merkle_root, sha256=rows.sha256
        ),
        device=device,
        notes=(*permit.notes, *notes),
    )


def thinned(losses: Sequence[tuple[int, float]], most: int = MOST_LOSSES) -> list[tuple[int, float]]:
    """At most so many of them, evenly, with the first and the last; each is one step's own."""
    last = len(losses) - 1
    if last < most:
        return list(losses)
    return [losses[round(number * last / (most - 1))] for number in range(most)]


def _teachers(shares: Iterable[TaughtBy], terms: Sequence[SealedTerms]) -> Iterable[TeacherEntry]:
    by_teacher: dict[str, list[TaughtBy]] = {}
    for share in shares:
        by_teacher.setdefault(share.teacher, []).append(share)
    for teacher, group in sorted(by_teacher.items()):
        said = [item for item in terms if item.teacher == teacher]
        assert said, f"rows of {teacher!r} were trained on, and the gate decided nothing of it"
        overrides = sorted((item.override for item in said if item.override), key=lambda found: found["expires"])
        yield TeacherEntry(
            teacher=teacher,
            rows=sum(share.rows for share in group),
            readings=sum(share.readings for share in group),
            tokens_trained=sum(share.tokens_trained for share in group),
            terms_ids=tuple(sorted({terms_id for share in group for terms_id in share.terms_id.split(";")})),
            train_use=max((item.train_use for item in said), key=_restriction),
            obligations=tuple(sorted({duty for item in said for duty in item.obligations})),
            entries={terms_id: digest for item in said for terms_id, digest in item.entries.items()},
            declared_by_user=any(item.declared_by_user for item in said),
            override=overrides[0] if overrides else None,
        )


def _restriction(train_use: str) -> int:
    return [*TRAIN_USES].index(train_use) if train_use in TRAIN_USES else len(TRAIN_USES)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
