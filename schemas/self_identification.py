"""Does a text say in the first person who its speaker is? Names of makers, read in normal form (`schemas.text`)."""

import re

MAKERS = {
    "openai": ("openai", "chatgpt|gpt|gpt ?[1-9]o?(?: \\w{1,5})?|o[134]"),
    "anthropic": ("anthropic", "claude(?: \\w{1,6})?"),
    "google": ("google|google deepmind|deepmind", "gemini|bard|palm|gemma"),
    "meta": ("meta|meta ai|facebook", "meta ai|llama(?: \\d)?"),
    "mistral": ("mistral|mistral ai", "mistral|mixtral|le chat"),
    "alibaba": ("alibaba|alibaba cloud|alibaba group", "qwen\\d*|tongyi|qwq"),
    "deepseek": ("deepseek|deepseek ai", "deepseek(?: \\w{1,4})?"),
    "xai": ("xai", "grok"),
    "moonshot": ("moonshot|moonshot ai", "kimi"),
    "zhipu": ("zhipu|zhipu ai|z ai", "chatglm|glm"),
    "microsoft": ("microsoft", "copilot|bing|phi"),
    "hugging-face": ("hugging face|huggingface", "smollm\\d?|zephyr"),
    "lmsys": ("lmsys", "vicuna"),
    "open-assistant": ("laion", "open assistant"),
}
"""By label: the makers' names, and their models'."""
MODEL_LABEL = "ai-model"
"""It says that it is a language model or an assistant, and no more."""

_FILLER = "(?:(?:an?|the|called|named|just|only|actually|known|as|version|of|large|ai|language|model|assistant) )*"
_I_AM = "(?:i am|i m|my name is|i go by|you can call me|you are talking to)"
_BY = "(?:(?:trained|developed|created|made|built|designed|provided|powered) (?:by|at))"
_SELF = f"(?:{_I_AM}|i was|i have been|i ve been)"
_NOUN = "(?:ai|artificial intelligence|language model|large language model|llm|chatbot|virtual assistant)"

_PATTERNS = {
    label: re.compile(rf"\b{_I_AM} {_FILLER}(?:{models})\b|\b{_SELF} (?:\w+ ){{0,8}}?{_BY} (?:{makers})\b")
    for label, (makers, models) in MAKERS.items()
}
_MODEL = re.compile(
    rf"\b(?:as an? (?:\w+ ){{0,1}}?{_NOUN}|(?:i am|i m) (?:(?:just|only) )?an? (?:\w+ ){{0,2}}?{_NOUN})\b"
)

_NAMES = "|".join(name for names in MAKERS.values() for name in names)
QUICK_LOOKS = (
    r"\b(?:i am|i m|my name is|i was|i have been|i ve been|i go by|call me|talking to|as an?)\b",
    rf"\b(?:{_NAMES}|{_NOUN})\b",
)
"""Every hit matches both, in RE2, which takes a hundredth of the patterns' time."""


def self_identifications(normal: str) -> list[str]:
    """Labels of what a text in normal form says of its speaker, sorted.

    It reads phrases, not meaning: a character in a story who says "I am Claude" is a hit too. "ChatGPT was developed
    by OpenAI" is none, since nobody speaks of himself.
    """
    found = [label for label, pattern in _PATTERNS.items() if pattern.search(normal)]
    return sorted([*found, *([MODEL_LABEL] if _MODEL.search(normal) else [])])
