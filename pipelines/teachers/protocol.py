"""What a teacher protocol is: how to ask, and what a reply becomes. Nothing here knows of Beam, HTTP clients or files.

A protocol is small on purpose: it builds one request body and reads one reply. The rules that all three share are in
`outcomes` (which outcome, and why), `reply` (the way through a reply) and `response_format` (does the answer fit).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tutelage.schemas.version import VERSION

Headers = Mapping[str, str]
"""Lower-case names; only those in HEADERS_KEPT are there."""

HEADERS_KEPT = (
    "content-type",
    "date",
    "openai-processing-ms",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-request-id",
    "x-tutelage-cause",
)
"""What of a reply's headers is worth keeping. The last is ours: it says why there is no reply (status 0)."""

USER_AGENT = f"tutelage/{VERSION} (+https://pypi.org/project/tutelage)"


class Usage(NamedTuple):
    """Tokens as the teacher counted them. `prompt_tokens` include the cached, `completion_tokens` the reasoning."""

    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None


NO_USAGE = Usage(None, None, None, None)


class Token(NamedTuple):
    id: int | None
    text: str
    logprob: float | None


class TopLogprob(NamedTuple):
    """`id` is None where the teacher names its candidates by text only."""

    id: int | None
    logprob: float


class Reply(NamedTuple):
    """What became of one call. `cause` is a key of outcomes.CAUSES, None exactly where the outcome is ok.

    `retryable` is True only with `failed`, where asking again may help. `detail` is up to 300 characters of the
    teacher's own words. `tool_calls` is canonical JSON in the OpenAI shape, whoever answered. `tokens` cover all that
    was generated, reasoning included, so joined they can be more than `response`.
    """

    outcome: str
    cause: str | None
    retryable: bool
    detail: str | None
    response: str
    reasoning: str | None
    tool_calls: str | None
    finish_reason: str | None
    model_reported: str | None
    provider_request_id: str | None
    system_fingerprint: str | None
    usage: Usage
    tokens: list[Token] | None
    top_logprobs: list[list[TopLogprob]] | None


class Answer(NamedTuple):
    """One choice of a reply as its protocol reads it, before anybody judged it."""

    text: str
    reasoning: str | None
    tool_calls: list[Any] | None
    finish_reason: str | None
    refusal: str | None
    error: Any
    tokens: list[Token] | None
    top_logprobs: list[list[TopLogprob]] | None


class TeacherProtocol(Protocol):
    """One request is one sample. Sampling keys that are absent or None are not sent."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> str:
        """Appended to the teacher's base_url."""

    @property
    def accepts(self) -> frozenset[str]:
        """Sampling keys that this protocol can express."""

    @property
    def can_ask_for_many(self) -> bool:
        """Whether a request can ask for n answers. Only the probe does."""

    def headers(self, api_key: str | None) -> dict[str, str]: ...

    def check_messages(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        """Why these messages can't be asked over this protocol, or None."""

    def build(self, model: str, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any]) -> bytes:
        """The JSON body. `messages` have passed check_messages, `sampling` check_sampling."""

    def parse(self, status: int, headers: Headers, body: bytes, sampling: Mapping[str, Any]) -> Reply:
        """Never raises, whatever the bytes. Status 0 is "no answer came", with the reason in x-tutelage-cause."""

    def read_usage(self, document: dict[str, Any]) -> Usage: ...

    def read_answers(self, document: dict[str, Any]) -> list[Answer]: ...
