"""Which of the panel's models wrote a text: a linear discriminant over habits, asked only about prompts it hasn't seen.

Stylometric classifiers tell models apart by their texts (Sun et al. 2025, "Idiosyncrasies in Large Language Models",
arXiv:2502.12150). This one is closed-form: Fisher's discriminant with a covariance shrunk towards a sphere (Friedman
1989, "Regularized Discriminant Analysis"), fitted anew for every fold of prompts from sums that are made once; then
one temperature (Guo et al. 2017, arXiv:1706.04599), so that what it says with 80 % holds in 80 % of cases.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg

from tutelage.audit.lineage.outputs import Outputs
from tutelage.audit.lineage.processes import each_of
from tutelage.audit.lineage.signals.reading import Reading, read
from tutelage.audit.lineage.words import Bag, characters, hashed, placed, root_shares, runs

Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

SIZES = {"characters": 1024, "triples": 512, "templates": 512, "lines": 256, "openings": 256, "endings": 256}
WIDTH = sum(SIZES.values()) + 1
FIRST_TOKENS, LAST_TOKENS = 12, 20
SHRINKAGE = 0.3
BEND = 4.0
"""Nats of evidence beyond which more of it counts for ever less: habits have heavier tails than a Gaussian's."""
PROMPTS_AT_ONCE = 20
LEAST_FOR_CENTRING = 20
"""Models of a panel under which a prompt's mean is not taken off. The mean holds the panel text that is asked about but
none of a suspect's: with 2 made-up classes .80 of the panel's texts came out right and .69 of a suspect's; with 20 the
difference was .01. Without it both are .69."""
NO_DIFFERENCE = 1e-6
"""Variance of unit vectors under which answers are all alike, but for rounding."""
_LOG_TEMPERATURES = np.linspace(-7, 3, 41)

_LETTERS, _DIGITS = re.compile(r"[^\W\d_]+"), re.compile(r"\d+")
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Habits(NamedTuple):
    """One row for each text of the outputs, in their order: its habits, less the panel's mean on that prompt where the
    panel is large enough.

    `values` has shape (texts, WIDTH). `usable` is false of a text without a word or a sign, and where nobody else of
    the panel said anything to the prompt; such a row is 0. `weight` makes a model's texts on a prompt count as one.
    """

    values: npt.NDArray[np.float16]
    usable: npt.NDArray[np.bool_]
    weight: Floats


class Discriminant(NamedTuple):
    """Evidence for each profile in nats, against the classes' centre, is (x - centre) @ weights + offset."""

    centre: Floats
    weights: Floats
    offset: Floats


class Evidence(NamedTuple):
    """`logits` has shape (texts, classes): log-likelihoods but for a constant, bent.

    `products` has shape (blocks, models, models): what a block's mean of one model has in common with another's profile
    from other folds, whitened. All are NaN where nothing could be fitted.
    """

    logits: Floats
    products: Matrix


def habits(outputs: Outputs, panel: Sequence[int]) -> Habits:
    """`panel` are the numbers of the models that say what anybody answers to a prompt."""
    tasks = list(_tasks(outputs, np.array(panel, np.int64)))
    return _joined(each_of(_block, tasks, len(outputs.texts)), len(outputs.texts))


class _Task(NamedTuple):
    texts: list[str]
    model_no: npt.NDArray[np.int32]
    prompt_no: npt.NDArray[np.int32]
    panel: Numbers


def _tasks(outputs: Outputs, panel: Numbers) -> Iterator[_Task]:
    prompts = outputs.rows_of_prompts()
    for first in range(0, len(prompts), PROMPTS_AT_ONCE):
        some = prompts[first : first + PROMPTS_AT_ONCE]
        rows = slice(some[0].start, some[-1].stop)
        yield _Task(outputs.texts[rows], outputs.model_no[rows], outputs.prompt_no[rows], panel)


def _joined(found: Iterator[Habits], texts: int) -> Habits:
    values, usable, weight = (
        np.zeros((texts, WIDTH), np.float16),
        np.zeros(texts, np.bool_),
        np.zeros(texts, np.float32),
    )
    start = 0
    for block in found:
        rows = slice(start, start + len(block.usable))
        values[rows], usable[rows], weight[rows] = block
        start = rows.stop
    return Habits(values, usable, weight)


