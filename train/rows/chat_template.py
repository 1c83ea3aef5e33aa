"""Chat templates, which are programs: what they put before and after an answer is found by watching them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import fsspec
import jinja2

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError
from tutelage.train.rows.encoding import Encoder, Prefixed
from tutelage.train.rows.row_problems import Problem
from tutelage.train.rows.turns import MERGES, NOTHING_TO_TRAIN, Rendered, Turns

_ANSWER = "tutelage-answer-7c1f"
"""An answer that no template drops or changes, to find where one puts an answer."""
_RENDERING_ERRORS = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError)
_ANOTHER = "name another template as data.chat_template"


class _Frame(NamedTuple):
    """What a template puts around an answer; `end` goes up to the end of turn, `rest` is all after the answer."""

    lead: str
    end: str
    rest: str


class _Shown(NamedTuple):
    """A row's texts; `continuation` is what is trained, `answer` the response in it."""

    prompt: str
    continuation: str
    answer: str
    lead: str
    ended: bool


class ChatTemplate:
    """The tokenizer's template, or that of the file `uri`. Raises ConfigError where it can't serve any row."""

    def __init__(self, tokenizer: Any, uri: str | None) -> None:
        self.encoder = Encoder(tokenizer)
        self._tokenizer = tokenizer
        self._name = uri or "the tokenizer's chat template"
        self._text = template_text(tokenizer, uri)
        self.sha256 = sha256_hex(self._text.encode())
        found = self._frame([{"role": "user", "content": "Hello?"}])
        if isinstance(found, Problem):
            raise ConfigError(str(found))
        self._usual = found
        self.end_of_turn = self.encoder.special[self.encoder.special_text.findall(found.end)[-1]]

    def render(self, rows: Sequence[Turns]) -> list[Rendered | Problem]:
        usual: dict[int, Turns] = {}
        quoting: dict[int, Turns] = {}
        found: dict[int, Rendered | Problem] = {}
        for place, row in enumerate(rows):
            texts = (*(content for _, content in row.messages), row.response)
            if not any(map(self.encoder.quotes_special, texts)):
                usual[place] = row
                continue
            hidden = _hidden(row, self.encoder)
            if isinstance(hidden, Problem):
                found[place] = hidden
            else:
                quoting[place] = hidden
        for some, marked in ((usual, False), (quoting, True)):
            found.update(zip(some, self._render(list(some.values()), marked), strict=True))
        return [found[place] for place in range(len(rows))]

    def _render(self, rows: Sequence[Turns], marked: bool) -> list[Rendered | Problem]:
        """`marked`: the rows' own texts quote special tokens, and those are hidden."""
        asked = [[{"role": role, "content": content} for role, content in row.messages] for row in rows]
        answered = [[*some, _assistant(row.response)] for some, row in zip(asked, rows, strict=True)]
        shown = [
            self._span(*one) for one in zip(rows, asked, self._texts(asked, True), self._texts(answered), strict=True)
        ]
        pairs = [(one.prompt, one.continuation) for one in shown if isinstance(one, _Shown)]
        tokens = iter(self.encoder.by_prefix(pairs, self.encoder.encode_marked if marked else self.encoder.encode))
        return [one if isinstance(one, Problem) else self._rendered(one, next(tokens), marked) for one in shown]

    def _rendered(self, shown: _Shown, tokens: Prefixed | None, marked: bool) -> Rendered | Problem:
        if tokens is None:
            return MERGES
        if shown.ended and tokens.ids[-1] != self.end_of_turn:
            return Problem(f"{self._name} ends their answer with another token than other rows'", _ANOTHER)
        answer = self.encoder.unmarked(shown.answer) if marked else shown.answer
        # The first token of all has nothing before it that could predict it.
        return Rendered(tokens.ids, max(1, tokens.prompt), len(answer.encode()), shown.lead)

    def _span(
        self, row: Turns, asked: list[dict[str, str]], prompt: str | Problem, whole: str | Problem
    ) -> _Shown | Problem:
        if not row.response.strip():
            return NOTHING_TO_TRAIN
        if isinstance(prompt, Problem):
            return prompt
        after = self._after(prompt, whole)
        if isinstance(after, Problem):
            return after
        frame, answer = self._usual, _placed(after, row.response, self._usual)
        if answer is None:
            # Few templates show an answer otherwise after other messages.
            own = self._frame(asked)
            if isinstance(own, Problem):
                return own
            frame, answer = own, _placed(after, row.response, own)
        if answer is None:
            return Problem(f"{self._name} changes what their answer says", f"{_ANOTHER}, or take them out")
        end = frame.end if row.ended else ""
        return _Shown(prompt, frame.lead + answer + end, answer, frame.lead, row.ended)

    def _frame(self, asked: list[dict[str, str]]) -> _Frame | Problem:
        """What stands around an answer to these messages."""
        [prompt], [whole] = self._texts([asked], True), self._texts([[*asked, _assistant(_ANSWER)]])
        if isinstance(whole, str) and _ANSWER not in whole:
            return Problem(f"{self._name} shows no assistant turn, so that no token could be trained", _ANOTHER)
        after = self._after(prompt, whole)
        if isinstance(after, Problem):
            return after
        lead, _, rest = after.partition(_ANSWER)
        if found := self.encoder.special_text.search(lead):
            return Problem(
                f"{self._name} puts {found[0]} between the generation prompt and the answer, and the student would "
                "learn to say it",
                "name one as data.chat_template that honours add_generation_prompt",
            )
        if found := self.encoder.special_text.search(rest):
            return _Frame(lead, rest[: found.end()], rest)
        if self._tokenizer.eos_token not in self.encoder.special:
            return Problem(
                f"{self._name} ends an answer with no special token, and the tokenizer has no eos, so that the student "
                "would never stop",
                _ANOTHER,
            )
        return _Frame(lead, self._tokenizer.eos_token, rest)

    def _after(self, prompt: str | Problem, whole: str | Problem) -> str | Problem:
        """What the whole has after the prompt."""
        if isinstance(prompt, Problem):
            return prompt
        if isinstance(whole, Problem):
            return whole
        if whole.startswith(prompt):
            return whole[len(prompt) :]
        pairs = enumerate(zip(prompt, whole, strict=False))
        same = next((place for place, (left, right) in pairs if left != right), len(whole))
        return Problem(
            f"{self._name} shows the messages otherwise once they are answered, and no border can be found",
            _ANOTHER,
            f"{whole[same:][:40]!r} in place of {prompt[same:][:40]!r}",
        )

    def _texts(self, conversations: list[list[dict[str, str]]], generation_prompt: bool = False) -> list[str | Problem]:
        def render(some: Any) -> Any:
            return self._tokenizer.apply_chat_template(
                some, chat_template=self._text, tokenize=False, add_generation_prompt=generation_prompt
            )

        if not conversations:
            return []
        try:
            return list(render(conversations))
        except _RENDERING_ERRORS:
            pass  # one by one, to see whose they are
        found: list[str | Problem] = []
        for one in conversations:
            try:
                found.append(render(one))
            except jinja2.TemplateSyntaxError as error:
                raise ConfigError(
                    f"{self._name} is no Jinja (line {error.lineno}: {error.message}); mend it, or {_ANOTHER}"
                ) from error
            except _RENDERING_ERRORS as error:
                found.append(Problem(f"{self._name} refuses their messages: {error}", f"take them out, or {_ANOTHER}"))
        return found


