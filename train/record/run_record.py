"""`run.json` of a student: what it was made of, by what, from which rows, and what their terms ask. The record alone is
enough to write the card, and to answer where the student comes from."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tutelage.schemas.errors import ConfigError, ContractError
from tutelage.schemas.manifest import Manifest, ParentEntry
from tutelage.train.student_folder import RUN, write_json

STUDENT_RUN = "student-run/1"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StudentEntry(_Record):
    """`files` by name with their SHA-256: weights, config, tokenizer. The weights are those after `exported_step`."""

    name: str
    files: dict[str, str]
    exported_step: int


class DatasetEntry(_Record):
    """The curated set as it stood; `withdrawn_rows` had gone from it before."""

    uri: str
    merkle_root: str
    manifest_sha256: str
    tombstone_head: str | None
    withdrawn_rows: int
    policy_sha256: str | None
    parents: tuple[ParentEntry, ...]

    def is_of(self, manifest: Manifest) -> bool:
        """The same rows, split alike: the root is of all of them, and the policy says which are held out."""
        return (manifest.merkle.root, manifest.policy_sha256) == (self.merkle_root, self.policy_sha256)


class BaseEntry(_Record):
    """What the student was before: `source` is null for a fresh one."""

    kind: Literal["folder", "gguf", "fresh"]
    source: str | None
    sha256: str
    description: str


class TokenizerEntry(_Record):
    sha256: str
    chat_template_sha256: str | None


class StepLoss(_Record):
    """Mean nats per trained token of one step; null where it was no number."""

    step: int
    loss: float | None


class TeacherEntry(_Record):
    """What one teacher's rows taught, and what its terms said on the day of the training. Of several overrides that its
    rows rest on, `override` is the first to expire."""

    teacher: str
    rows: int
    readings: int
    tokens_trained: int
    terms_ids: tuple[str, ...]
    train_use: str
    obligations: tuple[str, ...]
    entries: dict[str, str]
    declared_by_user: bool
    override: dict[str, str] | None


class DutyEntry(_Record):
    obligation: str
    detail: str | None
    teachers: tuple[str, ...]
    terms_ids: tuple[str, ...]
    urls: tuple[str, ...]


class RowsEntry(_Record):
    """What seals training_rows.parquet. `rows` are readings, the leaves of its tree."""

    rows: int
    distinct_rows: int
    merkle_root: str
    sha256: str


class StudentRun(_Record):
    contract: Literal["student-run/1"] = "student-run/1"
    student: StudentEntry
    dataset: DatasetEntry
    config: dict[str, Any]
    config_sha256: str
    code_version: str
    base: BaseEntry
    tokenizer: TokenizerEntry
    parts: dict[str, str]
    seeds: dict[str, int]
    started_at: str
    ended_at: str
    steps: int
    tokens: int
    trained_tokens: int
    losses: tuple[StepLoss, ...]
    evaluations: tuple[dict[str, Any], ...]
    teachers: tuple[TeacherEntry, ...]
    duties: tuple[DutyEntry, ...]
    training_rows: RowsEntry
    device: str
    notes: tuple[str, ...]


def write_run_record(folder: Path, record: StudentRun) -> None:
    write_json(folder / RUN, record.model_dump(mode="json"))


def read_run_record(folder: Path) -> StudentRun:
    """Raises ConfigError where there is no finished student, ContractError where its record is none that we read."""
    path = folder / RUN
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: can't be read ({error.strerror}), so {folder} is no finished student; name the folder that "
            "`tutelage train` wrote, or run it again with its config, which finishes a run that was cut off"
        ) from error
    try:
        document = json.loads(content)
        name, _, number = str(document["contract"]).partition("/")
    except (ValueError, KeyError, TypeError) as error:
        raise ContractError(
            f"{path}: is no {STUDENT_RUN} ({type(error).__name__}: {error}); restore it from a copy of the student"
        ) from error
    if name != "student-run" or not number.isdecimal():
        raise ContractError(
            f"{path}: is of the contract {name}/{number}, {STUDENT_RUN} was wanted; name a student's folder, not "
            "a dataset's"
        )
    if int(number) > 1:
        raise ContractError(
            f"{path}: student-run/{number} is newer than this tutelage reads ({STUDENT_RUN}); upgrade tutelage"
        )
    try:
        return StudentRun.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
        raise ContractError(
            f"{path}: does not keep {STUDENT_RUN} ({problems}); restore it from a copy of the student"
        ) from error
