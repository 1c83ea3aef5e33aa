"""Which tokens of a row are the student's to say: found by rendering twice and comparing.

    prompt = the messages, with the generation prompt: what a server gives the student to go on from
    whole  = the messages and the answer = prompt + lead + answer + end of turn + what else the template adds

Trained is what follows the prompt, up to the end of turn. Stock templates' own masks ({% generation %}) are absent or
all zero, and are not asked. Assistant turns within the messages are the prompt source's words: they are not trained.
"""

import json
from collections.abc import Sequence
from typing import Any, Protocol

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError
from tutelage.train.config import Data
from tutelage.train.rows.chat_template import ChatTemplate, template_text
from tutelage.train.rows.encoding import Encoder
from tutelage.train.rows.row_problems import Problem
from tutelage.train.rows.turns import MERGES, NOTHING_TO_TRAIN, Message, Rendered, Turns


class Template(Protocol):
    encoder: Encoder
    end_of_turn: int
    sha256: str

    def render(self, rows: Sequence[Turns]) -> list[Rendered | Problem]: ...


def template_of(tokenizer: Any, data: Data) -> Template:
    """Raises ConfigError where the template can't serve any row."""
    return PlainTemplate(tokenizer) if data.template == "plain" else ChatTemplate(tokenizer, data.chat_template)


def chat_template_text(tokenizer: Any, data: Data) -> str | None:
    """The template that rows are rendered with; None where it is plain."""
    return None if data.template == "plain" else template_text(tokenizer, data.chat_template)


NO_CHAT_TEMPLATE = ""
"""For a student that messages can't be given to as it was taught."""
_MESSAGES = r"{% for message in messages %}{{ message['content'] }}{{ '\n\n' }}{% endfor %}"
_PROBE = (("system", "Be kind."), ("user", "What falls in autumn, and why?"))


def student_chat_template(tokenizer: Any, data: Data) -> str | None:
    """What the student's tokenizer gets, so that a server asks as it was taught; None leaves the tokenizer's own."""
    if data.template == "plain":
        return _plain_chat_template(tokenizer)
    return template_text(tokenizer, data.chat_template) if data.chat_template is not None else None


def rendered(tokenizer: Any, data: Data, messages: Sequence[Message], response: str) -> Rendered:
    """One row; raises ConfigError where it can't be used."""
    [found] = template_of(tokenizer, data).render([Turns(messages, response)])
    if isinstance(found, Problem):
        raise ConfigError(str(found))
    return found


def _plain_chat_template(tokenizer: Any) -> str:
    """Jinja that renders messages to what `PlainTemplate` makes of them; none where the tokenizer reads its first
    words otherwise behind the text of bos than behind bos (Metaspace with prepend_scheme first)."""
    plain = PlainTemplate(tokenizer)
    [first] = plain.encoder.decode([plain.first])
    text = f"{{{{ {json.dumps(first, ensure_ascii=False)} }}}}{_MESSAGES}"
    [taught] = plain.render([Turns(_PROBE, "Leaves.")])
    assert isinstance(taught, Rendered), "a row that any tokenizer can read"
    messages = [{"role": role, "content": content} for role, content in _PROBE]
    asked = tokenizer.apply_chat_template(messages, chat_template=text, add_generation_prompt=True)["input_ids"]
    return text if list(asked) == taught.ids[: taught.first_trained] else NO_CHAT_TEMPLATE


class PlainTemplate:
    """The messages' texts and the answer, apart by blank lines, and eos as the end of turn. What the tokenizer puts
    before any text (bos) comes first."""

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                "data.template is plain and the tokenizer has no eos token, so the student would never stop; "
                "use a tokenizer with one, or a chat template"
            )
        self.encoder = Encoder(tokenizer)
        self.end_of_turn = int(tokenizer.eos_token_id)
        self.sha256 = sha256_hex(b"plain")
        whole, bare = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
        self.first = list(whole[: whole.index(bare[0])])

    def render(self, rows: Sequence[Turns]) -> list[Rendered | Problem]:
        pairs = [("".join(f"{content}\n\n" for _, content in row.messages), row.response) for row in rows]
        found: list[Rendered | Problem] = []
        for row, tokens in zip(rows, self.encoder.by_prefix(pairs, self.encoder.encode_plain), strict=True):
            if not row.response.strip():
                found.append(NOTHING_TO_TRAIN)
            elif tokens is None:
                found.append(MERGES)
            else:
                ids = [*self.first, *tokens.ids, *([self.end_of_turn] if row.ended else [])]
                # The first token of all has nothing before it that could predict it.
                first = max(1, len(self.first) + tokens.prompt)
                found.append(Rendered(ids, first, len(row.response.encode())))
        return found
