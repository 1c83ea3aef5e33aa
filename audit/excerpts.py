"""The part of a long text that a match is in, for a person to read."""

import re
from bisect import bisect_right
from itertools import accumulate, chain

from tutelage.schemas.text import words

MOST_CHARACTERS = 2000
_CUT = "…"
_TOKEN = re.compile(r"\S+")


class LongText:
    """A text whose words, as the normal form counts them, are looked up by number; counted once, whatever is asked."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens: list[tuple[int, int]] = []
        self._words_before: list[int] = []

    def around(self, first_word: int, last_word: int) -> str:
        """At most MOST_CHARACTERS that hold these words, or the first of them; a cut is marked."""
        if len(self.text) <= MOST_CHARACTERS:
            return self.text
        start, end = self._place(first_word)[0], self._place(last_word)[1]
        spare = MOST_CHARACTERS - min(end - start, MOST_CHARACTERS)
        start = max(0, min(start - spare // 2, len(self.text) - MOST_CHARACTERS))
        end = start + MOST_CHARACTERS
        before, behind = _CUT * (start > 0), _CUT * (end < len(self.text))
        return before + self.text[start + len(before) : end - len(behind)] + behind

    def _place(self, word: int) -> tuple[int, int]:
        """Where the token with that word stands."""
        if not self._tokens:
            self._tokens = [token.span() for token in _TOKEN.finditer(self.text)]
            counts = (len(words(self.text[start:end])) for start, end in self._tokens)
            self._words_before = list(accumulate(chain([0], counts)))[:-1]
        place = bisect_right(self._words_before, word) - 1
        return self._tokens[max(place, 0)] if self._tokens else (0, 0)
