"""Logprobs in odd shapes: what can be read is, the rest is left out, and tokens stay beside their candidates."""

from typing import Any

import pytest

from tutelage.pipelines.teachers.logprobs import read_logprobs
from tutelage.pipelines.teachers.protocol import Token, TopLogprob


@pytest.mark.parametrize("found", [None, [], "x", {}, {"content": []}, {"content": [1, None]}, {"tokens": []}])
def test_logprobs_that_hold_no_token_are_none(found: Any) -> None:
    assert read_logprobs(found, None) == (None, None)


@pytest.mark.parametrize("value", [None, "x", True, float("nan"), float("inf"), -float("inf"), 1e300, 10**400])
def test_a_logprob_that_is_no_number_is_none_and_no_candidate(value: Any) -> None:
    entry = {"id": 1, "token": "a", "logprob": value, "top_logprobs": [{"id": 1, "logprob": value}]}
    assert read_logprobs({"content": [entry]}, None) == ([Token(1, "a", None)], None)


def test_a_whole_number_is_a_logprob() -> None:
    assert read_logprobs({"content": [{"token": "a", "logprob": 0}]}, None)[0] == [Token(None, "a", 0.0)]


@pytest.mark.parametrize("number", [-1, 2**31, True, 1.0, "7", None])
def test_an_id_that_the_column_can_not_hold_is_none(number: Any) -> None:
    assert read_logprobs({"content": [{"id": number, "token": "a", "logprob": -1.0}]}, None)[0] == [
        Token(None, "a", -1.0)
    ]


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("token_id:7", Token(7, "a", -1.0)),
        ("token_id:" + "9" * 5000, Token(None, "a", -1.0)),
        ("token_id:²", Token(None, "a", -1.0)),
        ("token_id:", Token(None, "a", -1.0)),
    ],
)
def test_an_id_written_as_the_token_is_read_and_the_text_comes_from_the_bytes(token: str, expected: Token) -> None:
    found = read_logprobs({"content": [{"token": token, "logprob": -1.0, "bytes": [97]}]}, None)
    assert found == ([expected], None)


def test_ids_beside_the_logprobs_count_only_if_they_are_as_many() -> None:
    content = {"content": [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0, "id": 9}]}
    assert read_logprobs(content, [5, 6])[0] == [Token(5, "a", -1.0), Token(9, "b", -2.0)]
    assert read_logprobs(content, [5])[0] == [Token(None, "a", -1.0), Token(9, "b", -2.0)]


def test_the_older_shape_with_short_lists_keeps_every_token() -> None:
    found = read_logprobs(
        {"tokens": ["a", 7, "token_id:3"], "token_logprobs": [-1.0], "top_logprobs": [{"token_id:4": -2.0, "b": None}]},
        None,
    )
    assert found == (
        [Token(None, "a", -1.0), Token(None, "", None), Token(3, "token_id:3", None)],
        [[TopLogprob(4, -2.0)], [], []],
    )
