"""Which models are compared on which prompts: hand-made tables, and what holds for any table."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from tutelage.audit.lineage.coverage import Coverage, choose

Flags = npt.NDArray[np.bool_]


def chosen(answered: Flags, *, suspects: tuple[int, ...] = (), outside: tuple[int, ...] = ()) -> Coverage:
    """`outside`: models that the panel does not have."""
    numbers = np.arange(len(answered))
    return choose(answered, ~np.isin(numbers, outside), np.isin(numbers, suspects))


def block(*widths: int, of: int) -> Flags:
    """One model a width, which answered so many prompts from the first on."""
    return np.arange(of) < np.array(widths)[:, None]


def test_all_models_that_answer_nearly_all_are_kept_with_what_they_share() -> None:
    answered = block(100, 100, 100, 90, of=100)
    answered[0, 5] = False
    found = chosen(answered)
    assert found.models == [0, 1, 2, 3]
    assert set(range(90)) - set(found.prompts.tolist()) == {5}
    assert len(found.expected) == 100
    assert found.set_aside == {}


def test_a_panel_model_below_nine_tenths_is_set_aside_with_its_count() -> None:
    found = chosen(block(100, 100, 89, 1, 0, of=100))
    assert found.models == [0, 1]
    assert found.set_aside == {2: 89, 3: 1}
    assert len(found.prompts) == 100


def test_models_with_one_answer_do_not_set_the_measure_though_they_are_many() -> None:
    found = chosen(block(100, 100, 100, *[1] * 7, of=100))
    assert found.models == [0, 1, 2]


def test_models_with_prompts_of_their_own_do_not_set_the_measure() -> None:
    for more in (5000, 50_000):
        answered = block(*[100] * 20, *[more] * 8, of=more)
        found = chosen(answered)
        assert found.models == list(range(28))
        assert found.prompts.tolist() == list(range(100))
        apart = answered.copy()
        apart[20:, :100] = False
        assert chosen(apart).models == list(range(20))
    assert chosen(block(10, 5000, of=5000)).prompts.tolist() == list(range(10))


def test_what_the_most_complete_answer_is_what_more_than_half_of_them_do() -> None:
    assert chosen(block(10, 10, 10, 8, of=10)).set_aside == {3: 8}
    assert chosen(block(10, 8, 8, 8, of=10)).models == [0, 1, 2, 3]
    assert chosen(block(10, 8, of=10)).models == [0, 1]
    assert chosen(block(*[805] * 3, *[100] * 60, of=805)).models == list(range(63))


def test_models_that_share_in_pairs_only_are_compared_on_what_all_share() -> None:
    answered = np.ones((3, 40), np.bool_)
    for model in range(3):
        answered[model, 10 * (model + 1) : 10 * (model + 2)] = False
    found = chosen(answered)
    assert found.models == [0, 1, 2]
    assert found.prompts.tolist() == list(range(10))


def test_holes_in_different_places_cost_models_rather_than_all_prompts() -> None:
    draw = np.random.default_rng(7)
    answered = draw.random((60, 500)) > 0.06
    answered[:20] = True
    found = chosen(answered)
    assert found.models[:20] == list(range(20))
    assert len(found.prompts) > 100
    assert set(found.set_aside) | set(found.models) == set(range(60))


def test_a_suspect_needs_half_of_what_the_panel_shares() -> None:
    answered = block(100, 100, 60, 49, 0, of=100)
    found = chosen(answered, suspects=(2, 3, 4), outside=(2, 3, 4))
    assert found.models == [0, 1, 2]
    assert len(found.prompts) == 60
    assert found.uncovered == {3: 49, 4: 0}


def test_suspects_that_share_too_little_with_each_other_do_not_empty_the_join() -> None:
    answered = np.ones((4, 100), np.bool_)
    answered[2, 60:] = False
    answered[3, :42] = False
    found = chosen(answered, suspects=(2, 3), outside=(2, 3))
    assert found.models == [0, 1, 2]
    assert found.uncovered == {3: 58}


def test_a_suspect_of_the_panel_is_kept_by_the_rule_for_suspects() -> None:
    found = chosen(block(100, 100, 60, of=100), suspects=(2,))
    assert found.models == [0, 1, 2]
    assert found.set_aside == {}
    assert chosen(block(100, 100, 10, of=100), suspects=(2,)).uncovered == {2: 10}


def test_where_the_panel_answered_nothing_nothing_is_left() -> None:
    found = chosen(block(0, 0, 10, of=10), suspects=(2,), outside=(2,))
    assert (found.models, len(found.prompts), found.uncovered) == ([], 0, {2: 0})
    assert chosen(np.zeros((2, 0), np.bool_)).models == []


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 30), st.floats(0.2, 1))
def test_every_kept_model_answered_every_shared_prompt_and_every_other_is_accounted_for(
    seed: int, models: int, prompts: int, share: float
) -> None:
    draw = np.random.default_rng(seed)
    answered = draw.random((models, prompts)) < share
    in_panel, is_suspect = draw.random(models) < 0.8, draw.random(models) < 0.3
    found = choose(answered, in_panel, is_suspect)
    assert answered[found.models][:, found.prompts].all()
    groups = [set(found.models), set(found.set_aside), set(found.uncovered)]
    assert sum(map(len, groups)) == len(set.union(*groups))
    with_answers = in_panel & answered.any(axis=1)
    assert set.union(*groups) == set(np.flatnonzero(with_answers | is_suspect))
    assert len(found.prompts) >= 0.5 * found.panel_prompts
    for model in set(found.models) & set(np.flatnonzero(in_panel & ~is_suspect).tolist()):
        assert answered[model, found.expected].sum() >= 0.9 * len(found.expected)
