"""The columns of an evaluation: each model over the same rows and the same questions, one at a time.

The teacher comes first, since the others are compared with its choices.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tutelage.schemas.errors import ContractError
from tutelage.schemas.receipt import HELD_OUT
from tutelage.train.bases.load import base_sha256, describe, load_model, load_tokenizer, tokenizer_sha256
from tutelage.train.config import Base, Data, Loss
from tutelage.train.evaluation import evaluation_figures as figures
from tutelage.train.evaluation.evaluate_config import EvaluateConfig
from tutelage.train.evaluation.evaluation_figures import Losses, Sample
from tutelage.train.evaluation.held_out import Aligned, Ints, KeptTop, Measured, Reference, measure
from tutelage.train.evaluation.held_out_rows import HeldOutRows
from tutelage.train.evaluation.scorers import Scorer
from tutelage.train.evaluation.tasks import Questions, Reply, ask, score
from tutelage.train.rows.token_store import TokenStore, build_store

STUDENT, BASE, TEACHER = "student", "base", "teacher"
NO_LOGPROBS = (
    "the harvest kept no logprobs of these rows' tokens; name a `teacher` to load, or harvest with top_logprobs"
)
OF_ITSELF = (
    "the teacher's column is what it thought of the tokens that it had just drawn itself, without the end of turn: low "
    "by construction, the more so the lower its temperature was"
)

Progress = Callable[[str, int, int], None]
Exam = tuple[Questions, Scorer]


class Tokens(NamedTuple):
    """The held-out rows as the student reads them."""

    tokenizer: Any
    sha256: str
    data: Data
    store: TokenStore


class Table:
    def __init__(
        self, config: EvaluateConfig, held_out: HeldOutRows, tokens: Tokens, exams: Sequence[Exam], progress: Progress
    ) -> None:
        self._tokens, self._store, self._exams, self._progress = tokens, tokens.store, exams, progress
        self._batch_tokens = config.batch_tokens
        self._rows = drawn(self._store.rows, config.limit_rows, config.seed)
        self._ids = self._store.row_ids(self._rows.tolist())
        places = {row_id: place for place, row_id in enumerate(held_out.row_ids)}
        self._places = np.array([places[row_id] for row_id in self._ids], np.int64)
        self._facts = held_out
        self._sample = Sample(held_out.groups[self._places], config.bootstrap_draws, config.seed)
        self._losses: dict[str, Losses] = {}
        self._measured: dict[str, Measured] = {}
        self._scores: dict[str, list[list[float]]] = {}
        self._replies: dict[str, list[list[Reply]]] = {}
        self._reference: Reference | None = None
        self._without = ""
        self.teacher: dict[str, Any] = {}
        self.notes: list[str] = []

    def add(self, name: str, base: Base, seed: int) -> None:
        """A model that reads the student's tokens."""
        self._progress(f"loading the {name}", 0, 1)
        model = load_model(base, self._tokens.tokenizer, seed).to(device())
        found = measure(
            model,
            self._store,
            self._rows,
            batch_tokens=self._batch_tokens,
            reference=self._reference,
            progress=partial(self._progress, f"{name}: rows"),
        )
        _require_finite(name, found, self._ids)
        self._measured[name] = found
        self._losses[name] = Losses(found.nats, *_sizes(self._store, self._rows))
        self._ask(name, model, self._tokens.tokenizer, self._tokens.data)

    def add_teacher(self, base: Base, dataset: str, work: Path) -> None:
        """A teacher that is loaded, in its own words: its tokenizer, its template."""
        tokenizer = load_tokenizer(base)
        template = "chat" if getattr(tokenizer, "chat_template", None) else "plain"
        data = self._tokens.data.model_copy(update={"template": template})
        store = build_store(dataset, HELD_OUT, tokenizer, data, Loss(), work / "teacher")
        row_of = {row_id: row for row, row_id in enumerate(store.row_ids(list(range(store.rows))))}
        numbers = np.array([number for number, row_id in enumerate(self._ids) if row_id in row_of], np.int64)
        rows = np.array([row_of[self._ids[number]] for number in numbers], np.int64)
        same = tokenizer_sha256(tokenizer) == self._tokens.sha256
        kept = KeptTop(store, rows, work) if same else None
        self._progress("loading the teacher", 0, 1)
        model = load_model(base, tokenizer, 0).to(device())
        found = measure(
            model,
            store,
            rows,
            packed=False,
            kept=kept,
            progress=partial(self._progress, "teacher: rows"),
        )
        _require_finite(TEACHER, found, [self._ids[number] for number in numbers])
        self._losses[TEACHER] = _spread(Losses(found.nats, *_sizes(store, rows)), numbers, len(self._rows))
        if kept is None:
            self._without = "its tokenizer is not the student's, so their tokens can't be compared"
        else:
            pairs = zip(self._rows[numbers].tolist(), rows.tolist(), strict=True)
            self._reference = Aligned(kept, store, self._store, dict(pairs))
        self.teacher = {
            "kind": "loaded",
            "description": describe(base),
            "sha256": base_sha256(base),
            "template": template,
        }
        self._ask(TEACHER, model, tokenizer, data)

    def add_harvested(self, without: str) -> None:
        """What the harvest kept of the teacher's thoughts; `without` is why its top logprobs can't be compared with."""
        facts, places = self._facts, self._places
        # Of a row that was cut the teacher's logprobs are of more text than the student is asked for.
        whole = self._store.text_bytes[self._rows] >= facts.trimmed_bytes[places]
        nats = np.where(whole, facts.teacher_nats[places], np.nan)
        self._reference, self._without = (None if without else self._store), without
        if not np.isfinite(nats).any():
            self.teacher = {"kind": "none", "reason": NO_LOGPROBS}
            return
        self.teacher = {"kind": "harvested", "description": "logprobs of its own tokens, as they were harvested"}
        self._losses[TEACHER] = Losses(nats, facts.teacher_tokens[places], facts.response_bytes[places])
        self.notes.append(OF_ITSELF)

    def held_out(self) -> dict[str, Any]:
        ours, base = self._losses[STUDENT], self._losses[BASE]
        minus = {BASE: figures.difference(ours, base, self._sample, by_token=True)}
        if TEACHER in self._losses:
            minus[TEACHER] = figures.difference(ours, self._losses[TEACHER], self._sample, by_token=False)
        taught_by = [self._store.teachers[code] for code in self._store.teacher[self._rows]]
        return {
            "rows": len(self._rows),
            "of_rows": len(self._facts.row_ids),
            "groups": len(np.unique(self._sample.groups)),
            "grouped_by": self._facts.grouped_by,
            "tokens": dict(self._store.counts),
            "columns": {name: figures.column(losses, self._sample) for name, losses in self._losses.items()},
            "student_minus": minus,
            "student_wins_over_base": figures.wins(ours.nats, base.nats, self._sample.groups),
            "agreement": self._agreement(),
            "by_teacher": figures.by_name(taught_by, {STUDENT: ours, BASE: base}, self._sample),
        }

    def tasks(self) -> list[dict[str, Any]]:
        return [
            {
                "name": questions.task.title,
                "uri": questions.task.uri,
                "sha256": questions.sha256,
                "scorer": questions.task.scorer,
                "questions": len(questions.asked),
                "of_questions": questions.of,
                "columns": {
                    name: {
                        "score": figures.share(scores[number], self._sample),
                        "ended": sum(reply.ended for reply in self._replies[name][number]),
                    }
                    for name, scores in self._scores.items()
                },
                "student_against_base": figures.paired(
                    self._scores[STUDENT][number], self._scores[BASE][number], self._sample
                ),
            }
            for number, (questions, _) in enumerate(self._exams)
        ]

    def answers(self) -> list[dict[str, Any]]:
        """What each model said to each question, for whoever wants to look."""
        return [
            {
                "task": questions.task.title,
                "line": question.line,
                "question": question.question,
                "answer": question.answer,
                **{
                    name: {"response": replies[number][at].text, "score": self._scores[name][number][at]}
                    for name, replies in self._replies.items()
                },
            }
            for number, (questions, _) in enumerate(self._exams)
            for at, question in enumerate(questions.asked)
        ]

    def _agreement(self) -> dict[str, Any]:
        ours, base = (
            np.stack([found.same_top, found.kl_nats, found.compared], 1).astype(np.float64)
            for found in (self._measured[STUDENT], self._measured[BASE])
        )
        compared = int(ours[:, 2].sum())
        if not compared:
            return {"positions": 0, "reason": self._without or "no position of these rows has the teacher's logprobs"}
        both = np.concatenate([ours, base], 1)
        return {
            "positions": compared,
            "with": "loaded" if self.teacher["kind"] == "loaded" else "harvested",
            "columns": {
                name: {
                    "same_top": figures.ratio(part[:, [0, 2]], self._sample),
                    "kl_nats": figures.ratio(part[:, [1, 2]], self._sample),
                }
                for name, part in ((STUDENT, ours), (BASE, base))
            },
            "student_minus_base": {
                "same_top": figures.ratio(both[:, [0, 2, 3, 5]], self._sample),
                "kl_nats": figures.ratio(both[:, [1, 2, 4, 5]], self._sample),
            },
        }

    def _ask(self, name: str, model: Any, tokenizer: Any, data: Data) -> None:
        self._replies[name], self._scores[name] = [], []
        for questions, scorer in self._exams:
            told = partial(self._progress, f"{name}: {questions.task.title}")
            replies = ask(model, tokenizer, data, questions, self._batch_tokens, told)
            self._replies[name].append(replies)
            self._scores[name].append(score(questions, replies, scorer))


