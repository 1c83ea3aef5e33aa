"""What is not lineage and looks like it, through the whole audit: strangers, capable models, siblings, silent models.

Models are vectors here: a habit of the family's or one's own, what the prompt asks for, and noise by prompt. So many
panels can be drawn, and every rate below is a count over panels. Texts are read in `test_lineage`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from lineage_texts import Speaker, World, entry, figures_of, likeness_of, outputs_of, panel_of

from tutelage.audit.lineage import contrast
from tutelage.audit.lineage import lineage as module
from tutelage.audit.lineage.calibration import holm
from tutelage.audit.lineage.lineage import audit_lineage
from tutelage.audit.lineage.panel import PanelModel
from tutelage.audit.lineage.questions import Questions, across_suspects
from tutelage.audit.lineage.result import VERDICTS, LineageResult, SuspectResult
from tutelage.audit.lineage.scores import scores_of
from tutelage.audit.lineage.truncation import cut_lengths
from tutelage.audit.lineage.verdict import decide

Vector = npt.NDArray[np.float64]
TAUGHT, SAME, MAKER, NOT, UNDER = VERDICTS
WIDTH, PROMPTS = 30, 50
OWN = 0.5
"""What a teacher has of its own, beside its family's habit of length 1: siblings correlate by .8."""


class Scene:
    """`families` of two teachers, twelve clusters of controls, known students in turn. Suspects are added by tests."""

    def __init__(self, seed: int, *, families: int = 3, controls: int = 12, students: int = 6) -> None:
        self.rng = np.random.default_rng(seed)
        self.topic = 2 * self.rng.normal(size=(PROMPTS, WIDTH))
        self.habits = [self.drawn() for _ in range(families)]
        self.entries: list[PanelModel] = []
        self.answers: list[Vector] = []
        for number, habit in enumerate(self.habits):
            known = {"family": f"f{number}", "maker": f"maker {number}", "cluster": f"f{number}"}
            for size in ("large", "small"):
                self.add(entry(f"f{number}-{size}", "teacher", **known), habit + OWN * self.drawn())
        for number in range(controls):
            root = self.drawn()
            for sibling in range(1 + number % 2):
                item = entry(f"control-{number}-{sibling}", "control", cluster=f"control-{number}")
                self.add(item, 0.8 * root + 0.6 * self.drawn())
        for number in range(students):
            taught = entry(f"student-{number}", "taught", taught_by={f"f{number % families}"})
            self.add(taught, 0.7 * (self.habits[number % families] + self.drawn()))

    def drawn(self) -> Vector:
        return self.rng.normal(size=WIDTH)

    def add(self, item: PanelModel, own: Vector) -> str:
        self.entries.append(item)
        self.answers.append(self.topic + own + self.rng.normal(size=(PROMPTS, WIDTH)))
        return item.model

    def suspect(self, shares: Sequence[float] = (), own: float | None = None, **known: str) -> str:
        """A model with so much of the families' habits in turn; the rest is its own."""
        left = np.sqrt(1 - np.sum(np.square(shares))) if own is None else own
        habit = sum((share * habit for share, habit in zip(shares, self.habits, strict=False)), left * self.drawn())
        return self.add(entry(f"suspect-{len(self.entries)}", "suspect", **known), habit)

    def audited(self, suspects: Sequence[str], asked: Sequence[str] = ()) -> LineageResult:
        names = [item.model for item in self.entries]
        teachers = sum("teacher" in item.roles for item in self.entries)
        made = likeness_of(np.array(self.answers))
        made = made._replace(phrases=np.zeros((PROMPTS, len(names), teachers), np.float16))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "likeness", lambda *_: made)
            patch.setattr(contrast, "DRAWS", 200)
            texts = outputs_of({name: ["Yes."] * PROMPTS for name in names})
            return audit_lineage(texts, panel_of(*self.entries), suspects, asked=asked)

    def alone(self, suspect: str) -> SuspectResult:
        return self.audited([suspect]).suspects[0]


def smallest(suspect: SuspectResult) -> float:
    """Its smallest p after Holm's correction: what decides where it is the only suspect."""
    return min(holm([item.p_value for item in suspect.families if item.p_value is not None]))


# Recorded, of 64: strangers with a p of 0.05 or less after Holm's correction, by families and clusters of controls.
STRANGERS = {(3, 12): 1, (3, 30): 0, (2, 12): 0, (1, 24): 0, (6, 8): 1}


@pytest.mark.parametrize(("families", "controls"), STRANGERS)
def test_strangers_are_beyond_controls_at_most_1_time_in_20(families: int, controls: int) -> None:
    """Eight strangers in each of eight panels, before anything but controls is asked."""
    found = 0
    for seed in range(8):
        scene = Scene(seed, families=families, controls=controls)
        suspects = [scene.suspect() for _ in range(8)]
        found += sum(smallest(item) <= 0.05 for item in scene.audited(suspects).suspects)
    # At a true rate of 0.05 more than 6 of 64 come up in 1 of 20 runs.
    assert found <= 6
    assert abs(found - STRANGERS[families, controls]) <= 4


