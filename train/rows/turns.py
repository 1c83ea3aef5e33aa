"""A row's messages and answer, and what a template makes of them."""

from collections.abc import Sequence
from typing import NamedTuple

from tutelage.train.rows.row_problems import Problem

Message = tuple[str, str]


class Turns(NamedTuple):
    """Messages are (role, text). `ended` is False where the teacher was cut off: then no end of turn is taught."""

    messages: Sequence[Message]
    response: str
    ended: bool = True


class Rendered(NamedTuple):
    """Trained are the tokens from `first_trained` on. `lead` is what the template has the student say before the
    answer, `text_bytes` the answer's length in UTF-8."""

    ids: list[int]
    first_trained: int
    text_bytes: int
    lead: str = ""


NOTHING_TO_TRAIN = Problem(
    "there is nothing to train on, since the response is empty",
    "drop them when curating (policy: {min_response_words: 1})",
)
MERGES = Problem(
    "a token reaches over the border of prompt and answer, and without it they say another text",
    "use another template or tokenizer",
)
