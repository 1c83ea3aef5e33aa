"""POST /messages, Anthropic's own protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.pipelines.teachers.content_blocks import read_blocks
from tutelage.pipelines.teachers.json_values import canonical_text, count_of, object_of, text_of
from tutelage.pipelines.teachers.openai_chat import chosen, with_extra
from tutelage.pipelines.teachers.protocol import NO_USAGE, USER_AGENT, Answer, Headers, Reply, Usage
from tutelage.pipelines.teachers.reply import parse_reply

API_VERSION = "2023-06-01"
SENT_AS_THEY_ARE = ("temperature", "top_p", "max_tokens", "tools", "tool_choice")


class AnthropicMessages:
    """`tools` and `tool_choice` are written in Anthropic's shape; `max_tokens` is required by the API."""

    name = "anthropic-messages"
    path = "/messages"
    accepts = frozenset({*SENT_AS_THEY_ARE, "stop", "extra"})
    can_ask_for_many = False

    def headers(self, api_key: str | None) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "user-agent": USER_AGENT,
            "anthropic-version": API_VERSION,
        }
        if api_key is not None:
            headers["x-api-key"] = api_key
        return headers

    def check_messages(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        roles = [message["role"] for message in messages if message["role"] != "system"]
        strange = sorted(set(roles) - {"user", "assistant"})
        if strange:
            return f"found a message of role {strange[0]!r}; anthropic-messages knows system, user and assistant"
        if "user" not in roles:
            return "found no user message, anthropic-messages needs one; put the question into a user message"
        return None

    def build(self, model: str, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any]) -> bytes:
        body = {
            "model": model,
            "messages": [message for message in messages if message["role"] != "system"],
            **chosen(sampling, SENT_AS_THEY_ARE),
        }
        # The API takes one system text, outside the conversation.
        system = "\n\n".join([message["content"] for message in messages if message["role"] == "system"])
        if system:
            body["system"] = system
        if sampling.get("stop") is not None:
            body["stop_sequences"] = sampling["stop"]
        return with_extra(body, sampling)

    def parse(self, status: int, headers: Headers, body: bytes, sampling: Mapping[str, Any]) -> Reply:
        return parse_reply(self, status, headers, body, sampling)

    def read_usage(self, document: dict[str, Any]) -> Usage:
        """Anthropic counts cached tokens apart: `input_tokens` are the rest, so all three kinds make the prompt.

        It does not count reasoning apart from the answer.
        """
        usage = document.get("usage")
        if type(usage) is not dict:
            return NO_USAGE
        fresh = count_of(usage.get("input_tokens"))
        cached = count_of(usage.get("cache_read_input_tokens"))
        written = count_of(usage.get("cache_creation_input_tokens"))
        return Usage(
            None if fresh is None else count_of(fresh + (cached or 0) + (written or 0)),
            count_of(usage.get("output_tokens")),
            cached,
            None,
        )

    def read_answers(self, document: dict[str, Any]) -> list[Answer]:
        content = document.get("content")
        if type(content) is not list:
            return []
        blocks = read_blocks(content)
        return [
            Answer(
                blocks.text,
                blocks.thinking,
                [_in_openai_shape(tool_use) for tool_use in blocks.tool_uses] or None,
                text_of(document.get("stop_reason")),
                refusal=None,
                error=None,
                tokens=None,
                top_logprobs=None,
            )
        ]


def _in_openai_shape(tool_use: dict[str, Any]) -> dict[str, Any]:
    """One shape in the dataset, whoever answered: a reader of `tool_calls` need not know the protocol."""
    return {
        "id": text_of(tool_use.get("id")),
        "type": "function",
        "function": {
            "name": text_of(tool_use.get("name")),
            "arguments": canonical_text(object_of(tool_use.get("input"))),
        },
    }
