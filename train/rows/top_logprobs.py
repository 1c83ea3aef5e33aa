"""The teacher's own tokens and their top logprobs, held to the student's tokenizer: what logit distillation rests on.

Where the loss compares with the teacher, the trained tokens are those that the teacher sampled, not those that the
student's tokenizer would make of their text: logprobs stand at the teacher's positions. Rows are refused where ids,
texts and the student's tokenizer don't agree, where a list has another length than k, or where the harvest asked for
something else.

What can't be known from a harvest: whether the server gave the logprobs of the model or of what its sampling left of it
(the declared temperature is believed, and checked against the request alone), and which tokens its prompt had. Lists
that are shorter than k are taken for the latter sign of sampling, and refused.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.schemas.errors import ConfigError
from tutelage.train.bases.tokenizer_digest import tokenizer_sha256
from tutelage.train.bases.vocabulary import vocabulary_size
from tutelage.train.config import TeacherLogits
from tutelage.train.rows.list_columns import inner
from tutelage.train.rows.row_problems import Problem
from tutelage.train.rows.templates import Template
from tutelage.train.rows.token_pieces import Pieces
from tutelage.train.rows.turns import Rendered

Ids = npt.NDArray[np.int32]
Logprobs = npt.NDArray[np.float32]

UNLIKELY = -9999.0
"""What OpenAI's protocol says in place of a logprob of a very unlikely token."""
TOO_LIKELY = 1.01
"""Sum of a position's probabilities that rounding doesn't explain: servers give four digits or more."""
_HARVEST = "harvest them again"
_NO_IDS = Problem(
    "the harvest kept no token ids of their response or of the top logprobs",
    "harvest from a server that gives ids (llama.cpp; vLLM with return_tokens_as_token_ids), or set loss.kind: "
    "cross_entropy",
)
_NO_LOGPROBS = Problem(
    "the harvest kept no top logprobs of their response",
    "harvest with sampling.top_logprobs, or set loss.kind: cross_entropy",
)


class TaughtTokens(NamedTuple):
    """A row as the teacher said it; [trained, k], id -1 and logprob NaN where the teacher gave none."""

    rendered: Rendered
    top_ids: Ids
    top_logprobs: Logprobs


class _Said(NamedTuple):
    """What the harvest kept of one response, position by position. `sizes` are of the lists in `ids` and `logprobs`."""

    tokens: Ids
    texts: list[str | None]
    sizes: npt.NDArray[np.int64]
    ids: Ids
    logprobs: Logprobs


