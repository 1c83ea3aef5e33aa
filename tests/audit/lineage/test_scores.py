"""Scores from likenesses made of random vectors: students stand above controls, look-alikes do not."""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from lineage_texts import entry, likeness_of, pairs_with, panel_of

from tutelage.audit.lineage.likeness import Likeness
from tutelage.audit.lineage.pairs import Pairs, pairs_of
from tutelage.audit.lineage.panel import PanelModel
from tutelage.audit.lineage.scores import Scores, scores_of

FAMILIES = ("sun", "moon", "mars", "venus")
CONTROLS, STUDENTS, PROMPTS, WIDTH = 12, 6, 30, 150
# Recorded: of 60 look-alikes of every family, how many have a best score above the 95 % quantile of the best scores of
# their scene's 12 controls (chance gives 5).
LOOK_ALIKES_FLAGGED = 5


class Made(NamedTuple):
    models: tuple[str, ...]
    likeness: Likeness
    pairs: Pairs
    scores: Scores

    def rows(self, start: str) -> list[int]:
        return [row for row, name in enumerate(self.models) if name.startswith(start)]

    def controls(self) -> npt.NDArray[np.float64]:
        return self.scores.total[self.pairs.control & ~np.isnan(self.scores.total)]


def vectors(seed: int) -> tuple[list[PanelModel], npt.NDArray[np.float64]]:
    """Answers by prompt: what the prompt asks for, a habit of the family's or one's own, and noise."""
    rng = np.random.default_rng(seed)
    topic, habit = 2 * rng.normal(size=(PROMPTS, WIDTH)), {name: rng.normal(size=WIDTH) for name in FAMILIES}
    entries, found = [], []

    def add(item: PanelModel, own: npt.NDArray[np.float64]) -> None:
        entries.append(item)
        found.append(topic + own + rng.normal(size=(PROMPTS, WIDTH)))

    for family in FAMILIES:
        for size in ("large", "small"):
            known = {"family": family, "maker": f"of {family}", "cluster": family}
            add(entry(f"{family}-{size}", "teacher", **known), habit[family] + 0.5 * rng.normal(size=WIDTH))
    for number in range(CONTROLS):
        add(entry(f"control-{number}", "control"), rng.normal(size=WIDTH))
    for number in range(STUDENTS):
        family = FAMILIES[number % len(FAMILIES)]
        add(
            entry(f"student-{number}", "taught", taught_by={family}),
            0.8 * habit[family] + 0.6 * rng.normal(size=WIDTH),
        )
    for number in range(3):
        # Capable, and so a little like every teacher; taught by none.
        add(entry(f"look-alike-{number}", "suspect"), 0.5 * sum(habit.values()) + 0.5 * rng.normal(size=WIDTH))
    return entries, np.array(found)


def scored(entries: list[PanelModel], answers: npt.NDArray[np.float64], **how: int) -> Made:
    models = tuple(item.model for item in entries)
    likeness, pairs = likeness_of(answers, **how), pairs_of(panel_of(*entries), models)
    return Made(models, likeness, pairs, scores_of(likeness, pairs))


@cache
def made(seed: int) -> Made:
    return scored(*vectors(seed))


@pytest.mark.parametrize("seed", range(3))
def test_known_students_stand_above_controls_for_their_family(seed: int) -> None:
    found = made(seed)
    students = found.scores.total[found.pairs.student]
    assert len(students) == STUDENTS
    assert students.min() > np.quantile(found.controls(), 0.95)
    for row in found.rows("student"):
        assert found.scores.total[row].argmax() == found.pairs.student[row].argmax()


def test_a_model_that_is_a_little_like_every_teacher_is_not_above_controls() -> None:
    flagged = 0
    for seed in range(20):
        found = made(seed)
        threshold = np.quantile(found.scores.total[found.rows("control")].max(1), 0.95)
        flagged += int((found.scores.total[found.rows("look-alike")].max(1) > threshold).sum())
    assert flagged == LOOK_ALIKES_FLAGGED


def test_controls_have_a_deviation_of_1_around_nothing() -> None:
    values = made(0).controls()
    assert np.sqrt(np.mean(values**2)) == pytest.approx(1)
    assert abs(values.mean()) < 0.5


@pytest.mark.parametrize("blocks", [1, 7, 10])
def test_blocks_of_prompts_average_to_the_whole(blocks: int) -> None:
    found = scored(*vectors(1), blocks=blocks)
    share = found.likeness.block_prompts / found.likeness.block_prompts.sum()
    np.testing.assert_allclose(np.tensordot(share, found.scores.blocks, 1), found.scores.total, atol=1e-4)


