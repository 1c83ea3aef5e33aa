"""`audit who-wrote`: which of the panel's models wrote a text, or that none can be told.

Closed-set: each text's probabilities add up to 1 over the panel's models, so the true author may be none of them. For a
suspect as a whole this is asked too: is it as near to a model as that model's own texts are, or only as near as a model
that was left out of the panel is to its nearest?
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.authorship import (
    CONFIDENCE,
    LEAST_BLOCKS,
    LEAST_LEFT_OUT,
    left_out,
    likeness_to,
    outside_p,
    standing,
)
from tutelage.audit.lineage.discriminant import Evidence, evidence, habits, log_probabilities, temperatures
from tutelage.audit.lineage.likeness import BLOCKS
from tutelage.audit.lineage.outputs import LEAST_ANSWERED, Outputs
from tutelage.audit.lineage.panel import Panel, named
from tutelage.audit.lineage.reliability import Reliability, recalibrated, reliability, threshold_for
from tutelage.audit.lineage.who_wrote_result import CANNOT_TELL, Authorship, TextGuess, WhoWroteResult, percent
from tutelage.schemas.text import normalise

FOLDS = 10

Matrix = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class _Setup(NamedTuple):
    """`columns` are the classes' numbers among the models; block and fold are those of a text's prompt."""

    columns: Numbers
    usable: Flags
    block: Numbers
    fold: Numbers


class _Named(NamedTuple):
    """For each text with any word: its log-probabilities, the most probable class, and whether it is named."""

    logs: npt.NDArray[np.float32]
    best: Numbers
    probability: Matrix
    is_named: Flags


def who_wrote(outputs: Outputs, panel: Panel, suspects: Sequence[str], *, seed: int = 0) -> WhoWroteResult:
    """Asks of each suspect's texts which of the panel's other models wrote them.

    A minute for 100,000 texts on two cores. What is said of a text was learned on other clusters of prompts.
    """
    suspects = list(dict.fromkeys(suspects))
    members = [
        number
        for number, name in enumerate(outputs.models)
        if name in panel.models and name not in suspects and panel.models[name].roles != {"suspect"}
    ]
    block = _blocks(outputs.prompts)
    why = _too_little(len(members), int(block.max(initial=-1)) + 1)
    if why is not None:
        return _nothing(outputs, suspects, members, why, outputs.notes)
    found = habits(outputs, members)
    answered = _answered(outputs, found.usable)
    silent = [number for number in members if answered[number] < LEAST_ANSWERED]
    members = [number for number in members if number not in silent]
    notes = [*outputs.notes, *_silence([outputs.models[number] for number in silent])]
    setup = _setup(outputs, found.usable, members, block, seed)
    seen = evidence(found, outputs.model_no, len(outputs.models), setup.columns, setup.block, setup.fold)
    del found
    why = _unfitted(seen, setup)
    if why is not None:
        return _nothing(outputs, suspects, members, why, notes)
    told, measured = _texts(seen, outputs, setup, seed)
    reason = _no_better_than_chance(measured)
    if reason is not None:
        told = told._replace(is_named=np.zeros_like(told.is_named))
    classes = tuple(outputs.models[number] for number in members)
    share = np.bincount(setup.block[setup.usable], minlength=len(seen.products)).astype(np.float64)
    overall = np.tensordot(share / share.sum(), np.nan_to_num(seen.products), 1)
    left = left_out(overall, setup.columns, [panel.models[_origin(name, panel)].cluster for name in classes])
    whole = _Whole(outputs, panel, setup, told, overall, left, answered, seed, reason)
    return WhoWroteResult(
        suspects=tuple(_authorship(name, whole) for name in suspects),
        classes=classes,
        prompts=len(outputs.prompt_ids),
        reliability=measured,
        reason=reason,
        cannot_tell=CANNOT_TELL,
        notes=tuple(notes),
    )


def _too_little(members: int, blocks: int) -> str | None:
    """Why nothing can be asked, before anything is read."""
    if members < 2:
        return (
            f"the panel leaves {members} {'model' if members == 1 else 'models'} to choose from, and at least 2 that "
            "are no suspects are needed"
        )
    if blocks < LEAST_BLOCKS:
        return (
            f"the models answered {blocks} different prompts together, and at least {LEAST_BLOCKS} are needed to ask "
            "about some what was learned on others"
        )
    return None


def _silence(models: Sequence[str]) -> list[str]:
    if not models:
        return []
    return [f"{named(models)} can't be named: their texts are empty, or nobody else's are not, on most prompts"]


def _setup(outputs: Outputs, usable: Flags, members: Sequence[int], prompt_block: Numbers, seed: int) -> _Setup:
    """Neighbours in the set's order stay together; which clusters make a fold is drawn."""
    drawn = np.random.default_rng(seed).permutation(int(prompt_block.max()) + 1) % FOLDS
    block = prompt_block[outputs.prompt_no]
    return _Setup(np.array(members, np.int64), usable, block, drawn[block])


