"""The way through a reply, the same for every protocol: status, JSON, error inside, answer, outcome."""

from collections.abc import Mapping
from typing import Any

from tutelage.pipelines.teachers.json_values import canonical_text, decode_json, text_of, without_lone_surrogates
from tutelage.pipelines.teachers.outcomes import (
    OK,
    Verdict,
    error_inside,
    finished,
    first_words,
    no_answer,
    refused_by_status,
)
from tutelage.pipelines.teachers.protocol import NO_USAGE, Answer, Headers, Reply, TeacherProtocol, Usage
from tutelage.pipelines.teachers.response_format import misfit


def parse_reply(
    protocol: TeacherProtocol, status: int, headers: Headers, body: bytes, sampling: Mapping[str, Any]
) -> Reply:
    if status // 100 != 2:
        if status == 0:
            return _without_answer(no_answer(headers.get("x-tutelage-cause"), first_words(body)), headers)
        return _without_answer(refused_by_status(status, decode_json(body), body), headers)
    document = decode_json(body)
    if type(document) is not dict:
        return _without_answer(Verdict("failed", "not_json", True, first_words(body)), headers)
    try:
        return _read(protocol, headers, document, sampling)
    except RecursionError:
        # JSON of a thousand brackets decodes, and then can't be walked.
        return _without_answer(Verdict("failed", "not_json", True, "nested too deeply to read"), headers)


def judge(answer: Answer, sampling: Mapping[str, Any]) -> Verdict:
    """The first rule of docs/outcomes.md that fits."""
    if answer.error:
        return error_inside(answer.error)
    verdict = finished(answer.finish_reason)
    if answer.refusal and verdict.outcome in ("ok", "truncated"):
        return Verdict("refused", "refusal", False, None)
    if verdict is not OK or answer.tool_calls:
        return verdict
    if not answer.text or answer.text.isspace():
        return Verdict("invalid", "empty_answer", False, None)
    wanted = sampling.get("response_format")
    found = misfit(answer.text, wanted) if wanted else None
    return Verdict("invalid", found.cause, False, found.detail) if found else OK


def _read(protocol: TeacherProtocol, headers: Headers, document: dict[str, Any], sampling: Mapping[str, Any]) -> Reply:
    usage = protocol.read_usage(document)
    error = document.get("error")
    if error:
        return _without_answer(error_inside(error), headers, document, usage)
    answers = protocol.read_answers(document)
    if not answers:
        if document.get("object") == "error":
            return _without_answer(error_inside(document), headers, document, usage)
        return _without_answer(Verdict("failed", "no_choices", True, None), headers, document, usage)
    answer = answers[0]
    return Reply(
        *judge(answer, sampling),
        answer.text or answer.refusal or "",
        answer.reasoning,
        canonical_text(answer.tool_calls) if answer.tool_calls else None,
        answer.finish_reason,
        text_of(document.get("model")),
        _request_id(headers, document),
        text_of(document.get("system_fingerprint")),
        usage,
        answer.tokens,
        answer.top_logprobs,
    )


def _without_answer(
    verdict: Verdict, headers: Headers, document: Mapping[str, Any] | None = None, usage: Usage = NO_USAGE
) -> Reply:
    document = document or {}
    return Reply(
        *verdict,
        response="",
        reasoning=None,
        tool_calls=None,
        finish_reason=None,
        model_reported=text_of(document.get("model")),
        provider_request_id=_request_id(headers, document),
        system_fingerprint=text_of(document.get("system_fingerprint")),
        usage=usage,
        tokens=None,
        top_logprobs=None,
    )


def _request_id(headers: Headers, document: Mapping[str, Any]) -> str | None:
    found = headers.get("x-request-id") or headers.get("request-id")
    return without_lone_surrogates(found) if found else text_of(document.get("id"))
