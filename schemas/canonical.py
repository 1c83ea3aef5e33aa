"""Canonical JSON (RFC 8785), so that equal values have equal bytes and so equal digests."""

import hashlib
import math
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

LARGEST_EXACT_INT = 2**53


def canonical_json(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value; equal on every machine and Python version.

    Raises ValueError for what has no canonical form: NaN, infinities, integers from 2**53, lone surrogates, keys that
    are no strings, and types that JSON lacks. Store such numbers as strings.
    """
    try:
        return _text(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text holds a lone surrogate (U+{ord(error.object[error.start]):04X})") from error


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical_number(value: float) -> str:
    """A float as ECMAScript writes it, which RFC 8785 section 3.2.2.3 asks for: 1.0 is 1, 1e-07 is 1e-7."""
    if not math.isfinite(value):
        raise ValueError(f"{value} has no canonical JSON form; leave it out or store it as a string")
    if value == 0:
        return "0"
    shortest = repr(value)
    if 1e-6 <= abs(value) < 1e21:
        # By way of Decimal: int(value) would show digits of 1.2345678901234568e20 that its shortest form lacks.
        return format(Decimal(shortest), "f").removesuffix(".0")
    mantissa, exponent = shortest.split("e")
    return f"{mantissa}e{int(exponent):+d}"


def _text(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is dict:
        return _object(value)
    if kind is list or kind is tuple:
        return "[" + ",".join([_text(item) for item in value]) + "]"
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        if abs(value) >= LARGEST_EXACT_INT:
            raise ValueError(f"the integer {value} is not exact in JSON (2**53 and above); store it as a string")
        return str(value)
    if kind is float:
        return canonical_number(value)
    raise ValueError(f"{kind.__name__} is not a JSON type")


def _object(value: dict[Any, Any]) -> str:
    for key in value:
        if type(key) is not str:
            raise ValueError(f"the key {key!r} is {type(key).__name__}, JSON wants a string")
    keys = sorted(value)
    if not all(map(str.isascii, keys)):
        # RFC 8785 sorts by UTF-16 units, Python by code points: they differ above U+FFFF.
        keys.sort(key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join([f"{encode_basestring(key)}:{_text(value[key])}" for key in keys]) + "}"