def _unfitted(seen: Evidence, setup: _Setup) -> str | None:
    if len(setup.columns) < 2:
        return f"{len(setup.columns)} models of the panel said anything to most prompts, and at least 2 are needed"
    if not np.isfinite(seen.logits[setup.usable]).all():
        return "the panel's models answer every prompt alike, or one of them answered next to none outside one fold"
    return None


def _no_better_than_chance(measured: Reliability) -> str | None:
    if measured.accuracy.low is not None and measured.accuracy.low > measured.chance:
        return None
    return (
        f"the panel's own texts are told apart no better than by chance ({percent(measured.accuracy.value)} right, "
        f"{percent(measured.chance)} by chance)"
    )


def _blocks(prompts: Sequence[str]) -> Numbers:
    """The cluster of each prompt: neighbours in the set's order. Prompts of the same words are never apart."""
    first: dict[str, int] = {}
    numbers = [first.setdefault(normalise(text) or f"\0{place}", len(first)) for place, text in enumerate(prompts)]
    distinct = len(first)
    return np.array(numbers, np.int64) * min(BLOCKS, distinct) // max(distinct, 1)


def _answered(outputs: Outputs, usable: Flags) -> Matrix:
    """Share of the prompts to which each model said anything."""
    pairs = np.zeros((len(outputs.models), len(outputs.prompt_ids)), np.bool_)
    pairs[outputs.model_no[usable], outputs.prompt_no[usable]] = True
    found: Matrix = pairs.mean(1)
    return found


def _texts(seen: Evidence, outputs: Outputs, setup: _Setup, seed: int) -> tuple[_Named, Reliability]:
    """Probabilities and names for all texts, and how well they hold for the panel's own."""
    column = np.full(len(outputs.models), -1)
    column[setup.columns] = np.arange(len(setup.columns))
    own = column[outputs.model_no]
    known = np.flatnonzero(setup.usable & (own >= 0))
    scale = temperatures(seen.logits[known], own[known], setup.fold[known])
    logs = log_probabilities(seen.logits, scale[setup.fold][:, None])
    best = np.where(setup.usable, np.nan_to_num(logs, nan=-np.inf).argmax(1), -1)
    probability = np.exp(np.nan_to_num(logs, nan=-np.inf).max(1).astype(np.float64))
    right = best == own
    probability = recalibrated(probability, right, known, setup.fold)
    is_named = np.zeros(len(own), np.bool_)
    for number in np.unique(setup.fold):
        others = known[setup.fold[known] != number]
        least = threshold_for(probability[others], right[others])
        if least is not None:
            is_named |= setup.usable & (setup.fold == number) & (probability >= least)
    measured = reliability(
        probability[known], right[known], is_named[known], own[known], setup.block[known], len(setup.columns), seed
    )
    return _Named(logs, best, probability, is_named), measured


class _Whole(NamedTuple):
    """`overall` are the products of models' habits over all prompts; `left` how alike models left out are to others."""

    outputs: Outputs
    panel: Panel
    setup: _Setup
    told: _Named
    overall: Matrix
    left: Matrix
    answered: Matrix
    seed: int
    reason: str | None

    def name_of(self, column: int) -> str:
        return self.outputs.models[int(self.setup.columns[column])]


def _authorship(name: str, whole: _Whole) -> Authorship:
    if name not in whole.outputs.models:
        return _absent(name, whole.outputs)
    number = whole.outputs.models.index(name)
    rows = np.flatnonzero(whole.outputs.model_no == number)
    spoke = rows[whole.setup.usable[rows]]
    counts = Counter(whole.told.best[spoke].tolist())
    guesses = tuple(_guess(row, whole) for row in rows.tolist())
    found = replace(
        _unnamed(name, whole.reason),
        texts=len(rows),
        abstained=sum(guess.model is None for guess in guesses),
        shares={whole.name_of(column): count / len(spoke) for column, count in counts.most_common()},
        guesses=guesses,
    )
    if whole.reason is not None:
        return found
    if whole.answered[number] < LEAST_ANSWERED:
        return replace(found, reason=f"it said something to {percent(whole.answered[number])} of the prompts only")
    return _as_a_whole(found, number, spoke, whole)


