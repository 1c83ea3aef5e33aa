"""Which tokenizer it is: one digest, whatever file it was read from."""

from typing import Any

import orjson

from tutelage.schemas.canonical import sha256_hex

ROLES = ("bos_token", "eos_token", "unk_token")
"""Not `pad_token`, which no row holds and which is often made up when a model is loaded."""

_OF_ONE_CALL = ("padding", "truncation", "version")


def tokenizer_sha256(tokenizer: Any) -> str:
    """Equal where every text becomes the same ids, and every id the same text: vocabulary, merges, added tokens and
    their flags, how text is normalised and split before and joined after, and who begins and ends.

    Chat template, padding and length limits are none of it. 0.1 s for 49,152 tokens.
    """
    parts = orjson.loads(tokenizer.backend_tokenizer.to_str())
    parts = {key: part for key, part in parts.items() if key not in _OF_ONE_CALL}
    parts["roles"] = {role: _text(getattr(tokenizer, role)) for role in ROLES}
    return sha256_hex(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS))


def _text(token: Any) -> str | None:
    return None if token is None else str(token)
