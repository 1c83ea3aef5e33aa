"""Teacher, student and untaught base side by side: `evaluate(config)`.

    run record -> held-out rows -> apart from the training rows? -> teacher, student, base on the same rows -> figures

All that can refuse comes before a model is loaded. evaluation.json holds no clock: the same inputs give the same file.
"""

import contextlib
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.receipt import HELD_OUT, TRAIN
from tutelage.schemas.version import CODE_VERSION
from tutelage.train.bases.load import base_sha256, describe, load_tokenizer, tokenizer_sha256
from tutelage.train.config import Base, Loss, TeacherLogits
from tutelage.train.evaluation.evaluate_config import EvaluateConfig
from tutelage.train.evaluation.evaluate_student import Student, open_student
from tutelage.train.evaluation.evaluation_table import BASE, STUDENT, Exam, Progress, Table, Tokens, device
from tutelage.train.evaluation.held_out_rows import HeldOutRows, read_held_out, require_apart
from tutelage.train.evaluation.intervals import CONFIDENCE
from tutelage.train.evaluation.scorers import scorer_of
from tutelage.train.evaluation.tasks import read_questions, require_answers
from tutelage.train.record.card import write_card
from tutelage.train.rows.dataset import Dataset
from tutelage.train.rows.token_store import build_store
from tutelage.train.student_folder import ANSWERS, EVALUATION, RUN, TOKENS, held, write_json

CONTRACT, ANSWERS_CONTRACT = "evaluation/1", "evaluation-answers/1"


def evaluate(config: EvaluateConfig, progress: Progress = lambda what, done, of: None) -> dict[str, Any]:
    """Writes evaluation.json into the student's folder and its figures into the card; returns what is in the file."""
    folder = Path(config.student)
    with held(folder) if (folder / RUN).is_file() else contextlib.nullcontext():
        return _evaluate(config, progress)


def _evaluate(config: EvaluateConfig, progress: Progress) -> dict[str, Any]:
    student = open_student(config.student)
    dataset, training, notes = _datasets(config, student)
    held_out = read_held_out(dataset)
    require_apart(held_out, student.trained_ids(), training, TRAIN)
    exams = [(read_questions(task, config.seed), scorer_of(task.scorer)) for task in config.tasks]
    for questions, _ in exams:
        require_answers(questions)
    base = _base(config, student)
    table = _filled(config, student, base, dataset, held_out, exams, progress)
    found = {
        "contract": CONTRACT,
        "code_version": CODE_VERSION,
        "config": config.model_dump(mode="json"),
        "confidence": CONFIDENCE,
        "parts": _parts(),
        "device": device().type,
        "student": {
            "name": student.run.student.name,
            "files": student.run.student.files,
            "run_sha256": student.run_sha256,
        },
        "base": {"description": describe(base), "sha256": student.run.base.sha256},
        "teacher": table.teacher,
        "dataset": {
            "uri": dataset.uri,
            "split": HELD_OUT,
            "merkle_root": dataset.manifest.merkle.root,
            "manifest_sha256": dataset.manifest_sha256,
            "trained_on": student.run.dataset.is_of(dataset.manifest),
            "compared_by_content": training is not None,
        },
        "held_out": table.held_out(),
        "tasks": table.tasks(),
        "notes": [*notes, *table.notes],
    }
    answers = {"contract": ANSWERS_CONTRACT, "student": found["student"], "answers": table.answers()}
    write_json(student.folder / ANSWERS, answers)
    write_json(student.folder / EVALUATION, found)
    write_card(student.folder, student.run, found)
    return found


def _filled(
    config: EvaluateConfig,
    student: Student,
    base: Base,
    dataset: Dataset,
    held_out: HeldOutRows,
    exams: list[Exam],
    progress: Progress,
) -> Table:
    tokenizer = load_tokenizer(student.base)
    digest = tokenizer_sha256(tokenizer)
    if digest != student.run.tokenizer.sha256:
        raise SealBroken(f"{config.student}: its tokenizer is not the one of its run record; restore the folder")
    with tempfile.TemporaryDirectory(prefix="tutelage-") as work:
        progress("tokens", 0, 1)
        tokens, without = _tokens(config, student, dataset, tokenizer, digest, Path(work))
        table = Table(config, held_out, tokens, exams, progress)
        if config.teacher is not None:
            table.add_teacher(config.teacher.base, dataset.uri, Path(work))
        else:
            table.add_harvested(without)
        table.add(STUDENT, student.base, 0)
        table.add(BASE, base, student.config.training.seed)
    return table


