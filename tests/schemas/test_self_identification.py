import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tutelage.schemas.self_identification import MODEL_LABEL, QUICK_LOOKS, self_identifications
from tutelage.schemas.text import normalise

NAMES = (
    "OpenAI",
    "ChatGPT",
    "GPT-4o",
    "o3",
    "Anthropic",
    "Claude 3",
    "Google DeepMind",
    "Gemini",
    "Meta AI",
    "Llama 3",
    "Mistral AI",
    "Mixtral",
    "Alibaba Cloud",
    "Qwen2",
    "DeepSeek",
    "xAI",
    "Grok",
    "Kimi",
    "GLM",
    "Copilot",
    "SmolLM2",
    "Vicuna",
    "Open Assistant",
    "AI language model",
    "AI assistant",
    "chatbot",
    "large language model",
)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("I am ChatGPT, a large language model trained by OpenAI.", ["openai"]),
        ("I'm Claude, made by Anthropic.", ["anthropic"]),
        ("My name is Claude.", ["anthropic"]),
        ("I'm an AI assistant developed by Google.", [MODEL_LABEL, "google"]),
        ("I am Qwen, created by Alibaba Cloud.", ["alibaba"]),
        ("I am a large language model developed by Meta AI.", [MODEL_LABEL, "meta"]),
        ("As an AI language model, I cannot browse.", [MODEL_LABEL]),
        ("Hello! I am DeepSeek-V3.", ["deepseek"]),
        ("You are talking to Grok.", ["xai"]),
        ("I was trained by Mistral AI.", ["mistral"]),
        ("I’m GPT-4o!", ["openai"]),
    ],
)
def test_who_speaks_is_read(text: str, labels: list[str]) -> None:
    assert self_identifications(normalise(text)) == sorted(labels)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ChatGPT was developed by OpenAI.",
        "Claude Monet painted water lilies.",
        "I am using Claude to write this.",
        "I bought a phone that was made by Google.",
        "She said that I am kind.",
        "I was born in Alibaba's home town.",
        "As an artist, I paint llamas.",
        "I am from Mistral, where the wind blows in winter and nobody was trained",
        "Ask a chatbot such as Gemini.",
        "This is a Gemini horoscope.",
    ],
)
def test_talk_about_models_is_no_hit(text: str) -> None:
    assert self_identifications(normalise(text)) == []


def test_the_quick_looks_let_every_hit_through() -> None:
    said = [
        normalise(f"{start} {name}") for start in ("I am", "My name is", "I was trained by", "as an") for name in NAMES
    ]
    hits = [text for text in said if self_identifications(text)]
    assert len(hits) > 20
    for pattern in QUICK_LOOKS:
        assert pc.all(pc.match_substring_regex(pa.array(hits), pattern)).as_py()
