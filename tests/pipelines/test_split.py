import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.pipelines.split import group_names, groups_of, is_held_out, unit_hash

PROMPTS = st.lists(st.integers(0, 15), min_size=1, max_size=40)
CLUSTERS = st.lists(st.lists(st.integers(0, 39), min_size=1, max_size=4), max_size=20)


def clustering(clusters: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(row, number) for number, cluster in enumerate(clusters) for row in cluster]
    rows, numbers = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(rows, np.int64), np.array(numbers, np.int64)


@settings(max_examples=300)
@given(PROMPTS, CLUSTERS, CLUSTERS)
def test_groups_are_the_connected_components(
    prompts: list[int], some: list[list[int]], others: list[list[int]]
) -> None:
    def within(clusters: list[list[int]]) -> list[list[int]]:
        return [[row % len(prompts) for row in cluster] for cluster in clusters]

    linked = [
        *([row for row, label in enumerate(prompts) if label == wanted] for wanted in set(prompts)),
        *within(some),
        *within(others),
    ]
    components = {row: {row} for row in range(len(prompts))}
    for link in linked:
        joined = set().union(*(components[row] for row in link))
        components.update(dict.fromkeys(joined, joined))
    labels = np.array(prompts, np.int32)
    groups = groups_of(labels, [clustering(within(some)), clustering(within(others))])
    for row, component in components.items():
        assert set(np.flatnonzero(groups == groups[row]).tolist()) == component
    names = group_names(groups, np.arange(len(prompts))[::-1])
    assert {group: max(components[row]) for row, group in enumerate(groups.tolist())} == names


def test_no_rows_are_no_groups() -> None:
    assert groups_of(np.zeros(0, np.int32), []).tolist() == []
    assert group_names(np.zeros(0, np.int64), np.zeros(0, np.int64)) == {}


@pytest.mark.parametrize(("seed", "name", "value"), [(0, "a", 0.05169), (7, "a", 0.59829), (0, "b", 0.24279)])
def test_the_hash_is_the_same_on_every_machine_and_in_every_version(seed: int, name: str, value: float) -> None:
    """A split that changed with a version would let what was held out into training."""
    assert unit_hash(seed, name) == pytest.approx(value, abs=1e-4)


def test_about_the_share_is_held_out_and_a_larger_share_holds_out_more() -> None:
    names = [str(number) for number in range(4000)]
    tenth = {name for name in names if is_held_out(name, 0.1, 7)}
    fifth = {name for name in names if is_held_out(name, 0.2, 7)}
    assert len(tenth) / 4000 == pytest.approx(0.1, abs=0.02)
    assert tenth < fifth
    assert not any(is_held_out(name, 0, 7) for name in names)
