"""Which outcome a reply has, and why: tables, and the few lines that look things up in them.

docs/outcomes.md states each rule for a reader; a test checks that every cause below stands there.
"""

from typing import Any, NamedTuple

CAUSES: dict[str, str] = {
    "max_tokens": "truncated",
    "context_full": "truncated",
    "paused": "truncated",
    "content_filter": "filtered",
    "prompt_filtered": "filtered",
    "refusal": "refused",
    "empty_answer": "invalid",
    "not_json_answer": "invalid",
    "schema_mismatch": "invalid",
    "timeout": "failed",
    "connect": "failed",
    "tls": "failed",
    "broken_body": "failed",
    "deadline": "failed",
    "too_large": "failed",
    "protocol": "failed",
    "no_answer": "failed",
    "request_refused": "failed",
    "unauthorized": "failed",
    "payment_required": "failed",
    "try_later": "failed",
    "rate_limited": "failed",
    "redirect": "failed",
    "server_error": "failed",
    "unexpected_status": "failed",
    "not_json": "failed",
    "no_choices": "failed",
    "error_in_200": "failed",
}
"""Every cause that a reply can have, with the outcome that it belongs to. `ok` has none."""

NO_ANSWER_CAUSES = frozenset({"timeout", "connect", "tls", "broken_body", "deadline", "too_large", "protocol"})
"""What x-tutelage-cause can say where no answer came; anything else there is `no_answer`."""

DETAIL_CHARACTERS = 300


class Verdict(NamedTuple):
    outcome: str
    cause: str | None
    retryable: bool
    detail: str | None


OK = Verdict("ok", None, False, None)

STATUSES: dict[int, tuple[str, bool]] = {
    401: ("unauthorized", False),
    402: ("payment_required", False),
    403: ("unauthorized", False),
    408: ("try_later", True),
    409: ("try_later", True),
    425: ("try_later", True),
    429: ("rate_limited", True),
}
"""HTTP statuses that mean more than their hundred does: cause, and whether asking again may help."""

HUNDREDS: dict[int, tuple[str, bool]] = {
    3: ("redirect", False),
    4: ("request_refused", False),
    5: ("server_error", True),
}

FINISH_REASONS: dict[str, str] = {
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "model_length": "context_full",
    "model_context_window_exceeded": "context_full",
    "pause_turn": "paused",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "sensitive": "content_filter",
    "refusal": "refusal",
    "error": "error_in_200",
    "abort": "error_in_200",
    "insufficient_system_resource": "error_in_200",
    "network_error": "error_in_200",
}
"""Finish reasons, lower-case, that are no normal end. One not listed (`stop`, `end_turn`, a new one) is."""

FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "data_inspection_failed"})
"""Error codes by which a provider says that the prompt was filtered. They come with 400 or 403, of one prompt only."""

MONEY_CODES = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached"})
"""OpenAI sends the first with 429: taken for a rate limit, it would be asked for ever."""

REQUEST_ERROR_WORDS = frozenset(
    {
        "invalid_request_error",
        "invalid_request",
        "badrequesterror",
        "not_found_error",
        "notfounderror",
        "request_too_large",
        "context_length_exceeded",
        "model_not_found",
    }
)
"""Types and codes that say, inside a 200, that the same request will be refused again."""

KEY_ERROR_WORDS = {"authentication_error": 401, "permission_error": 403, "invalid_api_key": 401}


def finished(finish_reason: str | None) -> Verdict:
    cause = FINISH_REASONS.get(finish_reason.lower()) if finish_reason else None
    if cause is None:
        return OK
    outcome = CAUSES[cause]
    return Verdict(outcome, cause, outcome == "failed", None)


def no_answer(reason: str | None, detail: str | None) -> Verdict:
    return Verdict("failed", reason if reason in NO_ANSWER_CAUSES else "no_answer", True, detail)


def refused_by_status(status: int, document: Any, body: bytes) -> Verdict:
    """The verdict on a status other than 2xx. `document` is the decoded body, None where it is no JSON."""
    error = error_of(document)
    detail = words_of(error) or words_of(document) or first_words(body)
    cause, retryable = STATUSES.get(status) or HUNDREDS.get(status // 100) or ("unexpected_status", False)
    if status // 100 == 4:
        if _names_a_filter(error):
            return Verdict("filtered", "prompt_filtered", False, detail)
        if MONEY_CODES & _codes_of(error):
            cause, retryable = "payment_required", False
    return Verdict("failed", cause, retryable, detail)


def error_inside(error: Any) -> Verdict:
    """The verdict on an error object that came with status 200.

    Its code decides where it is an HTTP status. What is about the key or its limits keeps that cause, for the sake of
    those who have to stop or slow down; the rest is `error_in_200`.
    """
    codes = _codes_of(error)
    detail = words_of(error)
    if _names_a_filter(error):
        return Verdict("filtered", "prompt_filtered", False, detail)
    if MONEY_CODES & codes:
        return Verdict("failed", "payment_required", False, detail)
    status = _status_of(error, codes)
    cause, retryable = STATUSES.get(status) or HUNDREDS.get(status // 100) or ("error_in_200", True)
    if cause not in ("unauthorized", "payment_required", "rate_limited"):
        cause = "error_in_200"
    return Verdict("failed", cause, retryable and not REQUEST_ERROR_WORDS & codes, detail)


def error_of(document: Any) -> Any:
    """The error object of an error reply: under `error`, or (FastAPI, vLLM) the document itself."""
    return (document.get("error") or document) if type(document) is dict else None


def words_of(error: Any) -> str | None:
    """What an error says, cut to DETAIL_CHARACTERS: a gateway's words, then those of the provider behind it."""
    if type(error) is dict:
        metadata = error.get("metadata")
        said = (
            _said(error.get("message")) or _said(error.get("detail")) or _said(error.get("type")),
            _said(metadata.get("raw")) if type(metadata) is dict else None,
        )
        error = ": ".join(filter(None, said))
    return shortened(error) if type(error) is str else None


def first_words(body: bytes) -> str | None:
    return shortened(body[: 4 * DETAIL_CHARACTERS].decode(errors="replace"))


def shortened(text: str) -> str | None:
    # The slice before split() keeps a megabyte of error page cheap.
    return " ".join(text[: 4 * DETAIL_CHARACTERS].split())[:DETAIL_CHARACTERS] or None


def _codes_of(error: Any) -> set[str]:
    if type(error) is not dict:
        return set()
    return {value.lower() for value in (error.get("code"), error.get("type")) if type(value) is str}


def _status_of(error: Any, codes: set[str]) -> int:
    code = error.get("code") if type(error) is dict else None
    if type(code) is int:
        return code
    return next((KEY_ERROR_WORDS[word] for word in codes if word in KEY_ERROR_WORDS), 0)


def _names_a_filter(error: Any) -> bool:
    if FILTER_CODES & _codes_of(error):
        return True
    # OpenRouter sends a flagged prompt with 403, which else means the key and would stop the whole run.
    metadata = error.get("metadata") if type(error) is dict else None
    return type(metadata) is dict and type(metadata.get("reasons")) is list


def _said(value: Any) -> str | None:
    if type(value) is list and value and type(value[0]) is dict:
        # FastAPI lists what it found wrong with the request.
        value = value[0].get("msg")
    return value if type(value) is str and value else None
