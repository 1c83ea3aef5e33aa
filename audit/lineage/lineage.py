"""`audit lineage`: was this model taught by that teacher, or is it coincidence?

Every suspect is judged with its own cluster left out of its mean, its controls and its weights, so a panel's known
students and controls can be asked about as well: that is how the error rates here are measured. How rare a feature is
counts all answers, so other suspects move a score by a little.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from tutelage.audit.lineage.calibration import (
    ErrorRates,
    Null,
    PValue,
    benjamini_hochberg,
    error_rates,
    holm,
    nulls_without,
    p_value,
)
from tutelage.audit.lineage.centring import reference
from tutelage.audit.lineage.contrast import contrast
from tutelage.audit.lineage.likeness import Likeness, likeness
from tutelage.audit.lineage.matches import matches
from tutelage.audit.lineage.outputs import Outputs
from tutelage.audit.lineage.pairs import Pairs, pairs_of
from tutelage.audit.lineage.panel import Panel
from tutelage.audit.lineage.power import LEAST_PROMPTS, power_of, student_scores
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
from tutelage.audit.lineage.scores import LEAST_ANSWERED, Scores, scores_of
from tutelage.audit.lineage.signals.embedding import embedding_products
from tutelage.audit.lineage.telling import telling_prompts
from tutelage.audit.lineage.truncation import cut_lengths, shortened
from tutelage.audit.lineage.verdict import Figures, decide
from tutelage.schemas.self_identification import QUICK_LOOKS, self_identifications
from tutelage.schemas.text import normalise

CHANCE = 0.05
"""How rarely so many wrong rejections may come by chance, for a verdict to be withheld for them."""

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
    tested = {
        # The least p that any correction could ask for: Holm's first step, at the first step over suspects.
        name: _test(measured, name, panel, nominal / max(len(by_suspect), 1), asked)
        for name, measured in by_suspect.items()
    }
    adjusted = _across_suspects(tested)
    return LineageResult(
        tuple(
            _judged(by_suspect[name], tested[name], adjusted[name], name, panel, nominal, seed)
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


class _Tested(NamedTuple):
    """A suspect's families (their places), in the panel's order, with what their controls say of it."""

    row: int
    families: tuple[int, ...]
    questions: tuple[int, ...]
    nulls: list[Null | None]
    p_values: dict[int, PValue]
    holm: dict[int, float]


def _test(measured: _Measured, name: str, panel: Panel, nominal: float, asked: Sequence[str]) -> _Tested:
    """Holm's correction within the suspect, over the families that are a question for it (`left_out`)."""
    pairs, total = measured.pairs, measured.scores.total
    row = measured.outputs.models.index(name)
    families = tuple(place for place in range(len(pairs.families)) if _left_out(pairs, row, place, name, panel) is None)
    nulls = nulls_without(total, pairs, pairs.cluster[row])
    questions = [place for place in families if not asked or pairs.families[place] in asked]
    needed = nominal / max(len(questions), 1)
    p_values = {place: p_value(float(total[row, place]), nulls[place], needed) for place in families}
    known = {place: p for place in questions if (p := p_values[place].p) is not None}
    corrected = dict(zip(known, holm(list(known.values())), strict=True))
    return _Tested(row, families, tuple(questions), nulls, p_values, corrected)


def _left_out(pairs: Pairs, row: int, place: int, name: str, panel: Panel) -> str | None:
    """Why a family is no question for a suspect, in a sentence; None where it is one."""
    family, entry = pairs.families[place], panel.models.get(name)
    if pairs.teacher[row, place]:
        return f"It is a teacher of {family}, so that is not asked."
    if pairs.impossible[row, place]:
        return f"{family} can't have taught it, as it came out later or the panel says so: not asked."
    if entry is None:
        return None
    if family in entry.maybe_taught_by:
        return f"The panel says that {family} may have taught it: left out, as neither answer could be wrong."
    made_from = {panel.models[kin].family for kin in (entry.parent, entry.base_model) if kin in panel.models}
    if family in made_from and "variant" not in entry.roles:
        return f"It was made from a model of {family}, whose likeness it inherits: not asked."
    return None


def _across_suspects(tested: dict[str, _Tested]) -> dict[str, dict[int, float]]:
    """Benjamini and Hochberg over the suspects' smallest p-values; a suspect's others grow by as much."""
    smallest = {name: min(found.holm.values()) for name, found in tested.items() if found.holm}
    grown = dict(zip(smallest, benjamini_hochberg(list(smallest.values())), strict=True))
    return {
        name: {
            # Where nothing grew the value stays as it is: rounding must not decide at the level.
            place: min(1.0, p * grown[name] / smallest[name]) if smallest.get(name, 0) < grown.get(name, 0) else p
            for place, p in found.holm.items()
        }
        for name, found in tested.items()
    }