def _as_a_whole(found: Authorship, number: int, spoke: Numbers, whole: _Whole) -> Authorship:
    weight = np.bincount(whole.setup.block[spoke]).astype(np.float64)
    by_block = np.zeros((len(weight), len(whole.setup.columns)))
    np.add.at(by_block, whole.setup.block[spoke], whole.told.logs[spoke])
    at = standing(by_block / np.maximum(weight, 1)[:, None], weight, whole.seed)
    likeness = float(likeness_to(whole.overall, whole.setup.columns, number)[at.order[0]])
    left = whole.left[np.isfinite(whole.left)]
    found = replace(found, nearest=whole.name_of(at.order[0]), ahead=at.ahead)
    if not np.isfinite(likeness):
        return replace(found, reason="its texts have no habits of their own that could be seen")
    if len(left) < LEAST_LEFT_OUT:
        why = (
            f"whether the author is none of these models can't be told: {len(left)} of them have habits that could be "
            f"seen were they left out, and at least {LEAST_LEFT_OUT} are needed"
        )
        return replace(found, likeness=likeness, reason=why)
    outside = outside_p(likeness, left)
    found = replace(found, likeness=likeness, outside_p=outside)
    if outside > max(1 - CONFIDENCE, 1 / (len(left) + 1)):
        like = int(np.sum(left >= likeness))
        why = (
            f"it may be none of these models: of {len(left):,} left out in turn, with their clusters, {like:,} "
            f"are as like another model as it is like {named([found.nearest or ''])}"
        )
        return replace(found, reason=why)
    rivals = [whole.name_of(column) for column in at.rivals.tolist()]
    families = {_family(model, whole.panel) for model in rivals}
    family = families.pop() if len(families) == 1 else None
    confidence = min(at.ahead, 1 - outside)
    if len(rivals) == 1:
        return replace(found, model=found.nearest, family=family, confidence=confidence, reason=None)
    why = f"{named(rivals)} can't be told apart on these prompts"
    if family is None:
        return replace(found, reason=why)
    of_family = float(at.leads[at.rivals].sum())
    if of_family < CONFIDENCE:
        return replace(found, reason=why)
    return replace(found, family=family, confidence=min(of_family, 1 - outside), reason=why)


def _origin(model: str, panel: Panel) -> str:
    """The model that this one is a variant of, or it itself."""
    seen = {model}
    while "variant" in panel.models[model].roles:
        parent = panel.models[model].parent
        if parent is None or parent in seen or parent not in panel.models:
            break
        seen.add(parent)
        model = parent
    return model


def _family(model: str, panel: Panel) -> str | None:
    """Its family, if it is a teacher or a variant of one."""
    item = panel.models[_origin(model, panel)]
    return item.family if "teacher" in item.roles else None


def _guess(row: int, whole: _Whole) -> TextGuess:
    prompt_id = whole.outputs.prompt_ids[whole.outputs.prompt_no[row]]
    if not whole.setup.usable[row]:
        return TextGuess(prompt_id, None, None)
    model = whole.name_of(whole.told.best[row]) if whole.told.is_named[row] else None
    return TextGuess(prompt_id, model, round(float(whole.told.probability[row]), 4))


def _unnamed(name: str, reason: str | None, texts: int = 0) -> Authorship:
    return Authorship(name, None, None, None, reason, None, None, None, None, texts, texts, {}, ())


def _absent(name: str, outputs: Outputs) -> Authorship:
    return _unnamed(name, f"it answered too few of the shared prompts ({outputs.uncovered.get(name, 0):,})")


def _nothing(
    outputs: Outputs, suspects: Sequence[str], members: Sequence[int], reason: str, notes: Sequence[str]
) -> WhoWroteResult:
    """Nobody is named, and this is why."""
    texts = np.bincount(outputs.model_no, minlength=len(outputs.models))
    return WhoWroteResult(
        suspects=tuple(
            _unnamed(name, reason, int(texts[outputs.models.index(name)]))
            if name in outputs.models
            else _absent(name, outputs)
            for name in suspects
        ),
        classes=tuple(outputs.models[number] for number in members),
        prompts=len(outputs.prompt_ids),
        reliability=None,
        reason=reason,
        cannot_tell=CANNOT_TELL,
        notes=tuple(notes),
    )
