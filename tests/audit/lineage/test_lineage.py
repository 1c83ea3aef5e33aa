"""The whole audit on made-up models whose lineage is known: what is found, what is not, and what bad input gives.

Recorded on this grammar (60 prompts, 3 families, 10 clusters of controls): RECORDED on seeds 0 to 2. On seeds 100 to
111, once and before the classifier was a signal: of 144 strangers 1 was accused, of 36 older models of a maker 1, and
of 36 pupils with a share of 0.2, 0.3, 0.4, 0.5 and 0.6 of a family's habits 7, 21, 27, 32 and 32 were found, none of
them under another family.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from lineage_texts import FAMILIES, World, entry, outputs_of, panel_of

from tutelage.audit.lineage.lineage import audit_lineage
from tutelage.audit.lineage.result import VERDICTS, LineageResult, SuspectResult

SEEDS = (0, 1, 2)
STRANGERS = 8
TAUGHT, SAME, MAKER, NOT, UNDER = VERDICTS
RECORDED = {
    "pupils found": 9,
    "pupils": 9,
    "strangers accused": 0,
    "strangers": 24,
    "elders called taught": 0,
    "elders of their maker's style": 9,
    "elders": 9,
}


class Judged:
    """One run with suspects of every kind."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.taught = {self.world.taught(family, 0.5, f"pupil-of-{family}"): family for family in FAMILIES}
        self.strangers = [self.world.untaught(f"stranger-{number}") for number in range(STRANGERS)]
        self.elders = [self.world.sibling(family, name=f"elder-{family}") for family in FAMILIES]
        self.copies = {self.world.copy(of, name=f"copy-of-{of}"): of for of in ("background-0", "cirrus-small")}
        suspects = [*self.taught, *self.strangers, *self.elders, *self.copies]
        self.result = audit_lineage(self.world.outputs(), self.world.panel(), suspects)
        self.of = {item.model: item for item in self.result.suspects}


judged = cache(Judged)


def audited(world: World, *suspects: str, seed: int = 0) -> dict[str, SuspectResult]:
    return {item.model: item for item in audit_lineage(world.outputs(), world.panel(), suspects, seed=seed).suspects}


def assert_nothing_is_claimed(suspect: SuspectResult) -> None:
    assert suspect.verdict == UNDER
    assert suspect.attributed_family is None
    for family in suspect.families:
        assert (family.score, family.p_value, family.p_adjusted, family.p_kind) == (None, None, None, "none")
        assert (family.contrast_low, family.contrast_high) == (None, None)
    assert suspect.same_model_score is None
    assert suspect.reasons


@pytest.mark.parametrize("seed", SEEDS)
def test_a_suspect_with_half_of_a_familys_habits_is_found_and_its_family_named(seed: int) -> None:
    for name, family in judged(seed).taught.items():
        found = judged(seed).of[name]
        assert (found.verdict, found.attributed_family, found.indistinguishable) == (TAUGHT, family, (family,))
        by_family = {item.family: item for item in found.families}
        assert max(by_family, key=lambda other: by_family[other].score or 0) == family
        assert (by_family[family].contrast_low or 0) > 0


def test_the_rates_are_those_that_are_recorded() -> None:
    of = [(judged(seed), name) for seed in SEEDS for name in judged(seed).taught]
    strangers = [judged(seed).of[name] for seed in SEEDS for name in judged(seed).strangers]
    elders = [judged(seed).of[name] for seed in SEEDS for name in judged(seed).elders]
    assert {
        "pupils found": sum(run.of[name].attributed_family == run.taught[name] for run, name in of),
        "pupils": len(of),
        "strangers accused": sum(item.verdict != NOT or item.attributed_family is not None for item in strangers),
        "strangers": len(strangers),
        "elders called taught": sum(item.verdict == TAUGHT for item in elders),
        "elders of their maker's style": sum(item.verdict == MAKER for item in elders),
        "elders": len(elders),
    } == RECORDED


