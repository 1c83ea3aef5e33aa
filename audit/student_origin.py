"""Who taught a student, on what terms, what that asks of whoever has it, what it was made of: run.json in words."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tutelage.audit import charts
from tutelage.audit.markup import Column, Html, cut, element, folded, joined, label, table
from tutelage.audit.report_figures import CHART, ID, NUMBER, count, names, plural, record
from tutelage.audit.student_words import count_of, entries, fields, objects, of, text_of
from tutelage.schemas.terms_words import DUTIES, UNKNOWN_WORD, USES

DETAIL_SHOWN = 2_000


def length_of(run: Mapping[str, Any]) -> str:
    """How long it was trained, in one line."""
    parts = []
    for key, one in (("steps", "step"), ("trained_tokens", "trained token")):
        number = count_of(run.get(key))
        if number is not None:
            parts.append(plural(number, one))
    seconds = _seconds(run)
    if seconds is not None:
        parts.append(f"{seconds / 60:,.1f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours")
    if run.get("device"):
        parts.append(str(run["device"]))
    return ", ".join(parts) or "not recorded"


def teachers(run: Mapping[str, Any]) -> Html:
    found = objects(run.get("teachers"))
    if not found:
        return element("p", "No teacher is recorded.", class_="absent")
    total = sum(count_of(row.get("tokens_trained")) or 0 for row in found)
    rows = []
    for row in found:
        tokens = count_of(row.get("tokens_trained")) or 0
        rows.append(
            [
                label(text_of(row.get("teacher"))),
                count(count_of(row.get("rows"))),
                f"{tokens:,}",
                charts.bar(tokens / total if total > 0 else 0.0),
                names(_texts(row.get("terms_ids"))),
                _use(row.get("train_use")),
                names(_texts(row.get("obligations"))),
                _override(row.get("override")),
            ]
        )
    heads = [Column("Teacher"), Column("Rows", NUMBER), Column("Tokens trained", NUMBER), Column("Share", CHART)]
    heads += [Column("Terms"), Column("Training"), Column("Obligations"), Column("Exception")]
    readings = count_of(of(run, "training_rows", "rows"))
    return joined(
        [
            table("Whose answers it was trained on, as decided on the day of the training", heads, rows),
            element(
                "p",
                "Every reading of a row is in training_rows.parquet",
                "" if readings is None else f" ({plural(readings, 'reading')})",
                "; `tutelage trace` tells which rows, and which of them were withdrawn since.",
                class_="more",
            ),
        ]
    )


def duties(run: Mapping[str, Any]) -> Html:
    found = objects(run.get("duties"))
    if not found:
        return element("p", "The teachers' terms ask nothing of whoever has this student.")
    said = []
    for duty in found:
        name, detail = str(duty.get("obligation")), text_of(duty.get("detail"))
        teachers, terms = names(_texts(duty.get("teachers"))), names(_texts(duty.get("terms_ids")))
        said += [
            element("h3", label(name)),
            element(
                "p", f"Who has this student has to {DUTIES[name]}." if name in DUTIES else f"This is {UNKNOWN_WORD}."
            ),
            element("p", "For the answers of ", teachers, ", by ", terms, ".", class_="more"),
            element("div", cut(detail, DETAIL_SHOWN), class_="harvested", dir="auto") if detail else None,
        ]
    return joined(said)


def record_of(run: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> Html:
    facts = (
        ("Dataset", of(run, "dataset", "uri")),
        ("Dataset's Merkle root", of(run, "dataset", "merkle_root")),
        ("Its manifest's SHA-256", of(run, "dataset", "manifest_sha256")),
        ("Its tombstones' SHA-256", of(run, "dataset", "tombstone_head")),
        ("Curation policy's SHA-256", of(run, "dataset", "policy_sha256")),
        ("Training rows' Merkle root", of(run, "training_rows", "merkle_root")),
        ("Base", of(run, "base", "description")),
        ("Base's SHA-256", of(run, "base", "sha256")),
        ("Tokenizer's SHA-256", of(run, "tokenizer", "sha256")),
        ("Config's SHA-256", run.get("config_sha256")),
        ("Weights are of step", of(run, "student", "exported_step")),
        ("Code", run.get("code_version")),
        ("Began", run.get("started_at")),
        ("Ended", run.get("ended_at")),
    )
    rows = [element("div", element("dt", name), element("dd", label(text_of(value)))) for name, value in facts]
    files = fields(of(run, "student", "files"))
    digests = [[label(str(name)), label(str(digest))] for name, digest in files.items()]
    notes = [element("li", element("bdi", cut(str(note), 600))) for note in entries(run.get("notes"))[:12]]
    return joined(
        [
            element("dl", rows, class_="facts"),
            [element("h3", "Notes"), element("ul", notes)] if notes else None,
            folded("The student's files", table("SHA-256 of each", [Column("File"), Column("SHA-256", ID)], digests)),
            *(
                folded(title, record(content))
                for title, content in (
                    ("The training's config", run.get("config")),
                    ("Versions of its parts", run.get("parts")),
                    ("The evaluation's config", of(evaluation, "config")),
                )
                if isinstance(content, Mapping) and content
            ),
        ]
    )


def _use(value: Any) -> Html:
    use = str(value)
    known = use if use in USES else "unknown"
    return element("span", label(use), class_=f"use {known}", title=USES[known])


def _override(value: Any) -> Html:
    if not isinstance(value, Mapping):
        return label(text_of(value), "none")
    approver, reason, expires = (text_of(value.get(key)) for key in ("approver", "reason", "expires"))
    return joined([label(approver), ": ", label(reason), element("small", "until ", label(expires))])


def _texts(values: Any) -> Sequence[str] | None:
    return [str(value) for value in values] if isinstance(values, list) else None


def _seconds(run: Mapping[str, Any]) -> float | None:
    try:
        began, ended = (datetime.fromisoformat(str(run[key])) for key in ("started_at", "ended_at"))
        return (ended - began).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None
