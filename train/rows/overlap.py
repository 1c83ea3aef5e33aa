"""Is a held-out row among the training rows? Then no figure of the held-out rows would mean anything.

Curation splits by groups, so that it isn't; a set that was put together otherwise is looked at here, by content,
whatever its row ids are.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.text import normalise
from tutelage.train.rows.turns import Message

LEAST_WORDS = 8
"""Of a shorter answer ("yes", "spam", "4") two prompts may have the same by right."""
NAMED = 20
NO_TEXT = 0


class Texts(Protocol):
    def texts(self) -> npt.NDArray[np.uint64]: ...

    def row_id(self, row: int) -> str: ...


def text_digests(messages: Sequence[Message], response: str) -> tuple[int, int]:
    """Of what the user said, and of the answer where it is long enough to be known again; in normal form."""
    asked = normalise("\n".join(content for role, content in messages if role == "user"))
    answer = normalise(response)
    return (
        _digest(asked) if asked else NO_TEXT,
        _digest(answer) if answer.count(" ") >= LEAST_WORDS - 1 else NO_TEXT,
    )


def require_no_overlap(train: Texts, held_out: Texts) -> None:
    """Raises ConfigError where a held-out row asks what a training row asks, or has its answer of eight words or more.

    Of 1M and 100,000 rows, digests of 64 bits agree by chance once in 10^8 runs.
    """
    taught, kept = train.texts(), held_out.texts()
    pairs: dict[int, int] = {}
    for part in range(2):
        digests, first = np.unique(taught[:, part], return_index=True)
        places = np.searchsorted(digests, kept[:, part]).clip(max=max(len(digests) - 1, 0))
        same = (digests[places] == kept[:, part]) & (kept[:, part] != NO_TEXT) if len(digests) else []
        for row in np.flatnonzero(same).tolist():
            pairs.setdefault(row, int(first[places[row]]))
    if not pairs:
        return
    named = [f"{held_out.row_id(row)} (like {train.row_id(pairs[row])})" for row in sorted(pairs)[:NAMED]]
    more = f" and {len(pairs) - NAMED:,} more" if len(pairs) > NAMED else ""
    raise ConfigError(
        f"{len(pairs):,} held-out rows ask what a training row asks, or have its answer of {LEAST_WORDS} words or "
        f"more: {', '.join(named)}{more}; a held-out loss would say how well the student remembers. Curate "
        f"again with policy.held_out.link_responses_from_words: {LEAST_WORDS}, which keeps such rows on one side"
    )


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1