def _assistant(answer: str) -> dict[str, str]:
    return {"role": "assistant", "content": answer}


def _placed(after: str, response: str, frame: _Frame) -> str | None:
    """The response as the template shows it, whole or trimmed; None where it shows neither."""
    forms = (response, response.strip(), response.lstrip(), response.rstrip())
    return next((form for form in forms if after == frame.lead + form + frame.rest), None)


def _hidden(row: Turns, encoder: Encoder) -> Turns | Problem:
    """The row with a character in place of each special token's name that it quotes."""
    try:
        messages = [(role, encoder.marked(content)) for role, content in row.messages]
        return Turns(messages, encoder.marked(row.response), row.ended)
    except ValueError as error:
        return Problem("quotes special tokens that can't be told from the template's own", "take them out", str(error))


def template_text(tokenizer: Any, uri: str | None) -> str:
    """Of the file `uri`, or the tokenizer's own. Raises ConfigError where there is none."""
    if uri is not None:
        try:
            with fsspec.open(uri, "rb") as stream:
                return bytes(stream.read()).decode()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{uri}: can't be read ({error}); a Jinja chat template was wanted") from error
    found = tokenizer.chat_template
    if isinstance(found, dict):
        found = found.get("default")
    if not isinstance(found, str) or not found.strip():
        raise ConfigError(
            "the tokenizer has no chat template; name one as data.chat_template, or set data.template: plain"
        )
    return found
