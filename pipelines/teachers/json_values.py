"""Reads JSON that nobody vouches for: what is of the wrong type or can't be stored becomes None, never an exception."""

import json
import math
from typing import Any

import orjson

from tutelage.schemas.canonical import LARGEST_EXACT_INT, canonical_json

MOST = 2**31 - 1
"""The most that a token id or a count of tokens can be: the columns hold int32, and no call has more tokens."""


def decode_json(body: bytes) -> Any:
    """The value, or None for what is no JSON.

    What orjson refuses gets a second, slow reading that forgives a byte order mark, wrong UTF-8, raw control
    characters, NaN and lone surrogates: the reply is paid for. Strings never hold a lone surrogate: Parquet can't.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return _storable_text(json.loads(body.decode("utf-8-sig", "replace"), strict=False))
    except (ValueError, RecursionError):
        return None


def text_of(value: Any) -> str | None:
    return value if type(value) is str and value else None


def count_of(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None


def object_of(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}


def list_of(value: Any) -> list[Any]:
    return value if type(value) is list else []


def canonical_text(value: Any) -> str:
    """Canonical JSON of a decoded value; integers that JSON can't hold exactly become strings, NaN becomes null."""
    try:
        return canonical_json(value).decode()
    except ValueError:
        return canonical_json(_storable_numbers(value)).decode()


def without_lone_surrogates(text: str) -> str:
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _storable_text(value: Any) -> Any:
    if type(value) is str:
        return without_lone_surrogates(value)
    if type(value) is list:
        return [_storable_text(item) for item in value]
    if type(value) is dict:
        return {without_lone_surrogates(key): _storable_text(item) for key, item in value.items()}
    return value


def _storable_numbers(value: Any) -> Any:
    if type(value) is list:
        return [_storable_numbers(item) for item in value]
    if type(value) is dict:
        return {key: _storable_numbers(item) for key, item in value.items()}
    if type(value) is float and not math.isfinite(value):
        return None
    if type(value) is int and abs(value) >= LARGEST_EXACT_INT:
        return str(value)
    return value
