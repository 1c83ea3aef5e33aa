"""Runs `tutelage audit lineage` as its user would, and reads its JSON as a method among the others.

Every suspect's own cluster is left out of all that calibrates or fits its scores, so that asking about the panel's own
students and controls is leaving one cluster out.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lineage_data import Development
from lineage_methods import Method, Named, highest
from measure import Cost, cost_of
from ours import tutelage

OURS = "tutelage audit lineage"
ACCUSES = "consistent-with-training-on-outputs"
SAME_MODEL = "same-model-or-variant"


class Audit(NamedTuple):
    """`cost` is None where the result was taken from an earlier run."""

    suspects: Mapping[str, Mapping[str, Any]]
    calibration: Mapping[str, Any]
    cost: Cost | None

    def attributed(self) -> Named:
        """Whom the command names, which it does with some verdicts only."""
        return {name: found["attributed_family"] for name, found in self.suspects.items()}

    def verdict(self, model: str) -> str:
        return str(self.suspects[model]["verdict"])

    def family(self, model: str, family: str) -> Mapping[str, Any]:
        """Empty where the command does not ask: the model's own family, and those that may have taught it."""
        return next((item for item in self.suspects[model]["families"] if item["family"] == family), {})

    def leading(self, model: str) -> str | None:
        """The family with the highest score."""
        scores = {
            item["family"]: item["score"] for item in self.suspects[model]["families"] if item["score"] is not None
        }
        return max(scores, key=lambda family: scores[family], default=None)


def audit(
    outputs: Path, panel: Path, suspects: Sequence[str], kept: Path | None = None, *, measure: bool = False
) -> Audit:
    """The whole command, or the JSON that an earlier run left in the file `kept`, which is written else."""
    if kept is not None and kept.is_file() and not measure:
        return _read(kept.read_text(encoding="utf-8"), suspects, None)
    asked = [part for name in suspects for part in ("--suspect", name)]
    cost = cost_of([tutelage(), "audit", "lineage", outputs, "--panel", panel, "--json", *asked], sample_rss=measure)
    found = _read(cost.stdout, suspects, cost)
    if kept is not None:
        kept.write_text(cost.stdout, encoding="utf-8")
    return found


def _read(text: str, suspects: Sequence[str], cost: Cost | None) -> Audit:
    said = json.loads(text)
    found = {item["model"]: item for item in said["suspects"]}
    missing = [name for name in suspects if name not in found]
    if missing:
        raise SystemExit(f"the audit says nothing of {', '.join(missing)}; an entry for each suspect was wanted")
    return Audit(found, said["calibration"], cost)


def as_method(data: Development, found: Audit) -> Method:
    models, families = tuple(name for name in data.models if name in found.suspects), tuple(data.families)
    scores = np.full((len(models), len(families)), np.nan)
    for row, name in enumerate(models):
        for column, family in enumerate(families):
            score = found.family(name, family).get("score")
            scores[row, column] = np.nan if score is None else score
    nearest = {name: found.suspects[name]["nearest_model"] for name in models}
    return Method(OURS, "", models, families, scores, highest(data, families, models, scores), nearest)