def _tokens(
    config: EvaluateConfig, student: Student, dataset: Dataset, tokenizer: Any, digest: str, work: Path
) -> tuple[Tokens, str]:
    """The held-out rows as the student reads them, with the teacher's top logprobs; or why these are not there."""
    # The student's tokenizer carries the template that it was taught with.
    data = student.config.data.model_copy(update={"chat_template": None, "mix": None})

    def built(loss: Loss) -> Tokens:
        same = student.run.dataset.is_of(dataset.manifest)
        # What training made is read again where it would be the same, and never replaced by something else.
        folder = student.folder / TOKENS if same and loss.teacher == student.config.loss.teacher else work
        return Tokens(tokenizer, digest, data, build_store(dataset.uri, HELD_OUT, tokenizer, data, loss, folder))

    logits, without = _teacher_logits(config, student, digest)
    if logits is not None:
        try:
            return built(Loss(kind="forward_kl", teacher=logits)), ""
        except ConfigError as error:
            if config.teacher_logits is not None:
                raise
            without = f"the harvested logprobs can't be used: {error}"
    return built(Loss()), without


def _datasets(config: EvaluateConfig, student: Student) -> tuple[Dataset, Dataset | None, list[str]]:
    """The dataset whose held-out rows are read, the one that has the training rows' texts, and what is to be noted."""
    recorded = student.run.dataset
    dataset = Dataset(config.dataset or recorded.uri)
    if recorded.is_of(dataset.manifest):
        return dataset, dataset, []
    if config.dataset is None:
        raise SealBroken(
            f"{dataset.uri}: {_mismatch(dataset, student)}; restore that dataset, say as `dataset` where it lies now, "
            "or name one with other held-out rows there"
        )
    notes = ["the held-out rows are of another dataset than the student was taught from"]
    try:
        training: Dataset | None = Dataset(recorded.uri)
    except (ConfigError, SealBroken):
        training = None
    if training is None or not recorded.is_of(training.manifest):
        training = None
        notes.append(
            f"{recorded.uri} is not there as it was trained on, so held-out rows were compared with the training "
            "rows by row id only, not by content"
        )
    return dataset, training, notes


def _mismatch(dataset: Dataset, student: Student) -> str:
    recorded, manifest = student.run.dataset, dataset.manifest
    if manifest.merkle.root != recorded.merkle_root:
        return (
            f"its Merkle root is {manifest.merkle.root[:16]}…, the student was taught from {recorded.merkle_root[:16]}…"
        )
    return "it has the rows that the student was taught from, curated by another policy, so others may be held out"


def _base(config: EvaluateConfig, student: Student) -> Base:
    """What the student was before it was taught; raises where that is something else now."""
    base = config.base or student.config.student.base
    found, wanted = base_sha256(base), student.run.base.sha256
    if found == wanted:
        return base
    told = f"{describe(base)}: its digest is {found[:16]}…, the student began as {wanted[:16]}…"
    if config.base is not None:
        raise ConfigError(f"{told}; name that one as `base`, or leave it out")
    raise SealBroken(f"{told}; restore it, or say as `base` where it lies now")


def _teacher_logits(config: EvaluateConfig, student: Student, digest: str) -> tuple[TeacherLogits | None, str]:
    """What the harvested logprobs are, or why nothing can be compared with them."""
    found = config.teacher_logits or student.config.loss.teacher
    if config.teacher is not None:
        return None, ""
    if found is None:
        return None, (
            "nobody said of which tokenizer the harvested logprobs are; say so in teacher_logits, or load the teacher"
        )
    if found.tokenizer_sha256 != digest:
        theirs = f"{found.tokenizer_sha256[:16]}…"
        return None, f"the harvested logprobs are of the tokenizer {theirs}, and the student's is {digest[:16]}…"
    if found.temperature != 1.0:
        return None, (
            f"the harvested logprobs were made at temperature {found.temperature:g}, and the student's are at 1; their "
            "distance would say nothing"
        )
    return found, ""


def _parts() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
    }
