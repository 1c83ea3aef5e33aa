"""Questions with answers: what a model says to each, greedily, and whether a scorer finds the answer in it."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import fsspec
import numpy as np
import torch

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError, ContractError
from tutelage.train.config import Data
from tutelage.train.evaluation.evaluate_config import Task
from tutelage.train.evaluation.scorers import Scorer, require_scorable
from tutelage.train.rows.row_problems import Problem
from tutelage.train.rows.templates import template_of
from tutelage.train.rows.turns import Turns

_ANY = "x"
"""A response that stands for any: what is wanted of its rendering is what comes before it."""


AT_ONCE = 16
"""Questions in one batch, at most. A step reads all weights for one token; for sixteen it takes little longer."""


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
    batch_tokens: int,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Reply]:
    """The model's most likely token, again and again, to its end of turn or `max_new_tokens`. Questions of up to
    `batch_tokens` tokens are read at once, or one that is longer."""
    template = template_of(tokenizer, data)
    ends = _ends(model, tokenizer) | {template.end_of_turn}
    texts = [f"{question.question}{questions.task.prompt_suffix}" for question in questions.asked]
    prompts = []
    for question, shown in zip(
        questions.asked, template.render([Turns([("user", text)], _ANY) for text in texts]), strict=True
    ):
        if isinstance(shown, Problem):
            raise ConfigError(f"{questions.task.uri}, line {question.line}: {shown}")
        prompts.append(shown.ids[: shown.first_trained])
    found: dict[int, Reply] = {}
    training = model.training
    model.eval()
    try:
        for places in _groups([len(prompt) for prompt in prompts], batch_tokens):
            said = greedy(model, [prompts[place] for place in places], ends, questions.task.max_new_tokens)
            for place, (ids, ended) in zip(places, said, strict=True):
                found[place] = Reply(tokenizer.decode(ids, skip_special_tokens=True), ended)
            progress(len(found), len(prompts))
    finally:
        model.train(training)
    return [found[place] for place in range(len(prompts))]


def _groups(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Places of like lengths together, since the shorter ones of a group are filled up."""
    group: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if group and (len(group) == AT_ONCE or (len(group) + 1) * lengths[place] > batch_tokens):
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def greedy(
    model: Any, prompts: Sequence[Sequence[int]], ends: frozenset[int], most: int
) -> list[tuple[list[int], bool]]:
    """Of each prompt at most so many ids after it, without the one that ended them; and whether one did.

    Not `generate`: a student's generation config may hold penalties that make it something other than greedy.
    """
    device = next(model.parameters()).device
    room = getattr(model.config, "max_position_embeddings", None) or max(map(len, prompts)) + most
    limits = [min(most, room - len(prompt)) for prompt in prompts]
    found: list[list[int]] = [[] for _ in prompts]
    ended: set[int] = set()
    asked = [place for place, limit in enumerate(limits) if limit > 0]
    longest = max((len(prompts[place]) for place in asked), default=0)
    # Filled up in front, so that all go on at the same column; what fills is masked, and counts for no position.
    fill = [longest - len(prompts[place]) for place in asked]
    ids = torch.tensor([[0] * more + list(prompts[place]) for more, place in zip(fill, asked, strict=True)])
    seen = torch.tensor([[0] * more + [1] * (longest - more) for more in fill])
    ids, seen = ids.to(device), seen.to(device)
    positions, cache = (seen.cumsum(-1) - 1).clamp(min=0), None
    going = set(asked)
    with torch.inference_mode():
        while going:
            out = model(
                input_ids=ids,
                attention_mask=seen,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache, tokens = out.past_key_values, out.logits[:, -1].argmax(-1)
            for place, token in zip(asked, tokens.tolist(), strict=True):
                if place not in going:
                    continue
                if token in ends:
                    ended.add(place)
                else:
                    found[place].append(token)
                if place in ended or len(found[place]) == limits[place]:
                    going.remove(place)
            # Who is done stays in the batch, since not every model's cache can let go of a row, at the last position.
            ids, positions = tokens[:, None], (positions[:, -1:] + 1).clamp(max=room - 1)
            seen = torch.cat([seen, seen.new_ones(len(asked), 1)], 1)
    return [(said, place in ended) for place, said in enumerate(found)]


def require_answers(questions: Questions) -> None:
    """Raises ContractError at an answer that the task's scorer could say nothing of."""
    for question in questions.asked:
        with _named(questions, question):
            require_scorable(questions.task.scorer, question.answer)


def score(questions: Questions, replies: Sequence[Reply], scorer: Scorer) -> list[float]:
    found = []
    for question, reply in zip(questions.asked, replies, strict=True):
        with _named(questions, question):
            found.append(scorer(reply.text, question.answer))
    return found


@contextlib.contextmanager
def _named(questions: Questions, question: Question) -> Iterator[None]:
    try:
        yield
    except ContractError as error:
        raise ContractError(f"{questions.task.uri}, line {question.line}: {error}") from error


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