def test_p_values_of_strangers_are_no_smaller_than_chance_makes_them() -> None:
    values = [
        item.p_value
        for seed in SEEDS
        for name in judged(seed).strangers
        for item in judged(seed).of[name].families
        if item.p_value is not None
    ]
    assert len(values) == 3 * STRANGERS * len(SEEDS)
    # 72 values: at a level of 0.05 more than 9 come up in 1 of 300 runs.
    assert sum(value <= 0.05 for value in values) <= 9
    assert 0.35 < np.mean(values) < 0.65


@pytest.mark.parametrize("seed", SEEDS)
def test_a_makers_older_model_is_of_the_makers_style_and_not_taught(seed: int) -> None:
    verdicts = [judged(seed).of[name].verdict for name in judged(seed).elders]
    assert set(verdicts) <= {MAKER, NOT}
    assert verdicts.count(MAKER) >= 2
    assert {judged(seed).of[name].attributed_family for name in judged(seed).elders} == {None}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_with_light_changes_is_the_same_model(seed: int) -> None:
    for name, original in judged(seed).copies.items():
        found = judged(seed).of[name]
        assert (found.verdict, found.nearest_model) == (SAME, original)
        assert (found.same_model_score or 0) > 3
    assert judged(seed).of["copy-of-cirrus-small"].attributed_family == "cirrus"
    assert judged(seed).of["copy-of-background-0"].attributed_family is None


DOSES = (0.0, 0.2, 0.4, 0.6)


@cache
def one_panel() -> dict[str, SuspectResult]:
    """Members of a panel asked about, pupils with more and more of a family's habits, and what else a run shows."""
    world = World(3)
    for dose in DOSES:
        world.add(world.origins["borealis"].pupil("one pupil", dose), f"dose-{dose}")
    possible = world.taught("aurora", 0.6, "possible")
    world.entries.append(entry(possible, "suspect", maybe={"aurora"}))
    plain, telling = world.untaught("plain"), world.untaught("telling")
    texts = [world.speakers[plain].answer(prompt) for prompt in world.prompts]
    world.says(plain, texts)
    world.says(telling, [*texts[:-1], f"{texts[-1]}\nI am Claude, made by Anthropic."])
    members = ("student-1", "student-2", "control-4-0", "background-0", "aurora-large", "aurora-tuned")
    return audited(world, *members, *(f"dose-{dose}" for dose in DOSES), possible, plain, telling)


def test_a_familys_score_grows_with_the_share_that_was_taken_over() -> None:
    found = [one_panel()[f"dose-{dose}"] for dose in DOSES]
    scores = [item.score or 0 for suspect in found for item in suspect.families if item.family == "borealis"]
    assert scores == sorted(scores)
    assert found[0].verdict == NOT
    assert found[-1].attributed_family == "borealis"


def test_known_students_controls_and_background_may_be_asked_about() -> None:
    names = ("student-1", "student-2", "control-4-0", "background-0")
    assert {name: (one_panel()[name].verdict, one_panel()[name].attributed_family) for name in names} == {
        "student-1": (TAUGHT, "borealis"),
        "student-2": (TAUGHT, "cirrus"),
        "control-4-0": (NOT, None),
        "background-0": (NOT, None),
    }


def test_a_suspect_that_is_a_teacher_too_is_asked_about_the_other_families_only() -> None:
    found = one_panel()["aurora-large"]
    assert [item.family for item in found.families] == ["borealis", "cirrus"]
    assert "It is a teacher of aurora, so that is not asked." in found.reasons
    assert found.verdict == NOT


def test_a_variant_finds_its_parent() -> None:
    found = one_panel()["aurora-tuned"]
    assert (found.verdict, found.nearest_model, found.attributed_family) == (SAME, "aurora-large", "aurora")


def test_a_pair_that_the_panel_holds_possible_is_not_asked() -> None:
    found = one_panel()["possible"]
    assert [item.family for item in found.families] == ["borealis", "cirrus"]
    assert found.attributed_family is None
    assert any("aurora may have taught it" in reason for reason in found.reasons)


