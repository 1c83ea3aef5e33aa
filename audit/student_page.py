"""The page of a student: how it learned, how it stands beside its untaught base and its teacher, and who taught it.

Built from files of the student's folder alone: run.json, metrics.jsonl, and evaluation.json where there is one.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.audit import student_origin, student_results
from tutelage.audit.markup import Html, element, joined, label
from tutelage.audit.report_page import Section, body, page
from tutelage.audit.student_curves import learning
from tutelage.audit.student_words import of, text_of
from tutelage.schemas.errors import ConfigError, ContractError, StorageError
from tutelage.schemas.version import CODE_VERSION

PAGE, RUN, METRICS, EVALUATION = "report.html", "run.json", "metrics.jsonl", "evaluation.json"


class StudentFiles(NamedTuple):
    """What the files say; `metrics` are whole lines, `evaluation` is None where nobody evaluated."""

    run: Mapping[str, Any]
    metrics: list[dict[str, Any]]
    evaluation: Mapping[str, Any] | None


def write_student_page(folder: str) -> str:
    """Writes report.html beside the files that it is built from, and returns its path. The same files give the same
    bytes."""
    path = Path(folder) / PAGE
    content = student_page(read_student(folder))
    try:
        with tempfile.NamedTemporaryFile(prefix=".unfinished-", dir=path.parent, delete=False) as stream:
            try:
                stream.write(content)
                stream.flush()
                os.chmod(stream.name, 0o644)
                os.replace(stream.name, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(stream.name)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}; make room, or mend the permission") from error
    return str(path)


def read_student(folder: str) -> StudentFiles:
    where = Path(folder)
    if not (where / RUN).is_file():
        raise ConfigError(
            f"{where / RUN}: is missing; the folder of a student that `tutelage train` has finished was wanted"
        )
    run, evaluation = _json(where / RUN), None
    if (where / EVALUATION).is_file():
        evaluation = _json(where / EVALUATION)
    return StudentFiles(run, _lines(where / METRICS), evaluation)


def student_page(files: StudentFiles) -> bytes:
    run, evaluation = files.run, files.evaluation
    # One of another student, or of the weights before these, says nothing here.
    stale = evaluation is not None and of(evaluation, "student", "files") != of(run, "student", "files")
    current = None if stale else evaluation
    sections = [
        Section("results", "Beside its untaught base", student_results.held_out(current, stale)),
        *([Section("tasks", "Tasks", student_results.tasks(current))] if current and current.get("tasks") else []),
        Section("learning", "How it learned", learning(run, files.metrics)),
        Section("teachers", "Who taught it", student_origin.teachers(run)),
        Section("duties", "What it may be used for", student_origin.duties(run)),
        Section("record", "Where it comes from", student_origin.record_of(run, current)),
        Section("limits", "What this page can't tell", student_results.limits(current)),
    ]
    name = str(of(run, "student", "name") or "a student")
    foot = f"Made by {CODE_VERSION}. The page holds no clock and sends nothing: the same files give the same bytes."
    return page(f"Student {name}", body(_heading(run, current, name), sections, foot))


def _heading(run: Mapping[str, Any], evaluation: Mapping[str, Any] | None, name: str) -> Html:
    facts = (
        ("Began as", label(text_of(of(run, "base", "description") or of(run, "base", "source")))),
        ("Taught from", label(text_of(of(run, "dataset", "uri")))),
        ("Training", label(student_origin.length_of(run))),
    )
    rows = [element("div", element("dt", term), element("dd", value)) for term, value in facts]
    return element(
        "header",
        element("p", "Student report", class_="kicker"),
        element("h1", joined([label(name)])),
        student_results.verdict(evaluation),
        element("dl", rows, class_="facts"),
    )


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ContractError(f"{path}: can't be read as JSON ({error}); restore it, or make it again") from error
    if not isinstance(found, dict):
        raise ContractError(f"{path}: holds {type(found).__name__}, an object was wanted; restore it, or make it again")
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    """Lines of numbers; one that a kill tore, or that is none, is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found
