"""POST /chat/completions, as OpenAI defined it and most servers speak it."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tutelage.pipelines.teachers.json_values import list_of
from tutelage.pipelines.teachers.openai_reply import read_choice, read_usage
from tutelage.pipelines.teachers.protocol import USER_AGENT, Answer, Headers, Reply, Usage
from tutelage.pipelines.teachers.reply import parse_reply

SENT_AS_THEY_ARE = (
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "seed",
    "response_format",
    "tools",
    "tool_choice",
)


class OpenAIChat:
    name = "openai-chat"
    path = "/chat/completions"
    accepts = frozenset({*SENT_AS_THEY_ARE, "top_logprobs", "extra"})
    can_ask_for_many = True

    def headers(self, api_key: str | None) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": USER_AGENT}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        return headers

    def check_messages(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        return None if messages else "found no messages, openai-chat needs at least one; give the prompt a text"

    def build(self, model: str, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any]) -> bytes:
        body = {"model": model, "messages": messages, **chosen(sampling, SENT_AS_THEY_ARE)}
        top_logprobs = sampling.get("top_logprobs")
        if top_logprobs is not None:
            body["logprobs"] = True
            body["top_logprobs"] = top_logprobs
        return with_extra(body, sampling)

    def parse(self, status: int, headers: Headers, body: bytes, sampling: Mapping[str, Any]) -> Reply:
        return parse_reply(self, status, headers, body, sampling)

    def read_usage(self, document: dict[str, Any]) -> Usage:
        return read_usage(document)

    def read_answers(self, document: dict[str, Any]) -> list[Answer]:
        return [read_choice(choice) for choice in list_of(document.get("choices")) if type(choice) is dict]


def chosen(sampling: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: sampling[key] for key in keys if sampling.get(key) is not None}


def with_extra(body: dict[str, Any], sampling: Mapping[str, Any]) -> bytes:
    """The body's JSON with `extra` merged in.

    Models that want max_completion_tokens refuse max_tokens beside it: `extra` gives the name, `max_tokens` stays the
    one number, so that budgets and a second try with a larger limit hold.
    """
    extra = sampling.get("extra")
    if extra:
        body.update(extra)
        if "max_completion_tokens" in extra and "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
    return orjson.dumps(body)
