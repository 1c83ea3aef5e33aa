"""How many ids a tokenizer has."""

from typing import Any


def vocabulary_size(tokenizer: Any) -> int:
    """One more than the highest id; ids of some tokenizers have holes, so this can be more than there are tokens."""
    return int(max(tokenizer.get_vocab().values())) + 1
