"""`receipt.json` of a curated set: what was chosen from where, by which policy, and that the terms allow training."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.errors import SealBroken
from tutelage.schemas.manifest import MerkleSummary, ParentEntry

TRAIN, HELD_OUT = "train", "held_out"
SPLITS = (TRAIN, HELD_OUT)
KEPT = "kept"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EvaluationSet(_Record):
    """A file of an evaluation set that rows were compared with."""

    uri: str
    bytes: int
    sha256: str


class Student(_Record):
    """What the terms were asked for: a student that is used otherwise needs another curation."""

    distributed: bool
    competes_with_teacher: bool


class TeacherTerms(_Record):
    """The gate's answer for a teacher's rows in the set. `override` is the signed exception that they rest on."""

    teacher: str
    rows: int
    permitted: Literal[True]
    train_use: str
    obligations: tuple[str, ...]
    declared_by_user: bool
    override: dict[str, str] | None


class Receipt(_Record):
    """The state at the time of curation: rows that are withdrawn later still count here.

    `reasons` counts every row of the parents once, those in the set as `kept`. `audits` says how likenesses were
    looked for, and what share of them was expected to be found.
    """

    contract: Literal["receipt/1"] = "receipt/1"
    code_version: str
    policy_sha256: str
    parents: tuple[ParentEntry, ...]
    evaluation_sets: tuple[EvaluationSet, ...]
    student: Student
    teachers: tuple[TeacherTerms, ...]
    audits: dict[str, dict[str, str | int | float]]
    rows_in: int
    rows_out: int
    reasons: dict[str, int]
    splits: dict[str, int]
    merkle: MerkleSummary

    def to_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json")) + b"\n"


def parse_receipt(content: bytes, path: str) -> Receipt:
    try:
        return Receipt.model_validate_json(content)
    except ValueError as error:
        raise SealBroken(f"{path}: is no receipt/1 ({error}); restore it from a copy, or curate anew") from error