def test_what_the_model_says_of_itself_is_shown_and_moves_no_score() -> None:
    plain, telling = one_panel()["plain"], one_panel()["telling"]
    assert telling.self_identification.labels["anthropic"] == 1
    assert not plain.self_identification.labels
    assert telling.verdict == plain.verdict == NOT
    pairs = zip(plain.families, telling.families, strict=True)
    # One answer of 60 ends otherwise, so not to the last digit.
    assert all(a.score == pytest.approx(b.score, abs=0.3) for a, b in pairs)


def test_without_controls_of_any_kind_no_number_is_given() -> None:
    world = World(1, controls=0, students=3)
    found = audited(world, world.taught("aurora", 0.7), world.untaught())
    for suspect in found.values():
        assert_nothing_is_claimed(suspect)
        assert any("controls" in reason for reason in suspect.reasons)


@cache
def without_students() -> LineageResult:
    """Two suspects, and a third that answered next to nothing, which `read_outputs` hands over beside the outputs."""
    world = World(1, students=0)
    suspects = [world.taught("aurora", 0.6), world.untaught(), "late"]
    return audit_lineage(world.outputs()._replace(uncovered={"late": 7}), world.panel(), suspects)


def test_a_panel_without_known_students_uses_the_stated_default() -> None:
    taught, untaught, _ = without_students().suspects
    assert without_students().calibration.weights_from.startswith("the default: 0 clusters of known students")
    assert [(item.verdict, item.attributed_family) for item in (taught, untaught)] == [(TAUGHT, "aurora"), (NOT, None)]
    assert taught.power.smallest_dose is None
    assert "no known students" in taught.power.sentence


def test_a_suspect_that_answered_too_few_prompts_is_in_the_result_without_scores() -> None:
    late = without_students().suspects[2]
    assert (late.verdict, late.families, late.power.prompts) == (UNDER, (), 7)
    assert "answered 7 of the prompts" in late.reasons[0]


def test_one_teacher_is_enough_to_ask_and_nothing_is_contrasted() -> None:
    world = World(1, students=0)
    world.entries = [item for item in world.entries if "teacher" not in item.roles or item.model == "aurora-large"]
    world.speakers = {
        name: who for name, who in world.speakers.items() if not name.startswith(("bor", "cir", "aurora-s", "aurora-t"))
    }
    world.entries = [item for item in world.entries if item.model in world.speakers]
    found = audited(world, world.taught("aurora", 0.6), world.untaught())
    assert [len(item.families) for item in found.values()] == [1, 1]
    assert [item.families[0].contrast_low for item in found.values()] == [None, None]
    assert [item.verdict for item in found.values()] == [TAUGHT, NOT]


def test_ten_prompts_decide_nothing_however_alike_the_suspect_is() -> None:
    world = World(1, prompts=10)
    found = audited(world, world.taught("aurora", 0.9), world.copy("aurora-small"))
    assert {item.verdict for item in found.values()} == {UNDER}
    assert {item.attributed_family for item in found.values()} == {None}
    assert all("10 prompts" in item.reasons[-1] for item in found.values())


def test_a_single_prompt_is_no_error() -> None:
    world = World(1, prompts=1, students=0, controls=8)
    assert audited(world, world.untaught())["stranger"].verdict == UNDER


ODD: dict[str, Callable[[int], str]] = {
    "mute": lambda number: "",
    "the-same-to-all": lambda number: "Sorry, I can not answer that today.",
    "half-mute": lambda number: "" if number % 2 else "A good answer to this, I think.",
    "chinese": lambda number: f"你好，这是一个关于问题的回答。我们可以从{number}个方面来看。首先，天气很好。",
    "arabic": lambda number: f"هذا جواب عن السؤال رقم {number}، وهو طويل بما يكفي.",
    "one-word": lambda number: "Yes." if number % 2 else "No.",
    "signs-only": lambda number: "!?…" * (number + 1),
    "emoji": lambda number: "🙂" * (number + 1),
    "nul-and-surrogate": lambda number: "\0 \ud800 x" * number,
    "runs-on": lambda number: f"{number} and more of the same " * 4_000,
    "one-long-word": lambda number: "a" * 100_000,
    "lines": lambda number: "\n" * 50,
    "code": lambda number: f"```python\ndef f(x):\n    return x + {number}\n```",
}


