"""Questions with answers: what a model says to each, greedily, and whether a scorer finds the answer in it."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import fsspec
import numpy as np
import torch

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError, ContractError
from tutelage.train.config import Data
from tutelage.train.evaluation.evaluate_config import Task
from tutelage.train.evaluation.scorers import Scorer
from tutelage.train.rows.row_problems import Problem
from tutelage.train.rows.templates import template_of
from tutelage.train.rows.turns import Turns

_ANY = "x"
"""A response that stands for any: what is wanted of its rendering is what comes before it."""


class Question(NamedTuple):
    """`line` counts from 1 in the file; empty lines count, too."""

    line: int
    question: str
    answer: str


class Questions(NamedTuple):
    task: Task
    sha256: str
    of: int
    asked: tuple[Question, ...]


class Reply(NamedTuple):
    """`ended` where the model itself came to an end within max_new_tokens."""

    text: str
    ended: bool


def read_questions(task: Task, seed: int) -> Questions:
    """All of a task's questions, or `limit_rows` of them that the seed draws, in the file's order."""
    try:
        with fsspec.open(task.uri, "rb") as stream:
            content = stream.read()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{task.uri}: can't be read ({error}); a file of JSON Lines was wanted") from error
    found = [
        _question(task, number, line)
        for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1)
        if line.strip()
    ]
    if not found:
        raise ConfigError(f"{task.uri}: holds no question; lines of JSON objects were wanted")
    asked = found
    if task.limit_rows is not None and task.limit_rows < len(found):
        drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(found))[: task.limit_rows]
        asked = [found[place] for place in sorted(drawn)]
    return Questions(task, sha256_hex(content), len(found), tuple(asked))


def ask(
    model: Any,
    tokenizer: Any,
    data: Data,
    questions: Questions,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Reply]:
    """The model's most likely token, again and again, to its end of turn or `max_new_tokens`. A question at a time."""
    found = []
    template = template_of(tokenizer, data)
    ends = _ends(model, tokenizer) | {template.end_of_turn}
    texts = [f"{question.question}{questions.task.prompt_suffix}" for question in questions.asked]
    training = model.training
    model.eval()
    try:
        for question, shown in zip(
            questions.asked, template.render([Turns([("user", text)], _ANY) for text in texts]), strict=True
        ):
            if isinstance(shown, Problem):
                raise ConfigError(f"{questions.task.uri}, line {question.line}: {shown}")
            ids, ended = greedy(model, shown.ids[: shown.first_trained], ends, questions.task.max_new_tokens)
            found.append(Reply(tokenizer.decode(ids, skip_special_tokens=True), ended))
            progress(len(found), len(questions.asked))
    finally:
        model.train(training)
    return found


def greedy(model: Any, prompt: Sequence[int], ends: frozenset[int], most: int) -> tuple[list[int], bool]:
    """At most so many ids after the prompt, without the one that ended them; and whether one did.

    Not `generate`: a student's generation config may hold penalties that make it something other than greedy.
    """
    device = next(model.parameters()).device
    room = getattr(model.config, "max_position_embeddings", None) or len(prompt) + most
    ids, cache, found = torch.tensor([prompt], device=device), None, list[int]()
    with torch.inference_mode():
        for _ in range(min(most, room - len(prompt))):
            out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, token = out.past_key_values, int(out.logits[0, -1].argmax())
            if token in ends:
                return found, True
            found.append(token)
            ids = torch.tensor([[token]], device=device)
    return found, False


def score(questions: Questions, replies: Sequence[Reply], scorer: Scorer) -> list[float]:
    found = []
    for question, reply in zip(questions.asked, replies, strict=True):
        try:
            found.append(scorer(reply.text, question.answer))
        except ContractError as error:
            raise ContractError(f"{questions.task.uri}, line {question.line}: {error}") from error
    return found


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """Ids after which a model has nothing more to say: its own and its tokenizer's."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    several = own if isinstance(own, list) else [own]
    return frozenset(int(token) for token in (*several, tokenizer.eos_token_id) if token is not None)


def _question(task: Task, number: int, line: str) -> Question:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{task.uri}, line {number}: is no JSON ({error}); mend it") from error
    values = []
    for field in (task.question_field, task.answer_field):
        value = found.get(field) if isinstance(found, dict) else None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            has = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
            raise ConfigError(
                f"{task.uri}, line {number}: found {has}, a text in {field!r} was wanted; "
                "name the task's question_field and answer_field"
            )
        values.append(str(value))
    return Question(number, *values)
