"""Which pairs of a model and a family say what: taught, not taught as far as known, or nothing."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.panel import Panel, PanelModel

Mask = npt.NDArray[np.bool_]


class Pairs(NamedTuple):
    """Models by families, shape (models, families), and what follows from the panel alone.

    `teacher`: the model is one of the family's teachers. `control`: it was not taught by the family, as far as known.
    `student`: it was. `impossible`: it can't have been, as the family came out later or the panel says so. `placebo`:
    so it is, and nothing else makes them kin (one maker, or an elder family of that maker as the model's teacher).
    `other_maker[f, g]`: families f and g come from different makers. `same_maker`: the model's maker is the family's.
    `cluster` is what is left out together; a family's teachers are one. `reference`: who makes up what any capable
    model says.
    """

    families: tuple[str, ...]
    cluster: tuple[str, ...]
    teacher: Mask
    control: Mask
    student: Mask
    placebo: Mask
    same_maker: Mask
    other_maker: Mask
    reference: Mask
    impossible: Mask


def pairs_of(panel: Panel, models: Sequence[str]) -> Pairs:
    """Teachers of another maker's families are controls too: capable models, which documented controls rarely are.

    Without them, capable models that nobody here taught look taught (the development data's false accusations). They
    count only where both makers are named: a teacher of unknown maker may be the family's own sibling.
    """
    entries = [panel.models.get(model) for model in models]
    known = set(models)
    teachers = {family: [name for name in names if name in known] for family, names in panel.families().items()}
    families = tuple(family for family, names in teachers.items() if names)
    makers = [{panel.models[name].maker.casefold() for name in teachers[family]} for family in families]
    makers_of = dict(zip(families, makers, strict=True))
    named = [all(panel.models[name].maker != name for name in teachers[family]) for family in families]
    first = [_first_day([panel.models[name] for name in teachers[family]]) for family in families]
    shape = (len(models), len(families))
    teacher, control, student, placebo, same_maker, impossible = (np.zeros(shape, np.bool_) for _ in range(6))
    # Who stands in a cluster with a family's teachers is left out with them.
    kin = {panel.models[name].cluster: family for family in families for name in teachers[family]}
    cluster = tuple(_cluster(entry, name, kin) for entry, name in zip(entries, models, strict=True))
    family_clusters = [{cluster[models.index(name)] for name in teachers[family]} for family in families]
    for row, entry in enumerate(entries):
        if entry is None:
            continue
        for column, family in enumerate(families):
            teacher[row, column] = entry.family == family and "teacher" in entry.roles
            if teacher[row, column]:
                continue
            later = bool(entry.released and first[column] and entry.released < first[column])
            impossible[row, column] = later or family in entry.not_taught_by
            same_maker[row, column] = entry.maker.casefold() in makers[column]
            student[row, column] = "taught" in entry.roles and family in entry.taught_by
            possible = family in entry.taught_by | entry.maybe_taught_by or cluster[row] in family_clusters[column]
            if "variant" in entry.roles or possible:
                continue
            capable = "teacher" in entry.roles and entry.maker != entry.model and named[column]
            control[row, column] = ("control" in entry.roles or capable) and not same_maker[row, column]
            taught_by_kin = any(
                makers[column] & makers_of.get(other, set()) for other in entry.taught_by | entry.maybe_taught_by
            )
            placebo[row, column] = impossible[row, column] and not same_maker[row, column] and not taught_by_kin
    other = np.array([[not (a & b) for b in makers] for a in makers], np.bool_).reshape(len(families), len(families))
    inside = [entry is not None and bool(entry.roles & {"teacher", "control", "background"}) for entry in entries]
    reference = np.array(inside, np.bool_)
    return Pairs(families, cluster, teacher, control, student, placebo, same_maker, other, reference, impossible)


def _first_day(teachers: Sequence[PanelModel]) -> str:
    """The first day on which one of them may have been there, or nothing where one has no date."""
    days = [item.released_from or item.released or "" for item in teachers]
    return min(days, default="")


def _cluster(entry: PanelModel | None, name: str, kin: Mapping[str, str]) -> str:
    if entry is None:
        return f"model {name}"
    if "teacher" in entry.roles and entry.family is not None:
        return f"family {entry.family}"
    return f"family {kin[entry.cluster]}" if entry.cluster in kin else f"cluster {entry.cluster}"
