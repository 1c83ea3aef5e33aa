"""Logprobs as OpenAI-compatible servers send them: the chat shape (llama.cpp uses it everywhere) and the older one."""

from typing import Any

from tutelage.pipelines.teachers.json_values import MOST, count_of, list_of, object_of
from tutelage.pipelines.teachers.protocol import Token, TopLogprob

LARGEST_FLOAT32 = 3.4028234e38
"""The columns hold float32; a logprob outside is nonsense and would become infinite."""

TOKEN_ID_PREFIX = "token_id:"
"""vLLM writes a token as its id if `extra` asks with return_tokens_as_token_ids: its only way to candidates' ids."""

Logprobs = tuple[list[Token] | None, list[list[TopLogprob]] | None]


def read_logprobs(logprobs: Any, token_ids: Any) -> Logprobs:
    """`token_ids` is the choice's own list (vLLM's return_token_ids), used where the entries carry no ids."""
    if type(logprobs) is not dict:
        return None, None
    content = logprobs.get("content")
    if type(content) is list:
        entries = [entry for entry in content if type(entry) is dict]
        tokens = [_token(entry) for entry in entries]
        tops = [_top_of_list(entry.get("top_logprobs")) for entry in entries]
    else:
        tokens, tops = _older_shape(logprobs)
    if not tokens:
        return None, None
    return _with_ids(tokens, list_of(token_ids)), tops if any(tops) else None


def _token(entry: dict[str, Any]) -> Token:
    text = entry.get("token")
    number = count_of(entry.get("id"))
    if type(text) is not str:
        text = ""
    elif number is None and text.startswith(TOKEN_ID_PREFIX):
        number = _id_in(text)
        text = _text_of_bytes(entry.get("bytes"), text)
    return Token(number, text, _logprob(entry.get("logprob")))


def _top_of_list(entries: Any) -> list[TopLogprob]:
    found = []
    for entry in list_of(entries):
        if type(entry) is dict:
            logprob = _logprob(entry.get("logprob"))
            if logprob is not None:
                number = count_of(entry.get("id"))
                found.append(TopLogprob(_id_in(entry.get("token")) if number is None else number, logprob))
    return found


def _older_shape(logprobs: dict[str, Any]) -> tuple[list[Token], list[list[TopLogprob]]]:
    texts = list_of(logprobs.get("tokens"))
    chosen = list_of(logprobs.get("token_logprobs"))
    candidates = list_of(logprobs.get("top_logprobs"))
    tokens = [
        Token(_id_in(text), text if type(text) is str else "", _logprob(chosen[at]) if at < len(chosen) else None)
        for at, text in enumerate(texts)
    ]
    tops = [_top_of_object(candidates[at]) if at < len(candidates) else [] for at in range(len(texts))]
    return tokens, tops


def _top_of_object(candidates: Any) -> list[TopLogprob]:
    read = ((_id_in(text), _logprob(logprob)) for text, logprob in object_of(candidates).items())
    return [TopLogprob(number, logprob) for number, logprob in read if logprob is not None]


def _with_ids(tokens: list[Token], token_ids: list[Any]) -> list[Token]:
    # Another length means that the two lists do not speak of the same tokens.
    if len(token_ids) != len(tokens):
        return tokens
    return [
        token if token.id is not None else token._replace(id=count_of(number))
        for token, number in zip(tokens, token_ids, strict=True)
    ]


def _logprob(value: Any) -> float | None:
    if type(value) is float or type(value) is int:
        # One comparison also keeps out NaN and infinities.
        return float(value) if -LARGEST_FLOAT32 <= value <= LARGEST_FLOAT32 else None
    return None


def _id_in(text: Any) -> int | None:
    if type(text) is str and text.startswith(TOKEN_ID_PREFIX):
        digits = text[len(TOKEN_ID_PREFIX) :]
        # Eleven digits are past int32 already, and int() of ten thousand raises.
        if digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(digits) <= MOST:
            return int(digits)
    return None


def _text_of_bytes(values: Any, placeholder: str) -> str:
    """A token's text from its bytes, where its name is an id. Some servers put the name into the bytes as well."""
    numbers = [value for value in list_of(values) if type(value) is int and 0 <= value <= 255]
    text = bytes(numbers).decode(errors="replace")
    return text or placeholder
