"""Inner products of bags of hashes against dictionaries, and what holds for whole texts."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_texts import World, outputs_of

from tutelage.audit.lineage import likeness as module
from tutelage.audit.lineage import processes
from tutelage.audit.lineage.likeness import Likeness, inner_products, likeness

Bag = npt.NDArray[np.uint64] | npt.NDArray[np.uint32]


def by_dictionary(bags: Sequence[Bag], model_no: Sequence[int], models: int) -> npt.NDArray[np.float64]:
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for bag, model in zip(bags, model_no, strict=True):
        counts[model].update(bag.tolist())
    owners = Counter(feature for bag in counts.values() for feature in bag)
    vectors = {}
    for model, bag in counts.items():
        raw = {
            feature: (1 + math.log(count)) * math.log((models + 1) / owners[feature]) for feature, count in bag.items()
        }
        length = math.sqrt(sum(value**2 for value in raw.values()))
        vectors[model] = {feature: value / length for feature, value in raw.items()}
    return np.array(
        [
            [
                sum(value * vectors.get(b, {}).get(feature, 0) for feature, value in vectors.get(a, {}).items())
                for b in range(models)
            ]
            for a in range(models)
        ]
    )


# 64 bits, of which the highest may go: features that differ in those alone are not drawn.
FEATURES = st.integers(0, 12).map(lambda number: (number * 0x9E3779B97F4A7C15 + 7) % 2**52)


@given(
    st.integers(1, 7).flatmap(
        lambda models: st.tuples(
            st.just(models),
            st.lists(st.tuples(st.integers(0, models - 1), st.lists(FEATURES, max_size=15)), min_size=1, max_size=12),
        )
    ),
    st.booleans(),
)
@settings(max_examples=80)
def test_inner_products_are_those_of_dictionaries(drawn: tuple[int, list[tuple[int, list[int]]]], small: bool) -> None:
    models, rows = drawn
    kind = np.uint32 if small else np.uint64
    bags = [np.array([feature % 2**32 if small else feature for feature in bag], kind) for _, bag in rows]
    model_no = np.array([model for model, _ in rows], np.int32)
    spoke = np.array(
        [
            any(len(bag) and number == model for number, bag in zip(model_no, bags, strict=True))
            for model in range(models)
        ]
    )
    both = np.ix_(spoke, spoke)
    found, expected = inner_products(bags, model_no, models), by_dictionary(bags, model_no.tolist(), models)
    np.testing.assert_allclose(found[both], expected[both], atol=2e-6)


def test_a_table_worked_out_by_hand() -> None:
    """Three models: x is shared by a and b, y is b's alone and twice, z is everybody's; c has z alone."""
    x, y, z = 5, 6, 7
    bags = [np.array(bag, np.uint64) for bag in ([x, z], [x, y, y, z], [z])]
    found = inner_products(bags, np.array([0, 1, 2], np.int32), 3)
    rare, shared, common = math.log(4 / 1), math.log(4 / 2), math.log(4 / 3)
    twice = (1 + math.log(2)) * rare
    a, b = math.hypot(shared, common), math.hypot(shared, twice, common)
    assert found[0, 1] == pytest.approx((shared**2 + common**2) / a / b, abs=1e-6)
    assert found[0, 2] == pytest.approx(common / a, abs=1e-6)
    assert found[1, 2] == pytest.approx(common / b, abs=1e-6)
    assert found.diagonal().tolist() == [1, 1, 1]
    np.testing.assert_array_equal(found, found.T)


def test_several_samples_of_a_model_are_one_bag() -> None:
    rng = np.random.default_rng(1)
    bags = [rng.integers(0, 20, size, np.uint64) for size in (9, 4, 7, 5)]
    apart = inner_products(bags, np.array([0, 0, 1, 2], np.int32), 3)
    together = inner_products([np.concatenate(bags[:2]), *bags[2:]], np.array([0, 1, 2], np.int32), 3)
    np.testing.assert_array_equal(apart, together)


def test_an_empty_bag_stands_for_the_mean_of_the_others() -> None:
    """So that nothing is left of it when the mean is taken off."""
    bags = [np.array(bag, np.uint64) for bag in ([1, 2], [], [2, 3], [2, 3, 9])]
    found = inner_products(bags, np.arange(4, dtype=np.int32), 4)
    spoke = [0, 2, 3]
    others = found[np.ix_(spoke, spoke)]
    np.testing.assert_allclose(found[1, spoke], others.mean(0), atol=1e-6)
    assert found[1, 1] == pytest.approx(others.mean(), abs=1e-6)


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
def test_nothing_but_empty_bags_is_no_error(kind: type) -> None:
    found = inner_products([np.empty(0, kind)] * 2, np.array([0, 1], np.int32), 2)
    assert found.tolist() == [[0, 0], [0, 0]]


def test_one_model_alone_is_like_itself() -> None:
    assert inner_products([np.array([3, 3, 9], np.uint64)], np.zeros(1, np.int32), 1).tolist() == [[1]]


def test_the_first_hash_may_be_0() -> None:
    bags = [np.array([0, 4], np.uint64), np.array([0], np.uint64), np.array([4], np.uint64)]
    numbers = np.array([0, 1, 2], np.int32)
    np.testing.assert_allclose(inner_products(bags, numbers, 3), by_dictionary(bags, [0, 1, 2], 3), atol=1e-6)


def test_fifteen_hundred_models_keep_their_features_apart() -> None:
    rng = np.random.default_rng(2)
    models = 1500
    bags = [rng.integers(0, 2**64, 6, np.uint64) for _ in range(models)]
    bags[1499] = bags[700].copy()
    found = inner_products(bags, np.arange(models, dtype=np.int32), models)
    assert found[700, 1499] == pytest.approx(1, abs=1e-6)
    apart = ~np.eye(models, dtype=bool)
    apart[[700, 1499], [1499, 700]] = False
    assert not found[apart].any()


def same(one: Likeness, other: Likeness) -> None:
    assert {name: list(views) for name, views in one.views.items()} == {
        name: list(views) for name, views in other.views.items()
    }
    for signal, views in one.views.items():
        for name, products in views.items():
            np.testing.assert_allclose(products, other.views[signal][name], atol=1e-6)
    np.testing.assert_allclose(one.phrases, other.phrases, atol=1e-3)
    np.testing.assert_array_equal(one.block_prompts, other.block_prompts)


def test_two_processes_find_what_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = World(1, prompts=3, controls=1, students=0).outputs()
    alone = likeness(outputs, [0, 2])
    monkeypatch.setattr(processes, "LEAST_FOR_TWO_PROCESSES", 1)
    monkeypatch.setattr(processes.os, "cpu_count", lambda: 2)
    same(alone, likeness(outputs, [0, 2]))


def test_a_block_is_the_mean_of_its_prompts() -> None:
    texts = {"a": ["x y z", "p q", "same words here"], "b": ["x y w", "r s", "same words here"], "c": ["k", "p", "l"]}
    each = [likeness(outputs_of({name: [said[place]] for name, said in texts.items()})) for place in range(3)]
    monkey = module._block(
        next(module._tasks(outputs_of(texts), (), np.ones(len(outputs_of(texts).models))))._replace(
            prompts=_all_prompts(texts)
        )
    )
    for signal, views in monkey.views.items():
        for name, products in views.items():
            expected = np.mean([one.views[signal][name][0] for one in each], 0)
            np.testing.assert_allclose(products, expected, atol=1e-6)


def _all_prompts(texts: dict[str, list[str]]) -> list[module._Prompt]:
    return [
        prompt
        for task in module._tasks(outputs_of(texts), (), np.ones(len(outputs_of(texts).models)))
        for prompt in task.prompts
    ]


def test_shared_phrases_are_found_on_their_prompt() -> None:
    shared = "a phrase of five rare words"
    texts = {
        "teacher": ["nothing in common with anybody else", f"we say {shared} to you"],
        "suspect": ["quite some other words said today", f"they had {shared} as well"],
        "control": ["something else altogether said here", "and this is not alike at all"],
    }
    found = likeness(outputs_of(texts), [0]).phrases
    assert found.shape == (2, 3, 1)
    assert found[0, :, 0].tolist() == [1, 0, 0]
    # 2 of the 3 + 6 words' phrases on either side are shared, and less rare than the others for it.
    assert found[1, 1, 0] > 0.1
    assert found[1, 2, 0] == 0


def test_what_is_longer_is_not_more_alike_for_that() -> None:
    """A benign look-alike: length alone is no likeness of a beginning."""
    start = "the very same words begin both of these answers "
    found = likeness(outputs_of({"a": [start + "x " * 40], "b": [start + "x " * 400], "c": ["else"]}))
    assert found.views["opening"]["first-4"][0, 0, 1] == pytest.approx(1, abs=1e-6)
    assert found.views["opening"]["first-4"][0, 0, 2] == 0


@pytest.mark.parametrize("prompts", [1, 39, 40, 41, 83])
def test_blocks_are_neighbours_and_hold_every_prompt_once(prompts: int) -> None:
    found = likeness(outputs_of({"a": ["one two"] * prompts, "b": ["one three"] * prompts}))
    assert found.block_prompts.sum() == prompts
    assert len(found.block_prompts) == min(prompts, module.BLOCKS)
    assert found.block_prompts.max() - found.block_prompts.min() <= 1
    assert found.phrases.shape == (prompts, 2, 0)
