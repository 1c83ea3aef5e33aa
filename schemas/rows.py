"""One class a table: the rows that the parts of tutelage hand to one another. `contracts` has their Arrow schemas.

They are named tuples, since a row is built a million times a run and columns are made by zipping rows.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

OUTCOMES = ("ok", "truncated", "filtered", "refused", "invalid")
"""What a row of completions can be; a planned request that is none of these is a row of `failed`."""


class Message(NamedTuple):
    role: str
    content: str


class PlannedRequest(NamedTuple):
    """One thing that a run will ask, once."""

    request_id: str
    prompt_id: str
    teacher: str
    messages: Sequence[Any]
    sampling: str
    sample_index: int
    prompt_source: str
    prompt_source_row: int
    prompt_license: str
    estimated_prompt_tokens: int


class RejectedPrompt(NamedTuple):
    """A prompt row that never became a request of its own, and why: nothing is skipped silently."""

    prompt_source: str
    prompt_source_row: int
    prompt_id: str | None
    cause: str
    detail: str
    duplicate_of: str | None


class Call(NamedTuple):
    """One call to a teacher as the journal keeps it: what came back, byte for byte, before anything looked inside.

    `status` is 0 where no answer came. `kind` is `ask`, `probe`, or `lost`: sent by a run that died before the answer
    was journaled. `max_tokens` is set where the call asked with another limit than the plan's.
    """

    call_id: str
    request_id: str
    teacher: str
    kind: str
    attempt: int
    run_id: str
    sent_at: datetime
    latency_us: int
    status: int
    headers: str
    body: bytes
    salt: str
    max_tokens: int | None


class Completion(NamedTuple):
    row_id: str
    request_id: str
    prompt_id: str
    messages: Sequence[Any]
    response: str
    reasoning: str | None
    tool_calls: str | None
    outcome: str
    outcome_cause: str | None
    finish_reason: str | None
    teacher: str
    model_requested: str
    model_reported: str | None
    revision: str | None
    channel: str
    provider_request_id: str | None
    system_fingerprint: str | None
    sampling: str
    sample_index: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: Decimal | None
    latency_ms: int
    attempts: int
    created_at: datetime
    run_id: str
    prompt_source: str
    prompt_source_row: int
    prompt_license: str
    terms_id: str
    train_use: str
    obligations: Sequence[str]
    code_version: str
    tokens: Sequence[Any] | None
    top_logprobs: Sequence[Any] | None
    salt: str
    leaf_sha256: str


class FailedRequest(NamedTuple):
    """A planned request without an answer. `attempts` is 0 where the run stopped before asking; `retryable` where the
    next run asks it again."""

    request_id: str
    prompt_id: str
    teacher: str
    sample_index: int
    cause: str
    detail: str | None
    attempts: int
    retryable: bool
    last_status: int | None
    last_attempt_at: datetime | None
    prompt_source: str
    prompt_source_row: int


class LedgerEntry(NamedTuple):
    """One call and what it cost. `cost_basis` is `usage` (the teacher's count), `reserved` (no count came back: the
    most that the call could have cost) or `none` (the teacher refused the call, which costs nothing)."""

    call_id: str
    request_id: str
    teacher: str
    kind: str
    attempt: int
    run_id: str
    sent_at: datetime
    latency_ms: int
    status: int
    cause: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    usd_per_million_input_tokens: Decimal
    usd_per_million_output_tokens: Decimal
    cost_usd: Decimal
    cost_basis: str


class Fingerprint(NamedTuple):
    """What audits compare of a row instead of its texts (`text` and `shingles` say how). The prompt is what the user
    said: the messages with that role, joined by a line break. A signature is null where the text has no word; languages
    and `self_identification` are, where only likeness was asked for."""

    row_id: str
    prompt_id: str | None
    teacher: str | None
    response_sha256: str
    response_chars: int
    response_words: int
    response_language: str | None
    response_signature: bytes | None
    opening: str
    self_identification: Sequence[str] | None
    prompt_sha256: str
    prompt_chars: int
    prompt_words: int
    prompt_language: str | None
    prompt_signature: bytes | None


class DuplicatePair(NamedTuple):
    """Two texts that are alike. `jaccard` is exact over their sets of 5-word shingles; equal texts have 1."""

    left_id: str
    right_id: str
    jaccard: float
    left_dataset: str
    right_dataset: str


class DuplicateMember(NamedTuple):
    """A row of a cluster. `cluster_id` is the row id of its representative, the smallest in the cluster; `kind` is
    `exact` where all the cluster's texts are equal, else `near`."""

    cluster_id: str
    dataset: str
    row_id: str
    kind: str
    size: int


class ContaminationHit(NamedTuple):
    """A row that holds text of an evaluation set. `part` is `prompt` or `response`; `method` is `exact`, `ngram` or
    `near`; `share` is the share of the item's text that was found, by that method."""

    dataset: str
    row_id: str
    part: str
    benchmark: str
    item_id: str
    item_field: str
    method: str
    share: float
    row_text: str
    item_text: str


SEVERITIES = ("info", "warning", "error")
MAX_FINDING_ROW_IDS = 10_000
_OF_ANY_AUDIT = ("unsealed", "absent_provenance")
FINDING_RULES = {
    "duplicates": ("response_exact", "response_near", "prompt_exact", "prompt_near", *_OF_ANY_AUDIT),
    "contamination": ("exact", "ngram", "near", *_OF_ANY_AUDIT),
    "quality": (
        *("unaccounted", "failed", "truncated", "refused", "filtered", "invalid", "empty", "unmarked_refusal"),
        *("repetition", "language_mismatch", "length_outliers", "token_outliers", "equal_samples"),
        *("teacher_drift", "teacher_mixed", "terms_change", "terms_mixed", "cost", *_OF_ANY_AUDIT),
    ),
}
"""Every check of every audit: a gate or a policy that names another would wait for it in vain."""


class Finding(NamedTuple):
    """What an audit found, in the one shape that all of them report in.

    `rule` is the audit's name, a dot and the check's. `rows` counts the rows concerned; `row_ids` names them, at most
    MAX_FINDING_ROW_IDS, smallest first. `evidence` is canonical JSON. `error_rate` is the measured share of wrong
    findings on material that `error_rate_source` names, null where nobody measured it.
    """

    audit: str
    rule: str
    severity: str
    dataset: str
    message: str
    rows: int
    row_ids: Sequence[str]
    evidence: str
    threshold: str | None
    threshold_source: str | None
    error_rate: float | None
    error_rate_source: str | None
    cannot_tell: str
    code_version: str


class Decision(NamedTuple):
    """Why a row of a parent dataset is in the curated set, or out of it. `split` is null where it is out."""

    dataset: str
    row_id: str
    decision: str
    reason: str
    detail: str | None
    split: str | None
    prompt_cluster: str | None


class TrainingRow(NamedTuple):
    """One reading of a row by a student, in the order in which they were read; `position` counts them from 0. `step` is
    the update that the reading was part of, from 1; of its `tokens` the last `tokens_trained` were learned."""

    position: int
    step: int
    row_id: str
    epoch: int
    tokens_trained: int
    tokens: int
    teacher: str
    terms_id: str
