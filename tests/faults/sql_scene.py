"""A small dataset in which every table of `audit sql` has rows, made by the parts that make them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from audit_scene import dataset_of

from tutelage.audit.duplicates import audit_duplicates
from tutelage.audit.folder import AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.quality import audit_quality
from tutelage.pipelines.fingerprint import fingerprint_dataset
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.withdraw import withdraw
from tutelage.schemas.contract_files import ContractWriter, table_of
from tutelage.schemas.contracts import CONTAMINATION_HITS, FAILED, LEDGER, PLAN, REJECTED, Contract
from tutelage.schemas.rows import (
    Completion,
    ContaminationHit,
    FailedRequest,
    LedgerEntry,
    PlannedRequest,
    RejectedPrompt,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
RUN = "20261123T120000Z-abcdef"


@dataclass(frozen=True)
class Scene:
    dataset: AuditInput
    out: AuditFolder


def write_table(folder: Path, name: str, contract: Contract, rows: Sequence[Any]) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream, ContractWriter(contract, stream, str(path)) as writer:
        writer.write(table_of(contract, rows, str(path)))


def planned(request_id: str, teacher: str = "smollm2") -> PlannedRequest:
    messages = [("user", "a question")]
    return PlannedRequest(request_id, "p", teacher, messages, "{}", 0, "prompts.jsonl", 1, "CC0-1.0", 9)


def failure(request_id: str, teacher: str = "smollm2", cause: str = "timeout") -> FailedRequest:
    return FailedRequest(request_id, "p", teacher, 0, cause, None, 3, True, None, NOON, "prompts.jsonl", 1)


def call(request_id: str, usd: str = "0.000002", kind: str = "ask", teacher: str = "smollm2") -> LedgerEntry:
    price = Decimal("0.100000")
    return LedgerEntry(
        *(f"{request_id}-{kind}", request_id, teacher, kind, 1, RUN, NOON, 120, 200, "ok", 12, 5, None, None),
        *(price, price, Decimal(usd), "usage"),
    )


def scene(folder: Path, completion: Callable[..., Completion]) -> Scene:
    """Eight answers of two teachers: two alike, one truncated, one that says who it is, one later withdrawn."""
    text = "the harbour wakes before the sun and the nets are hauled in while gulls argue over every silver scale " * 2
    asked = [("user", "Describe a harbour at dawn, please, in one line.")]
    rows = [
        completion(response=text + "that falls", messages=asked),
        completion(response=text + "that lands", messages=asked),
        completion(response="I am Claude, made by Anthropic, and glad to help you with this.", obligations=["notice"]),
        completion(response="cut off in the mid", outcome="truncated", outcome_cause="max_tokens"),
        completion(teacher="other", train_use="allow_with", obligations=["notice"]),
        completion(response="I'm sorry, but I can't help with that."),
        completion(),
        completion(response="to be withdrawn"),
    ]
    requests = [row.request_id for row in rows]
    write_table(folder, "failed/part-0.parquet", FAILED, [failure("f" * 64)])
    write_table(folder, "ledger.parquet", LEDGER, [*(map(call, requests)), call("probe", kind="probe")])
    plan = [planned(request) for request in [*requests, "f" * 64, "e" * 64]]
    write_table(folder, "plan/part-0.parquet", PLAN, plan)
    rejected = RejectedPrompt("prompts.jsonl", 9, None, "empty", "the prompt has no text", None)
    write_table(folder, "rejected.parquet", REJECTED, [rejected])
    noon = NOON.isoformat()
    run = {"run_id": RUN, "started_at": noon, "ended_at": noon, "code_version": "tutelage 0.1.0"}
    (folder / "run.json").write_text(json.dumps({"runs": [run]}))
    uri = dataset_of(folder, rows)
    withdraw(Folder(uri), [rows[-1].row_id], "asked to")
    fingerprint_dataset(Folder(uri))
    dataset, out = AuditInput(uri, uri, True), AuditFolder(f"{uri}/audit")
    audit_duplicates([dataset], out)
    audit_quality([dataset], out)
    hit = ContaminationHit(uri, rows[0].row_id, "prompt", "gsm8k", "17", "question", "ngram", 0.9, "asked", "item")
    out.write_rows(CONTAMINATION_HITS, "contamination_hits.parquet", [hit])
    return Scene(dataset, out)