def _judged(
    measured: _Measured, tested: _Tested, adjusted: dict[int, float], name: str, panel: Panel, nominal: float, seed: int
) -> SuspectResult:
    outputs, pairs, scores = measured.outputs, measured.pairs, measured.scores
    row = tested.row
    blocks = np.full_like(scores.blocks[:, row], np.nan)
    blocks[:, list(tested.families)] = scores.blocks[:, row, list(tested.families)]
    compared = contrast(blocks, measured.likeness.block_prompts, seed)
    candidates = [place for place in compared.indistinguishable if adjusted.get(place, 1.0) <= nominal]
    by_p = sorted(adjusted, key=lambda place: (adjusted[place], -scores.total[row, place]))
    leading = next(iter([*candidates, *by_p]), None)  # what is said below is said of the family that would be named
    nearest = same_model(measured.near, outputs.models, pairs.cluster, panel, name)
    students = student_scores(scores.total, pairs, pairs.cluster[row])
    power = power_of(
        [tested.nulls[place] for place in tested.questions],
        students,
        blocks,
        len(outputs.prompt_ids),
        nominal,
        len(tested.questions),
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
            withheld=_withheld(measured.rates, nominal),
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
                tested.p_values[place].p,
                adjusted.get(place),
                _number(compared.low[place]),
                _number(compared.high[place]),
                tested.p_values[place].kind,
                {
                    signal: float(values[row, place])
                    for signal, values in scores.signals.items()
                    if not np.isnan(values[row, place])
                }
                if not np.isnan(scores.total[row, place])
                else {},
            )
            for place in tested.families
        ),
        decision.verdict,
        decision.family,
        tuple(pairs.families[place] for place in compared.indistinguishable),
        nearest.nearest,
        nearest.score,
        power,
        (*_remarks(measured, tested, name, panel), *decision.reasons),
        _self_identification(outputs, row),
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


def _withheld(rates: ErrorRates, nominal: float) -> str | None:
    for rate, pairs, what in (
        (rates.controls, rates.control_pairs, "pairs of a control and a family"),
        (rates.placebo, rates.placebo_pairs, "placebo pairs, of a family that can't have taught the model"),
    ):
        # Two of fifteen pairs are more than twice 5 %, and no evidence of anything.
        # A placebo has no such excuse: what it is rejected for can't be so.
        excused = what.startswith("pairs") and _by_chance(rate, pairs, nominal)
        if rate is not None and rate > 2 * nominal and not excused:
            return (
                f"The verdict is withheld: at a nominal {nominal:.0%} this panel rejects {rate:.1%} of {pairs} {what}, "
                "more than twice as many as it should. Its controls are not like the models that they stand for."
            )
    return None


def _by_chance(rate: float | None, pairs: int, nominal: float) -> bool:
    return rate is None or bool(stats.binom.sf(round(rate * pairs) - 1, pairs, nominal) > CHANCE)


def _remarks(measured: _Measured, tested: _Tested, name: str, panel: Panel) -> tuple[str, ...]:
    """What is special about this suspect's input."""
    found = []
    if measured.cut is not None:
        found.append(
            f"Its answers seem cut off: all were compared on their first {measured.cut} words, and endings not at all."
        )
    for place in range(len(measured.pairs.families)):
        why = _left_out(measured.pairs, tested.row, place, name, panel)
        if why is not None:
            found.append(why)
    lacking = [
        signal
        for signal, values in measured.scores.signals.items()
        if np.isnan(values[tested.row]).all() and not np.isnan(measured.scores.total[tested.row]).all()
    ]
    if lacking:
        found.append(f"Nothing could be said of its {', '.join(lacking)}: counted as a control's would be.")
    texts = _texts(measured.outputs, tested.row)
    if len(texts) > 1 and len(set(texts)) == 1:
        found.append("All its answers are the same text.")
    empty = sum(not text.strip() for text in texts)
    if empty:
        too_few = ", too many for it to be compared" if empty > (1 - LEAST_ANSWERED) * len(texts) else ""
        found.append(f"{empty:,} of its {len(texts):,} answers are empty{too_few}.")
    return tuple(found)


def _texts(outputs: Outputs, row: int) -> list[str]:
    return [outputs.texts[place] for place in np.flatnonzero(outputs.model_no == row).tolist()]


def _self_identification(outputs: Outputs, row: int) -> SelfIdentification:
    places = np.flatnonzero(outputs.model_no == row)
    normal = pa.array([normalise(outputs.texts[place]) for place in places.tolist()], pa.large_string())
    likely = reduce(pc.and_, (pc.match_substring_regex(normal, look) for look in QUICK_LOOKS))
    labels: dict[str, set[int]] = {}
    for place, text in zip(
        places[likely.to_numpy(zero_copy_only=False)], normal.filter(likely).to_pylist(), strict=True
    ):
        for label in self_identifications(text):
            labels.setdefault(label, set()).add(int(outputs.prompt_no[place]))
    return SelfIdentification(
        len(outputs.prompt_ids), {label: len(prompts) for label, prompts in sorted(labels.items())}
    )


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
        _withheld(rates, nominal) is not None,
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
