"""The probe's question, and what its answers say; real answers of a llama.cpp server among them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.pipelines.teachers.probe import ANSWERS, MAX_TOKENS, STOPS, Capabilities, probe_request, read_probe
from tutelage.pipelines.teachers.sampling import check_sampling

CHAT, COMPLETIONS, ANTHROPIC = "openai-chat", "openai-completions", "anthropic-messages"


def test_the_probe_asks_for_everything_at_once_and_stays_small() -> None:
    job = {"temperature": 0.2, "max_tokens": 4096, "seed": 11, "extra": {"min_p": 0.1, "max_completion_tokens": 4096}}
    body = json.loads(probe_request(PROTOCOLS[CHAT], "m", job))
    assert body["n"] == ANSWERS
    assert body["stop"] == STOPS
    assert body["seed"] == 11
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)
    assert body["max_completion_tokens"] == MAX_TOKENS
    assert body["min_p"] == 0.1
    assert "max_tokens" not in body


def test_the_probe_sends_no_field_that_the_protocol_lacks() -> None:
    body = json.loads(probe_request(PROTOCOLS[ANTHROPIC], "m", {"max_tokens": 9}))
    assert set(body) == {"model", "messages", "max_tokens", "temperature", "stop_sequences"}
    assert check_sampling(PROTOCOLS[ANTHROPIC], {"max_tokens": 9}) == []


@pytest.mark.parametrize(("name", "protocol"), [("chat", CHAT), ("completions", COMPLETIONS)])
def test_a_server_that_honours_all_is_seen_to(recorded: Callable[[str], bytes], name: str, protocol: str) -> None:
    body = recorded(f"llamacpp_probe_{name}")
    found = read_probe(PROTOCOLS[protocol], 200, {}, body, body)
    assert found == Capabilities(*["honoured"] * 6, reported_model="SmolLM2-135M-Instruct.Q4_1.gguf", detail=None)


def test_a_server_that_was_not_asked_for_stop_and_n_reads_as_ignoring_them(recorded: Callable[[str], bytes]) -> None:
    found = read_probe(PROTOCOLS[CHAT], 200, {}, recorded("llamacpp_probe_chat_without_stop_and_n"))
    assert (found.n, found.stop, found.seed, found.logprobs) == ("ignored", "ignored", "unknown", "honoured")


def said(*texts: Any, finish: str = "stop", **choice: Any) -> bytes:
    choices = [{"message": {"content": text}, "finish_reason": finish, **choice} for text in texts]
    return json.dumps({"model": "m-2", "choices": choices}).encode()


@pytest.mark.parametrize(
    ("body", "stop"),
    [
        (said("A blue whale ate"), "honoured"),
        (said("A blue whale and"), "honoured"),
        (said("A dog ate."), "ignored"),
        (said("A blue whale ate", "A dog ate."), "ignored"),
        (said("A blue whale ate", finish="length"), "unknown"),
        (said(""), "unknown"),
        (said("<think>The use", finish="stop"), "honoured"),
        (said("<think>The user wants a story", finish="stop"), "unknown"),
    ],
)
def test_stop_is_told_by_what_follows_a_stop(body: bytes, stop: str) -> None:
    assert read_probe(PROTOCOLS[CHAT], 200, {}, body).stop == stop


LONG = "In a small town by the lake a lonely ibex"


@pytest.mark.parametrize(
    ("first", "second", "seed"),
    [
        (said("A", "The ibex"), said("A", "The ibex"), "honoured"),
        (said(LONG), said(LONG), "honoured"),
        (said("A", "The ibex"), said("A", "The gnu"), "ignored"),
        (said("A", "The ibex"), said("A"), "ignored"),
        (said("A", "A"), said("A", "A"), "unknown"),
        (said(""), said(""), "unknown"),
        (said("A", "The ibex"), None, "unknown"),
        (said("A", "The ibex"), b"<html>", "unknown"),
    ],
)
def test_a_seed_is_told_by_two_calls_that_agree_on_something_unlikely(
    first: bytes, second: bytes | None, seed: str
) -> None:
    assert read_probe(PROTOCOLS[CHAT], 200, {}, first, second).seed == seed


def test_logprobs_are_ignored_only_where_there_was_text_to_have_them() -> None:
    assert read_probe(PROTOCOLS[CHAT], 200, {}, said("A")).logprobs == "ignored"
    assert read_probe(PROTOCOLS[CHAT], 200, {}, said("", finish="length")).logprobs == "unknown"
    without_ids = {"logprobs": {"content": [{"token": "A", "logprob": -1.0, "top_logprobs": []}]}}
    found = read_probe(PROTOCOLS[CHAT], 200, {}, said("A", **without_ids))
    assert (found.logprobs, found.top_logprobs, found.token_ids) == ("honoured", "ignored", "ignored")


def test_a_400_that_names_a_field_refuses_that_field_only(recorded: Callable[[str], bytes]) -> None:
    found = read_probe(PROTOCOLS[CHAT], 400, {}, recorded("openai_unsupported_parameter"))
    assert found._asdict() == {
        "logprobs": "unknown",
        "top_logprobs": "unknown",
        "token_ids": "unknown",
        "n": "unknown",
        "seed": "unknown",
        "stop": "refused",
        "reported_model": None,
        "detail": "Unsupported parameter: 'stop' is not supported with this model.",
    }


def test_a_400_that_names_nothing_refuses_all_of_it() -> None:
    found = read_probe(PROTOCOLS[CHAT], 400, {}, b'{"error": {"message": "Bad request"}}')
    assert set(found[:6]) == {"refused"}


@pytest.mark.parametrize("status", [0, 401, 429, 500])
def test_a_call_that_failed_for_another_reason_tells_nothing(status: int) -> None:
    found = read_probe(PROTOCOLS[CHAT], status, {"x-tutelage-cause": "timeout"}, b"")
    assert found == Capabilities(*["unknown"] * 6, reported_model=None, detail="timeout")


def test_what_a_protocol_can_not_ask_for_is_no_fault_of_the_endpoint(recorded: Callable[[str], bytes]) -> None:
    found = read_probe(PROTOCOLS[ANTHROPIC], 200, {}, recorded("anthropic_text_cached"))
    assert found[:5] == ("not in protocol",) * 5
    assert found.stop == "ignored"
