"""What OpenAI-compatible servers answer, chat and completions alike: OpenAI, vLLM, SGLang, Ollama, llama.cpp, hosts."""

from typing import Any

from tutelage.pipelines.teachers.content_blocks import read_blocks
from tutelage.pipelines.teachers.json_values import count_of, list_of, object_of, text_of
from tutelage.pipelines.teachers.logprobs import read_logprobs
from tutelage.pipelines.teachers.protocol import NO_USAGE, Answer, Usage
from tutelage.pipelines.teachers.thinking import split_thinking


def read_usage(document: dict[str, Any]) -> Usage:
    usage = document.get("usage")
    if type(usage) is not dict:
        return NO_USAGE
    cached = count_of(object_of(usage.get("prompt_tokens_details")).get("cached_tokens"))
    reasoning = count_of(object_of(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    return Usage(
        count_of(usage.get("prompt_tokens")),
        count_of(usage.get("completion_tokens")),
        # DeepSeek's older name for the same; SGLang has reasoning_tokens at the top.
        count_of(usage.get("prompt_cache_hit_tokens")) if cached is None else cached,
        count_of(usage.get("reasoning_tokens")) if reasoning is None else reasoning,
    )


def read_choice(choice: dict[str, Any]) -> Answer:
    """A choice's words stand under `message` (chat), or are its `text` (completions)."""
    message = choice.get("message")
    if type(message) is dict:
        content = message.get("content")
    else:
        message, content = choice, choice.get("text")
    reasoning = text_of(message.get("reasoning_content")) or text_of(message.get("reasoning"))
    if type(content) is list:
        blocks = read_blocks(content)
        content, reasoning = blocks.text, reasoning or blocks.thinking
    text = content if type(content) is str else ""
    if reasoning is None:
        reasoning, text = split_thinking(text)
    tokens, top_logprobs = read_logprobs(choice.get("logprobs"), choice.get("token_ids"))
    return Answer(
        text,
        reasoning,
        list_of(message.get("tool_calls")) or None,
        text_of(choice.get("finish_reason")),
        text_of(message.get("refusal")),
        choice.get("error"),
        tokens,
        top_logprobs,
    )
