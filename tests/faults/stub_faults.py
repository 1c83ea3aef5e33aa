"""The lies: what each fault does to an answer before it is rendered, and to its bytes after."""

from __future__ import annotations

import gzip
import re
import sys
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import NamedTuple

from stub_answers import Draft, render

_MARKER = re.compile(r"\[\[fault:([^\]]*)\]\]")


class Fault(NamedTuple):
    name: str
    value: str | None
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Fault:
        """`status=503 retry_after=1`: the name (with a value or without), then its options."""
        words = [word.partition("=") for word in text.split()]
        if not words or words[0][0] not in FAULTS:
            raise ValueError(f"no fault is called {text!r}; the stub knows {', '.join(sorted(FAULTS))}")
        return cls(words[0][0], words[0][2] or None, {key: value for key, _, value in words[1:]})


class Scheduled(NamedTuple):
    """A fault by the number of the request, from 1: `always:F`, `at=N:F`, `every=N:F`, `after=N:F` (from N+1 on)."""

    when: str
    number: int
    fault: Fault

    @classmethod
    def parse(cls, text: str) -> Scheduled:
        when, colon, fault = text.partition(":")
        word, _, number = when.partition("=")
        if not colon or word not in ("always", "at", "every", "after"):
            raise ValueError(f"{text!r} is no schedule; write always:FAULT, at=N:FAULT, every=N:FAULT or after=N:FAULT")
        return cls(word, int(number or 1), Fault.parse(fault))

    def bites(self, number: int) -> bool:
        match self.when:
            case "at":
                return number == self.number
            case "every":
                return number % self.number == 0
            case "after":
                return number > self.number
        return True


def marked_fault(prompt: str, asked_before: int) -> Fault | None:
    """The fault that the prompt's markers order for this ask; markers with `times` are used up from left to right."""
    for text in _MARKER.findall(prompt):
        fault = Fault.parse(text)
        times = fault.options.get("times")
        if times is None or asked_before < int(times):
            return fault
        asked_before -= int(times)
    return None


def spoil(draft: Draft, schedule: Sequence[Scheduled], asked_before: int) -> None:
    """Renders the answer with the faults that are due: the scheduled ones, then the one that the prompt orders."""
    due = [entry.fault for entry in schedule if entry.bites(draft.number)]
    if "[[fault:" in draft.prompt:
        try:
            marked = marked_fault(draft.prompt, asked_before)
        except ValueError as mistake:
            draft.fail(400, str(mistake))
            return
        due += [marked] if marked else []
    for fault in due:
        if fault.name in _OF_THE_ANSWER:
            _OF_THE_ANSWER[fault.name](draft, fault)
    if not draft.body:
        draft.body = render(draft)
    for fault in due:
        if fault.name in _OF_THE_WIRE:
            _OF_THE_WIRE[fault.name](draft, fault)


# Faults of the answer: before it is rendered -----------------------------------------------------------------------


def _empty_choices(draft: Draft, fault: Fault) -> None:
    draft.texts, draft.is_answer = [], False


def _empty_answer(draft: Draft, fault: Fault) -> None:
    draft.texts = [""]


