"""Content that comes as a list of typed blocks: always from Anthropic, from some OpenAI-compatible servers too."""

from typing import Any, NamedTuple

from tutelage.pipelines.teachers.json_values import list_of, text_of


class Blocks(NamedTuple):
    text: str
    thinking: str | None
    tool_uses: list[dict[str, Any]]


def read_blocks(blocks: list[Any]) -> Blocks:
    """Text blocks join without a seam (citations cut a sentence into several), thinking blocks with an empty line.

    What a provider encrypted (`redacted_thinking`) says nothing to us and is left to the journal.
    """
    texts, thoughts, tool_uses = [], [], []
    for block in blocks:
        kind = block.get("type") if type(block) is dict else None
        if kind == "text":
            texts.append(text_of(block.get("text")))
        elif kind == "thinking":
            thoughts.append(_thinking(block.get("thinking")))
        elif kind == "tool_use":
            tool_uses.append(block)
    return Blocks("".join(filter(None, texts)), "\n\n".join(filter(None, thoughts)) or None, tool_uses)


def _thinking(value: Any) -> str | None:
    # Mistral wraps the text once more: {"type": "thinking", "thinking": [{"type": "text", "text": ...}]}.
    parts = [text_of(part.get("text")) for part in list_of(value) if type(part) is dict]
    return "".join(filter(None, parts)) or text_of(value)
