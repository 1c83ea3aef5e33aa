"""What a pair of a model and a family says, case by case."""

import numpy as np
import pytest
from lineage_texts import entry, panel_of

from tutelage.audit.lineage.pairs import Pairs, pairs_of

NEW = {"released": "2024-03-31", "released_from": "2024-03-01"}
PANEL = panel_of(
    entry("sun", "teacher", family="star", maker="hot", cluster="star", **NEW),
    entry("sirius", "teacher", family="star", maker="hot", cluster="star", released="2025-01-01"),
    entry("dwarf", "teacher", family="small-star", maker="hot", cluster="small-star"),
    entry("moon", "teacher", family="rock", maker="cold", cluster="rock", released="2023-01-01"),
    entry("nameless", "teacher", family="dust", cluster="dust"),
    entry("plain", "control", cluster="plain"),
    entry("early", "control", released="2024-02-29", released_from="2024-02-01"),
    entry("same-month", "control", **NEW),
    entry("of-hot", "control", maker="hot"),
    entry("pupil", "taught", taught_by={"star", "absent"}, released="2020-01-01"),
    entry("perhaps", "control", maybe={"star"}, released="2020-01-01"),
    entry("old-friend", "background", released="2019-12-31"),
    entry("elsewhere", "background", not_taught_by=frozenset({"star"})),
    entry("tuned", "variant", parent="sun", cluster="star"),
    entry("tuned-plain", "variant", "control", parent="plain", cluster="plain"),
    entry("asked", "suspect", maker="hot"),
    entry(
        "both",
        "teacher",
        "taught",
        family="rock",
        taught_by={"star"},
        maker="cold",
        cluster="rock",
        released="2023-02-01",
    ),
    entry("silent", "teacher", family="unheard", maker="far"),
)
MODELS = (*(name for name in PANEL.models if name != "silent"), "stranger")
FOUND = pairs_of(PANEL, MODELS)
STAR, SMALL, ROCK, DUST = range(4)


def says(pairs: Pairs, model: str, family: str) -> set[str]:
    row, column = MODELS.index(model), pairs.families.index(family)
    masks = ("teacher", "control", "student", "placebo", "same_maker")
    return {name for name in masks if getattr(pairs, name)[row, column]}


@pytest.mark.parametrize(
    ("model", "family", "expected"),
    [
        ("sun", "star", {"teacher"}),
        ("sun", "rock", {"control"}),  # a capable model of another maker
        ("sun", "small-star", {"same_maker"}),
        ("sun", "dust", set()),  # a teacher of unknown maker may be anybody's sibling
        ("nameless", "star", set()),
        ("moon", "star", {"control", "placebo"}),
        ("plain", "star", {"control"}),
        ("plain", "dust", {"control"}),
        ("early", "star", {"control", "placebo"}),
        ("early", "rock", {"control"}),  # which was there before it
        ("early", "dust", {"control"}),  # no date, no placebo
        ("same-month", "star", {"control"}),  # of one month nobody knows which came first
        ("of-hot", "star", {"same_maker"}),
        ("of-hot", "rock", {"control"}),
        ("pupil", "star", {"student"}),  # what is known goes before what dates say
        ("pupil", "rock", {"placebo"}),  # not taught by it as far as known, and no control for that
        ("perhaps", "star", set()),
        ("perhaps", "rock", {"control", "placebo"}),
        ("old-friend", "star", {"placebo"}),
        ("old-friend", "dust", set()),
        ("elsewhere", "star", {"placebo"}),  # the panel holds it impossible
        ("elsewhere", "rock", set()),
        ("tuned", "star", set()),
        ("tuned", "rock", set()),
        ("tuned-plain", "star", set()),
        ("asked", "star", {"same_maker"}),
        ("asked", "rock", set()),
        ("both", "star", {"student"}),
        ("both", "rock", {"teacher"}),
        ("both", "small-star", {"control"}),
        ("stranger", "star", set()),
    ],
)
def test_a_pair_says(model: str, family: str, expected: set[str]) -> None:
    assert says(FOUND, model, family) == expected


def test_what_is_impossible_is_asked_of_nobody_whatever_else_the_pair_says() -> None:
    """Same maker or not, student or not: `early` came out before star, `elsewhere` is said not to have been taught."""
    star = {model for model, asked in zip(MODELS, FOUND.impossible[:, STAR], strict=True) if asked}
    assert star == {"moon", "both", "early", "pupil", "perhaps", "old-friend", "elsewhere"}


def test_a_control_of_the_teachers_cluster_is_no_control_for_that_family() -> None:
    sun = entry("sun", "teacher", family="star", cluster="hot-ones")
    kin = entry("ember", "control", cluster="hot-ones")
    found = pairs_of(panel_of(sun, kin), ["sun", "ember"])
    assert not found.control[1, 0]
    assert found.cluster[0] == found.cluster[1]


def test_families_are_those_with_a_teacher_that_answered() -> None:
    assert FOUND.families == ("star", "small-star", "rock", "dust")


def test_makers_are_told_apart() -> None:
    expected = np.ones((4, 4), bool)
    expected[[STAR, STAR, SMALL, SMALL, ROCK, DUST], [STAR, SMALL, STAR, SMALL, ROCK, DUST]] = False
    np.testing.assert_array_equal(FOUND.other_maker, expected)


def test_a_familys_teachers_are_one_cluster_and_names_never_meet() -> None:
    cluster = dict(zip(MODELS, FOUND.cluster, strict=True))
    assert cluster["sun"] == cluster["sirius"] == "family star"
    assert cluster["plain"] == cluster["tuned-plain"] == "cluster plain"
    assert cluster["stranger"] == "model stranger"


def test_what_any_model_says_is_told_by_teachers_controls_and_background() -> None:
    inside = {model for model, kept in zip(MODELS, FOUND.reference, strict=True) if kept}
    assert {"sun", "moon", "plain", "old-friend", "tuned-plain"} <= inside
    assert not inside & {"pupil", "tuned", "asked", "stranger"}


def test_no_pair_is_two_things_that_exclude_each_other() -> None:
    assert not (FOUND.control & FOUND.student).any()
    assert not (FOUND.control & FOUND.teacher).any()
    assert not (FOUND.control & FOUND.same_maker).any()
    assert not (FOUND.placebo & FOUND.student).any()


def test_without_models_of_the_panel_there_are_no_families() -> None:
    found = pairs_of(PANEL, ["stranger"])
    assert found.families == ()
    assert found.other_maker.shape == (0, 0)
