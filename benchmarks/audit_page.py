"""`tutelage audit report` on a sealed dataset: how long it takes, and how large its page is."""

import random
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
from corpus import DATA, Writer
from measure import Cost, cost_of
from ours import tutelage
from report import Goal, table

from tutelage.pipelines.seal import merge_ledger, seal
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.table_file import TableFile
from tutelage.schemas.canonical import canonical_json, sha256_hex
from tutelage.schemas.contracts import COMPLETIONS, FAILED, JOURNAL, LEDGER, PLAN
from tutelage.schemas.identity import leaf_sha256, row_id
from tutelage.schemas.manifest import SealedTerms
from tutelage.schemas.rows import Call, Completion, FailedRequest, LedgerEntry, PlannedRequest

ROWS = 100_000
FILES = 4
VERSION = 2
SEED = 20_261_126
PROMPT_LICENSE = "CC0-1.0"
RUN = "20261123T120000Z-abcdef"

OUTCOMES = {"ok": 0.9, "truncated": 0.05, "refused": 0.03, "filtered": 0.01, "invalid": 0.01}
FAILED_SHARE = 0.01
NEAR_COPIES, EXACT_COPIES = 0.04, 0.02  # of an answer that another teacher gave
ENGLISH = tuple(
    re.findall(
        r"\w+",
        "the of and to a in is you that it for on are as with this be at from or have an they which one had by not",
    )
)
"""The commonest words of the answers: text in no language at all is what guessing languages is slowest at."""
REFUSALS = ("I'm sorry, but I can't help with that.", "I cannot assist with this request.", "As an AI, I must decline.")


class Teacher(NamedTuple):
    name: str
    model: str
    terms: str
    train_use: str
    obligations: tuple[str, ...]
    openings: tuple[str, ...]
    characters: int


TEACHERS = (
    Teacher("aspen", "aspen-7b", "Apache-2.0", "allow", (), ("", "Sure! ", "Here is what I found. "), 900),
    Teacher(
        "birch", "birch-large", "CC-BY-4.0", "allow_with", ("attribution",), ("Certainly! ", "## Answer\n\n"), 1500
    ),
    Teacher(
        "cedar", "cedar-mini", "MIT", "allow_with", ("notice_text",), ("", "As Cedar, a model by Cedar Labs, "), 400
    ),
    Teacher("dogwood", "dogwood-chat", "Apache-2.0", "allow", (), ("Okay, ", "<b>Short:</b> ", "1. "), 700),
)


def run(*, quick: bool) -> list[Goal]:
    rows = 5000 if quick else ROWS
    made = sealed_dataset(rows)
    with tempfile.TemporaryDirectory(prefix="run-", dir=DATA) as name:
        # A copy, since fingerprints are kept in the dataset's folder: the first run has to compute them.
        dataset = Path(shutil.copytree(made, Path(name, "dataset")))
        first, again = (_report(dataset, Path(name, out)) for out in ("first", "again"))
    figures = [
        ["wall time", f"{first.cost.elapsed_s:.1f} s", f"{again.cost.elapsed_s:.1f} s"],
        ["CPU", f"{first.cost.cpu_s:.1f} s", f"{again.cost.cpu_s:.1f} s"],
        ["peak RSS, whole tree", *(f"{run.cost.peak_rss_bytes / 1e9:.2f} GB" for run in (first, again))],
        ["page", *(f"{run.page_bytes / 1e6:.2f} MB" for run in (first, again))],
    ]
    print(f"The report: {rows:,} rows, {len(TEACHERS)} teachers")
    print(table(["", "first run", "fingerprints there"], figures))
    return [
        Goal(f"report of {rows:,} rows, wall time of the first run", first.cost.elapsed_s, "s", 20),
        Goal(f"report of {rows:,} rows, page", first.page_bytes / 1e6, "MB", 5),
    ]


class Report(NamedTuple):
    cost: Cost
    page_bytes: int


def _report(dataset: Path, out: Path) -> Report:
    command = [tutelage(), "audit", "report", dataset, "--out", out]
    cost = cost_of(command, env={"TMPDIR": str(dataset.parent)}, sample_rss=True, timeout_s=3600)
    pages = [page.stat().st_size for page in out.rglob("*.html")]
    if not pages:
        raise SystemExit(f"the report of {dataset} left no .html in {out}")
    return Report(cost, sum(pages))


