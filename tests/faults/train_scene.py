"""A training in a folder of a test's own: harvests, the set that was curated from them, and students that it taught."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from curate_scene import TODAY, CurateScene

from tutelage.pipelines.storage import Folder
from tutelage.pipelines.train_gate import open_train_gate
from tutelage.pipelines.withdraw import withdraw
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.manifest import MANIFEST
from tutelage.schemas.permit import Permit
from tutelage.schemas.rows import Completion, TrainingRow
from tutelage.schemas.terms_policy import TermsPolicy
from tutelage.train.config import TrainConfig
from tutelage.train.record.new_record import new_run_record
from tutelage.train.record.run_record import StudentRun, write_run_record
from tutelage.train.record.training_rows import Written, write_training_rows

LLAMA: dict[str, Any] = {
    "teacher": "llama",
    "model_requested": "Llama-3.3-70B-Instruct",
    "terms_id": "CC0-1.0;llama-3.3",
    "train_use": "allow_with",
    "obligations": ["display_text", "name_prefix", "user_cap"],
}
WEIGHTS = b"weights of a test"


def manifest_torn(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"contract": "mani')


class TrainScene(CurateScene):
    """`harvest` is the parent's URI once `curated` was called, `out` the curated set's folder."""

    @property
    def harvest(self) -> str:
        return str(self.folder / "harvest")

    def curated(self, rows: Sequence[Completion], **policy: Any) -> str:
        """A set curated from one harvest of these rows."""
        self.curate(self.config(self.parent("harvest", rows), **policy))
        return self.out.uri

    def permit(self, dataset: str | None = None, *, name: str = "tiny", today: date = TODAY, **terms: Any) -> Permit:
        return open_train_gate(dataset or self.out.uri, name, TermsPolicy.model_validate(terms), today)

    def withdraw(self, dataset: str, *rows: Completion, reason: str = "asked to") -> None:
        withdraw(Folder(dataset), [row.row_id for row in rows], reason)

    def register(self, name: str, text: str) -> str:
        """A folder with terms entries of the test's own."""
        folder = Path(self.folder) / name
        folder.mkdir()
        (folder / "entries.yaml").write_text(text)
        return str(folder)

    def student(self, readings: Sequence[Reading], *, name: str = "tiny", **terms: Any) -> Path:
        """The folder of a student that was taught by these readings, its weights but a few bytes."""
        folder = self.folder / "student"
        folder.mkdir(exist_ok=True)
        (folder / "model.safetensors").write_bytes(WEIGHTS)
        (folder / "config.json").write_bytes(b"{}")
        rows = write_training_rows(folder / "training_rows.parquet", training_rows(readings))
        write_run_record(folder, student_run(self.permit(name=name, **terms), rows, name=name))
        return folder


Reading = tuple[Completion, int, int]
"""A row, the epoch and the step."""


def training_rows(readings: Sequence[Reading]) -> list[TrainingRow]:
    """Of each reading of 10 tokens 4 and the epoch's number are trained."""
    return [
        TrainingRow(number, step, row.row_id, epoch, 4 + epoch, 10, row.teacher, row.terms_id)
        for number, (row, epoch, step) in enumerate(readings)
    ]


def train_config(name: str = "tiny", **sections: Any) -> TrainConfig:
    student = {"name": name, "base": {"gguf": "embedded"}}
    found = {"version": 1, "dataset": "set", "student": student, "output": {"folder": "student"}}
    return TrainConfig.model_validate(found | sections)


def student_run(permit: Permit, rows: Written, *, name: str = "tiny", **facts: Any) -> StudentRun:
    config = facts.pop("config", train_config(name))
    defaults: dict[str, Any] = {
        "files": {"model.safetensors": sha256_hex(WEIGHTS), "config.json": sha256_hex(b"{}")},
        "exported_step": 2,
        "base_sha256": "b" * 64,
        "base_description": "SmolLM2-135M-Instruct (embedded)",
        "tokenizer_sha256": "c" * 64,
        "chat_template": "{{ messages }}",
        "started_at": "2026-11-25T12:00:00+00:00",
        "ended_at": "2026-11-25T12:30:00+00:00",
        "steps": 3,
        "tokens": 100,
        "trained_tokens": 40,
        "losses": [(1, 3.0), (2, 2.5), (3, 2.0)],
        "evaluations": [
            {"step": 0, "loss": 3.5, "bits_per_byte": 1.25, "trained_tokens": 9},
            {"step": 2, "loss": 2.5, "bits_per_byte": 0.75, "trained_tokens": 9},
        ],
        "device": "cpu",
    }
    return new_run_record(config, permit, rows, **(defaults | facts))
