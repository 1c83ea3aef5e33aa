"""What it costs in AUROC when answers are cut to 40 words, reworded, or have their markup taken off.

Three readings of each change: students alone are changed, as by one who has something to hide; students and those
controls that teach nobody; all texts of everybody. In the first two the changed texts stand beside the whole
panel as copies with their models' cluster, so that what anybody is compared with stays whole.
"""

import sys
import tempfile
from pathlib import Path

from lineage_changes import CHANGES, CUT_WORDS, REPLACED, SUFFIX, write_changed
from lineage_data import Development, controls, rows_of, students, suspects, write_panel
from lineage_measures import Estimate, auroc, difference
from lineage_methods import Method
from lineage_ours import as_method, audit
from lineage_questions import SFT, Claim, Question, questions, scored, shown
from report import table

WHAT = {
    "truncation": f"the first {CUT_WORDS} words",
    "paraphrase": f"{REPLACED:.0%} of the words that have a synonym replaced",
    "markdown": "headings, bold, bullets, numbering and code fences off",
}
READINGS = ("students", "students and plain controls", "everybody")


def run(data: Development, *, kept: Path | None) -> list[Claim]:
    asked = questions(data)[SFT]
    plain = {name for name in controls(data) if "teacher" not in data.models[name].roles}
    narrow = Question(asked.taught, tuple(pair for pair in asked.untaught if pair.model in plain))
    whole = as_method(data, audit(data.outputs, data.panel, suspects(data), kept and kept / "audit.json"))
    before = {READINGS[0]: asked, READINGS[1]: narrow, READINGS[2]: asked}
    rows, claims = [], []
    for change in CHANGES:
        copies, touched = _beside(data, change, plain, kept)
        everybody = _everybody(data, change, kept)
        print(f"{change}: {WHAT[change]}; {touched:.1%} of the copies' words were touched", file=sys.stderr, flush=True)
        after = {
            READINGS[0]: _auroc(data, _renamed(copies, set(students(data, None))), asked),
            READINGS[1]: _auroc(data, _renamed(copies, set(students(data, None)) | plain), narrow),
            READINGS[2]: _auroc(data, everybody, asked),
        }
        for reading, question in before.items():
            untouched = _auroc(data, whole, question)
            loss = difference(untouched, after[reading])
            rows.append([f"{change} ({touched:.0%})", reading, shown(untouched), shown(after[reading]), shown(loss)])
            claims.append(Claim(f"AUROC lost to {change}, {reading} changed", loss, 0.05, False))
    print(f"AUROC, {SFT}, untouched and after a change (in brackets: the words that it touches)")
    print("\n".join(f"{change}: {what}" for change, what in WHAT.items()))
    print(table(["change", "who is changed", "untouched", "changed", "lost"], rows))
    return claims


def _beside(data: Development, change: str, plain: set[str], kept: Path | None) -> tuple[Method, float]:
    """Changed copies of students and plain controls as suspects beside the untouched panel; controls whole, too."""
    copied = (*students(data, None), *sorted(plain))
    with tempfile.TemporaryDirectory(prefix="bench-lineage-") as name:
        outputs = Path(name, "outputs.parquet")
        touched = write_changed(data.outputs, outputs, change, copied)
        first = {row["model"]: row for row in reversed(rows_of(data.panel))}
        panel = write_panel(
            Path(name, "panel.csv"), [*rows_of(data.panel), *(_as_suspect(first[model]) for model in copied)]
        )
        asked = (*(model + SUFFIX for model in copied), *controls(data))
        found = audit(outputs, panel, asked, kept and kept / f"audit_{change}_copies.json")
    grown = {model + SUFFIX: data.models[model]._replace(name=model + SUFFIX) for model in copied}
    return as_method(data._replace(models={**data.models, **grown}), found), touched


def _as_suspect(row: dict[str, str]) -> dict[str, str]:
    """What is known of who taught it is left out, but for what may have: that says which families are asked."""
    return row | {"model": row["model"] + SUFFIX, "role": "suspect", "family": "", "taught_by": "", "parent": ""}


def _everybody(data: Development, change: str, kept: Path | None) -> Method:
    with tempfile.TemporaryDirectory(prefix="bench-lineage-") as name:
        outputs = Path(name, "outputs.parquet")
        write_changed(data.outputs, outputs, change, None)
        return as_method(data, audit(outputs, data.panel, suspects(data), kept and kept / f"audit_{change}_all.json"))


def _renamed(found: Method, changed: set[str]) -> Method:
    """Those models' changed copies under the models' own names, all others as they are."""
    names = tuple(
        model.removesuffix(SUFFIX) if model.removesuffix(SUFFIX) in changed else model for model in found.models
    )
    kept = [
        place
        for place, (model, name) in enumerate(zip(found.models, names, strict=True))
        if model.endswith(SUFFIX) == (name in changed)
    ]
    return found._replace(models=tuple(names[place] for place in kept), scores=found.scores[kept])


def _auroc(data: Development, method: Method, question: Question) -> Estimate:
    return auroc(scored(data, method, question.taught), scored(data, method, question.untaught))
