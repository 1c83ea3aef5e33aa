"""Text to token ids, in batches. Special tokens come from the template alone: a row that quotes one says it in
letters."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

_FIRST_MARK = 0xF0000
_MARKS = re.compile("[\U000f0000-\U000ffffd]")
"""Private-use characters that stand for quoted special tokens while a template is rendered."""

Encode = Callable[[Sequence[str]], list[list[int]]]


class Prefixed(NamedTuple):
    """Tokens of a prompt and of what follows it; the prompt's are the first `prompt` of them."""

    ids: list[int]
    prompt: int


class Encoder:
    """A fast tokenizer of transformers, asked in batches. `special` are its special tokens by their text."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        added = tokenizer.added_tokens_decoder.items()
        self.special = {token.content: number for number, token in added if token.special and token.content}
        self._names = sorted(self.special, key=lambda name: (-len(name), name))
        self._places = {name: place for place, name in enumerate(self._names)}
        self.special_text = re.compile("|".join(map(re.escape, self._names)) or "(?!)")

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Special tokens are what their text says."""
        return self._encoded(texts, False)

    def encode_plain(self, texts: Sequence[str]) -> list[list[int]]:
        """Nothing is a special token; the text of one is letters."""
        return self._encoded(texts, True)

    def encode_marked(self, texts: Sequence[str]) -> list[list[int]]:
        """Special tokens are what their text says, but for those that `marked` has hidden."""
        split = [_pieces(self.special_text, text) for text in texts]
        pieces = [piece for text in split for piece in text if piece not in self.special]
        plain = iter(self.encode_plain([self.unmarked(piece) for piece in pieces]))
        return [
            [number for piece in text for number in ([self.special[piece]] if piece in self.special else next(plain))]
            for text in split
        ]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return list(self._backend.decode_batch([list(some) for some in ids], skip_special_tokens=False))

    def quotes_special(self, text: str) -> bool:
        return self.special_text.search(text) is not None

    def marked(self, text: str) -> str:
        """The text with another character in place of each special token's name. Raises ValueError where the text has
        such characters itself."""
        if found := _MARKS.search(text):
            raise ValueError(f"it has U+{ord(found[0]):05X} beside the names of special tokens")
        return self.special_text.sub(lambda found: chr(_FIRST_MARK + self._places[found[0]]), text)

    def unmarked(self, text: str) -> str:
        return _MARKS.sub(lambda found: self._names[ord(found[0]) - _FIRST_MARK], text)

    def by_prefix(self, pairs: Sequence[tuple[str, str]], encode: Encode) -> list[Prefixed | None]:
        """Tokens of each (prompt, continuation). Those of the prompt are what a student is given to go on from, so they
        have to be the first tokens of both together.

        Where a token reaches over the border, the two are encoded apart; None where that says another text.
        """
        prompts = list(dict.fromkeys(prompt for prompt, _ in pairs))
        given = dict(zip(prompts, encode(prompts), strict=True))
        wholes = encode([prompt + continuation for prompt, continuation in pairs])
        found: list[Prefixed | None] = []
        apart = []
        for place, ((prompt, _), whole) in enumerate(zip(pairs, wholes, strict=True)):
            first = given[prompt]
            is_prefix = len(whole) > len(first) and whole[: len(first)] == first
            found.append(Prefixed(whole, len(first)) if is_prefix else None)
            if not is_prefix:
                apart.append(place)
        if apart:
            rests = encode([pairs[place][1] for place in apart])
            joined = [given[pairs[place][0]] + rest for place, rest in zip(apart, rests, strict=True)]
            said = zip(self.decode(joined), self.decode([wholes[place] for place in apart]), strict=True)
            for place, ids, (text, wanted) in zip(apart, joined, said, strict=True):
                if text == wanted:
                    found[place] = Prefixed(ids, len(given[pairs[place][0]]))
        return found

    def _encoded(self, texts: Sequence[str], plain: bool) -> list[list[int]]:
        self._backend.encode_special_tokens = plain
        try:
            # encode_batch_fast keeps no offsets, and takes four fifths of the time.
            return [one.ids for one in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]
        finally:
            self._backend.encode_special_tokens = False


def _pieces(special: re.Pattern[str], text: str) -> list[str]:
    pieces, start = [], 0
    for found in special.finditer(text):
        pieces += [text[start : found.start()], found[0]]
        start = found.end()
    return [piece for piece in (*pieces, text[start:]) if piece]
