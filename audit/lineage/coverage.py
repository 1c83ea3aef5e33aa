"""Which models can be compared on which prompts? As many models as possible on prompts that all of them answered."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Answered = npt.NDArray[np.bool_]

LEAST_OF_PANEL = 0.9
"""A panel model below it is set aside: for one model's sake the others would lose more than a tenth of the prompts."""
LEAST_OF_SUSPECT = 0.5
"""A suspect may cost half of the prompts: it is who the question is about. Less than half says little of it."""
LEAST_SHARED = 0.5
"""Where the panel's holes lie in different places, and all models together leave less of the prompts, those with the
most holes go, too."""


class Coverage(NamedTuple):
    """Numbers of rows (models) and columns (prompts) of what was answered.

    `expected` are the prompts that the most complete panel models answer. `set_aside` are panel models with how many
    of those they answered; `uncovered` are suspects with how many of the `panel_prompts` they answered, those that the
    panel's models share.
    """

    models: list[int]
    prompts: npt.NDArray[np.intp]
    expected: npt.NDArray[np.intp]
    panel_prompts: int
    set_aside: dict[int, int]
    uncovered: dict[int, int]


def choose(answered: Answered, in_panel: npt.NDArray[np.bool_], is_suspect: npt.NDArray[np.bool_]) -> Coverage:
    """`answered[model, prompt]`; a model of the panel may be a suspect, and is then kept by the rule for suspects."""
    panel = np.flatnonzero(in_panel & answered.any(axis=1))
    expected = _expected(answered[panel])
    counts = answered[:, expected].sum(axis=1)
    complete = panel[_complete(answered[panel], expected)].tolist()
    kept = _with_shared_prompts(answered[:, expected], complete)
    shared = np.zeros(answered.shape[1], np.bool_)
    if kept:
        shared[expected] = answered[kept][:, expected].all(axis=0)
    of_panel = shared.copy()
    uncovered = {}
    # The most complete first: one suspect with few answers must not cost the others theirs.
    suspects = [int(model) for model in np.flatnonzero(is_suspect) if model not in kept]
    for model in sorted(suspects, key=lambda model: -int((answered[model] & of_panel).sum())):
        left = shared & answered[model]
        if left.any() and left.sum() >= LEAST_OF_SUSPECT * of_panel.sum():
            shared = left
            kept.append(model)
        else:
            uncovered[model] = int((answered[model] & of_panel).sum())
    set_aside = {int(model): int(counts[model]) for model in panel if model not in kept and model not in uncovered}
    return Coverage(sorted(kept), np.flatnonzero(shared), expected, int(of_panel.sum()), set_aside, uncovered)


def _expected(answered: Answered) -> npt.NDArray[np.intp]:
    """The prompts that the most complete models answer.

    Those models are the largest group that answers nearly all of what at least so many models answer. Models count in
    full, since the smallest p-value falls with their number, and prompts by their logarithm: so neither one model with
    many prompts of its own nor many models with few of them set the measure. What more than half of the group answers
    is expected of all, unless hardly half of the group does.
    """
    models_of_prompt = answered.sum(axis=0)
    best, complete, expected = 0.0, np.zeros(len(answered), np.bool_), np.empty(0, np.intp)
    for least in np.unique(models_of_prompt[models_of_prompt > 0]):
        prompts = np.flatnonzero(models_of_prompt >= least)
        group = _complete(answered, prompts)
        worth = float(group.sum() * np.log1p(len(prompts)))
        if worth >= best and group.sum() >= min(2, len(answered)):
            best, complete, expected = worth, group, prompts
    wider = np.flatnonzero(2 * answered[complete].sum(axis=0) > complete.sum())
    return wider if 2 * _complete(answered[complete], wider).sum() > complete.sum() else expected


def _complete(answered: Answered, prompts: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Which models answer nearly all of the prompts."""
    return np.asarray(answered[:, prompts].sum(axis=1) >= LEAST_OF_PANEL * len(prompts))


def _with_shared_prompts(answered: Answered, models: list[int]) -> list[int]:
    """All of them, or where that leaves too few prompts in common, the most complete of them."""
    ranked = sorted(models, key=lambda model: -int(answered[model].sum()))
    shared = np.logical_and.accumulate(answered[ranked], axis=0).sum(axis=1)
    if not ranked or shared[-1] >= LEAST_SHARED * answered.shape[1]:
        return models
    worth = np.arange(1, len(ranked) + 1) * np.sqrt(shared)
    return sorted(ranked[: int(np.argmax(worth)) + 1])
