"""One case for each row of the table of verdicts, and which row goes first."""

from typing import Any

import pytest
from lineage_texts import figures_of

from tutelage.audit.lineage.matches import Match
from tutelage.audit.lineage.result import VERDICTS, Verdict
from tutelage.audit.lineage.verdict import Decision, decide

TAUGHT, SAME, MAKER, NOT, UNDER = VERDICTS
# In order of precedence: each case has all that follows it against it as well.
ROWS: dict[str, tuple[dict[str, Any], Verdict, str | None, str]] = {
    "too few prompts": ({"prompts": 49}, UNDER, None, "49 prompts"),
    "the same model": ({"same_model": True}, SAME, "aurora", "nearer to aurora-large"),
    "no p to be had": ({"leading": None, "p_adjusted": None}, UNDER, None, "enough controls"),
    "nothing, and students unseen": ({"p_adjusted": 0.2, "students_seen": 0.4}, UNDER, None, "only 40%"),
    "nothing beyond controls": ({"p_adjusted": 0.2, "students_seen": 0.5}, NOT, None, "not more like"),
    "its own maker's style": ({"own_maker": True}, MAKER, None, "its own maker's"),
    "rates too high": ({"withheld": "The verdict is withheld."}, UNDER, None, "withheld"),
    "another is nearer": ({"candidates": (), "most_alike": ("dune",)}, NOT, None, "more like dune still"),
    "a match fails": ({"matches": (Match("Of its era p is 0.4.", False),)}, NOT, None, "Of its era p is 0.4."),
    "several families": ({"candidates": ("aurora",), "most_alike": ("aurora", "dune")}, TAUGHT, None, "aurora, dune"),
    "one family": ({}, TAUGHT, "aurora", "more like aurora than controls"),
}


def decided(**changed: Any) -> Decision:
    return decide(figures_of("aurora", **changed))


@pytest.mark.parametrize("row", ROWS)
def test_each_row_of_the_table_has_its_verdict(row: str) -> None:
    changed, verdict, family, said = ROWS[row]
    found = decided(**changed)
    assert (found.verdict, found.family) == (verdict, family)
    assert said in " ".join(found.reasons)


@pytest.mark.parametrize(("earlier", "later"), [(a, b) for n, a in enumerate(ROWS) for b in list(ROWS)[n + 1 :]])
def test_an_earlier_row_goes_first(earlier: str, later: str) -> None:
    changed, verdict, family, _ = ROWS[earlier]
    found = decided(**(ROWS[later][0] | changed))
    assert (found.verdict, found.family) == (verdict, family)


def test_a_family_is_named_for_training_only_where_all_that_could_excuse_was_asked() -> None:
    """Every figure that speaks against it, alone, keeps the family out of the verdict."""
    for changed, verdict, _, _ in list(ROWS.values())[:-2]:
        assert (decided(**changed).verdict, verdict) != (TAUGHT, TAUGHT)


@pytest.mark.parametrize(("p", "verdict"), [(0.05, TAUGHT), (0.0501, NOT)])
def test_the_nominal_level_itself_is_beyond_controls(p: float, verdict: Verdict) -> None:
    assert decided(p_adjusted=p).verdict == verdict


def test_fifty_prompts_are_enough_and_unknown_power_excuses_nothing() -> None:
    assert decided(prompts=50).verdict == TAUGHT
    assert decided(p_adjusted=0.9, students_seen=None).verdict == NOT


def test_nearer_than_its_makers_models_are_is_more_than_style() -> None:
    assert decided(own_maker=True, nearer_than_makers_models=True).verdict == TAUGHT


def test_the_same_model_of_no_family_is_attributed_to_none() -> None:
    assert decided(same_model=True, same_model_family=None).family is None


def test_a_match_that_holds_is_told_and_one_that_fails_is_explained() -> None:
    assert "Against 9 controls, p is 0.010." in decided().reasons
    failed = decided(matches=(*figures_of("aurora").matches, Match("Of its era p is 0.4.", False)))
    assert "Against 9 controls, p is 0.010." not in failed.reasons
    assert "capability, era or base" in failed.reasons[-1]


def test_no_reason_says_more_than_evidence_supports() -> None:
    for changed, *_ in ROWS.values():
        text = " ".join(decided(**changed).reasons).casefold()
        assert text
        assert not [
            word for word in ("stolen", "stole", "theft", "proved", "proof", "proven", "guilty") if word in text
        ]