@cache
def odd() -> LineageResult:
    world = World(4, controls=8, students=4)
    suspects = [world.says(name, [say(number) for number in range(60)]) for name, say in ODD.items()]
    return audit_lineage(world.outputs(), world.panel(), suspects)


@pytest.mark.parametrize("name", ODD)
def test_odd_answers_are_attributed_to_nobody(name: str) -> None:
    (found,) = [item for item in odd().suspects if item.model == name]
    assert found.verdict in {NOT, UNDER}
    assert found.attributed_family is None
    assert all(item.p_adjusted is None or item.p_adjusted > 0.05 for item in found.families)


def test_odd_answers_are_told_among_the_reasons() -> None:
    reasons = {item.model: " ".join(item.reasons) for item in odd().suspects}
    assert "All its answers are the same text." in reasons["the-same-to-all"]
    assert "30 of its 60 answers are empty." in reasons["half-mute"]


def test_a_suspect_that_says_nothing_has_no_numbers() -> None:
    (mute,) = [item for item in odd().suspects if item.model == "mute"]
    assert_nothing_is_claimed(mute)
    assert any("60 of its 60 answers are empty" in reason for reason in mute.reasons)


def test_another_language_is_judged_like_any_and_several_samples_are_one_answer() -> None:
    world = World(2, students=0)
    table = str.maketrans("abdefgilmnoprstuvz", "абдефгилмнопрстувз")
    suspects = [world.taught("cirrus", 0.6), world.untaught()]
    answers = {
        name: [
            [who.answer(prompt, sample).translate(table) for sample in range(1 + (name in suspects))]
            for prompt in world.prompts
        ]
        for name, who in world.speakers.items()
    }
    outputs = outputs_of(answers, [prompt.text.translate(table) for prompt in world.prompts])
    found = audit_lineage(outputs, world.panel(), suspects).suspects
    assert [(item.verdict, item.attributed_family) for item in found] == [(TAUGHT, "cirrus"), (NOT, None)]


@pytest.mark.parametrize("text", ["The same for all of us, word for word.", "", "x"])
def test_where_all_models_say_the_same_nothing_is_told_apart(text: str) -> None:
    world = World(1, prompts=8, controls=6, students=0)
    suspect = world.untaught()
    for name in world.speakers:
        world.says(name, text)
    assert_nothing_is_claimed(audited(world, suspect)[suspect])


def test_a_teacher_and_a_suspect_alone_are_no_evidence() -> None:
    outputs = outputs_of({"a": ["Some words of mine."] * 60, "b": ["Other words of theirs."] * 60})
    (found,) = audit_lineage(outputs, panel_of(entry("a", "teacher", family="A")), ["b"]).suspects
    assert_nothing_is_claimed(found)


def test_answers_that_were_cut_off_are_compared_at_their_length() -> None:
    world = World(2, students=0)
    suspect = world.taught("borealis", 0.7)
    texts = [world.speakers[suspect].answer(prompt) for prompt in world.prompts]
    world.says(suspect, [" ".join(text.split(" ")[:40]).rstrip(".!?:*") + " and" for text in texts])
    found = audited(world, suspect)[suspect]
    assert (found.verdict, found.attributed_family) == (TAUGHT, "borealis")
    assert any("cut off" in reason for reason in found.reasons)
    assert all("ending" not in item.signals for item in found.families)


@pytest.mark.parametrize("seed", SEEDS[:1])
def test_the_json_has_the_keys_that_are_promised_and_no_number_that_is_none(seed: int) -> None:
    for result in (judged(seed).result, odd()):
        content = json.loads(json.dumps(result.to_json(), allow_nan=False))
        assert {"suspects", "calibration", "cannot_tell"} <= content.keys()
        assert {"false_positive_rate", "placebo_rate", "controls", "nominal"} <= content["calibration"].keys()
        for suspect in content["suspects"]:
            assert suspect["verdict"] in VERDICTS
            assert {
                "model",
                "families",
                "verdict",
                "attributed_family",
                "nearest_model",
                "same_model_score",
                "power",
                "reasons",
            } <= suspect.keys()
            for family in suspect["families"]:
                assert {
                    "family",
                    "score",
                    "p_value",
                    "p_adjusted",
                    "contrast_low",
                    "contrast_high",
                } <= family.keys()
        assert not {"stolen", "proved", "proven", "theft"} & set(json.dumps(content).casefold().split())


