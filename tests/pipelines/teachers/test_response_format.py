"""Answers against the response_format that was asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.pipelines.teachers.response_format import misfit

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
ENDLESS = {"type": "json_schema", "json_schema": {"schema": {"items": {"$ref": "#/items"}}}}


@pytest.mark.parametrize(
    ("response_format", "text", "cause", "detail"),
    [
        ({"type": "text"}, "no JSON at all", None, None),
        ({"type": "json_object"}, '{"a": 1}', None, None),
        ({"type": "json_object"}, "[1]", "schema_mismatch", "the answer is JSON, but no object"),
        ({"type": "json_object"}, "Sure! {}", "not_json_answer", "unexpected character"),
        ({"type": "json_object"}, "```json\n{}\n```", "not_json_answer", "unexpected character"),
        (BY_SCHEMA, '{"age": 7}', None, None),
        (BY_SCHEMA, '{"age": "seven"}', "schema_mismatch", "$.age: 'seven' is not of type 'integer'"),
        (BY_SCHEMA, "{}", "schema_mismatch", "$: 'age' is a required property"),
        (BY_SCHEMA, '{"age": 7', "not_json_answer", "unexpected end of data"),
        (ENDLESS, "[[1]]", "schema_mismatch", "nested too deeply"),
    ],
)
def test_an_answer_fits_its_format_or_says_where_not(
    response_format: dict[str, Any], text: str, cause: str | None, detail: str | None
) -> None:
    found = misfit(text, response_format)
    if cause is None:
        assert found is None
    else:
        assert found is not None
        assert found.cause == cause
        assert detail is not None
        assert detail in (found.detail or "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # jsonschema's own fetching warns, and then would fetch
def test_a_schema_is_never_fetched(tmp_path: Path) -> None:
    elsewhere = tmp_path / "schema.json"
    elsewhere.write_text('{"type": "string"}')
    found = misfit("{}", {"type": "json_schema", "json_schema": {"schema": {"$ref": elsewhere.as_uri()}}})
    assert found is not None
    assert found.detail == f"the schema can't be applied: Unresolvable: {elsewhere.as_uri()}"


def reply_to(content: str, finish_reason: str, **message: Any) -> Any:
    body = {"choices": [{"message": {"content": content, **message}, "finish_reason": finish_reason}]}
    return PROTOCOLS["openai-chat"].parse(200, {}, json.dumps(body).encode(), {"response_format": BY_SCHEMA})


def test_a_mismatch_is_invalid_and_its_answer_is_kept() -> None:
    reply = reply_to('{"age": "seven"}', "stop")
    assert (reply.outcome, reply.cause, reply.retryable) == ("invalid", "schema_mismatch", False)
    assert reply.response == '{"age": "seven"}'


def test_what_ended_early_or_calls_a_tool_is_not_held_against_the_schema() -> None:
    assert reply_to('{"age": ', "length").outcome == "truncated"
    assert reply_to("", "tool_calls", tool_calls=[{"id": "1"}]).outcome == "ok"


def test_the_answer_is_what_is_left_after_reasoning() -> None:
    assert reply_to('<think>An age.</think>\n{"age": 7}', "stop").outcome == "ok"
