"""`audit lineage`: was this model taught by that teacher, or is it coincidence?

Every suspect is judged with its own cluster left out of its mean, its controls and its weights, so a panel's known
students and controls can be asked about as well: that is how the error rates here are measured. How rare a feature is
counts all answers, so other suspects move a score by a little.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.calibration import ErrorRates, error_rates, withheld
from tutelage.audit.lineage.centring import reference
from tutelage.audit.lineage.contrast import contrast
from tutelage.audit.lineage.likeness import Likeness, likeness
from tutelage.audit.lineage.matches import matches
from tutelage.audit.lineage.outputs import Outputs
from tutelage.audit.lineage.pairs import Pairs, pairs_of
from tutelage.audit.lineage.panel import Panel
from tutelage.audit.lineage.power import LEAST_PROMPTS, power_of, student_scores
from tutelage.audit.lineage.questions import Questions, across_suspects, questions_of
from tutelage.audit.lineage.remarks import remarks, self_identification
from tutelage.audit.lineage.result import (
    Calibration,
    FamilyScore,
    LineageResult,
    PanelScore,
    Power,
    SelfIdentification,
    SuspectResult,
    TellingPrompt,
)
from tutelage.audit.lineage.same_model import closeness, same_model
from tutelage.audit.lineage.scores import Scores, scores_of
from tutelage.audit.lineage.signals.embedding import embedding_products
from tutelage.audit.lineage.telling import telling_prompts
from tutelage.audit.lineage.truncation import cut_lengths, shortened
from tutelage.audit.lineage.verdict import Figures, decide

CANNOT_TELL = (
    "Indirect exposure: teachers' texts stand on the web and in public sets, and a model that learned from those looks "
    "taught though nobody asked the teacher for them.",
    "Families that are not in the panel: a suspect taught by one of those may look like its nearest relative here.",
    "Mixed teachers: likeness adds up by share, so a small share of one teacher's outputs stays out of sight.",
    "Direction: two models that were taught by a common third are alike, and so are a teacher and its own teacher.",
    "Intent and permission: whether the use was allowed is a matter of terms, not of likeness.",
)


class _Measured(NamedTuple):
    """Everything that one reading of the texts gives. `cut` is the words that everybody was cut to, or None."""

    outputs: Outputs
    likeness: Likeness
    pairs: Pairs
    scores: Scores
    near: npt.NDArray[np.float64]
    rates: ErrorRates
    cut: int | None


def audit_lineage(
    outputs: Outputs,
    panel: Panel,
    suspects: Sequence[str],
    *,
    nominal: float = 0.05,
    seed: int = 0,
    embedding: bool = False,
    asked: Sequence[str] = (),
) -> LineageResult:
    """Judges every suspect against every family of teachers; see `result` for what comes out.

    A suspect that answered too few of the shared prompts is in the result as underpowered, without scores. With
    `embedding` answers are compared in meaning as well, which takes minutes. `asked` are the families that the question
    was about before anybody looked: only they are tested, so that less is paid for many questions.
    """
    cuts = cut_lengths(outputs, suspects)
    whole = _measure(outputs, panel, nominal, None, embedding)
    by_suspect = {name: whole for name in suspects if name in outputs.models}
    for words in sorted(set(cuts.values())):
        measured = _measure(outputs, panel, nominal, words, embedding)
        by_suspect.update({name: measured for name, length in cuts.items() if length == words})
    # The least p that any correction could ask for: Holm's first step, at the first step over suspects.
    needed = nominal / max(len(by_suspect), 1)
    found = {
        name: questions_of(measured.scores, measured.pairs, panel, measured.outputs.models, name, needed, asked)
        for name, measured in by_suspect.items()
    }
    adjusted = across_suspects(found)
    return LineageResult(
        tuple(
            _judged(by_suspect[name], found[name], adjusted[name], panel, nominal, seed)
            if name in by_suspect
            else _unseen(name, outputs)
            for name in suspects
        ),
        _calibration(whole, nominal),
        (*CANNOT_TELL, *_missing_here(whole.pairs)),
        outputs.notes,
        len(outputs.prompt_ids),
        len(outputs.models),
    )


def _measure(outputs: Outputs, panel: Panel, nominal: float, cut: int | None, embedding: bool) -> _Measured:
    read = outputs if cut is None else shortened(outputs, cut)
    pairs = pairs_of(panel, outputs.models)
    teachers = np.flatnonzero(pairs.teacher.any(1)).tolist()
    shares = reference(pairs.cluster, pairs.reference.tolist()).weight
    found = likeness(read, teachers, shares)
    if cut is not None:
        for signal in ("ending", "classifier"):  # both look at last words
            found.views.pop(signal)
    if embedding:
        found.views["embedding"] = {"meaning": embedding_products(read, found.block_prompts)}
    scores = scores_of(found, pairs)
    rates = error_rates(scores.total, pairs, nominal)
    return _Measured(read, found, pairs, scores, closeness(scores.correlations), rates, cut)


def _judged(
    measured: _Measured, questions: Questions, adjusted: dict[int, float], panel: Panel, nominal: float, seed: int
) -> SuspectResult:
    outputs, pairs, scores = measured.outputs, measured.pairs, measured.scores
    row = questions.row
    name = outputs.models[row]
    blocks = np.full_like(scores.blocks[:, row], np.nan)
    blocks[:, list(questions.families)] = scores.blocks[:, row, list(questions.families)]
    compared = contrast(blocks, measured.likeness.block_prompts, seed)
    candidates = [place for place in compared.indistinguishable if adjusted.get(place, 1.0) <= nominal]
    by_p = sorted(adjusted, key=lambda place: (adjusted[place], -scores.total[row, place]))
    leading = next(iter([*candidates, *by_p]), None)  # what is said below is said of the family that would be named
    nearest = same_model(measured.near, outputs.models, pairs.cluster, panel, name)
    students = student_scores(scores.total, pairs, pairs.cluster[row])
    power = power_of(
        [questions.nulls[place] for place in questions.tested],
        students,
        blocks,
        len(outputs.prompt_ids),
        nominal,
        len(questions.tested),
    )
    seen = None
    if power.detectable_score is not None and len(students):
        seen = float(np.mean(students >= power.detectable_score))
    decision = decide(
        Figures(
            prompts=len(outputs.prompt_ids),
            least_prompts=LEAST_PROMPTS,
            leading=None if leading is None else pairs.families[leading],
            p_adjusted=None if leading is None else adjusted[leading],
            nominal=nominal,
            candidates=tuple(pairs.families[place] for place in candidates),
            most_alike=tuple(pairs.families[place] for place in compared.indistinguishable),
            nearest=nearest.nearest,
            same_model=nearest.same,
            same_model_family=_family_of(nearest.nearest, panel, pairs),
            own_maker=leading is not None and bool(pairs.same_maker[row, leading]),
            nearer_than_makers_models=leading is not None
            and _nearer_than_makers_models(scores, pairs, row, leading, nominal),
            matches=()
            if leading is None
            else matches(scores, pairs, panel, outputs.models, row, leading, nominal, seed),
            withheld=withheld(measured.rates, nominal),
            students_seen=seen,
        )
    )
    told = leading if leading is not None else (compared.indistinguishable[0] if compared.indistinguishable else None)
    return SuspectResult(
        name,
        tuple(
            FamilyScore(
                pairs.families[place],
                _number(scores.total[row, place]),
                questions.p_values[place].p,
                adjusted.get(place),
                _number(compared.low[place]),
                _number(compared.high[place]),
                questions.p_values[place].kind,
                {
                    signal: float(values[row, place])
                    for signal, values in scores.signals.items()
                    if not np.isnan(values[row, place])
                }
                if not np.isnan(scores.total[row, place])
                else {},
            )
            for place in questions.families
        ),
        decision.verdict,
        decision.family,
        tuple(pairs.families[place] for place in compared.indistinguishable),
        nearest.nearest,
        nearest.score,
        power,
        (*remarks(outputs, pairs, scores, panel, row, measured.cut), *decision.reasons),
        self_identification(outputs, row),
        () if told is None else _telling(measured, row, told),
    )


def _family_of(model: str | None, panel: Panel, pairs: Pairs) -> str | None:
    entry = panel.models.get(model or "")
    return entry.family if entry is not None and "teacher" in entry.roles and entry.family in pairs.families else None


def _nearer_than_makers_models(scores: Scores, pairs: Pairs, row: int, family: int, nominal: float) -> bool:
    """Is it nearer to its maker's family than that maker's models are to each other, versions of one family too?

    By rank among them, so that a maker with few models never makes a sibling look taught.
    """
    makers = [place for place in range(len(pairs.families)) if not pairs.other_maker[family, place]]
    kin = [
        scores.total[other, place]
        for place in makers
        for other in range(len(pairs.cluster))
        if (pairs.teacher[other, place] or pairs.same_maker[other, place])
        and pairs.cluster[other] != pairs.cluster[row]
        and not np.isnan(scores.total[other, place])
    ]
    return bool((1 + np.sum(np.array(kin) >= scores.total[row, family])) / (len(kin) + 1) <= nominal)


def _telling(measured: _Measured, row: int, family: int) -> tuple[TellingPrompt, ...]:
    pairs = measured.pairs
    teachers = np.flatnonzero(pairs.teacher.any(1)).tolist()
    columns = [number for number, teacher in enumerate(teachers) if pairs.teacher[teacher, family]]
    cluster = np.array(pairs.cluster)
    references = np.flatnonzero(
        pairs.reference & ~pairs.teacher[:, family] & ~pairs.same_maker[:, family] & (cluster != cluster[row])
    ).tolist()
    return telling_prompts(measured.outputs, measured.likeness.phrases, row, teachers, columns, references)


def _unseen(name: str, outputs: Outputs) -> SuspectResult:
    answered = outputs.uncovered.get(name, 0)
    sentence = f"It answered {answered} of the prompts that the panel's models share: too few to compare."
    return SuspectResult(
        name,
        (),
        "underpowered",
        None,
        (),
        None,
        None,
        Power(None, None, answered, LEAST_PROMPTS, 0, None, sentence),
        (sentence,),
        SelfIdentification(0, {}),
    )


def _calibration(measured: _Measured, nominal: float) -> Calibration:
    pairs, scores, rates = measured.pairs, measured.scores, measured.rates
    kinds: tuple[tuple[Literal["control", "student", "placebo"], npt.NDArray[np.bool_]], ...] = (
        ("control", pairs.control),
        ("student", pairs.student),
        ("placebo", pairs.placebo & ~pairs.control & ~pairs.student),
    )
    dots = [
        PanelScore(measured.outputs.models[row], pairs.families[place], kind, float(scores.total[row, place]))
        for kind, mask in kinds
        for row, place in zip(*np.nonzero(mask & ~np.isnan(scores.total)), strict=True)
    ]
    rows = [bool(row.any()) for row in pairs.control]
    return Calibration(
        rates.controls,
        rates.placebo,
        rates.placebo_pairs,
        sum(rows),
        len({name for name, kept in zip(pairs.cluster, rows, strict=True) if kept}),
        nominal,
        rates.uniformity_p,
        withheld(rates, nominal) is not None,
        scores.weights,
        scores.weights_from,
        tuple(dots),
    )


def _missing_here(pairs: Pairs) -> tuple[str, ...]:
    if pairs.other_maker.any():
        return ()
    return (
        "Capability: all teachers here are one maker's, so likeness to any capable model can't be taken off; name "
        "teachers of another maker.",
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
