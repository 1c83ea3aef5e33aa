"""What single tokens say, in bytes: many are parts of a character, and say no text at all."""

import re
from functools import cache
from typing import Any

import orjson

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Pieces:
    """Of a byte-level tokenizer (GPT-2's way), or one that falls back on bytes (sentencepiece's)."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._added: dict[int, str] = {
            number: token.content for number, token in tokenizer.added_tokens_decoder.items()
        }
        decoder = orjson.loads(self._backend.to_str())["decoder"]
        self._byte_level = b'"ByteLevel"' in orjson.dumps(decoder)

    def bytes_of(self, number: int) -> bytes | None:
        """None where there is no such token."""
        if number in self._added:
            return self._added[number].encode()
        name: str | None = self._backend.id_to_token(number)
        if name is None:
            return None
        if self._byte_level:
            return bytes(_bytes_of_letters()[letter] for letter in name)
        if found := _BYTE.fullmatch(name):
            return bytes.fromhex(found[1])
        return name.replace("▁", " ").encode()

    def ids_of(self, content: bytes) -> list[int] | None:
        """Tokens of a part of a character, and what stands before it; None where that can't be known."""
        if self._byte_level:
            letters = {byte: letter for letter, byte in _bytes_of_letters().items()}
            return [token.id for token in self._backend.model.tokenize("".join(letters[byte] for byte in content))]
        found = [self._backend.token_to_id(f"<0x{byte:02X}>") for byte in content]
        return None if None in found else found


@cache
def _bytes_of_letters() -> dict[str, int]:
    """GPT-2's letters for bytes: printable ones stand for themselves, the others for what follows U+0100 in order."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