def _block(task: _Task) -> Habits:
    values = np.stack([features(read(text)) for text in task.texts])
    usable = np.abs(values).max(1) > 0
    weight = np.zeros(len(values), np.float32)
    for prompt in np.unique(task.prompt_no):
        rows = np.flatnonzero(task.prompt_no == prompt)
        spoke = rows[usable[rows]]
        samples = np.bincount(task.model_no[spoke])
        of_panel = spoke[np.isin(task.model_no[spoke], task.panel)]
        if len(np.unique(task.model_no[of_panel])) < 2:
            usable[rows] = False
            continue
        weight[spoke] = 1 / samples[task.model_no[spoke]]
        if len(task.panel) < LEAST_FOR_CENTRING:
            continue
        # The panel's mean says what the prompt asks for. Whose text is whose is not in it.
        values[spoke] -= np.average(values[of_panel], axis=0, weights=weight[of_panel])
    values[~usable] = 0
    return Habits(values.astype(np.float16), usable, weight)


def features(reading: Reading) -> Floats:
    """Square roots of the shares of hashed features, one unit vector a kind, and the length; shape (WIDTH,).

    All 0 for a text without a word or a sign.
    """
    if not reading.text.strip():
        return np.zeros(WIDTH, np.float32)
    first, last = reading.tokens.cased[:FIRST_TOKENS], reading.tokens.cased[-LAST_TOKENS:]
    fours = characters(reading.text)
    lines = np.array([hashed(_line(line)) for line in reading.text.split("\n")], np.uint64)
    kinds: dict[str, Bag] = {
        "characters": fours,
        "triples": fours & np.uint32(0xFFFFFF),
        "templates": runs(reading.tokens.template, 3),
        "lines": np.concatenate([lines, runs(lines, 2)]),
        "openings": np.concatenate([first, runs(first, 2), placed(first)]),
        "endings": np.concatenate([last, runs(last, 2), placed(last[::-1][:4])]),
    }
    found = [_shares(kinds[name], size) for name, size in SIZES.items()]
    length = np.array([0.1 * np.log1p(len(reading.text))], np.float32)
    return np.concatenate([*found, length])


def _line(line: str) -> str:
    """What kind of line it is by its first signs: letters and digits are made alike."""
    return _LETTERS.sub("a", _DIGITS.sub("9", line[:4]))


def _shares(bag: Bag, size: int) -> Floats:
    # Four characters as a number differ in their high bits: mixed, before a part of the bits is kept.
    places = ((bag.astype(np.uint64) * _MIX) >> np.uint64(33)) % np.uint64(size)
    return root_shares(places.astype(np.int64), size)


def evidence(
    found: Habits, model_no: npt.NDArray[np.int32], models: int, classes: Numbers, block: Numbers, fold: Numbers
) -> Evidence:
    """`block[r]` and `fold[r]` are those of a text's prompt; a text is weighed by what other folds' prompts taught.

    Models that are no class have a profile too, from their texts in other folds: it is for `products` alone.
    """
    folds, blocks = int(fold.max()) + 1, int(block.max()) + 1
    all_values = found.values if len(found.values) >= WIDTH else _rotated(found.values)
    width = all_values.shape[1]
    grams = np.zeros((folds, width, width), np.float32)
    sums, mass = np.zeros((blocks, models, width), np.float32), np.zeros((blocks, models))
    fold_of_block = np.zeros(blocks, np.int64)
    fold_of_block[block] = fold
    is_class = np.isin(model_no, classes)
    for number in range(blocks):
        rows = np.flatnonzero((block == number) & found.usable)
        values, weight = all_values[rows].astype(np.float32), found.weight[rows]
        owner = np.zeros((models, len(rows)), np.float32)
        owner[model_no[rows], np.arange(len(rows))] = weight
        sums[number], mass[number] = owner @ values, owner.sum(1)
        scaled = (values * np.sqrt(weight)[:, None])[is_class[rows]]
        grams[fold_of_block[number]] += scaled.T @ scaled
    logits = np.full((len(model_no), len(classes)), np.nan, np.float32)
    products = np.full((blocks, models, models), np.nan)
    whole = grams.sum(0)
    for number in range(folds):
        own = fold_of_block == number
        fitted = fit(whole - grams[number], sums[~own].sum(0), mass[~own].sum(0), classes)
        if fitted is None:
            continue
        rows = np.flatnonzero((fold == number) & found.usable)
        products[own] = sums[own] @ fitted.weights - mass[own][..., None] * (fitted.centre @ fitted.weights)
        weights, offset = fitted.weights[:, classes], fitted.offset[classes]
        given = (all_values[rows].astype(np.float32) - fitted.centre) @ weights + offset
        logits[rows] = BEND * np.arcsinh(given / BEND)
    with np.errstate(invalid="ignore", divide="ignore"):
        products /= mass[..., None]
    return Evidence(logits, products)


