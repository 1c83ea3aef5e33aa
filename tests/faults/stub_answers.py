"""What a truthful teacher says: the draft of an answer, and its text in three protocols' shapes."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

_SYLLABLES = [consonant + vowel for consonant in "bdkl" for vowel in "aeio"]
_WORDS = [first + second for first in _SYLLABLES for second in _SYLLABLES]
_FINISH = {
    "chat": {"stop": "stop", "length": "length", "filtered": "content_filter", "refused": "stop"},
    "completions": {"stop": "stop", "length": "length", "filtered": "content_filter", "refused": "content_filter"},
    "messages": {"stop": "end_turn", "length": "max_tokens", "filtered": "refusal", "refused": "refusal"},
}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_SAY = re.compile(r"\[\[say:(.*?)\]\]", re.DOTALL)
HONOURS = frozenset({"logprobs", "token_ids", "n", "seed", "stop"})


@dataclass(slots=True)
class Draft:
    """An answer on its way out: faults of the answer change it before it is rendered, faults of the wire after."""

    number: int
    shape: str
    asked: dict[str, Any]
    prompt: str
    key: bytes  # stands for the prompt in the counters
    authorization: str
    base_url: str
    honours: frozenset[str]
    model: str
    texts: list[str] = field(default_factory=list)
    finish: str = "stop"
    fingerprint: str = "fp_stub"
    refusal: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    body: bytes = b""
    declared: int | None = None  # the content-length that is claimed, where it is a lie
    wire: str = "whole"
    options: dict[str, str] = field(default_factory=dict)
    is_answer: bool = True  # False once a fault made of it something that no teacher could charge for

    @property
    def prompt_tokens(self) -> int:
        return self.prompt.count(" ") + 1

    @property
    def max_tokens(self) -> int | None:
        limit = self.asked.get("max_tokens") or self.asked.get("max_completion_tokens")
        return None if limit is None else int(limit)

    def fail(self, status: int, message: str, kind: str | None = None) -> None:
        self.status, self.is_answer = status, False
        kind = kind or _ERROR_TYPES.get(status, "server_error")
        error: dict[str, Any] = {"type": kind, "message": message}
        if self.shape == "messages":
            self.body = json.dumps({"type": "error", "error": error}).encode()
        else:
            self.body = json.dumps({"error": {**error, "param": None, "code": None}}).encode()


def prompt_of(shape: str, asked: dict[str, Any]) -> str:
    """The text that the answer is a function of: every message, in order, whatever the sampling."""
    if shape == "completions":
        return str(asked.get("prompt", ""))
    turns = [asked.get("system", ""), *(message.get("content", "") for message in asked.get("messages", ()))]
    texts = [turn if isinstance(turn, str) else "".join(part.get("text", "") for part in turn or ()) for turn in turns]
    return "\n".join(text for text in texts if text)


def words_for(prompt: str, salt: str, count: int) -> str:
    digest = hashlib.shake_256(f"{salt}\0{prompt}".encode("utf-8", "surrogatepass")).digest(count)
    return " ".join([_WORDS[byte] for byte in digest])


def tell_the_truth(draft: Draft, words: int) -> None:
    """Fills in what is asked for, as far as `n`, `seed`, `stop` and `max_tokens` are honoured."""
    asked, prompt = draft.asked, draft.prompt
    salt = str(asked.get("seed")) if "seed" in draft.honours else str(draft.number)
    said = _SAY.search(prompt) if "[[say:" in prompt else None
    count = int(asked.get("n") or 1) if "n" in draft.honours else 1
    draft.texts = [said[1] if said else words_for(prompt, salt + "+" * choice, words) for choice in range(count)]
    limit = draft.max_tokens
    if limit is not None and draft.texts[0].count(" ") >= limit:
        draft.texts, draft.finish = [" ".join(text.split(" ")[:limit]) for text in draft.texts], "length"
    if "stop" in draft.honours:
        stops = asked.get("stop_sequences") or asked.get("stop") or ()
        for stop in [stops] if isinstance(stops, str) else stops:
            if stop in draft.texts[0]:
                draft.texts, draft.finish = [text.partition(stop)[0] for text in draft.texts], "stop"


def _tokens(text: str) -> list[str]:
    return [word if i == 0 else " " + word for i, word in enumerate(text.split(" "))] if text else []


def _top(token: str, k: int) -> list[tuple[str, float]]:
    """The token itself and k-1 others, at log-probabilities that halve from one to the next and sum to less than 1."""
    first = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0]
    names = [token, *(" " + _WORDS[(first + i) % 256] for i in range(1, k))]
    return [(name, -math.log(2) * (i + 1)) for i, name in enumerate(names)]


def _chat_logprobs(draft: Draft, text: str) -> dict[str, Any] | None:
    if not draft.asked.get("logprobs") or "logprobs" not in draft.honours:
        return None
    ids = "token_ids" in draft.honours

    def entry(token: str, logprob: float) -> dict[str, Any]:
        shown = {"token": token, "bytes": list(token.encode("utf-8", "surrogatepass")), "logprob": logprob}
        return {"id": token_id(token), **shown} if ids else shown

    k = int(draft.asked.get("top_logprobs") or 0)
    content = []
    for token in _tokens(text):
        top = _top(token, max(k, 1))
        content.append({**entry(*top[0]), "top_logprobs": [entry(*pair) for pair in top[:k]]})
    return {"content": content, "refusal": None}


def token_id(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=2).digest(), "big")


def _completions_logprobs(draft: Draft, text: str) -> dict[str, Any] | None:
    k = draft.asked.get("logprobs")
    if k is None or k is False or "logprobs" not in draft.honours:
        return None
    tokens = _tokens(text)
    tops = [_top(token, max(int(k), 1)) for token in tokens]
    offsets = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
    return {
        "tokens": tokens,
        "token_logprobs": [top[0][1] for top in tops],
        "top_logprobs": [dict(top[: int(k)]) for top in tops],
        "text_offset": offsets,
    }


def render(draft: Draft) -> bytes:
    finish = _FINISH[draft.shape][draft.finish]
    completion_tokens = sum(text.count(" ") + 1 for text in draft.texts if text)
    identity = f"stub-{draft.number:08d}"
    document: dict[str, Any]
    if draft.shape == "messages":
        document = {
            "id": f"msg_{identity}",
            "type": "message",
            "role": "assistant",
            "model": draft.model,
            "content": [{"type": "text", "text": text} for text in draft.texts if text],
            "stop_reason": finish,
            "stop_sequence": None,
            "usage": {
                "input_tokens": draft.prompt_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": completion_tokens,
            },
        }
        return json.dumps(document).encode()
    choices: list[dict[str, Any]] = []
    for index, text in enumerate(draft.texts):
        if draft.shape == "chat":
            message = {"role": "assistant", "content": text, "refusal": None}
            if draft.refusal is not None:
                message.update(content=None, refusal=draft.refusal)
            logprobs = _chat_logprobs(draft, text)
            choices.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish})
        else:
            logprobs = _completions_logprobs(draft, text)
            choices.append({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish})
    document = {
        "id": f"{'chatcmpl' if draft.shape == 'chat' else 'cmpl'}-{identity}",
        "object": "chat.completion" if draft.shape == "chat" else "text_completion",
        "created": 1_700_000_000,
        "model": draft.model,
        "system_fingerprint": draft.fingerprint,
        "choices": choices,
        "usage": {
            "prompt_tokens": draft.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": draft.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
    return json.dumps(document).encode()