class TeacherTokens:
    """Raises ConfigError where the declared tokenizer isn't the student's."""

    def __init__(self, tokenizer: Any, template: Template, teacher: TeacherLogits) -> None:
        found = tokenizer_sha256(tokenizer)
        if found != teacher.tokenizer_sha256:
            raise ConfigError(
                f"loss.teacher.tokenizer_sha256 is {teacher.tokenizer_sha256}, the student's tokenizer {found}: the "
                "teacher's token ids mean other tokens to the student. Use a student with the teacher's tokenizer, or "
                "set loss.kind: cross_entropy"
            )
        self._encoder, self._end_of_turn = template.encoder, template.end_of_turn
        self._pieces = Pieces(tokenizer)
        self._specials = frozenset(template.encoder.special.values())
        self._special = np.array(sorted(self._specials), np.int32)
        self._teacher, self._size = teacher, vocabulary_size(tokenizer)
        self._kept_back = cache(self._agreement)
        self._sampling_problem = lru_cache(4096)(lambda text: _sampling_problem(orjson.loads(text), teacher))

    def read(
        self, batch: pa.RecordBatch, rows: Sequence[Rendered | Problem], ended: Sequence[bool]
    ) -> list[TaughtTokens | Problem]:
        """`batch` has response, sampling, tokens and top_logprobs of the rows."""
        leads = dict.fromkeys(row.lead for row in rows if isinstance(row, Rendered) and row.lead.strip())
        lead_ids = dict(zip(leads, self._encoder.encode(list(leads)), strict=True))
        found: dict[int, TaughtTokens | Problem] = {}
        whole: dict[int, tuple[Rendered, _Said]] = {}
        samplings = batch.column("sampling").to_pylist()
        for place, (row, said, sampling) in enumerate(zip(rows, _said(batch), samplings, strict=True)):
            if isinstance(row, Problem):
                found[place] = row
            elif isinstance(said, Problem):
                found[place] = said
            elif problem := self._sampling_problem(sampling) or self._unlike_logprobs(said):
                found[place] = problem
            elif isinstance(mended := self._mended(said), Problem):
                found[place] = mended
            else:
                whole[place] = row, mended
        bodies = [said.tokens[: self._body(said)].tolist() for _, said in whole.values()]
        texts = self._encoder.decode(bodies)
        for (place, (row, said)), body, decoded in zip(whole.items(), bodies, texts, strict=True):
            response = batch.column("response")[place].as_py()
            if decoded.rstrip("\ufffd").strip() != response.rstrip("\ufffd").strip():
                found[place] = _other_text(decoded, response)
            else:
                found[place] = self._taught(row, said, body, lead_ids.get(row.lead, []), ended[place])
        return [found[place] for place in range(len(rows))]

    def _body(self, said: _Said) -> int:
        """How many tokens stand before the special ones that end them."""
        others = np.flatnonzero(~np.isin(said.tokens, self._special))
        return int(others[-1]) + 1 if len(others) else 0

    def _mended(self, said: _Said) -> _Said | Problem:
        """With the tokens that a server kept back.

        llama.cpp sends no entry for a token that ends within a character: its text comes with the token that ends the
        character, whose id alone is told. Such tokens are those that the tokenizer makes of the bytes that are left
        over; of them the teacher's thoughts are not known.
        """
        gaps: list[tuple[int, tuple[int, ...]]] = []
        for place, pair in enumerate(zip(said.tokens.tolist(), said.texts, strict=True)):
            before = self._kept_back(*pair)
            if isinstance(before, Problem):
                return before
            if before:
                gaps.append((place, before))
        for place, before in reversed(gaps):
            # Lists of no entries: `ids` and `logprobs`, which hold the entries of all, stay as they are.
            tokens, sizes = np.insert(said.tokens, place, before), np.insert(said.sizes, place, [0] * len(before))
            said = said._replace(tokens=tokens, sizes=sizes)
        return said

    def _agreement(self, number: int, text: str | None) -> tuple[int, ...] | Problem:
        """The tokens whose text came with this one's, mostly none."""
        piece = self._pieces.bytes_of(number)
        said = (text or "").encode()
        if piece is not None and (number in self._specials or said in (b"", piece) or b"\xef\xbf\xbd" in said):
            return ()
        if piece is not None and _bare(said) == _bare(piece):
            return ()
        if piece and _is_partial(piece) and said.endswith(piece):
            before = self._pieces.ids_of(said.removesuffix(piece))
            if before is not None:
                return tuple(before)
        return Problem(
            "the teacher's tokens are other tokens to the student's tokenizer",
            "use a student with the teacher's tokenizer, or set loss.kind: cross_entropy",
            f"id {number} is {text!r} to the teacher and {(piece or b'').decode(errors='replace')!r} to the student",
        )

    def _unlike_logprobs(self, said: _Said) -> Problem | None:
        k = self._teacher.k
        wrong = said.sizes[(said.sizes != 0) & (said.sizes != k) & (said.sizes != k + 1)]
        if len(wrong):
            return Problem(
                f"their top logprobs are not loss.teacher.k = {k} a token",
                f"say what the harvest has, or {_HARVEST} without top_k and top_p on the server's side",
                f"a list has {wrong[0]}",
            )
        sums = np.bincount(np.repeat(np.arange(len(said.sizes)), said.sizes), np.exp(said.logprobs.astype(np.float64)))
        if not np.isfinite(said.logprobs).all() or sums.max() > TOO_LIKELY:
            return Problem("their top logprobs are of no distribution: they add up to more than 1", _HARVEST)
        return None

    def _taught(self, row: Rendered, said: _Said, body: list[int], lead: list[int], ended: bool) -> TaughtTokens:
        k, n = self._teacher.k, len(body)
        ids, logprobs = _rectangle(said, k)
        # What a model can't be taught to name goes to the tail.
        nobody = (ids >= self._size) | ~(logprobs > UNLIKELY)
        ids, logprobs = np.where(nobody, -1, ids), np.where(nobody, np.nan, logprobs)
        ends = [self._end_of_turn] if ended else []
        said_end = ended and n < len(said.tokens) and said.tokens[n] == self._end_of_turn
        trained = n + said_end
        before, after = len(lead), len(ends) - said_end
        around = ((before, after), (0, 0))
        tokens = [*row.ids[: row.first_trained], *lead, *body, *ends]
        return TaughtTokens(
            row._replace(ids=tokens),
            np.pad(ids[:trained], around, constant_values=-1).astype(np.int32),
            np.pad(logprobs[:trained], around, constant_values=np.nan).astype(np.float32),
        )