def test_a_taught_model_is_found_and_never_in_the_wrong_family() -> None:
    """Recorded at .8 of a family's habit: 15 of 18 found, and all of them named."""
    named = []
    for seed in range(6):
        scene = Scene(seed, controls=20)
        for place in range(3):
            found = scene.alone(scene.suspect([0.8 * (place == other) for other in range(3)]))
            named.append(found.attributed_family == f"f{place}")
            assert found.attributed_family in {None, f"f{place}"}
    assert sum(named) >= 12


def test_a_capable_model_that_is_like_every_teacher_is_accused_by_chance_only() -> None:
    """Recorded: 0 of 18 at half of each of three habits."""
    accused = 0
    for seed in range(6):
        scene = Scene(seed)
        accused += sum(scene.alone(scene.suspect((0.5, 0.5, 0.5))).verdict == TAUGHT for _ in range(3))
    assert accused <= 2


def test_a_capable_model_is_not_accused_where_there_are_two_families_either() -> None:
    """Recorded: 10 of 18 at half of both habits, 8 of them with one family named."""
    accused = 0
    for seed in range(6):
        scene = Scene(seed, families=2)
        accused += sum(scene.alone(scene.suspect((0.5, 0.5), own=0.7)).verdict == TAUGHT for _ in range(3))
    assert accused <= 2


def test_a_third_model_of_a_maker_that_is_as_near_as_its_two_others_is_of_the_makers_style() -> None:
    """Drawn as the family's teachers are. Recorded: 5 of 18 accused of training on their own maker's family."""
    accused = 0
    for seed in range(6):
        scene = Scene(seed)
        accused += sum(scene.alone(scene.suspect((1.0,), OWN, maker="maker 0")).verdict == TAUGHT for _ in range(3))
    assert accused <= 2


@pytest.mark.parametrize("controls", [9, 10])
def test_another_suspect_in_the_run_does_not_hide_a_student(controls: int) -> None:
    """With the tenth cluster there are 19 controls: ranks of 1/20, a tenth among two suspects, whatever the score."""
    scene = Scene(2, controls=controls)
    found = scene.audited([scene.suspect((0.9,)), scene.suspect()], asked=["f0"]).suspects[0]
    assert (found.families[0].score or 0) > 4
    assert found.verdict == TAUGHT


def test_a_rank_of_exactly_the_level_is_at_the_level() -> None:
    """0.05 * (0.05 / 0.05) is more than 0.05: rounding must not decide."""
    alone = Questions(0, (0,), (0,), [None], {}, {0: 0.05})
    assert across_suspects({"alone": alone}) == {"alone": {0: 0.05}}


def test_the_family_that_is_named_is_the_one_that_everything_was_asked_of() -> None:
    """Two families are beyond controls; the one with the smaller p is clearly not the most alike."""
    with pytest.raises(AssertionError, match="said of one family, and named another"):
        decide(figures_of("borealis", leading="aurora"))


def test_a_signal_that_is_the_same_for_all_leaves_the_others_their_say() -> None:
    """Answers of one line of prose are all laid out alike."""
    scene = Scene(2)
    scene.suspect((0.9,))
    made = likeness_of(np.array(scene.answers))
    made.views["layout"] = {"lines": np.ones_like(made.views["opening"]["only"])}
    pairs = module.pairs_of(panel_of(*scene.entries), [item.model for item in scene.entries])
    assert np.isfinite(scores_of(made, pairs).total[-1]).all()


def test_a_model_that_is_silent_on_half_of_the_prompts_leans_to_no_family() -> None:
    """Fourteen known students of one family are no part of what any capable model says, and must not speak for it."""
    world = World(2, students=0, controls=8, prompts=30)
    for number in range(14):
        pupil = world.origins["aurora"].pupil(f"student {number}", 0.7)
        world.add(pupil, entry(f"student-{number}", "taught", taught_by={"aurora"}))
    whole, half = [], []
    for number in range(4):
        answers = [Speaker(f"silent {number}").answer(prompt) for prompt in world.prompts]
        whole.append(world.says(f"whole-{number}", answers))
        half.append(world.says(f"half-{number}", [text if place % 2 else "" for place, text in enumerate(answers)]))
    found = {item.model: item.families for item in audit_lineage(world.outputs(), world.panel(), whole + half).suspects}
    leaning = [(found[name][0].score or 0) - (found[name][1].score or 0) for name in half]
    usual = [(found[name][0].score or 0) - (found[name][1].score or 0) for name in whole]
    assert np.mean(leaning) - np.mean(usual) < 1


@pytest.mark.parametrize("stop", ["।", "؟", "۔", "።", "։"])
def test_answers_that_end_with_their_scripts_full_stop_are_not_cut_off(stop: str) -> None:
    answers = [f"{' '.join(['शब्द'] * (30 + number % 10))}{stop}" for number in range(40)]
    assert cut_lengths(outputs_of({"suspect": answers}), ["suspect"]) == {}
