"""POST /completions: plain text in, its continuation out. For base models, which have no chat template."""

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.pipelines.teachers.openai_chat import OpenAIChat, chosen, with_extra

SENT_AS_THEY_ARE = ("temperature", "top_p", "max_tokens", "stop", "seed", "response_format")


class OpenAICompletions(OpenAIChat):
    """Headers and replies are those of chat; `logprobs` is a number here."""

    name = "openai-completions"
    path = "/completions"
    accepts = frozenset({*SENT_AS_THEY_ARE, "top_logprobs", "extra"})

    def check_messages(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        if len(messages) == 1 and messages[0]["role"] == "user":
            return None
        roles = ", ".join(message["role"] for message in messages) or "none"
        return (
            f"found messages of roles {roles}; openai-completions continues one text and has no roles: "
            "give one user message, or use openai-chat"
        )

    def build(self, model: str, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any]) -> bytes:
        body = {"model": model, "prompt": messages[0]["content"], **chosen(sampling, SENT_AS_THEY_ARE)}
        top_logprobs = sampling.get("top_logprobs")
        if top_logprobs is not None:
            body["logprobs"] = top_logprobs
        return with_extra(body, sampling)
