"""The prompts that tell most: what suspect and teacher share there, and hardly anybody else says."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from lineage_texts import World, outputs_of

from tutelage.audit.lineage.likeness import likeness
from tutelage.audit.lineage.outputs import Outputs
from tutelage.audit.lineage.result import TellingPrompt
from tutelage.audit.lineage.telling import MOST, MOST_PHRASES, telling_prompts

TEACHER, SUSPECT, REFERENCES = 0, 1, (2, 3)
SAYING = "one two three four five six"


def told(outputs: Outputs, phrases: npt.NDArray[np.float16] | None = None) -> tuple[TellingPrompt, ...]:
    found = likeness(outputs, [TEACHER]).phrases if phrases is None else phrases
    return telling_prompts(outputs, found, SUSPECT, [TEACHER], [0], REFERENCES)


def test_a_saying_of_two_models_is_found_and_its_surprise_is_as_by_hand() -> None:
    outputs = outputs_of(
        {
            "teacher": ["plain words that nobody repeats today", f"they say {SAYING} often"],
            "suspect": ["some other words entirely said here", f"I heard {SAYING}!"],
            "c0": ["again quite different words stand here", "one two three four five of them"],
            "c1": ["and the last one differs as well", "nothing at all of that sort"],
        }
    )
    (found,) = told(outputs)
    assert (found.prompt_id, found.teacher) == ("p1", "teacher")
    assert found.suspect_response == f"I heard {SAYING}!"
    # Two runs of five words are shared; one of the two controls has the first of them.
    assert found.shared_phrases == ("two three four five six", "one two three four five")
    assert found.surprise == pytest.approx((math.log(3 / 1) + math.log(3 / 2)) / 5)


def test_what_the_question_says_is_no_sharing() -> None:
    answers = {name: [f"{SAYING} {name}"] for name in ("teacher", "suspect", "c0", "c1")}
    answers["c0"] = answers["c1"] = ["something else that is said"]
    assert told(outputs_of(answers, [f"What is {SAYING}?"])) == ()
    assert len(told(outputs_of(answers, ["What is it?"]))) == 1


def test_what_everybody_says_surprises_nobody() -> None:
    (found,) = told(outputs_of({name: [SAYING] for name in ("teacher", "suspect", "c0", "c1")}))
    assert found.surprise == pytest.approx(0)


def test_the_rarest_stand_first_and_so_many_at_most() -> None:
    own = [[" ".join(f"w{prompt}x{place}" for place in range(6 + prompt))] for prompt in range(10)]
    outputs = outputs_of({"teacher": own, "suspect": own, "c0": ["x"] * 10, "c1": ["y"] * 10})
    found = told(outputs)
    assert len(found) == MOST
    assert [item.surprise for item in found] == sorted((item.surprise for item in found), reverse=True)
    assert all(len(item.shared_phrases) <= MOST_PHRASES for item in found)


def test_without_teachers_references_or_sharing_there_is_nothing_or_no_error() -> None:
    outputs = outputs_of({"teacher": [SAYING], "suspect": [SAYING], "c0": [""], "c1": ["short"]})
    phrases = likeness(outputs, [TEACHER]).phrases
    assert telling_prompts(outputs, phrases, SUSPECT, [TEACHER], [], REFERENCES) == ()
    (alone,) = telling_prompts(outputs, phrases, SUSPECT, [TEACHER], [0], ())
    assert alone.surprise == pytest.approx(0)  # nobody says how rare it is
    assert told(outputs_of({"teacher": [""], "suspect": [""], "c0": [""], "c1": [""]})) == ()


def test_the_teacher_that_shares_most_is_shown() -> None:
    outputs = outputs_of({"t0": ["a b c d e f g"], "suspect": [SAYING], "c0": ["x"], "c1": ["y"], "t1": [SAYING]})
    phrases = likeness(outputs, [0, 4]).phrases
    (found,) = telling_prompts(outputs, phrases, SUSPECT, [0, 4], [0, 1], REFERENCES)
    assert found.teacher == "t1"


def test_phrases_that_are_shown_stand_in_both_answers() -> None:
    world = World(0, prompts=12, controls=3, students=0)
    world.taught("aurora", 0.9)
    outputs = world.outputs()
    teachers = [outputs.models.index("aurora-large")]
    others = [place for place, name in enumerate(outputs.models) if name.startswith("control")]
    suspect = outputs.models.index("suspect")
    found = telling_prompts(outputs, likeness(outputs, teachers).phrases, suspect, teachers, [0], others)
    assert found
    for item in found:
        for phrase in item.shared_phrases:
            for text in (item.suspect_response, item.teacher_response):
                words = "".join(sign if sign.isalnum() else " " for sign in text.lower()).split()
                assert phrase in " ".join(words)