def test_signals_are_the_parts_of_a_score() -> None:
    run = judged(0)
    weights = run.result.calibration.weights
    assert sum(weights.values()) == pytest.approx(1, abs=1e-3)
    for item in run.of["pupil-of-aurora"].families:
        whole = sum(weights[name] * value for name, value in item.signals.items())
        assert whole == pytest.approx(item.score, abs=2e-3)  # weights are rounded


def test_the_panels_dots_are_its_controls_and_students() -> None:
    run = judged(0)
    kinds = {(dot.model, dot.family): dot.kind for dot in run.result.calibration.panel_scores}
    assert {kinds[f"student-{number}", FAMILIES[number % 3]] for number in range(6)} == {"student"}
    assert {kinds["control-0-0", family] for family in FAMILIES} == {"control"}
    assert not {model for model, _ in kinds} & {"aurora-tuned", "background-0", *run.of}


def test_a_placebo_rate_is_measured_where_the_panel_has_dates() -> None:
    world = World(8, students=0, controls=8, prompts=50)
    world.entries = [
        entry(
            item.model,
            *item.roles,
            family=item.family,
            maker=item.maker,
            cluster=item.cluster,
            parent=item.parent,
            released="2024-06-30" if "teacher" in item.roles else "2022-06-30",
            released_from="2024-06-01" if "teacher" in item.roles else "2022-06-01",
        )
        for item in world.entries
    ]
    calibration = audit_lineage(world.outputs(), world.panel(), [world.untaught()][:0]).calibration
    # 12 controls and 2 of background, each against 3 families.
    assert calibration.placebo_pairs == 42
    assert calibration.placebo_rate is not None
    assert calibration.placebo_rate <= 0.1


def small() -> tuple[World, str]:
    world = World(7, prompts=12, students=0, controls=6)
    return world, world.taught("aurora", 0.5)


def test_the_order_of_suspects_changes_nothing_and_one_more_hardly_anything() -> None:
    world, name = small()
    alone = audited(world, name)[name]
    other = world.copy(name, name="its-copy")
    outputs, panel = world.outputs(), world.panel()
    forth, back = (audit_lineage(outputs, panel, names) for names in ([name, other], [other, name]))
    assert forth.suspects == back.suspects[::-1]
    assert forth.calibration == back.calibration
    pairs = zip(alone.families, forth.suspects[0].families, strict=True)
    assert all(a.score == pytest.approx(b.score, rel=0.25, abs=0.5) for a, b in pairs)


def test_nothing_here_depends_on_the_order_of_hashes() -> None:
    """Sets of strings are walked in another order in every process."""
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from lineage_texts import World\n"
        "from tutelage.audit.lineage.lineage import audit_lineage\n"
        "world = World(7, prompts=12, students=0, controls=6)\n"
        "name = world.taught('aurora', 0.5)\n"
        "print(json.dumps(audit_lineage(world.outputs(), world.panel(), [name]).to_json()))\n"
    )
    folder = next(path for path in sys.path if path.endswith("faults"))
    command = [sys.executable, "-c", program, folder]
    environment = {"PYTHONHASHSEED": "12345", "OPENBLAS_NUM_THREADS": "1"}
    there = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    world, name = small()
    here = audit_lineage(world.outputs(), world.panel(), [name]).to_json()
    for a, b in zip(here["suspects"][0]["families"], there["suspects"][0]["families"], strict=True):
        assert a["score"] == pytest.approx(b["score"], abs=1e-4)
        assert a["p_value"] == pytest.approx(b["p_value"], rel=1e-3)
    assert here["calibration"]["weights"] == there["calibration"]["weights"]
