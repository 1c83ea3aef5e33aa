"""README.md of a student, and LICENSE.md: what a stranger has to know before using it, from its record alone."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import yaml

from tutelage.schemas.markdown import one_line, plain, table
from tutelage.schemas.terms_words import DUTIES, UNKNOWN_WORD, USES, decision_section
from tutelage.train.record.card_results import measured
from tutelage.train.record.run_record import DutyEntry, StudentRun, TeacherEntry
from tutelage.train.student_folder import CARD
from tutelage.train.whole_file import replacing

LICENSE = "LICENSE.md"
EMBEDDED_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
LIMITS = frozenset({"use_restrictions_flowdown", "noncommercial", "user_cap", "internal_only", "no_redistribution"})
"""Duties that say what may not be done; all others say what has to be done."""

ABOUT = """\
A language model that was taught by the answers of others, with tutelage. `run.json` says what it was made of and
`training_rows.parquet` has every row that it read, in order; `tutelage trace .` checks both and answers from them."""
PROOF = """\
The Merkle root of the dataset covers every row that was chosen for it, and the Merkle root of `training_rows.parquet`
every reading of a row: one that was changed, added or dropped is seen. `run.json` names the weights by their SHA-256.

It does not prove that nothing else was trained on: whoever ran the training wrote these files. It says nothing of what
the base had read before. It does not prove that the teachers really gave these answers, or that they are true; what
they got wrong, the student learned. Nobody has tested here whether it is safe to use. And what is said of terms is what
a register said on the day of the training, not legal advice."""


def write_card(folder: Path, run: StudentRun, evaluation: Mapping[str, Any] | None = None) -> None:
    """`evaluation` is evaluation.json, where there is one; of other weights than these it is left out."""
    for name, text in ((CARD, student_card(run, evaluation)), (LICENSE, license_page(run))):
        with replacing(folder / name) as stream:
            stream.write(text.encode())


def student_card(run: StudentRun, evaluation: Mapping[str, Any] | None = None) -> str:
    """Nothing that a name or a term says can end the YAML or a table, add markup or hide text: see `markdown.plain`."""
    sections = [
        f"# {plain(run.student.name)}",
        *(_own_line(text) for text in _texts_to_show(run)),
        ABOUT,
        f"## What taught it\n\n{_origin(run)}",
        f"## Measured\n\n{measured(run, evaluation)}",
        f"## Licence and terms\n\n{_terms(run)}",
        f"## What this proves, and what it does not\n\n{PROOF}",
    ]
    return f"---\n{_front_matter(run)}---\n\n" + "\n\n".join(sections) + "\n"


def license_page(run: StudentRun) -> str:
    """What the card links to: no listed licence says what several teachers' terms ask."""
    shown = "".join(f"{_own_line(text)}\n\n" for text in _texts_to_show(run))
    return f"# Licence and terms of {plain(run.student.name)}\n\n{shown}{_terms(run)}\n"


def license_name(run: StudentRun) -> str:
    """A slug of what the terms ask for. The student's own licence is for its makers to choose, within those."""
    asked = sorted({_slug(duty.obligation.replace("_", "-")) for duty in run.duties})
    return "-".join(asked)[:96].strip("-") or "none-stated"


def _front_matter(run: StudentRun) -> str:
    front: dict[str, Any] = {
        "license": "other",
        "license_name": license_name(run),
        "license_link": LICENSE,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
    }
    if base := _base_model(run):
        front |= {"base_model": base}
    front |= {
        "datasets": [_slug(PurePosixPath(run.dataset.uri.rstrip("/")).name)],
        "tags": ["distillation", "synthetic-data", "tutelage"],
        "model_name": one_line(run.student.name),
    }
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=10**6)


def _base_model(run: StudentRun) -> str | None:
    """As the hub names models; a path of this machine is nobody's business, so its last part stands for it."""
    if run.base.source is None:
        return None
    if run.base.source == "embedded":
        return EMBEDDED_MODEL
    return _slug(PurePosixPath(run.base.source.rstrip("/")).name.removesuffix(".gguf"))


