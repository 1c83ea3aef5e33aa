"""The Arrow schemas of every Parquet file, each with its name and version, which stand in its footer as
`tutelage.contract` (`completions/1`). `contract_files.py` writes and reads them."""

from typing import Any, NamedTuple

import pyarrow as pa

from tutelage.schemas import rows

FOOTER_KEY = b"tutelage.contract"

MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string(), False), pa.field("content", pa.string(), False)]))
TOKENS = pa.list_(pa.struct([("id", pa.int32()), ("text", pa.string()), ("logprob", pa.float32())]))
TOP_LOGPROBS = pa.list_(pa.list_(pa.struct([("id", pa.int32()), ("logprob", pa.float32())])))
STRINGS = pa.list_(pa.string())
USD = pa.decimal128(20, 12)
INSTANT = pa.timestamp("us", tz="UTC")


class Contract(NamedTuple):
    """A table's name, version, row class and schema. Columns stand in the row class's order."""

    name: str
    version: int
    row: type[Any]
    schema: pa.Schema

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"


def _contract(name: str, version: int, row: type[Any], columns: dict[str, pa.DataType], nullable: str = "") -> Contract:
    optional = set(nullable.split())
    fields = [pa.field(column, kind, column in optional) for column, kind in columns.items()]
    schema = pa.schema(fields, metadata={FOOTER_KEY: f"{name}/{version}".encode()})
    return Contract(name, version, row, schema)


_PROMPT_ORIGIN = {"prompt_source": pa.string(), "prompt_source_row": pa.int64()}
_USAGE = dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"), pa.int64())

