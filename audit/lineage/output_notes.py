"""What is said of the outputs that were left out, and of those that can tell nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.coverage import LEAST_OF_PANEL, LEAST_OF_SUSPECT, Coverage
from tutelage.audit.lineage.panel import listed, named


class Unread(NamedTuple):
    """Rows that were met and not read, by model where another model is why; and texts that were mended."""

    by_model: Counter[str]
    nameless: int
    undecodable: int


def unread_notes(unread: Unread) -> Iterator[str]:
    if unread.undecodable:
        yield f"{_are(unread.undecodable, 'text')} no valid UTF-8: U+FFFD stands where it was broken"
    if unread.nameless:
        yield f"{_are(unread.nameless, 'row')} left out: without a model or a prompt_id"
    if unread.by_model:
        yield (
            f"{_are(unread.by_model.total(), 'row')} not read: neither the panel nor the suspects name "
            f"{named(unread.by_model)}"
        )


def row_notes(other_prompts: Mapping[str, int], copies: int, further_samples: int) -> Iterator[str]:
    if other_prompts:
        yield (
            f"{_are(sum(other_prompts.values()), 'row')} set aside: most models answered another text under that "
            f"prompt_id ({counted(other_prompts)})"
        )
    if copies:
        yield f"{_are(copies, 'row')} left out: another row of that model, prompt and sample says the same"
    if further_samples:
        yield f"{_are(further_samples, 'response')} read as further samples: another has that model, prompt and sample"


def coverage_notes(
    coverage: Coverage, answered: npt.NDArray[np.bool_], models: Sequence[str], in_panel: npt.NDArray[np.bool_]
) -> Iterator[str]:
    """Which models and prompts are not compared. `answered[model, prompt]`, as coverage.choose had it."""
    expected = len(coverage.expected)
    absent = [model for number, model in enumerate(models) if in_panel[number] and not answered[number].any()]
    if absent:
        yield f"OUTPUTS has no response of {len(absent):,} of the panel's models ({named(absent)})"
    few = {models[n]: count for n, count in coverage.set_aside.items() if count < LEAST_OF_PANEL * expected}
    if few:
        yield (
            f"{_are(len(few), 'model')} set aside, with answers to under {LEAST_OF_PANEL:.0%} of the {expected:,} "
            f"prompts that the most complete models answer ({counted(few)})"
        )
    holes = {models[n]: count for n, count in coverage.set_aside.items() if models[n] not in few}
    if holes:
        yield (
            f"{_are(len(holes), 'model')} set aside: with all of them, too few of {expected:,} prompts would be shared "
            f"({counted(holes)})"
        )
    for number, count in coverage.uncovered.items():
        yield (
            f"{named([models[number]])} can't be compared: it answered {count:,} of the {coverage.panel_prompts:,} "
            f"prompts that the panel shares, and {LEAST_OF_SUSPECT:.0%}, shared with the other suspects, are needed"
        )
    lost = np.setdiff1d(coverage.expected, coverage.prompts)
    if len(lost):
        lacking = {models[n]: int((~answered[n, lost]).sum()) for n in coverage.models}
        lacks = sorted(((model, n) for model, n in lacking.items() if n), key=lambda item: -item[1])
        yield (
            f"{len(lost):,} of {expected:,} prompts {'is' if len(lost) == 1 else 'are'} left out: not every model "
            f"answered them ({counted(dict(lacks), ' lacks ')})"
        )
    further = int(answered[coverage.models].any(axis=0).sum()) - len(coverage.prompts) - len(lost)
    if further:
        yield f"{_are(further, 'further prompt')} left out: answered by too few models"


def answer_notes(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> Iterator[str]:
    """Of models that say nothing, or always the same; `rows` are those of 08_alike.sql."""
    silent = {models[row["model_no"]]: row["empty_answers"] for row in rows if row["empty_answers"]}
    if silent:
        yield f"{_are(sum(silent.values()), 'response')} empty ({counted(silent)})"
    same = [models[row["model_no"]] for row in rows if row["always_the_same"]]
    if same:
        yield f"{_are(len(same), 'model')} of no use: one answer to every prompt tells nothing ({named(same)})"


def counted(counts: Mapping[str, int], between: str = ": ") -> str:
    """`claude-2 lacks 3, cohere lacks 1 and 2 more`."""
    return listed([f"{named([model])}{between}{count:,}" for model, count in counts.items()])


def _are(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count:,} {what}s are"