def _rotated(values: npt.NDArray[np.float16]) -> Floats:
    """The same vectors in as many dimensions as there are of them: for few texts, a fit costs little then."""
    wide = values.astype(np.float64)
    power, axes = np.linalg.eigh(wide @ wide.T)
    kept = power > 1e-9 * max(float(power[-1]), 1.0)
    found: Floats = (axes[:, kept] * np.sqrt(power[kept])).astype(np.float32)
    return found if kept.any() else np.zeros((len(values), 1), np.float32)


def fit(
    gram: Floats, sums: Floats, mass: Matrix, classes: Numbers, ridge: float = SHRINKAGE / WIDTH
) -> Discriminant | None:
    """`gram` is the classes' sum of outer products, `sums` the profiles' sums of vectors and `mass` their weights.

    None where a class has no text, or where there is no difference to be told. The covariance is the one within
    classes; `ridge` times the whole variance, between classes included, is added to its diagonal, so that classes which
    always say the same can be told apart.
    """
    if len(classes) < 2 or not (mass[classes] > 0).all():
        return None
    count = mass[classes].sum()
    means = (sums / np.maximum(mass, 1e-9)[:, None]).astype(np.float32)
    centre = means[classes].mean(0)
    scaled = means[classes] * np.sqrt(mass[classes])[:, None].astype(np.float32)
    overall = (mass[classes] @ means[classes]) / count
    variance = float(np.trace(gram) / count - overall @ overall)
    if not variance > NO_DIFFERENCE:
        return None
    covariance = (gram - scaled.T @ scaled) / np.float32(count)
    covariance[np.diag_indices(len(gram))] += np.float32(ridge * variance)
    away = means - centre
    factor = linalg.cho_factor(covariance, overwrite_a=True, check_finite=False)
    weights = linalg.cho_solve(factor, away.T, check_finite=False).astype(np.float32)
    return Discriminant(centre, weights, (-0.5 * (away * weights.T).sum(1)).astype(np.float32))


def temperatures(logits: Floats, own: Numbers, fold: Numbers) -> Matrix:
    """For each fold, what logits are multiplied by: the factor under which the *other* folds' answers are likeliest.

    `own[r]` is the column of the class that wrote the text.
    """
    folds = int(fold.max()) + 1
    loss = np.zeros((len(_LOG_TEMPERATURES), folds))
    rows = np.arange(len(own))
    for place, log_temperature in enumerate(_LOG_TEMPERATURES):
        each = -log_probabilities(logits, np.exp(log_temperature))[rows, own]
        loss[place] = np.bincount(fold, each, folds)
    return np.array([np.exp(_lowest(loss.sum(1) - loss[:, number])) for number in range(folds)])


def _lowest(loss: Matrix) -> float:
    """Where the parabola through the lowest of the losses and its neighbours is lowest."""
    place = int(np.clip(loss.argmin(), 1, len(loss) - 2))
    before, here, after = loss[place - 1 : place + 2]
    bend = before - 2 * here + after
    step = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return float(_LOG_TEMPERATURES[place] + np.clip(step, -1, 1) * (_LOG_TEMPERATURES[1] - _LOG_TEMPERATURES[0]))


def log_probabilities(logits: Floats, temperature: float | npt.NDArray[np.floating]) -> Floats:
    scaled = logits * np.asarray(temperature, np.float32)
    scaled -= scaled.max(1, keepdims=True)
    scaled -= np.log(np.exp(scaled).sum(1, keepdims=True))
    found: Floats = scaled
    return found