def _other_text(decoded: str, response: str) -> Problem:
    return Problem(
        "the harvested tokens say another text than the response",
        "train on text alone (loss.kind: cross_entropy), or take them out: reasoning, tool calls and stop texts are in "
        "the tokens and not in the response",
        f"{decoded[:40]!r} and {response[:40]!r}",
    )


def _is_partial(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return True
    return False


def _bare(piece: bytes) -> bytes:
    """Servers differ in what they say of spaces before."""
    return piece.replace("▁".encode(), b" ").strip(b" ")


def _sampling_problem(sampling: Mapping[str, Any], teacher: TeacherLogits) -> Problem | None:
    asked = sampling.get("top_logprobs")
    if asked != teacher.k:
        return Problem(
            f"they were harvested with sampling.top_logprobs = {asked}, and loss.teacher.k is {teacher.k}",
            "say what the harvest asked for",
        )
    temperature = sampling.get("temperature", 1.0)
    if teacher.temperature != 1.0 and temperature != teacher.temperature:
        return Problem(
            f"loss.teacher.temperature is {teacher.temperature:g}, and they were sampled at {temperature:g}",
            "say 1.0, unless the server gives logprobs after sampling, and then the harvest's temperature",
        )
    return None


def _said(batch: pa.RecordBatch) -> list[_Said | Problem]:
    tokens, tops = batch.column("tokens"), batch.column("top_logprobs")
    entries, places = inner(tokens)
    lists, list_places = inner(tops)
    candidates, bounds = inner(lists)
    texts = pc.struct_field(entries, "text").to_pylist()
    numbers, ids = (pc.fill_null(pc.struct_field(values, "id"), -1).to_numpy() for values in (entries, candidates))
    logprobs = pc.struct_field(candidates, "logprob").to_numpy(zero_copy_only=False).astype(np.float32)
    found: list[_Said | Problem] = []
    for (start, end), (first, last) in zip(pairwise(places.tolist()), pairwise(list_places.tolist()), strict=True):
        some = slice(bounds[first], bounds[last])
        one = _Said(numbers[start:end], texts[start:end], np.diff(bounds[first : last + 1]), ids[some], logprobs[some])
        if not len(one.tokens) or (one.tokens < 0).any() or (one.ids < 0).any():
            found.append(_NO_IDS)
        elif not one.sizes.any():
            found.append(_NO_LOGPROBS)
        elif len(one.sizes) != len(one.tokens):
            found.append(Problem("they have top logprobs of other positions than their tokens'", _HARVEST))
        else:
            found.append(one)
    return found


def _rectangle(said: _Said, k: int) -> tuple[Ids, Logprobs]:
    """[positions, k]; of k + 1 the least likely goes: servers add the sampled token where it isn't among the top."""
    positions = len(said.sizes)
    if (said.sizes == k).all():
        return said.ids.reshape(positions, k), said.logprobs.reshape(positions, k)
    ids = np.full((positions, k + 1), -1, np.int32)
    logprobs = np.full((positions, k + 1), np.nan, np.float32)
    starts = np.cumsum(said.sizes) - said.sizes
    where = np.repeat(np.arange(positions), said.sizes)
    rank = np.arange(len(said.ids)) - starts[where]
    ids[where, rank], logprobs[where, rank] = said.ids, said.logprobs
    best = np.argsort(np.where(np.isnan(logprobs), np.inf, -logprobs), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(ids, best, 1), np.take_along_axis(logprobs, best, 1)