def _truncated(draft: Draft, fault: Fault) -> None:
    if int(fault.options.get("until", sys.maxsize)) > (draft.max_tokens or 0):
        draft.texts = [text[: len(text) // 2] for text in draft.texts]
        draft.finish = "length"


def _filtered(draft: Draft, fault: Fault) -> None:
    draft.texts, draft.finish = [""], "filtered"


def _refused(draft: Draft, fault: Fault) -> None:
    draft.refusal, draft.finish = "I can't help with that.", "refused"


def _wrong_model(draft: Draft, fault: Fault) -> None:
    draft.model = fault.value or "some-other-model"


def _fingerprint(draft: Draft, fault: Fault) -> None:
    draft.fingerprint = fault.value or "fp_changed"


def _lone_surrogate(draft: Draft, fault: Fault) -> None:
    draft.texts = ["half a pair: \ud83d."]


def _nul(draft: Draft, fault: Fault) -> None:
    draft.texts = ["a zero byte: \0."]


def _huge_body(draft: Draft, fault: Fault) -> None:
    draft.texts = ["x" * (int(fault.value or 1) << 20)]


def _echo_key(draft: Draft, fault: Fault) -> None:
    """Repeats the caller's key, as gateways do in their errors: in the body, the request id and another header."""
    key = draft.authorization.removeprefix("Bearer ")
    draft.headers |= {"x-request-id": f"req-{key}", "x-echo": draft.authorization}
    draft.texts = [f"You sent me {key}."]
    if "status" in fault.options:
        draft.fail(int(fault.options["status"]), f"Incorrect API key provided: {key}.")


# Faults of the wire: after it is rendered --------------------------------------------------------------------------


def _status(draft: Draft, fault: Fault) -> None:
    status = int(fault.value or 500)
    draft.fail(status, f"the stub was told to answer {status}")
    if "retry_after" in fault.options:
        draft.headers["retry-after"] = fault.options["retry_after"]
    if "retry_after_date" in fault.options:
        at = time.time() + float(fault.options["retry_after_date"])
        draft.headers["retry-after"] = formatdate(at, usegmt=True)


def _html200(draft: Draft, fault: Fault) -> None:
    draft.is_answer, draft.headers["content-type"] = False, "text/html; charset=utf-8"
    draft.body = b"<!doctype html><html><head><title>Please sign in</title></head><body>Captive portal</body></html>"


def _cut_json(draft: Draft, fault: Fault) -> None:
    draft.is_answer, draft.body = False, draft.body[: len(draft.body) // 2]


def _error_in_200(draft: Draft, fault: Fault) -> None:
    draft.fail(200, "the upstream model is overloaded", fault.value or "server_error")


def _wrong_content_length(draft: Draft, fault: Fault) -> None:
    draft.is_answer = False
    draft.declared = len(draft.body) // 2 if fault.value == "shorter" else len(draft.body) + 100
    draft.wire = "whole" if fault.value == "shorter" else "close"


def _redirect(draft: Draft, fault: Fault) -> None:
    draft.fail(307, "the model has moved")
    draft.headers["location"] = fault.value or f"{draft.base_url}/moved"


def _gzip(draft: Draft, fault: Fault) -> None:
    draft.headers["content-encoding"] = "gzip"
    if fault.value == "broken":
        draft.is_answer = False
    else:
        draft.body = gzip.compress(draft.body, compresslevel=1)


def _bad_utf8(draft: Draft, fault: Fault) -> None:
    draft.is_answer, draft.body = False, draft.body.replace(b'": "', b'": "\xff\xfe')


def _no_keepalive(draft: Draft, fault: Fault) -> None:
    draft.wire = "close"


def _on_the_wire(draft: Draft, fault: Fault) -> None:
    draft.wire, draft.options = fault.name, {"value": fault.value or "", **fault.options}
    draft.is_answer = fault.name == "slow_drip"


_OF_THE_ANSWER: dict[str, Callable[[Draft, Fault], None]] = {
    "empty_choices": _empty_choices,
    "empty_answer": _empty_answer,
    "truncated": _truncated,
    "filtered": _filtered,
    "refused": _refused,
    "wrong_model": _wrong_model,
    "fingerprint": _fingerprint,
    "lone_surrogate": _lone_surrogate,
    "nul": _nul,
    "huge_body": _huge_body,
    "echo_key": _echo_key,
}
_OF_THE_WIRE: dict[str, Callable[[Draft, Fault], None]] = {
    "status": _status,
    "html200": _html200,
    "cut_json": _cut_json,
    "error_in_200": _error_in_200,
    "wrong_content_length": _wrong_content_length,
    "redirect": _redirect,
    "gzip": _gzip,
    "bad_utf8": _bad_utf8,
    "no_keepalive": _no_keepalive,
    "stalled_body": _on_the_wire,
    "slow_drip": _on_the_wire,
    "infinite_body": _on_the_wire,
    "reset": _on_the_wire,
    "down": _on_the_wire,
}
FAULTS = frozenset(_OF_THE_ANSWER | _OF_THE_WIRE)