PLAN = _contract(
    "plan",
    1,
    rows.PlannedRequest,
    {
        "request_id": pa.string(),
        "prompt_id": pa.string(),
        "teacher": pa.string(),
        "messages": MESSAGES,
        "sampling": pa.string(),
        "sample_index": pa.int32(),
        **_PROMPT_ORIGIN,
        "prompt_license": pa.string(),
        "estimated_prompt_tokens": pa.int64(),
    },
)
REJECTED = _contract(
    "rejected",
    1,
    rows.RejectedPrompt,
    {
        **_PROMPT_ORIGIN,
        "prompt_id": pa.string(),
        "cause": pa.string(),
        "detail": pa.string(),
        "duplicate_of": pa.string(),
    },
    nullable="prompt_id duplicate_of",
)
JOURNAL = _contract(
    "journal",
    1,
    rows.Call,
    {
        "call_id": pa.string(),
        "request_id": pa.string(),
        "teacher": pa.string(),
        "kind": pa.string(),
        "attempt": pa.int32(),
        "run_id": pa.string(),
        "sent_at": INSTANT,
        "latency_us": pa.int64(),
        "status": pa.int32(),
        "headers": pa.string(),
        "body": pa.binary(),
        "salt": pa.string(),
        "max_tokens": pa.int64(),
    },
    nullable="max_tokens",
)
COMPLETIONS = _contract(
    "completions",
    1,
    rows.Completion,
    {
        "row_id": pa.string(),
        "request_id": pa.string(),
        "prompt_id": pa.string(),
        "messages": MESSAGES,
        "response": pa.string(),
        "reasoning": pa.string(),
        "tool_calls": pa.string(),
        "outcome": pa.string(),
        "outcome_cause": pa.string(),
        "finish_reason": pa.string(),
        "teacher": pa.string(),
        "model_requested": pa.string(),
        "model_reported": pa.string(),
        "revision": pa.string(),
        "channel": pa.string(),
        "provider_request_id": pa.string(),
        "system_fingerprint": pa.string(),
        "sampling": pa.string(),
        "sample_index": pa.int32(),
        **_USAGE,
        "cost_usd": USD,
        "latency_ms": pa.int64(),
        "attempts": pa.int32(),
        "created_at": INSTANT,
        "run_id": pa.string(),
        **_PROMPT_ORIGIN,
        "prompt_license": pa.string(),
        "terms_id": pa.string(),
        "train_use": pa.string(),
        "obligations": pa.list_(pa.string()),
        "code_version": pa.string(),
        "tokens": TOKENS,
        "top_logprobs": TOP_LOGPROBS,
        "salt": pa.string(),
        "leaf_sha256": pa.string(),
    },
    nullable="reasoning tool_calls outcome_cause finish_reason model_reported revision provider_request_id"
    " system_fingerprint prompt_tokens completion_tokens cached_tokens reasoning_tokens cost_usd tokens top_logprobs",
)
FAILED = _contract(
    "failed",
    1,
    rows.FailedRequest,
    {
        "request_id": pa.string(),
        "prompt_id": pa.string(),
        "teacher": pa.string(),
        "sample_index": pa.int32(),
        "cause": pa.string(),
        "detail": pa.string(),
        "attempts": pa.int32(),
        "retryable": pa.bool_(),
        "last_status": pa.int32(),
        "last_attempt_at": INSTANT,
        **_PROMPT_ORIGIN,
    },
    nullable="detail last_status last_attempt_at",
)
LEDGER = _contract(
    "ledger",
    1,
    rows.LedgerEntry,
    {
        "call_id": pa.string(),
        "request_id": pa.string(),
        "teacher": pa.string(),
        "kind": pa.string(),
        "attempt": pa.int32(),
        "run_id": pa.string(),
        "sent_at": INSTANT,
        "latency_ms": pa.int64(),
        "status": pa.int32(),
        "cause": pa.string(),
        **_USAGE,
        "usd_per_million_input_tokens": pa.decimal128(20, 6),
        "usd_per_million_output_tokens": pa.decimal128(20, 6),
        "cost_usd": USD,
        "cost_basis": pa.string(),
    },
    nullable="prompt_tokens completion_tokens cached_tokens reasoning_tokens",
)
ADOPTED = Contract(
    "adopted",
    1,
    rows.Completion,
    pa.schema(
        [field if field.name == "row_id" else field.with_nullable(True) for field in COMPLETIONS.schema],
        metadata={FOOTER_KEY: b"adopted/1"},
    ),
)
"""A foreign table in the columns of completions: what it does not have is null, never made up."""
PERMUTATIONS = 112
SIGNATURE = pa.binary(4 * PERMUTATIONS)
_TEXT_FACTS = {"sha256": pa.string(), "chars": pa.int64(), "words": pa.int64(), "language": pa.string()}
FINGERPRINTS = _contract(
    "fingerprints",
    1,
    rows.Fingerprint,
    {
        "row_id": pa.string(),
        "prompt_id": pa.string(),
        "teacher": pa.string(),
        **{f"response_{fact}": kind for fact, kind in _TEXT_FACTS.items()},
        "response_signature": SIGNATURE,
        "opening": pa.string(),
        "self_identification": STRINGS,
        **{f"prompt_{fact}": kind for fact, kind in _TEXT_FACTS.items()},
        "prompt_signature": SIGNATURE,
    },
    nullable="prompt_id teacher response_language response_signature self_identification prompt_language"
    " prompt_signature",
)
DUPLICATE_PAIRS = _contract(
    "duplicate-pairs",
    1,
    rows.DuplicatePair,
    {
        "left_id": pa.string(),
        "right_id": pa.string(),
        "jaccard": pa.float64(),
        "left_dataset": pa.string(),
        "right_dataset": pa.string(),
    },
)
DUPLICATE_CLUSTERS = _contract(
    "duplicate-clusters",
    1,
    rows.DuplicateMember,
    {
        "cluster_id": pa.string(),
        "dataset": pa.string(),
        "row_id": pa.string(),
        "kind": pa.string(),
        "size": pa.int64(),
    },
)
CONTAMINATION_HITS = _contract(
    "contamination-hits",
    1,
    rows.ContaminationHit,
    {
        **dict.fromkeys(("dataset", "row_id", "part", "benchmark", "item_id", "item_field", "method"), pa.string()),
        "share": pa.float64(),
        "row_text": pa.string(),
        "item_text": pa.string(),
    },
)
FINDINGS = _contract(
    "findings",
    1,
    rows.Finding,
    {
        **dict.fromkeys(("audit", "rule", "severity", "dataset", "message"), pa.string()),
        "rows": pa.int64(),
        "row_ids": STRINGS,
        "evidence": pa.string(),
        "threshold": pa.string(),
        "threshold_source": pa.string(),
        "error_rate": pa.float64(),
        "error_rate_source": pa.string(),
        "cannot_tell": pa.string(),
        "code_version": pa.string(),
    },
    nullable="threshold threshold_source error_rate error_rate_source",
)
DECISIONS = _contract(
    "decisions",
    1,
    rows.Decision,
    dict.fromkeys(rows.Decision._fields, pa.string()),
    nullable="detail split prompt_cluster",
)
TRAINING_ROWS = _contract(
    "training-rows",
    1,
    rows.TrainingRow,
    {
        "position": pa.int64(),
        "step": pa.int32(),
        "row_id": pa.string(),
        "epoch": pa.int32(),
        "tokens_trained": pa.int32(),
        "tokens": pa.int32(),
        "teacher": pa.string(),
        "terms_id": pa.string(),
    },
)

CONTRACTS = {
    contract.name: contract
    for contract in (
        *(PLAN, REJECTED, JOURNAL, COMPLETIONS, FAILED, LEDGER),
        *(ADOPTED, FINGERPRINTS, DUPLICATE_PAIRS, DUPLICATE_CLUSTERS, CONTAMINATION_HITS, FINDINGS, DECISIONS),
        TRAINING_ROWS,
    )
}
