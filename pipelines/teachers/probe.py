"""What an endpoint ignores without a word: one request that asks for everything, and how to read what came back.

Servers answer 200 to fields that they don't know. A teacher's capabilities are therefore probed, not believed.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tutelage.pipelines.teachers.json_values import decode_json, object_of, text_of
from tutelage.pipelines.teachers.outcomes import error_of, first_words, words_of
from tutelage.pipelines.teachers.protocol import Answer, Headers, TeacherProtocol

QUESTION = "Write the first two sentences of a story about an unusual animal."
STOPS = ["d", "r"]
"""A tenth of all letters in English: an answer of 100 letters lacks both once in 30,000 times, and is cut after ten.

Full stops would not do, small models end without one; nor would spaces, which Anthropic refuses.
"""

MAX_TOKENS = 48
ANSWERS = 3
NORMAL_ENDS = ("stop", "end_turn", "stop_sequence")

HONOURED, IGNORED, REFUSED, UNKNOWN, NOT_IN_PROTOCOL = "honoured", "ignored", "refused", "unknown", "not in protocol"


class Capabilities(NamedTuple):
    """Each of the first six: honoured, ignored, refused, unknown, or not in protocol."""

    logprobs: str
    top_logprobs: str
    token_ids: str
    n: str
    seed: str
    stop: str
    reported_model: str | None
    detail: str | None


ASKED_BY = {
    "logprobs": "top_logprobs",
    "top_logprobs": "top_logprobs",
    "token_ids": "top_logprobs",
    "n": None,
    "seed": "seed",
    "stop": "stop",
}
"""The sampling key that asks for a capability; n has none, since one request is one sample."""

LOGPROBS = {"logprobs", "top_logprobs"}
NAMED_BY = {
    "logprobs": LOGPROBS,
    "top_logprobs": LOGPROBS,
    "token_ids": LOGPROBS,
    "n": {"n"},
    "seed": {"seed"},
    "stop": {"stop", "stop_sequences"},
}
"""The words by which an error names a capability."""


def probe_request(protocol: TeacherProtocol, model: str, sampling: Mapping[str, Any]) -> bytes:
    """Costs at most ANSWERS times MAX_TOKENS. To learn about the seed, send the same bytes once more.

    `sampling` is the job's: its `extra` goes along (a model may refuse without it), and its seed.
    """
    extra = dict(sampling.get("extra") or {})
    if protocol.can_ask_for_many:
        extra["n"] = ANSWERS
    asked = {
        "temperature": 1,
        "max_tokens": MAX_TOKENS,
        "stop": STOPS,
        "seed": sampling.get("seed", 7),
        "top_logprobs": 2,
        "extra": extra,
    }
    known = {key: value for key, value in asked.items() if key in protocol.accepts}
    return protocol.build(model, [{"role": "user", "content": QUESTION}], known)


def read_probe(
    protocol: TeacherProtocol, status: int, headers: Headers, body: bytes, second_body: bytes | None = None
) -> Capabilities:
    """Never raises. `second_body` is the body of the second, identical call, None where none was made."""
    document = object_of(decode_json(body))
    answers = _answers(protocol, document) if status // 100 == 2 else []
    if answers:
        again = _answers(protocol, object_of(decode_json(second_body))) if second_body is not None else []
        found = {
            "logprobs": _given(answers, any(token.logprob is not None for a in answers for token in a.tokens or ())),
            "top_logprobs": _given(answers, any(a.top_logprobs for a in answers)),
            "token_ids": _given(answers, any(token.id is not None for a in answers for token in a.tokens or ())),
            "n": HONOURED if len(answers) >= ANSWERS else IGNORED,
            "seed": _seed(answers, again),
            "stop": _stop(answers),
        }
        detail = None
    else:
        error = error_of(document)
        detail = words_of(error) or first_words(body) or headers.get("x-tutelage-cause")
        found = _refused(error, detail or "") if status in (400, 422) else dict.fromkeys(ASKED_BY, UNKNOWN)
    for capability, key in ASKED_BY.items():
        if not (protocol.can_ask_for_many if key is None else key in protocol.accepts):
            found[capability] = NOT_IN_PROTOCOL
    return Capabilities(**found, reported_model=text_of(document.get("model")), detail=detail)


def _answers(protocol: TeacherProtocol, document: dict[str, Any]) -> list[Answer]:
    return [] if document.get("error") else protocol.read_answers(document)


def _given(answers: list[Answer], there: bool) -> str:
    if there:
        return HONOURED
    # Without a generated word there is nothing that could have had logprobs.
    return IGNORED if any(answer.text or answer.reasoning for answer in answers) else UNKNOWN


def _stop(answers: list[Answer]) -> str:
    """Ignored where an answer goes on after a stop; a stop that the server left at the very end was heeded."""
    if any(stop in answer.text[:-1] for answer in answers for stop in STOPS):
        return IGNORED
    # A model may have been stopped while it still reasoned; but not every server stops it there.
    words = [answer.text or answer.reasoning or "" for answer in answers if answer.finish_reason in NORMAL_ENDS]
    heeded = any(words) and not any(stop in text[:-1] for text in words for stop in STOPS)
    return HONOURED if heeded else UNKNOWN


def _seed(answers: list[Answer], again: list[Answer]) -> str:
    """Honoured means only that two calls agreed at temperature 1; a cache of whole replies looks the same."""
    first, second = ([(answer.reasoning, answer.text) for answer in part] for part in (answers, again))
    if not second or not any(text or reasoning for reasoning, text in first):
        return UNKNOWN
    if first != second:
        return IGNORED
    # Equal short texts are no evidence: stories begin alike.
    telling = len(set(first)) > 1 or max(len(text) + len(reasoning or "") for reasoning, text in first) >= 40
    return HONOURED if telling else UNKNOWN


def _refused(error: Any, detail: str) -> dict[str, str]:
    """Which fields a 400 names; all of them where it names none, since asking for all of them was refused."""
    said = re.findall(r"\w+", f"{object_of(error).get('param')} {detail}".lower())
    named = {capability for capability, words in NAMED_BY.items() if words & set(said)}
    return {capability: REFUSED if capability in (named or ASKED_BY) else UNKNOWN for capability in ASKED_BY}
