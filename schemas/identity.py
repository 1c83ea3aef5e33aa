"""Who is who: the id of a request, the id of a row, and the salted leaf that commits to a row."""

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any

from tutelage.schemas.canonical import canonical_json, sha256_hex
from tutelage.schemas.merkle import LEAF_PREFIX
from tutelage.schemas.rows import Completion

SALT_BYTES = 16


def request_id(
    *,
    protocol: str,
    model: str,
    revision: str | None,
    channel: str,
    messages: Sequence[Mapping[str, str]],
    sampling: Mapping[str, Any],
    sample_index: int,
) -> str:
    """SHA-256 of the canonical request: everything that can change the answer, and nothing that can't.

    Where the teacher listens, what it costs and which prompt file asked are left out, so that equal requests are equal.
    """
    return sha256_hex(
        canonical_json(
            {
                "channel": channel,
                "messages": list(messages),
                "model": model,
                "protocol": protocol,
                "revision": revision,
                "sample_index": sample_index,
                "sampling": sampling,
            }
        )
    )


class RequestIds:
    """`request_id` for many prompts: what the requests of one teacher and sample have in common is written once."""

    def __init__(
        self,
        *,
        protocol: str,
        model: str,
        revision: str | None,
        channel: str,
        sampling: Mapping[str, Any],
        sample_index: int,
    ) -> None:
        common = {"channel": channel, "model": model, "protocol": protocol, "revision": revision}
        rest = {"sample_index": sample_index, "sampling": sampling}
        # Only the channel's name stands before, and no text holds quotes that are not escaped.
        before, key, after = canonical_json({**common, "messages": [], **rest}).partition(b'"messages":')
        self._before, self._after = before + key, after.removeprefix(b"[]")

    def of(self, messages: bytes) -> str:
        """The id for messages in canonical JSON."""
        return sha256_hex(self._before + messages + self._after)


def row_id(request: str) -> str:
    """The row that answers a request. It is not a digest of the answer: after a withdrawal it stays in the tombstone,
    where a digest of the text would let anyone confirm a guess at what was erased."""
    return sha256_hex(b"tutelage.completions.row\n" + request.encode())


def leaf_content(row: Completion) -> dict[str, Any]:
    """What a leaf commits to, as JSON: every column but the salt and the leaf itself.

    Costs are strings with the column's 12 places, times are microseconds since 1970, and the logprob columns are
    digests of their packed form (`packed_logprobs`), so that a proof stays small and needs no float formatting.
    """
    named = zip(Completion._fields, row, strict=True)
    return {name: _JSON_VALUE[name](value) for name, value in named if name in _KEYS}


def leaf_sha256(row: Completion) -> str:
    """RFC 6962 leaf hash, sha256(0x00 || salt || canonical JSON of `leaf_content`), in hex. About 8 us a row."""
    # The same bytes as canonical_json(leaf_content(row)), several times as fast: the keys are known and sorted once.
    content = _TEMPLATE % tuple([write(value) for write, value in zip(_WRITERS, _PICK(row), strict=True)])
    return hashlib.sha256(LEAF_PREFIX + bytes.fromhex(row.salt) + content.encode()).hexdigest()


def packed_logprobs(ids: Sequence[int | None], texts: Sequence[str | None], logprobs: Sequence[float | None]) -> bytes:
    """Little-endian bytes of a logprob column: ids (int64, none: -1), logprobs (float32, none: NaN), texts (JSON)."""
    packed_ids = array("q", [-1 if value is None else value for value in ids])
    packed_logprobs = array("f", [float("nan") if value is None else value for value in logprobs])
    if packed_ids.itemsize != 8 or array("i", [1]).tobytes()[0] != 1:  # pragma: no cover
        packed_ids.byteswap()
        packed_logprobs.byteswap()
    return packed_ids.tobytes() + packed_logprobs.tobytes() + canonical_json(list(texts))


def _tokens_digest(tokens: Sequence[Any] | None) -> str | None:
    if tokens is None:
        return None
    ids, texts, logprobs = zip(*tokens, strict=True) if tokens else ((), (), ())
    return sha256_hex(packed_logprobs(ids, texts, logprobs))


def _top_digest(positions: Sequence[Any] | None) -> str | None:
    if positions is None:
        return None
    digest = hashlib.sha256(array("q", [len(position) for position in positions]).tobytes())
    flat = [entry for position in positions for entry in position]
    ids, logprobs = zip(*flat, strict=True) if flat else ((), ())
    digest.update(packed_logprobs(ids, (), logprobs))
    return digest.hexdigest()


def _messages(messages: Sequence[Any]) -> list[dict[str, str]]:
    return [{"content": content, "role": role} for role, content in messages]


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _same(value: Any) -> Any:
    return value


_KEYS = frozenset(Completion._fields) - {"salt", "leaf_sha256"}
_JSON_VALUE: dict[str, Callable[[Any], Any]] = dict.fromkeys(Completion._fields, _same) | {
    "messages": _messages,
    "cost_usd": lambda cost: None if cost is None else format(cost, ".12f"),
    "created_at": _microseconds,
    "obligations": list,
    "tokens": _tokens_digest,
    "top_logprobs": _top_digest,
}

# The fast way to the same bytes: one writer a column, in the order of the sorted keys, C functions where there are any.


def _optional(value: str | int | None) -> str:
    if value is None:
        return "null"
    return encode_basestring(value) if type(value) is str else str(value)


def _messages_text(messages: Sequence[Any]) -> str:
    encode = encode_basestring
    entries = [f'{{"content":{encode(content)},"role":{encode(role)}}}' for role, content in messages]
    return "[" + ",".join(entries) + "]"


_TEXT: dict[str, Callable[[Any], str]] = {
    "messages": _messages_text,
    "cost_usd": lambda cost: "null" if cost is None else f'"{cost:.12f}"',
    "created_at": lambda moment: str(_microseconds(moment)),
    "obligations": lambda names: "[" + ",".join(map(encode_basestring, names)) + "]",
    "tokens": lambda tokens: _optional(_tokens_digest(tokens)),
    "top_logprobs": lambda positions: _optional(_top_digest(positions)),
}
_BY_TYPE: dict[Any, Callable[[Any], str]] = {str: encode_basestring, int: int.__repr__}
_SORTED_KEYS = sorted(_KEYS)
_WRITERS = [_TEXT.get(name) or _BY_TYPE.get(Completion.__annotations__[name], _optional) for name in _SORTED_KEYS]
_PICK = itemgetter(*(Completion._fields.index(name) for name in _SORTED_KEYS))
_TEMPLATE = "{" + ",".join(f'"{name}":%s' for name in _SORTED_KEYS) + "}"