def _origin(run: StudentRun) -> str:
    rows = [
        (
            teacher.teacher,
            teacher.train_use,
            ", ".join(teacher.terms_ids),
            f"{teacher.rows:,}",
            f"{teacher.readings:,}",
            f"{teacher.tokens_trained:,}",
        )
        for teacher in run.teachers
    ]
    dataset, seal = run.dataset, run.training_rows
    facts = [
        f"- began as: {plain(run.base.description)} (SHA-256 {plain(run.base.sha256)})",
        f"- dataset: {plain(dataset.uri)}, Merkle root {plain(dataset.merkle_root)}, SHA-256 of its manifest "
        f"{plain(dataset.manifest_sha256)}",
        f"- training rows: {seal.rows:,} readings of {seal.distinct_rows:,} rows, Merkle root "
        f"{plain(seal.merkle_root)}",
        f"- weights: those after step {run.student.exported_step:,} of {run.steps:,}",
        f"- made by: {plain(run.code_version)} on {plain(run.device)}, ended {plain(run.ended_at)}",
    ]
    if dataset.withdrawn_rows:
        facts.append(
            f"- withdrawn before: {dataset.withdrawn_rows:,} rows had gone from the dataset; it read none of them"
        )
    facts += [f"- note: {plain(note)}" for note in run.notes]
    titles = ("teacher", "its terms say", "terms", "rows", "readings", "trained tokens")
    return (
        f"{table(titles, rows)}\n\n"
        + "\n".join(facts)
        + "\n\nA row that was withdrawn since is still in these weights; `tutelage trace .` says which those are."
    )


def _terms(run: StudentRun) -> str:
    parts = [_summary(run)]
    for heading, limits in (("What you must do", False), ("What limits its use", True)):
        lines = [_duty(duty) for duty in run.duties if (duty.obligation in LIMITS) is limits]
        if lines:
            parts.append(f"### {heading}\n\n" + "\n".join(lines))
    parts += [_decision(teacher) for teacher in run.teachers]
    return "\n\n".join(parts)


def _summary(run: StudentRun) -> str:
    said = (
        "What the teachers' terms ask of whoever has this student is below; no listed licence says it all."
        if run.duties
        else "The teachers' terms ask nothing of whoever has this student, and nobody has put it under a licence yet."
    )
    base = (
        ""
        if run.base.kind == "fresh"
        else " The licence of the base that it began as holds too, and is not looked at here."
    )
    return f"{said}{base} This is what the terms register said at the time, not legal advice."


def _duty(duty: DutyEntry) -> str:
    detail = f": {plain(duty.detail)}" if duty.detail else ""
    links = "".join(f", <{quote(url, safe='/:?&=#%+,;@~')}>" for url in duty.urls)
    return (
        f"- **{plain(duty.obligation)}**{detail}. {_sentence(DUTIES.get(duty.obligation, UNKNOWN_WORD))} (Asked for "
        f"{plain(', '.join(duty.teachers))} by {plain(', '.join(duty.terms_ids))}{links}.)"
    )


def _decision(teacher: TeacherEntry) -> str:
    use = f"Its rows {USES.get(teacher.train_use, UNKNOWN_WORD)}."
    return decision_section(teacher.teacher, teacher.train_use, [use], teacher.declared_by_user, teacher.override)


def _texts_to_show(run: StudentRun) -> Iterator[str]:
    yield from dict.fromkeys(duty.detail for duty in run.duties if duty.obligation == "display_text" and duty.detail)


def _own_line(text: str) -> str:
    """A paragraph that is nothing but this text: what begins like a heading, a list or a rule does not become one."""
    shown = plain(text)
    return shown if shown[0].isalpha() or shown[0] == "&" else f"&#{ord(shown[0])};{shown[1:]}"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:96] or "unnamed"
