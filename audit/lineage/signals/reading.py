"""One response as every signal reads it: cut into tokens once."""

from typing import NamedTuple

from tutelage.audit.lineage.words import Hashes, Tokens, shown_part, tokens_of


class Reading(NamedTuple):
    text: str
    tokens: Tokens
    words: Hashes


def read(text: str) -> Reading:
    shown = shown_part(text)
    tokens = tokens_of(shown)
    return Reading(shown, tokens, tokens.words())
