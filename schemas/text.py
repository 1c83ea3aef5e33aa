"""When are two texts the same? The normal form that fingerprints, duplicates and contamination agree on to the bit.

A change here changes every fingerprint: raise TEXT_FORM, and tests/contracts/fingerprints.json with it.
"""

import re
import unicodedata

TEXT_FORM = "tutelage.text/1"

# Scripts that write words without spaces between them: each of their characters is a word.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # the ideographic iteration mark and zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_ASCII_WORD = re.compile(r"[a-z0-9\x80-\U0010ffff]+")


def fold(text: str) -> str:
    """Text in which all that is beyond ASCII is in normal form: what is left to do is lower case and spacing.

    NFKC and full case folding (Unicode 15, 3.13); letters, marks and numbers stay, a character of an unspaced script
    gets spaces around it, an invisible one (zero width, soft hyphen) vanishes, any other becomes a space.
    """
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _BEYOND_ASCII.sub(lambda run: run[0].translate(_CHARACTERS), folded)


def words(text: str) -> list[str]:
    """The words of a text, in order: maximal runs of letters, marks and numbers, folded."""
    return _ASCII_WORD.findall(fold(text).lower())


def normalise(text: str) -> str:
    """The words with one space between them. Texts with equal normal forms are the same text."""
    return " ".join(words(text))


class _Characters(dict[int, str]):
    """What becomes of a character beyond ASCII, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] in "LMN":
            becomes = f" {character} " if any(first <= code <= last for first, last in _UNSPACED) else character
        else:
            becomes = "" if category == "Cf" else " "
        self[code] = becomes
        return becomes


_CHARACTERS = _Characters()