def sealed_dataset(rows: int) -> Path:
    """A dataset as a harvest leaves it, made once a size under `.data/`; 100,000 rows take half a minute."""
    place = DATA / f"sealed-{rows}-v{VERSION}"
    if not place.is_dir():
        print(f"making a sealed dataset of {rows:,} rows ...", file=sys.stderr, flush=True)
        unfinished = place.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _write(Folder(str(unfinished)), rows)
        unfinished.rename(place)
    return place


def _write(folder: Folder, rows: int) -> None:
    per_file = rows // FILES  # a multiple of the teachers, so that no prompt is cut in two
    for shard in range(FILES):
        part = f"part-{shard:05d}-of-{FILES:05d}.parquet"
        with (
            TableFile(PLAN, folder, f"plan/{part}") as plan,
            TableFile(COMPLETIONS, folder, f"completions/{part}") as completions,
            TableFile(JOURNAL, folder, f"journal/{part}") as journal,
            TableFile(LEDGER, folder, f"ledger/{part}") as ledger,
        ):
            for row in _completions(shard * per_file, per_file):
                plan.add(_planned(row))
                completions.add(row)
                journal.add(_call(row))
                ledger.add(_ledger_entry(row))
    merge_ledger(folder)
    with TableFile(FAILED, folder, "failed/part-00000.parquet") as failed:
        for number in range(rows, rows + round(rows * FAILED_SHARE)):
            failed.add(_failed(number))
    record = {
        "run_id": RUN,
        "started_at": _at(0).isoformat(),
        "ended_at": _at(rows).isoformat(),
        "code_version": "bench",
    }
    folder.write("run.json", canonical_json({"contract": "run/1", "runs": [record]}))
    entries = {
        name: canonical_json({"id": name, "obligation_details": {}, "obligations": duties, "url": "https://spdx.org"})
        for name, duties in {PROMPT_LICENSE: [], **{item.terms: list(item.obligations) for item in TEACHERS}}.items()
    }
    terms = [_terms(teacher, entries) for teacher in TEACHERS]
    seal(folder, "harvest", [RUN], terms, {sha256_hex(text): text for text in entries.values()})


