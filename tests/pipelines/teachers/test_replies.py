"""What each recorded reply becomes, field by field, and what becomes of replies that are none."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.pipelines.teachers.outcomes import CAUSES, NO_ANSWER_CAUSES
from tutelage.pipelines.teachers.protocol import NO_USAGE, Reply, Token, TopLogprob, Usage

CHAT, COMPLETIONS, ANTHROPIC = "openai-chat", "openai-completions", "anthropic-messages"

OK: dict[str, Any] = {"outcome": "ok", "cause": None, "retryable": False, "detail": None}
TOOL_CALL_OPENAI = (
    '[{"function":{"arguments":"{\\n\\"location\\": \\"Boston, MA\\"\\n}","name":"get_current_weather"},'
    '"id":"call_abc123","type":"function"}]'
)
TOOL_CALL_ANTHROPIC = (
    '[{"function":{"arguments":"{\\"location\\":\\"Boston, MA\\",\\"unit\\":\\"C\\"}","name":"get_weather"},'
    '"id":"toolu_01A09q90qw90lq917835lq9","type":"function"}]'
)


def failed(cause: str, retryable: bool, detail: str | None) -> dict[str, Any]:
    return {"outcome": "failed", "cause": cause, "retryable": retryable, "detail": detail}


RECORDED: list[tuple[str, str, int, dict[str, Any]]] = [
    (
        "openai_chat",
        CHAT,
        200,
        OK
        | {
            "response": "Hello! How can I assist you today?",
            "reasoning": None,
            "tool_calls": None,
            "finish_reason": "stop",
            "model_reported": "gpt-4.1-2025-04-14",
            "provider_request_id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
            "system_fingerprint": "fp_44709d6fcb",
            "usage": Usage(19, 10, 0, 0),
            "tokens": None,
            "top_logprobs": None,
        },
    ),
    (
        "openai_chat_refusal",
        CHAT,
        200,
        {"outcome": "refused", "cause": "refusal", "response": "I'm sorry, I can't help with that request."},
    ),
    ("openai_chat_tool_calls", CHAT, 200, OK | {"response": "", "tool_calls": TOOL_CALL_OPENAI}),
    (
        "openai_chat_content_filter",
        CHAT,
        200,
        {"outcome": "filtered", "cause": "content_filter", "response": "The first"},
    ),
    (
        "openai_chat_length",
        CHAT,
        200,
        {"outcome": "truncated", "cause": "max_tokens", "response": "", "usage": Usage(30, 256, 16, 256)},
    ),
    (
        "openai_insufficient_quota",
        CHAT,
        429,
        failed(
            "payment_required",
            False,
            "You exceeded your current quota, please check your plan and billing details.",
        ),
    ),
    ("openai_rate_limit", CHAT, 429, {"cause": "rate_limited", "retryable": True}),
    (
        "openai_unsupported_parameter",
        CHAT,
        400,
        failed("request_refused", False, "Unsupported parameter: 'stop' is not supported with this model."),
    ),
    (
        "openai_completions_logprobs",
        COMPLETIONS,
        200,
        {
            "outcome": "truncated",
            "response": "\n\nThis is",
            "usage": Usage(5, 3, None, None),
            "tokens": [Token(None, "\n\n", None), Token(None, "This", -0.5), Token(None, " is", -0.25)],
            "top_logprobs": [[], [TopLogprob(None, -0.5), TopLogprob(None, -1.5)], [TopLogprob(None, -0.25)]],
        },
    ),
    ("azure_prompt_filtered", CHAT, 400, {"outcome": "filtered", "cause": "prompt_filtered", "retryable": False}),
    (
        "deepseek_reasoner",
        CHAT,
        200,
        OK
        | {
            "response": "Hello! How can I assist you today?",
            "reasoning": 'Okay, the user wrote "hello". A greeting back will do.',
            "usage": Usage(6, 92, 4, 81),
        },
    ),
    ("deepseek_interrupted", CHAT, 200, {"outcome": "failed", "cause": "error_in_200", "retryable": True}),
    (
        "vllm_token_ids",
        CHAT,
        200,
        OK
        | {
            "response": "Hi there",
            "tool_calls": None,
            "tokens": [Token(13048, "Hi", -0.125), Token(1052, " there", -9999.0)],
            "top_logprobs": [[TopLogprob(13048, -0.125), TopLogprob(9707, -2.5)], []],
        },
    ),
    (
        "vllm_return_token_ids_only",
        CHAT,
        200,
        OK | {"tokens": [Token(13048, "Hi", -0.125), Token(1052, " there", -0.5)], "top_logprobs": None},
    ),
    ("vllm_think_in_text", CHAT, 200, OK | {"response": "4", "reasoning": "Two and two make four."}),
    (
        "vllm_error_older",
        CHAT,
        400,
        failed(
            "request_refused",
            False,
            "This model's maximum context length is 2048 tokens. However, you requested 4096 tokens.",
        ),
    ),
    ("vllm_error_older", CHAT, 200, {"outcome": "failed", "cause": "error_in_200", "retryable": False}),
    ("vllm_validation_error", CHAT, 422, failed("request_refused", False, "Field required")),
    (
        "sglang_reasoning",
        CHAT,
        200,
        OK | {"response": "4", "reasoning": "Two and two.", "usage": Usage(14, 26, None, 20)},
    ),
    ("sglang_abort", CHAT, 200, {"outcome": "failed", "cause": "error_in_200", "retryable": True}),
    (
        "ollama_reasoning",
        CHAT,
        200,
        OK | {"response": "Four.", "reasoning": "A sum of two numbers.", "system_fingerprint": "fp_ollama"},
    ),
    (
        "openrouter_reasoning",
        CHAT,
        200,
        OK | {"response": "Four.", "reasoning": "Two plus two.", "usage": Usage(10, 40, 0, 34)},
    ),
    (
        "openrouter_error_in_choice",
        CHAT,
        200,
        failed("error_in_200", True, "Provider returned error: upstream worker died")
        | {"usage": Usage(10, 2, None, None)},
    ),
    (
        "openrouter_error_429_in_200",
        CHAT,
        200,
        failed(
            "rate_limited",
            True,
            "Provider returned error: deepseek/deepseek-r1 is temporarily rate-limited upstream",
        ),
    ),
    ("openrouter_flagged", CHAT, 403, {"outcome": "filtered", "cause": "prompt_filtered", "retryable": False}),
    ("mistral_thinking_blocks", CHAT, 200, OK | {"response": "Four.", "reasoning": "Two plus two."}),
    (
        "anthropic_text_cached",
        ANTHROPIC,
        200,
        OK
        | {
            "response": "Hello there.",
            "finish_reason": "end_turn",
            "model_reported": "claude-sonnet-4-5-20250929",
            "provider_request_id": "msg_01XFDUDYJgAACzvnptvVoYEL",
            "usage": Usage(1125, 15, 1000, None),
        },
    ),
    (
        "anthropic_thinking_tool_use",
        ANTHROPIC,
        200,
        OK
        | {
            "response": "I'll check.",
            "reasoning": "The weather needs a tool.",
            "tool_calls": TOOL_CALL_ANTHROPIC,
            "finish_reason": "tool_use",
        },
    ),
    ("anthropic_refusal", ANTHROPIC, 200, {"outcome": "refused", "cause": "refusal", "response": "I can't"}),
    ("anthropic_max_tokens", ANTHROPIC, 200, {"outcome": "truncated", "cause": "max_tokens", "response": "Once upon"}),
    ("anthropic_empty", ANTHROPIC, 200, {"outcome": "invalid", "cause": "empty_answer"}),
    ("anthropic_overloaded", ANTHROPIC, 529, failed("server_error", True, "Overloaded")),
    ("anthropic_overloaded", ANTHROPIC, 200, failed("error_in_200", True, "Overloaded")),
    ("anthropic_billing", ANTHROPIC, 400, {"outcome": "failed", "cause": "payment_required", "retryable": False}),
    ("anthropic_invalid_request", ANTHROPIC, 400, failed("request_refused", False, "max_tokens: Field required")),
    ("anthropic_invalid_request", ANTHROPIC, 200, failed("error_in_200", False, "max_tokens: Field required")),
    (
        "llamacpp_chat_logprobs",
        CHAT,
        200,
        {
            "outcome": "truncated",
            "response": "Two plus two is a classic",
            "usage": Usage(42, 6, 0, None),
            "system_fingerprint": "b0-unknown",
            "model_reported": "SmolLM2-135M-Instruct.Q4_1.gguf",
        },
    ),
    ("llamacpp_chat_json_schema", CHAT, 200, OK | {"response": '{\n    "colour": "json"\n}'}),
    (
        "llamacpp_chat_bad_request",
        CHAT,
        400,
        failed("request_refused", False, "top_logprobs requires logprobs to be set to true"),
    ),
]


@pytest.mark.parametrize(
    ("name", "protocol", "status", "expected"), RECORDED, ids=[f"{case[0]}-{case[2]}" for case in RECORDED]
)
def test_a_recorded_reply_becomes_what_its_provider_meant(
    recorded: Callable[[str], bytes], name: str, protocol: str, status: int, expected: dict[str, Any]
) -> None:
    found = PROTOCOLS[protocol].parse(status, {}, recorded(name), {})._asdict()
    assert {field: found[field] for field in expected} == expected


@pytest.mark.parametrize("name", ["llamacpp_chat_logprobs", "llamacpp_completions_logprobs"])
def test_a_real_servers_tokens_have_ids_and_spell_the_answer(recorded: Callable[[str], bytes], name: str) -> None:
    reply = PROTOCOLS[CHAT if "chat" in name else COMPLETIONS].parse(200, {}, recorded(name), {})
    assert reply.tokens is not None
    assert reply.top_logprobs is not None
    assert "".join(token.text for token in reply.tokens) == reply.response
    for token, candidates in zip(reply.tokens, reply.top_logprobs, strict=True):
        # These were asked for at temperature 0: the likeliest candidate is the token.
        assert candidates[0] == TopLogprob(token.id, token.logprob)
        assert len(candidates) == 2


def answer(content: Any = "4", finish: Any = "stop", **message: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content, **message}, "finish_reason": finish}]}).encode()


def parse(status: int, body: bytes, headers: dict[str, str] | None = None, **sampling: Any) -> Reply:
    return PROTOCOLS[CHAT].parse(status, headers or {}, body, sampling)


@pytest.mark.parametrize(
    ("status", "cause", "retryable"),
    [
        (100, "unexpected_status", False),
        (301, "redirect", False),
        (307, "redirect", False),
        (400, "request_refused", False),
        (401, "unauthorized", False),
        (402, "payment_required", False),
        (403, "unauthorized", False),
        (404, "request_refused", False),
        (405, "request_refused", False),
        (408, "try_later", True),
        (409, "try_later", True),
        (413, "request_refused", False),
        (422, "request_refused", False),
        (425, "try_later", True),
        (429, "rate_limited", True),
        (500, "server_error", True),
        (503, "server_error", True),
        (529, "server_error", True),
        (700, "unexpected_status", False),
        (-1, "unexpected_status", False),
    ],
)
def test_a_status_says_why_and_whether_to_ask_again(status: int, cause: str, retryable: bool) -> None:
    for protocol in PROTOCOLS.values():
        reply = protocol.parse(status, {}, b"", {})
        assert (reply.outcome, reply.cause, reply.retryable, reply.detail) == ("failed", cause, retryable, None)


@pytest.mark.parametrize("reason", sorted(NO_ANSWER_CAUSES))
def test_no_answer_keeps_the_reason_that_the_client_gave(reason: str) -> None:
    reply = parse(0, b"", {"x-tutelage-cause": reason})
    assert (reply.outcome, reply.cause, reply.retryable) == ("failed", reason, True)


@pytest.mark.parametrize("headers", [{}, {"x-tutelage-cause": "moonlight"}])
def test_no_answer_for_an_unknown_reason_is_still_in_the_vocabulary(headers: dict[str, str]) -> None:
    assert parse(0, b"", headers).cause == "no_answer"


@pytest.mark.parametrize(
    ("body", "cause", "retryable"),
    [
        (b"<html><title>502 Bad Gateway</title></html>", "not_json", True),
        (answer()[:-9], "not_json", True),
        (b"", "not_json", True),
        (b"null", "not_json", True),
        (b"[1, 2]", "not_json", True),
        (b"[" * 5000 + b"]" * 5000, "not_json", True),
        (b"{}", "no_choices", True),
        (b'{"choices": []}', "no_choices", True),
        (b'{"choices": null}', "no_choices", True),
        (b'{"choices": ["text"]}', "no_choices", True),
        (b'{"error": "overloaded"}', "error_in_200", True),
        (b'{"error": {"code": 503, "message": "no capacity"}}', "error_in_200", True),
        (b'{"error": {"code": 400, "message": "bad"}}', "error_in_200", False),
        (b'{"error": {"code": 401, "message": "who?"}}', "unauthorized", False),
        (b'{"error": {"code": 402, "message": "pay"}}', "payment_required", False),
        (b'{"error": {"type": "authentication_error", "message": "who?"}}', "unauthorized", False),
        (b'{"error": {"type": "BadRequestError", "message": "bad"}}', "error_in_200", False),
        (b'{"error": {"code": "insufficient_quota"}}', "payment_required", False),
    ],
)
def test_a_200_that_answers_nothing_is_failed(body: bytes, cause: str, retryable: bool) -> None:
    reply = parse(200, body)
    assert (reply.outcome, reply.cause, reply.retryable) == ("failed", cause, retryable)


def test_a_page_in_place_of_json_is_quoted_shortly() -> None:
    reply = parse(200, b"<html>\n  <p>Please   log in</p>" + b"x" * 1_000_000)
    assert reply.detail is not None
    assert reply.detail.startswith("<html> <p>Please log in</p>x")
    assert len(reply.detail) == 300


@pytest.mark.parametrize(
    ("body", "outcome", "cause"),
    [
        (answer(), "ok", None),
        (answer(finish=None), "ok", None),
        (answer(finish="eos_token"), "ok", None),
        (answer(finish=7), "ok", None),
        (answer(finish="length"), "truncated", "max_tokens"),
        (answer(finish="MAX_TOKENS"), "truncated", "max_tokens"),
        (answer(finish="model_length"), "truncated", "context_full"),
        (answer(finish="SAFETY"), "filtered", "content_filter"),
        (answer(finish="content_filter", refusal="No."), "filtered", "content_filter"),
        (answer(finish="length", refusal="I can't he"), "refused", "refusal"),
        (answer(refusal=""), "ok", None),
        (answer(""), "invalid", "empty_answer"),
        (answer(" \n"), "invalid", "empty_answer"),
        (answer(None), "invalid", "empty_answer"),
        (answer(None, reasoning="Let me see."), "invalid", "empty_answer"),
        (answer("<think>Let me see", "length"), "truncated", "max_tokens"),
        (answer(7), "invalid", "empty_answer"),
        (answer(None, "tool_calls", tool_calls=[{"id": "1"}]), "ok", None),
        (answer(None, "stop", tool_calls=[]), "invalid", "empty_answer"),
    ],
)
def test_an_answer_is_judged_by_how_it_ended_and_what_it_holds(body: bytes, outcome: str, cause: str | None) -> None:
    reply = parse(200, body)
    assert (reply.outcome, reply.cause) == (outcome, cause)


def test_a_request_id_in_the_headers_comes_before_the_one_in_the_body() -> None:
    body = b'{"id": "chatcmpl-1", "choices": [{"message": {"content": "4"}}]}'
    assert parse(200, body, {"x-request-id": "req_1", "request-id": "req_2"}).provider_request_id == "req_1"
    assert parse(200, body, {"request-id": "req_2"}).provider_request_id == "req_2"
    assert parse(200, body).provider_request_id == "chatcmpl-1"
    assert parse(500, b"", {"request-id": "req_2"}).provider_request_id == "req_2"


@pytest.mark.parametrize("count", [b"NaN", b"-1", b"1e3", b"99999999999999999999", b'"12"', b"true", b"4294967296"])
def test_a_count_of_tokens_that_is_none_is_left_out(count: bytes) -> None:
    body = (
        b'{"choices": [{"message": {"content": "4"}}], "usage": {"prompt_tokens": %b, "completion_tokens": 2}}' % count
    )
    assert parse(200, body).usage == Usage(None, 2, None, None)


def test_a_usage_of_the_wrong_shape_is_none_at_all() -> None:
    for protocol in PROTOCOLS.values():
        body = b'{"choices": [{"text": "4"}], "content": [{"type": "text", "text": "4"}], "usage": [1]}'
        assert protocol.parse(200, {}, body, {}).usage == NO_USAGE


@pytest.mark.parametrize(
    ("body", "response"),
    [
        (b'\xef\xbb\xbf{"choices": [{"message": {"content": "4"}}]}', "4"),
        (b'{"choices": [{"message": {"content": "half \\ud83d of a pair"}}]}', "half \ufffd of a pair"),
        (b'{"choices": [{"message": {"content": "both \\ud83d\\ude00 halves"}}], "x": NaN}', "both \U0001f600 halves"),
        (b'{"choices": [{"message": {"content": "a\nraw line"}}]}', "a\nraw line"),
        (b'{"choices": [{"message": {"content": "latin \xe9"}}]}', "latin \ufffd"),
    ],
)
def test_a_paid_reply_with_a_small_fault_is_read_all_the_same(body: bytes, response: str) -> None:
    reply = parse(200, body)
    assert (reply.outcome, reply.response) == ("ok", response)


def test_arguments_that_canonical_json_can_not_hold_are_kept_as_text() -> None:
    body = b'{"choices": [{"message": {"tool_calls": [{"big": 9007199254740993, "odd": NaN, "fine": 1.5}]}}]}'
    assert parse(200, body).tool_calls == '[{"big":"9007199254740993","fine":1.5,"odd":null}]'


def test_tool_calls_nested_past_reading_are_a_failed_reply_not_an_exception() -> None:
    nested = b'{"a":' * 900 + b"1" + b"}" * 900
    reply = parse(200, b'{"choices": [{"message": {"tool_calls": [%b]}}]}' % nested)
    assert (reply.outcome, reply.cause, reply.detail) == ("failed", "not_json", "nested too deeply to read")


def test_every_cause_in_the_vocabulary_belongs_to_an_outcome_other_than_ok() -> None:
    assert set(CAUSES.values()) == {"truncated", "filtered", "refused", "invalid", "failed"}
