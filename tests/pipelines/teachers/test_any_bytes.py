"""Whatever a teacher sends, parsing ends in an outcome, and in values that the columns can hold."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.pipelines.teachers.json_values import MOST
from tutelage.pipelines.teachers.outcomes import CAUSES, DETAIL_CHARACTERS
from tutelage.pipelines.teachers.probe import Capabilities, read_probe
from tutelage.pipelines.teachers.protocol import HEADERS_KEPT, Reply, Token, TopLogprob, Usage
from tutelage.schemas.canonical import canonical_json

# Every key that a parser looks for: arbitrary keys alone would never get past the first lookup.
# fmt: off
KEYS = [
    "choices", "message", "content", "text", "finish_reason", "stop_reason", "refusal", "tool_calls", "reasoning",
    "reasoning_content", "error", "code", "type", "object", "id", "model", "usage", "prompt_tokens",
    "completion_tokens", "prompt_tokens_details", "cached_tokens", "input_tokens", "output_tokens",
    "cache_read_input_tokens", "cache_creation_input_tokens", "completion_tokens_details", "reasoning_tokens",
    "prompt_cache_hit_tokens", "logprobs", "token", "logprob", "bytes", "top_logprobs", "tokens", "token_logprobs",
    "token_ids", "system_fingerprint", "thinking", "name", "input", "metadata", "raw", "reasons", "detail", "msg",
]
# fmt: on
WORDS = [
    "text",
    "thinking",
    "tool_use",
    "length",
    "error",
    "content_filter",
    "<think>",
    "</think>",
    "token_id:7",
    "\ud800",
]

numbers = st.integers() | st.integers(-2, 2**33) | st.floats()
leaves = st.none() | st.booleans() | numbers | st.sampled_from(WORDS) | st.text(st.characters(codec=None), max_size=8)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=6),
    max_leaves=25,
)
protocols = st.sampled_from(sorted(PROTOCOLS))
statuses = st.sampled_from([0, 200, 200, 200, 204, 302, 400, 401, 403, 429, 500, 529]) | st.integers(-10, 1000)
headers = st.dictionaries(st.sampled_from(HEADERS_KEPT), st.text(st.characters(codec=None), max_size=12), max_size=3)
samplings: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object", "required": ["a"]}}}},
    ]
)


def require_storable(text: str | None) -> None:
    if text is not None:
        assert type(text) is str
        text.encode()  # raises for a lone surrogate


def require_valid(reply: Reply) -> None:
    assert type(reply) is Reply
    if reply.cause is None:
        assert reply.outcome == "ok"
        assert reply.detail is None
    else:
        assert reply.outcome == CAUSES[reply.cause]
    assert type(reply.retryable) is bool
    assert not reply.retryable or reply.outcome == "failed"
    assert len(reply.detail or "") <= DETAIL_CHARACTERS
    assert type(reply.response) is str
    for text in (reply.detail, reply.response, reply.reasoning, reply.finish_reason, reply.model_reported):
        require_storable(text)
    require_storable(reply.provider_request_id)
    require_storable(reply.system_fingerprint)
    if reply.tool_calls is not None:
        # A double of 2**53 and above is written as an integer (RFC 8785), and has to be read back as a double.
        assert canonical_json(json.loads(reply.tool_calls, parse_int=float)).decode() == reply.tool_calls
    assert type(reply.usage) is Usage
    assert all(count is None or (type(count) is int and 0 <= count <= MOST) for count in reply.usage)
    require_valid_tokens(reply)


def require_valid_tokens(reply: Reply) -> None:
    if reply.tokens is None:
        assert reply.top_logprobs is None
        return
    assert reply.tokens
    for token in reply.tokens:
        assert type(token) is Token
        require_storable(token.text)
    assert reply.top_logprobs is None or len(reply.top_logprobs) == len(reply.tokens)
    candidates = [candidate for at_one in reply.top_logprobs or [] for candidate in at_one]
    assert all(type(candidate) is TopLogprob and type(candidate.logprob) is float for candidate in candidates)
    for item in (*reply.tokens, *candidates):
        assert item.id is None or (type(item.id) is int and 0 <= item.id <= MOST)
        assert item.logprob is None or (type(item.logprob) is float and math.isfinite(item.logprob))


@settings(max_examples=300, deadline=None)
@given(protocols, statuses, headers, st.binary(max_size=200), samplings)
def test_arbitrary_bytes_end_in_an_outcome(
    protocol: str, status: int, headers: dict[str, str], body: bytes, sampling: dict[str, Any]
) -> None:
    require_valid(PROTOCOLS[protocol].parse(status, headers, body, sampling))


@settings(max_examples=500, deadline=None)
@given(protocols, statuses, headers, values, samplings)
def test_arbitrary_json_ends_in_an_outcome(
    protocol: str, status: int, headers: dict[str, str], value: Any, sampling: dict[str, Any]
) -> None:
    require_valid(PROTOCOLS[protocol].parse(status, headers, json.dumps(value).encode(), sampling))


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(found for key in keys for found in paths_in(value[key], (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


MUTATED = [
    "openai_chat",
    "openai_chat_tool_calls",
    "openai_completions_logprobs",
    "vllm_token_ids",
    "openrouter_error_in_choice",
    "openrouter_flagged",
    "mistral_thinking_blocks",
    "anthropic_thinking_tool_use",
    "llamacpp_chat_logprobs",
]


@pytest.mark.parametrize("name", MUTATED)
def test_a_real_reply_with_any_part_changed_ends_in_an_outcome(recorded: Callable[[str], bytes], name: str) -> None:
    document = json.loads(recorded(name))
    every_path = paths_in(document)

    @settings(max_examples=80, deadline=None)
    @given(protocols, statuses, st.lists(st.tuples(st.sampled_from(every_path), values), min_size=1, max_size=3))
    def holds(protocol: str, status: int, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
        changed = document
        for path, new in changes:
            if path in paths_in(changed):
                changed = replaced(changed, path, new)
        body = json.dumps(changed).encode()
        require_valid(PROTOCOLS[protocol].parse(status, {}, body, {}))
        for answered in (200, status):
            found = read_probe(PROTOCOLS[protocol], answered, {}, body, body)
            assert type(found) is Capabilities
            require_storable(found.detail)

    holds()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MUTATED), protocols, st.data())
def test_a_real_reply_cut_off_or_with_a_byte_changed_ends_in_an_outcome(
    recorded: Callable[[str], bytes], name: str, protocol: str, data: st.DataObject
) -> None:
    body = recorded(name)
    at = data.draw(st.integers(0, len(body)))
    rest = data.draw(st.sampled_from([b"", body[at + 1 :]]))
    require_valid(PROTOCOLS[protocol].parse(200, {}, body[:at] + data.draw(st.binary(max_size=1)) + rest, {}))