def _completions(first: int, count: int) -> Iterator[Completion]:
    """All teachers answer each prompt in turn; some answers are copies of the one that came before."""
    writer, draw = Writer(SEED + first, ENGLISH), random.Random(SEED + first)
    prompts = _texts(writer, [220] * (count // len(TEACHERS) + 1))
    answers = _texts(writer, [TEACHERS[number % len(TEACHERS)].characters for number in range(first, first + count)])
    before = ""
    for number, own in zip(range(first, first + count), answers, strict=True):
        teacher = TEACHERS[number % len(TEACHERS)]
        outcome = draw.choices(list(OUTCOMES), list(OUTCOMES.values()))[0]
        before = _answer(draw, teacher, outcome, own, before)
        yield _completion(number, teacher, outcome, prompts[(number - first) // len(TEACHERS)], before, draw)


def _texts(writer: Writer, characters: list[int]) -> list[str]:
    lengths = np.concatenate([writer.lengths(1, wanted) for wanted in characters])
    ends = np.cumsum(lengths)
    return [str(text) for text in writer.texts(writer.tokens(int(ends[-1])), ends).to_pylist()]


def _answer(draw: random.Random, teacher: Teacher, outcome: str, own: str, before: str) -> str:
    if outcome == "refused":
        return draw.choice(REFUSALS)
    if outcome in ("filtered", "invalid"):
        return ""
    luck = draw.random()
    if before and luck < EXACT_COPIES:
        return before
    if before and luck < EXACT_COPIES + NEAR_COPIES:
        words = before.split(" ")
        words[draw.randrange(len(words))] = "changed"
        return " ".join(words)
    return draw.choice(teacher.openings) + own


def _completion(
    number: int, teacher: Teacher, outcome: str, prompt: str, answer: str, draw: random.Random
) -> Completion:
    request = f"{number:064x}"
    prompt_tokens, completion_tokens = len(prompt) // 4, len(answer) // 4
    row = Completion(
        row_id=row_id(request),
        request_id=request,
        prompt_id=f"p{number // len(TEACHERS)}",
        messages=[("user", prompt)],
        response=answer,
        reasoning=None,
        tool_calls=None,
        outcome=outcome,
        outcome_cause="schema" if outcome == "invalid" else None,
        finish_reason={"truncated": "length", "filtered": "content_filter"}.get(outcome, "stop"),
        teacher=teacher.name,
        model_requested=teacher.model,
        model_reported=teacher.model,
        revision=None,
        channel="api:direct",
        provider_request_id=f"chatcmpl-{number}",
        system_fingerprint=None,
        sampling='{"max_tokens":1024,"temperature":0.7}',
        sample_index=0,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=None,
        reasoning_tokens=None,
        cost_usd=Decimal(prompt_tokens + 4 * completion_tokens) / 1_000_000,
        latency_ms=round(draw.lognormvariate(7, 0.5)),
        attempts=1,
        created_at=_at(number),
        run_id=RUN,
        prompt_source="prompts.jsonl",
        prompt_source_row=number // len(TEACHERS),
        prompt_license=PROMPT_LICENSE,
        terms_id=f"{PROMPT_LICENSE};{teacher.terms}",
        train_use=teacher.train_use,
        obligations=list(teacher.obligations),
        code_version="bench",
        tokens=None,
        top_logprobs=None,
        salt=f"{draw.getrandbits(128):032x}",
        leaf_sha256="",
    )
    return row._replace(leaf_sha256=leaf_sha256(row))


def _planned(row: Completion) -> PlannedRequest:
    return PlannedRequest(
        row.request_id,
        row.prompt_id,
        row.teacher,
        row.messages,
        row.sampling,
        row.sample_index,
        row.prompt_source,
        row.prompt_source_row,
        row.prompt_license,
        row.prompt_tokens or 0,
    )


def _call(row: Completion) -> Call:
    return Call(
        call_id=f"c-{row.request_id}",
        request_id=row.request_id,
        teacher=row.teacher,
        kind="ask",
        attempt=1,
        run_id=row.run_id,
        sent_at=row.created_at,
        latency_us=row.latency_ms * 1000,
        status=200,
        headers="{}",
        body=canonical_json({"choices": [{"message": {"content": row.response}}], "id": row.provider_request_id}),
        salt=row.salt,
        max_tokens=None,
    )


def _ledger_entry(row: Completion) -> LedgerEntry:
    return LedgerEntry(
        call_id=f"c-{row.request_id}",
        request_id=row.request_id,
        teacher=row.teacher,
        kind="ask",
        attempt=1,
        run_id=row.run_id,
        sent_at=row.created_at,
        latency_ms=row.latency_ms,
        status=200,
        cause=row.outcome,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cached_tokens=None,
        reasoning_tokens=None,
        usd_per_million_input_tokens=Decimal(1),
        usd_per_million_output_tokens=Decimal(4),
        cost_usd=row.cost_usd or Decimal(0),
        cost_basis="usage",
    )


def _failed(number: int) -> FailedRequest:
    return FailedRequest(
        request_id=f"{number:064x}",
        prompt_id=f"p{number // len(TEACHERS)}",
        teacher=TEACHERS[number % len(TEACHERS)].name,
        sample_index=0,
        cause=("timeout", "rate_limited", "server_error")[number % 3],
        detail=None,
        attempts=6,
        retryable=True,
        last_status=0,
        last_attempt_at=_at(number),
        prompt_source="prompts.jsonl",
        prompt_source_row=number // len(TEACHERS),
    )


def _terms(teacher: Teacher, entries: dict[str, bytes]) -> SealedTerms:
    return SealedTerms(
        teacher=teacher.name,
        train_use=teacher.train_use,
        obligations=teacher.obligations,
        entries={name: sha256_hex(entries[name]) for name in (PROMPT_LICENSE, teacher.terms)},
        reasons=(f"{teacher.terms}: {teacher.train_use}.",),
        declared_by_user=False,
        override=None,
    )


def _at(number: int) -> datetime:
    return datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(milliseconds=100 * number)
