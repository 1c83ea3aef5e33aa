"""How alike every two models answer each prompt: one matrix a view and block of prompts.

An answer is a vector of a view's features: 1 + log of how often it has each, times how rare the feature is among the
models' answers to that prompt, scaled to length 1. So length drops out, and what everybody says to a prompt counts for
nothing. What remains of "any capable model" is taken off later (`centring`).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.outputs import Outputs
from tutelage.audit.lineage.processes import each_of
from tutelage.audit.lineage.signals import SIGNALS
from tutelage.audit.lineage.signals.classifier import HABITS, classifier_products, habits_of
from tutelage.audit.lineage.signals.reading import read
from tutelage.audit.lineage.words import Bag

BLOCKS = 40
"""Clusters of prompts: neighbours in the set's order, since sets are mostly laid out by source and topic."""

Matrix = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]


class Likeness(NamedTuple):
    """`views[signal][name]` has shape (blocks, models, models): the mean over a block's prompts of the inner products.

    `block_prompts` counts the prompts of each block. `phrases` are the inner products of shared phrases on each prompt
    with the models asked for, shape (prompts, models, asked). `answered` is each model's share of prompts to which it
    said anything, and `words` the mean logarithm of (1 + words) of what it said, both of shape (models,).
    """

    views: dict[str, dict[str, Floats]]
    block_prompts: npt.NDArray[np.int64]
    phrases: npt.NDArray[np.float16]
    answered: Matrix
    words: Matrix


def likeness(outputs: Outputs, asked: Sequence[int] = (), shares: Matrix | None = None) -> Likeness:
    """Compares all models on all prompts, in as many processes as the machine has cores. `shares` are weights of models
    in what any capable model would say (`inner_products`)."""
    shares = np.ones(len(outputs.models)) if shares is None else shares
    tasks = list(_tasks(outputs, asked, shares))
    found = list(each_of(_block, tasks, len(outputs.texts)))
    views = {
        signal: {name: np.stack([block.views[signal][name] for block in found]) for name in of_signal}
        for signal, of_signal in found[0].views.items()
    }
    views["classifier"] = {"habits": classifier_products(np.stack([block.habits for block in found]))}
    answered = np.sum([block.answered for block in found], 0)
    words = np.sum([block.words for block in found], 0) / np.maximum(answered, 1)
    return Likeness(
        views,
        np.array([len(task.prompts) for task in tasks], np.int64),
        np.concatenate([block.phrases for block in found]),
        answered / len(outputs.prompt_ids),
        words,
    )


class _Prompt(NamedTuple):
    texts: Sequence[str]
    model_no: npt.NDArray[np.int32]


class _Task(NamedTuple):
    models: int
    asked: Sequence[int]
    shares: Matrix
    prompts: list[_Prompt]


class _Found(NamedTuple):
    """`habits` are the models' means over the block's answers, shape (models, HABITS)."""

    views: dict[str, dict[str, Floats]]
    habits: Floats
    phrases: npt.NDArray[np.float16]
    answered: Matrix
    words: Matrix


def _tasks(outputs: Outputs, asked: Sequence[int], shares: Matrix) -> Iterator[_Task]:
    rows = outputs.rows_of_prompts()
    count = len(rows)
    for numbers in np.array_split(np.arange(count), min(BLOCKS, count)):
        prompts = [_Prompt(outputs.texts[rows[number]], outputs.model_no[rows[number]]) for number in numbers.tolist()]
        yield _Task(len(outputs.models), asked, shares, prompts)


def _block(task: _Task) -> _Found:
    totals: dict[str, dict[str, Matrix]] = {}
    phrases = np.zeros((len(task.prompts), task.models, len(task.asked)), np.float16)
    habits = np.zeros((task.models, HABITS), np.float32)
    answered, words = np.zeros(task.models), np.zeros(task.models)
    for number, prompt in enumerate(task.prompts):
        readings = [read(text) for text in prompt.texts]
        samples = np.bincount(prompt.model_no, minlength=task.models)
        for model, reading in zip(prompt.model_no.tolist(), readings, strict=True):
            habits[model] += habits_of(reading) / samples[model]
        counts = np.array([len(reading.words) for reading in readings])
        answered += np.bincount(prompt.model_no, counts, task.models) > 0
        words += np.bincount(prompt.model_no, np.log1p(counts), task.models) / np.maximum(samples, 1)
        for signal, views in SIGNALS.items():
            bags = [views(reading) for reading in readings]
            sums = totals.setdefault(signal, {})
            for name in bags[0]:
                matrix = inner_products([bag[name] for bag in bags], prompt.model_no, task.models, task.shares)
                sums[name] = sums[name] + matrix if name in sums else matrix
                if signal == "phrases":
                    phrases[number] = matrix[:, task.asked]
    views_of_block = {
        signal: {name: (matrix / len(task.prompts)).astype(np.float32) for name, matrix in sums.items()}
        for signal, sums in totals.items()
    }
    return _Found(views_of_block, (habits / len(task.prompts)).astype(np.float32), phrases, answered, words)


def inner_products(
    bags: Sequence[Bag], model_no: npt.NDArray[np.int32], models: int, shares: Matrix | None = None
) -> Matrix:
    """Inner products of the models' vectors on one prompt, shape (models, models).

    `bags[r]` are the features of a response of model `model_no[r]`; the samples of one model are one bag. A model whose
    bag is empty gets the mean of the others' vectors, weighted by `shares` (by default all alike): it says nothing of
    its own. The diagonal is 1 for all others.
    """
    # Feature and owner in one number, so that one sort brings a feature's owners together. What a hash loses of its 64
    # bits for that is no more than the models need.
    bits = np.uint64(int(models - 1).bit_length())
    owners = np.repeat(model_no.astype(np.uint64), [len(bag) for bag in bags])
    cells = np.sort((np.concatenate(bags).astype(np.uint64) << bits) | owners)
    starts = np.flatnonzero(np.diff(cells, prepend=cells[:1] ^ np.uint64(1)))
    counts = np.diff(starts, append=len(cells))
    cells = cells[starts]
    owner = (cells & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    feature = np.cumsum(np.diff(cells >> bits, prepend=np.uint64(0)) != 0)
    owned_by = np.bincount(feature)[feature]
    weight = (1 + np.log(counts)) * np.log((models + 1) / owned_by)
    length = np.sqrt(np.bincount(owner, weight**2, minlength=models))
    shared = owned_by > 1  # what one model alone has adds to its length only
    column = np.cumsum(np.diff(feature[shared], prepend=-1) != 0) - 1
    vectors = np.zeros((models, int(column[-1]) + 1 if len(column) else 0), np.float32)
    vectors[owner[shared], column] = weight[shared] / length[owner[shared]]
    products = (vectors @ vectors.T).astype(np.float64)
    spoke = length > 0
    products[spoke, spoke] = 1
    if spoke.any() and not spoke.all():
        share = spoke * (np.ones(models) if shares is None else shares)
        share = share / share.sum() if share.any() else spoke / spoke.sum()
        mean = share @ products
        products[~spoke], products[:, ~spoke] = mean, mean[:, None]
        products[np.ix_(~spoke, ~spoke)] = share[spoke] @ mean[spoke]
    return products
