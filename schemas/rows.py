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
