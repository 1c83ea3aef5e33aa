"""What each protocol sends, and what it refuses before anything is sent."""

import json
from typing import Any

import pytest

from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.pipelines.teachers.protocol import HEADERS_KEPT, USER_AGENT
from tutelage.pipelines.teachers.sampling import check_sampling
from tutelage.schemas.version import VERSION

CHAT, COMPLETIONS, ANTHROPIC = "openai-chat", "openai-completions", "anthropic-messages"
USER = [{"role": "user", "content": "Hi"}]
SYSTEM = [{"role": "system", "content": "Be brief."}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("protocol", "messages", "sampling", "expected"),
    [
        (CHAT, USER, {}, {"model": "m", "messages": USER}),
        (
            CHAT,
            SYSTEM + USER,
            {
                "temperature": 0,
                "top_p": 0.9,
                "max_tokens": 5,
                "stop": ["x"],
                "seed": 0,
                "tools": TOOLS,
                "tool_choice": "auto",
                "response_format": {"type": "json_object"},
            },
            {
                "model": "m",
                "messages": SYSTEM + USER,
                "temperature": 0,
                "top_p": 0.9,
                "max_tokens": 5,
                "stop": ["x"],
                "seed": 0,
                "tools": TOOLS,
                "tool_choice": "auto",
                "response_format": {"type": "json_object"},
            },
        ),
        (CHAT, USER, {"seed": None, "stop": None, "extra": None}, {"model": "m", "messages": USER}),
        (
            CHAT,
            USER,
            {"top_logprobs": 0},
            {"model": "m", "messages": USER, "logprobs": True, "top_logprobs": 0},
        ),
        (
            CHAT,
            USER,
            {"extra": {"min_p": 0.1, "return_token_ids": True}},
            {"model": "m", "messages": USER, "min_p": 0.1, "return_token_ids": True},
        ),
        (
            CHAT,
            USER,
            {"max_tokens": 900, "extra": {"max_completion_tokens": 300}},
            {"model": "m", "messages": USER, "max_completion_tokens": 900},
        ),
        (
            COMPLETIONS,
            USER,
            {"max_tokens": 5, "top_logprobs": 3},
            {"model": "m", "prompt": "Hi", "max_tokens": 5, "logprobs": 3},
        ),
        (
            ANTHROPIC,
            [*SYSTEM, *USER, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Go"}],
            {"max_tokens": 5, "stop": ["x"], "extra": {"thinking": {"type": "adaptive"}}},
            {
                "model": "m",
                "system": "Be brief.",
                "messages": [*USER, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Go"}],
                "max_tokens": 5,
                "stop_sequences": ["x"],
                "thinking": {"type": "adaptive"},
            },
        ),
        (ANTHROPIC, USER, {"max_tokens": 5}, {"model": "m", "messages": USER, "max_tokens": 5}),
    ],
)
def test_the_body_holds_what_was_asked_for_and_nothing_else(
    protocol: str, messages: list[dict[str, str]], sampling: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert json.loads(PROTOCOLS[protocol].build("m", messages, sampling)) == expected


def test_every_request_says_who_asks_and_shows_its_key_once() -> None:
    for protocol in PROTOCOLS.values():
        headers = protocol.headers("sk-1")
        assert headers["user-agent"] == USER_AGENT == f"tutelage/{VERSION} (+https://pypi.org/project/tutelage)"
        assert sum("sk-1" in value for value in headers.values()) == 1
        assert not any("sk-1" in value for value in protocol.headers(None).values())
    assert PROTOCOLS[CHAT].headers("sk-1")["authorization"] == "Bearer sk-1"
    assert PROTOCOLS[ANTHROPIC].headers("sk-1")["x-api-key"] == "sk-1"
    assert PROTOCOLS[ANTHROPIC].headers(None)["anthropic-version"] == "2023-06-01"


def test_the_paths_follow_a_base_url_that_ends_in_v1() -> None:
    assert {name: protocol.path for name, protocol in PROTOCOLS.items()} == {
        CHAT: "/chat/completions",
        COMPLETIONS: "/completions",
        ANTHROPIC: "/messages",
    }


def test_header_names_to_keep_are_lower_case_and_hold_no_secret() -> None:
    assert all(name == name.lower() for name in HEADERS_KEPT)
    assert not {"authorization", "x-api-key", "set-cookie", "cookie"} & set(HEADERS_KEPT)


@pytest.mark.parametrize(
    ("protocol", "messages", "problem"),
    [
        (CHAT, USER, None),
        (CHAT, SYSTEM + USER, None),
        (CHAT, [], "found no messages"),
        (COMPLETIONS, USER, None),
        (COMPLETIONS, SYSTEM + USER, "roles system, user"),
        (COMPLETIONS, SYSTEM, "roles system"),
        (COMPLETIONS, [], "roles none"),
        (ANTHROPIC, SYSTEM + USER, None),
        (ANTHROPIC, SYSTEM, "found no user message"),
        (ANTHROPIC, [{"role": "tool", "content": "x"}, *USER], "role 'tool'"),
    ],
)
def test_messages_that_a_protocol_can_not_carry_are_refused_before_the_call(
    protocol: str, messages: list[dict[str, str]], problem: str | None
) -> None:
    found = PROTOCOLS[protocol].check_messages(messages)
    assert found is None if problem is None else found is not None and problem in found


SCHEMA_OF_COLOUR = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}


def format_of(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


@pytest.mark.parametrize(
    ("protocol", "sampling", "problem"),
    [
        (CHAT, {"temperature": 1, "seed": 7, "top_logprobs": 20, "extra": {"min_p": 0.1}}, None),
        (COMPLETIONS, {"tools": TOOLS}, "openai-completions has no 'tools'"),
        (COMPLETIONS, {"tools": None}, None),
        (ANTHROPIC, {"max_tokens": 5, "seed": 7}, "anthropic-messages has no 'seed'"),
        (ANTHROPIC, {"max_tokens": 5, "response_format": {"type": "json_object"}}, "has no 'response_format'"),
        (ANTHROPIC, {}, "needs max_tokens"),
        (ANTHROPIC, {"max_tokens": 5}, None),
        (CHAT, {"extra": {"n": 4}}, "extra sets 'n'"),
        (CHAT, {"extra": {"stream": True}}, "extra sets 'stream'"),
        (CHAT, {"extra": {"seed": 4}}, "extra sets 'seed'"),
        (CHAT, {"max_tokens": 5, "extra": {"max_completion_tokens": 5}}, None),
        (CHAT, {"max_tokens": 5, "extra": {"max_completion_tokens": 6}}, "give both the same number"),
        (CHAT, {"response_format": format_of(SCHEMA_OF_COLOUR)}, None),
        (CHAT, {"response_format": {"type": "json_object"}}, None),
        (CHAT, {"response_format": {"type": "yaml"}}, "'type' of text, json_object, json_schema"),
        (CHAT, {"response_format": "json"}, "'type' of text, json_object, json_schema"),
        (CHAT, {"response_format": {"type": "json_schema", "schema": {}}}, "under json_schema.schema"),
        (CHAT, {"response_format": format_of({"type": "objet"})}, "invalid at $.type"),
        (CHAT, {"response_format": format_of({"pattern": "("})}, "invalid at $.pattern"),
        (CHAT, {"response_format": format_of({"$ref": "#/$defs/x"})}, "'#/$defs/x' names no part"),
        (CHAT, {"response_format": format_of({"items": {"$ref": "https://example.com/s"}})}, "names no part"),
        (CHAT, {"response_format": format_of({"$ref": "#"})}, "without end"),
        (CHAT, {"response_format": format_of({"properties": {"next": {"$ref": "#"}}})}, None),
    ],
)
def test_sampling_that_can_not_be_asked_or_checked_is_found_at_plan_time(
    protocol: str, sampling: dict[str, Any], problem: str | None
) -> None:
    found = check_sampling(PROTOCOLS[protocol], sampling)
    assert found == [] if problem is None else len(found) == 1 and problem in found[0]
