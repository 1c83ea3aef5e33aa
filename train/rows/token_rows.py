"""Rows of completions as rows of a token store: rendered, held to the teacher's tokens, cut to length."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import Data, Loss
from tutelage.train.rows.list_columns import messages_of
from tutelage.train.rows.overlap import text_digests
from tutelage.train.rows.row_problems import Problem, RowProblems
from tutelage.train.rows.store_files import MOST_NAMES, StoredRow
from tutelage.train.rows.templates import Template
from tutelage.train.rows.top_logprobs import TaughtTokens, TeacherTokens
from tutelage.train.rows.turns import Rendered, Turns

COLUMNS = ("row_id", "messages", "response", "outcome", "teacher", "prompt_source", "terms_id")
LOGIT_COLUMNS = ("sampling", "tokens", "top_logprobs")
CUT_OFF = "truncated"
"""The outcome of a response that ran into its harvest's max_tokens: what it would have ended with nobody knows."""


class RowReader:
    """Reads batches in order; problems are gathered, so that one error tells of all."""

    def __init__(self, split: str, tokenizer: Any, template: Template, data: Data, loss: Loss) -> None:
        self.problems = RowProblems(split)
        self.counts = {"truncated": 0, "dropped": 0, "unended": 0}
        self._template, self._data = template, data
        self._teacher = TeacherTokens(tokenizer, template, loss.teacher) if loss.teacher is not None else None
        self._names: dict[str, dict[str, int]] = {"teacher": {}, "prompt_source": {}, "terms_id": {}}

    @property
    def teachers(self) -> list[str]:
        return list(self._names["teacher"])

    @property
    def prompt_sources(self) -> list[str]:
        return list(self._names["prompt_source"])

    @property
    def terms_ids(self) -> list[str]:
        return list(self._names["terms_id"])

    def read(self, batch: pa.RecordBatch) -> list[StoredRow]:
        messages, responses = messages_of(batch.column("messages")), batch.column("response").to_pylist()
        ended = [outcome != CUT_OFF for outcome in batch.column("outcome").to_pylist()]
        turns = list(map(Turns, messages, responses, ended))
        rendered = self._template.render(turns)
        rows: Sequence[Rendered | TaughtTokens | Problem] = rendered
        if self._teacher is not None:
            rows = self._teacher.read(batch, rendered, ended)
        found = []
        for row_id, one, turn, *codes in zip(
            batch.column("row_id").to_pylist(),
            rows,
            turns,
            self._codes(batch, "teacher"),
            self._codes(batch, "prompt_source"),
            self._codes(batch, "terms_id"),
            strict=True,
        ):
            kept = self._kept(row_id, one, turn, codes)
            if isinstance(kept, Problem):
                self.problems.add(kept, row_id)
            elif kept is not None:
                self.counts["unended"] += not turn.ended
                found.append(kept)
        self.problems.require_few()
        return found

    def _kept(
        self, row_id: str, one: Rendered | TaughtTokens | Problem, turn: Turns, codes: Sequence[int]
    ) -> StoredRow | Problem | None:
        """None where the row is dropped; `codes` are of its teacher, prompt source and terms."""
        if isinstance(one, Problem):
            return one
        row = one.rendered if isinstance(one, TaughtTokens) else one
        most, length, first = self._data.max_tokens, len(row.ids), row.first_trained
        ids, text_bytes = row.ids, row.text_bytes
        if length > most:
            if self._data.over_long == "drop":
                self.counts["dropped"] += 1
                return None
            if first >= most:
                return Problem(
                    f"there is nothing to train on, since the prompt alone fills data.max_tokens = {most}",
                    "raise it, or set data.over_long: drop",
                    f"it has {first:,} tokens",
                )
            self.counts["truncated"] += 1
            ids = ids[:most]
            text_bytes = min(text_bytes, self._bytes(ids[first:], row.lead))
        top = (one.top_ids[: most - first], one.top_logprobs[: most - first]) if isinstance(one, TaughtTokens) else ()
        digests = text_digests(turn.messages, turn.response)
        teacher, source, terms = codes
        return StoredRow(row_id, ids, first, text_bytes, teacher, source, terms, digests, *top)

    def _bytes(self, trained: list[int], lead: str) -> int:
        [text] = self._template.encoder.decode([trained])
        return len(text.removeprefix(lead).encode())

    def _codes(self, batch: pa.RecordBatch, column: str) -> list[int]:
        names = self._names[column]
        codes = [names.setdefault(name, len(names)) for name in batch.column(column).to_pylist()]
        if len(names) > MOST_NAMES:
            raise ConfigError(f"found more than {MOST_NAMES:,} values of {column}; curate a set with fewer")
        return codes