def drawn(rows: int, limit: int | None, seed: int) -> Ints:
    """All rows, or so many of them as the seed draws, in order."""
    if limit is None or limit >= rows:
        return np.arange(rows, dtype=np.int64)
    return np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(rows)[:limit]).astype(np.int64)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _sizes(store: TokenStore, rows: Ints) -> tuple[Ints, Ints]:
    tokens = (store.lengths - store.first_trained)[rows]
    return tokens.astype(np.int64), store.text_bytes[rows].astype(np.int64)


def _spread(losses: Losses, numbers: Ints, rows: int) -> Losses:
    """Losses of some of the rows as losses of all, NaN where there is none."""
    nats, tokens, sizes = np.full(rows, np.nan), np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    nats[numbers], tokens[numbers], sizes[numbers] = losses
    return Losses(nats, tokens, sizes)


def _require_finite(name: str, found: Measured, ids: Sequence[str]) -> None:
    broken = [row_id for row_id, nats in zip(ids, found.nats, strict=True) if not np.isfinite(nats)]
    if broken:
        more = f" and {len(broken) - 3:,} more" if len(broken) > 3 else ""
        raise ContractError(
            f"the {name}'s loss is not finite on {len(broken):,} of {len(ids):,} held-out rows: "
            f"{', '.join(broken[:3])}{more}; its weights are damaged, or its training ran away. Take an earlier one"
        )