def test_signals_add_up_to_the_total_by_their_weights() -> None:
    found = made(2)
    plain = [row for row in range(len(found.models)) if not found.pairs.student[row].any()]
    stranger = found.rows("look-alike")[0]
    assert stranger in plain
    parts = sum(found.scores.weights[name] * values[stranger] for name, values in found.scores.signals.items())
    np.testing.assert_allclose(parts, found.scores.total[stranger], atol=1e-3)
    assert sum(found.scores.weights.values()) == pytest.approx(1, abs=1e-3)


def test_permuting_models_permutes_scores() -> None:
    entries, answers = vectors(3)
    # Families stay in their order, since that is the panel's.
    order = [*range(8), *(8 + np.random.default_rng(1).permutation(len(entries) - 8))]
    before = scored(entries, answers)
    after = scored([entries[place] for place in order], answers[order])
    np.testing.assert_allclose(after.scores.total, before.scores.total[order], atol=1e-4)
    np.testing.assert_allclose(after.scores.consensus, before.scores.consensus[order], atol=1e-6)


def test_a_suspect_changes_no_other_models_score() -> None:
    entries, answers = vectors(4)
    whole = scored(entries, answers).scores.total
    np.testing.assert_allclose(scored(entries[:-1], answers[:-1]).scores.total, whole[:-1], atol=1e-4)


def test_a_teacher_is_scored_against_its_familys_others() -> None:
    found = made(0)
    own = found.scores.total[found.rows("sun-large")[0], 0]
    assert own > np.quantile(found.controls(), 0.95)


def test_a_lone_teacher_has_no_score_for_its_own_family() -> None:
    entries, answers = vectors(0)
    found = scored(entries[1:], answers[1:])
    row = found.rows("sun-small")[0]
    assert np.isnan(found.scores.total[row, 0])
    assert np.isfinite(found.scores.total[row, 1:]).all()


def test_without_controls_there_is_no_score() -> None:
    entries, answers = vectors(0)
    likeness = likeness_of(answers)
    pairs = pairs_of(panel_of(*entries), [item.model for item in entries])
    found = scores_of(likeness, pairs._replace(control=np.zeros_like(pairs.control)))
    assert np.isnan(found.total).all()
    assert np.isnan(found.blocks).all()


def test_models_that_all_answer_alike_have_no_score() -> None:
    found = scores_of(likeness_of(np.ones((9, 12, 3)), 4), pairs_with("abcdefghi", teacher=np.eye(9, 2, dtype=bool)))
    assert np.isnan(found.total).all()


def test_an_extra_signal_counts_as_the_others_do() -> None:
    entries, answers = vectors(0)
    models = [item.model for item in entries]
    likeness = likeness_of(answers, views=("opening", "embedding"))
    found = scores_of(likeness, pairs_of(panel_of(*entries), models))
    assert "embedding" in found.signals
    assert 0 < found.weights["embedding"] < found.weights["opening"]
    np.testing.assert_allclose(found.blocks.mean(0), found.total, atol=1e-4)


def test_consensus_is_higher_for_who_says_what_the_panel_says() -> None:
    entries, answers = vectors(0)
    answers[-1] = answers[:-3].mean(0)
    answers[-2] = np.random.default_rng(9).normal(size=answers[-2].shape)
    consensus = scored(entries, answers).scores.consensus
    assert consensus[-1] > np.median(consensus) > consensus[-2]


def test_likeness_that_follows_from_length_is_taken_off() -> None:
    """All answers of a length share a trait, and nobody taught anybody: of two strangers the one as long as the family
    is no nearer. Without the lengths it is, by more than a control's deviation."""
    rng = np.random.default_rng(5)
    entries, _ = vectors(5)
    entries = [item for item in entries if "taught" not in item.roles]
    words = np.where([item.model.startswith("sun") for item in entries], 6.0, rng.uniform(3, 6, len(entries)))
    alike = [item.model for item in entries].index("look-alike-0")
    unlike = [item.model for item in entries].index("look-alike-1")
    words[alike], words[unlike] = 6.0, 3.0
    long, short = rng.normal(size=(2, WIDTH))
    share = ((words - 3) / 3)[:, None, None]
    answers = 3 * (share * long + (1 - share) * short) + rng.normal(size=(len(entries), PROMPTS, WIDTH))
    models, pairs = [item.model for item in entries], pairs_of(panel_of(*entries), [item.model for item in entries])
    sun = pairs.families.index("sun")
    assert models[alike] != models[unlike]

    def lead(lengths: npt.NDArray[np.float64] | None) -> float:
        total = scores_of(likeness_of(answers, words=lengths), pairs).total
        return float(total[alike, sun] - total[unlike, sun])

    assert lead(None) > 1
    assert abs(lead(words)) < 0.6 * lead(None)
