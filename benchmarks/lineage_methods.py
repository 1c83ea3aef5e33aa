"""A method: scores of (model, family), whom it names, and which model it finds nearest. And the run of the simple ones.

Every simple score is taken as its measure gives it and centred in three ways, since how it is centred matters more than
which it is; whoever is best is best after the fact, which is in the baselines' favour.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from lineage_data import Development, controls
from measure import Cost, cost_of
from peers import python_of

Matrix = npt.NDArray[np.float64]
Named = Mapping[str, str | None]

BASELINES = {
    "tfidf": "TF-IDF cosine",
    "trigrams": "word 3-gram Jaccard",
    "templates": "function-word templates",
    "classifier": "one-vs-rest classifier",
    "opening": "opening agreement",
}
Z_TEST = "per-prompt z-test"
AS_IS, LESS_OWN, BOTH_WAYS, LESS_CONTROLS = "as it is", "less the model's mean", "both ways", "both ways, by controls"
CENTRINGS = {
    AS_IS: "the mean likeness to the family's teachers",
    LESS_OWN: "less the model's mean over families",
    BOTH_WAYS: "less the other clusters' mean for the family, then less the model's mean over families",
    LESS_CONTROLS: "the same with the mean of the other clusters' controls",
}


class Method(NamedTuple):
    """`scores` has shape (models, families), NaN for a model's own family. A model that names None abstains."""

    name: str
    variant: str
    models: tuple[str, ...]
    families: tuple[str, ...]
    scores: Matrix
    named: Named
    nearest: Named

    @property
    def label(self) -> str:
        return f"{self.name}, {self.variant}" if self.variant else self.name

    def score(self, model: str, family: str) -> float:
        if model not in self.models or family not in self.families:
            return float("nan")
        return float(self.scores[self.models.index(model), self.families.index(family)])


class Baselines(NamedTuple):
    """`z_rejects`: shape (models, families), what the z-test rejects at a nominal 5 %, one-sided."""

    methods: tuple[Method, ...]
    z_rejects: npt.NDArray[np.bool_]
    cost: Cost | None


def baselines(data: Development, kept: Path | None) -> Baselines:
    """Runs them in their own environment, or takes the scores that an earlier run left in the folder `kept`."""
    cost = None
    with tempfile.TemporaryDirectory(prefix="bench-lineage-") as name:
        scores = (kept or Path(name)) / "baselines.npz"
        if not scores.is_file():
            panel = Path(name, "panel.json")
            panel.write_text(json.dumps({"models": list(data.models), "families": data.families}))
            script = Path(__file__).resolve().parent / "peers" / "lineage_scores.py"
            cost = cost_of(
                [python_of("lineage"), script, "--outputs", data.outputs, "--panel", panel, "--scores", scores],
                sample_rss=True,
            )
        with np.load(scores) as found:
            return _methods(data, {name: found[name].astype(np.float64) for name in found.files}, cost)


def majority(data: Development, names: Iterable[str]) -> dict[str, str | None]:
    """Always the family that taught most of the students that are asked about, the student's own cluster left out."""
    asked = [data.models[name] for name in names]
    found: dict[str, str | None] = {}
    for own in asked:
        count = dict.fromkeys(data.families, 0)
        for other in asked:
            for family in other.taught_by if other.cluster != own.cluster else ():
                count[family] += 1
        found[own.name] = max(count, key=lambda family: count[family])
    return found


def highest(
    data: Development, families: tuple[str, ...], models: tuple[str, ...], scores: Matrix
) -> dict[str, str | None]:
    """The family with the highest score; neither the model's own nor one that may have taught it is asked."""
    found: dict[str, str | None] = {}
    for row, name in enumerate(models):
        model = data.models[name]
        asked = [
            (scores[row, column], family)
            for column, family in enumerate(families)
            if family != model.family and family not in model.maybe_taught_by and not np.isnan(scores[row, column])
        ]
        found[name] = max(asked)[1] if asked else None
    return found


def _methods(data: Development, found: Mapping[str, Matrix], cost: Cost | None) -> Baselines:
    models, families = tuple(data.models), tuple(data.families)
    own = np.array([[data.models[name].family == family for family in families] for name in models])
    cluster = np.array([data.models[name].cluster for name in models])
    inside = {BOTH_WAYS: np.ones(len(models), np.bool_), LESS_CONTROLS: np.isin(models, controls(data))}
    methods = []
    for key, name in BASELINES.items():
        by_prompt = np.where(own, np.nan, found[f"families/{key}"])
        nearest = _nearest(data, models, found[f"models/{key}"]) if f"models/{key}" in found else {}
        mean = _mean(by_prompt, 0)
        variants = {AS_IS: mean, LESS_OWN: mean - _mean(mean, 1)[:, None]}
        variants |= {variant: centred(mean, cluster, rows) for variant, rows in inside.items()}
        methods += [
            Method(name, variant, models, families, scores, highest(data, families, models, scores), nearest)
            for variant, scores in variants.items()
        ]
    z = _z(np.where(own, np.nan, found["families/tfidf"]), cluster)
    methods.append(Method(Z_TEST, "", models, families, z, highest(data, families, models, z), {}))
    return Baselines(tuple(methods), z > 1.6449, cost)


def centred(values: Matrix, cluster: npt.NDArray[np.str_], inside: npt.NDArray[np.bool_]) -> Matrix:
    """Shape (..., models, families): less the mean of models `inside` of other clusters, then less the model's own."""
    found = values.copy()
    for name in dict.fromkeys(cluster.tolist()):
        others = inside & (cluster != name)
        found[..., cluster == name, :] -= _mean(values[..., others, :], -2)[..., None, :]
    return found - _mean(found, -1)[..., None]


def _z(by_prompt: Matrix, cluster: npt.NDArray[np.str_]) -> Matrix:
    """Mean over prompts, centred both ways on each, over its standard error: as if prompts were what varies."""
    parts = centred(by_prompt, cluster, np.ones(len(cluster), np.bool_))
    known = ~np.isnan(parts)
    mean = _mean(parts, 0)
    squares = np.where(known, np.square(parts - mean), 0).sum(0)
    count = known.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Matrix = mean / np.sqrt(squares / (count - 1) / count)
    return found


def _mean(values: Matrix, axis: int) -> Matrix:
    """Over what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Matrix = np.where(known, values, 0).sum(axis) / known.sum(axis)
    return found


def _nearest(data: Development, models: tuple[str, ...], likeness: Matrix) -> dict[str, str | None]:
    """Variants are not among those asked: they stand for their parents."""
    asked = [place for place, name in enumerate(models) if "variant" not in data.models[name].roles]
    found: dict[str, str | None] = {}
    for row, name in enumerate(models):
        others = [place for place in asked if place != row]
        found[name] = models[max(others, key=lambda place: likeness[row, place])]
    return found
