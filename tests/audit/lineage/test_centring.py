"""Centring against sums written out, and the claim that it favours neither members of the mean nor outsiders."""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.audit.lineage.centring import centred, lengths, reference

Matrix = npt.NDArray[np.float64]


def written_out(products: Matrix, clusters: Sequence[str], members: Sequence[bool]) -> Matrix:
    """The definition: every mean over the clusters of neither model, one share a cluster; squares over two clusters."""
    models = range(len(clusters))
    found = np.full((len(clusters), len(clusters)), np.nan)
    for i, j in itertools.product(models, models):
        kept = sorted({clusters[k] for k in models if members[k]} - {clusters[i], clusters[j]})
        if len(kept) < 2:
            continue
        inside = {name: [k for k in models if members[k] and clusters[k] == name] for name in kept}
        of_i, of_j = (
            sum(sum(products[row, k] for k in group) / len(group) for group in inside.values()) / len(kept)
            for row in (i, j)
        )
        between = [
            sum(products[a, b] for a in inside[one] for b in inside[other]) / len(inside[one]) / len(inside[other])
            for one, other in itertools.permutations(kept, 2)
        ]
        found[i, j] = products[i, j] - of_i - of_j + sum(between) / len(between)
    return found


@given(
    st.lists(st.sampled_from("abcdef"), min_size=2, max_size=9),
    st.data(),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=50)
def test_centring_is_what_its_definition_says(clusters: list[str], data: st.DataObject, seed: int) -> None:
    members = data.draw(st.lists(st.booleans(), min_size=len(clusters), max_size=len(clusters)))
    if not any(members):
        members[0] = True
    vectors = np.random.default_rng(seed).normal(size=(len(clusters), 4)) + 1
    products = vectors @ vectors.T
    expected = written_out(products, clusters, members)
    known = ~np.isnan(expected)
    found = centred(products, reference(clusters, members))
    np.testing.assert_allclose(found[known], expected[known], atol=1e-9)
    columns = data.draw(st.lists(st.integers(0, len(clusters) - 1), min_size=1, unique=True))
    np.testing.assert_array_equal(centred(products, reference(clusters, members), columns), found[:, columns])


def test_a_table_worked_out_by_hand() -> None:
    """Four models of one cluster each, all in the mean. Of a pair's others, c and d, the mean is (c + d) / 2 and its
    square is estimated by c.d alone: a.b - (a.c + a.d)/2 - (b.c + b.d)/2 + c.d."""
    products = np.array([[9.0, 5, 1, 3], [5, 8, 2, 4], [1, 2, 7, 6], [3, 4, 6, 5]])
    found = centred(products, reference("abcd", [True] * 4))
    assert found[0, 1] == pytest.approx(5 - (1 + 3) / 2 - (2 + 4) / 2 + 6)
    assert found[2, 3] == pytest.approx(6 - (1 + 2) / 2 - (3 + 4) / 2 + 5)
    # A model with itself: b, c and d remain, and the square is over their three pairs.
    assert found[0, 0] == pytest.approx(9 - 2 * (5 + 1 + 3) / 3 + (2 + 4 + 6) / 3)


def test_blocks_are_centred_each_for_itself() -> None:
    vectors = np.random.default_rng(3).normal(size=(5, 8, 3))
    products = vectors @ np.swapaxes(vectors, -1, -2)
    ref = reference("aabcdefg", [True] * 7 + [False])
    together = centred(products, ref, [1, 7])
    assert together.shape == (5, 8, 2)
    for block, alone in zip(together, products, strict=True):
        np.testing.assert_allclose(block, centred(alone, ref)[:, [1, 7]], atol=1e-12)


def test_a_cluster_weighs_the_same_however_many_models_it_has() -> None:
    ref = reference(["a", "a", "a", "b", "c"], [True, True, True, True, False])
    assert ref.weight.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1, 0])


def test_a_copy_within_a_cluster_changes_nothing_for_the_others() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(6, 4))
    with_copy = np.vstack([vectors, vectors[5]])
    few = centred(vectors @ vectors.T, reference("abcdef", [True] * 6))
    more = centred(with_copy @ with_copy.T, reference("abcdeff", [True] * 7))
    np.testing.assert_allclose(more[:6, :6], few, atol=1e-12)


def test_what_all_models_have_in_common_is_taken_off_whole() -> None:
    """A constant added to every vector is in the mean, and so in no pair."""
    vectors = np.random.default_rng(7).normal(size=(9, 5))
    ref = reference("aabbcdefg", [True] * 6 + [False] * 3)
    shifted = vectors + np.array([5.0, -3, 0, 2, 9])
    np.testing.assert_allclose(centred(vectors @ vectors.T, ref), centred(shifted @ shifted.T, ref), atol=1e-9)


@pytest.mark.parametrize("size", [1, 6, 10, 49])
def test_where_fewer_than_two_clusters_remain_there_is_no_number(size: int) -> None:
    """Of three clusters a pair of two leaves one. Shares of 1/49 don't add up to 1 exactly."""
    clusters = [*("a" * size), *("b" * size), *("c" * size), "x"]
    vectors = np.random.default_rng(size).normal(size=(len(clusters), 4))
    found = centred(vectors @ vectors.T, reference(clusters, [True] * (3 * size) + [False]))
    a, b, x = 0, size, 3 * size
    assert np.isfinite([found[a, x], found[a, a], found[x, x]]).all()
    assert np.isnan(found[a, b])


@pytest.mark.parametrize("names", ["a", "ab", "aabb"])
def test_one_or_two_clusters_are_no_mean_for_their_members(names: str) -> None:
    found = centred(np.eye(len(names)), reference(names, [True] * len(names)))
    assert np.isnan(found).all()


def test_nobody_in_the_mean_gives_no_number() -> None:
    assert np.isnan(centred(np.eye(3), reference("abc", [False] * 3))).all()


def test_a_length_is_the_root_of_the_diagonal_or_nothing() -> None:
    assert lengths(np.diag([4.0, 1e-12, -0.5])).tolist() == pytest.approx([2, np.nan, np.nan], nan_ok=True)


# The claim of the module: independent models have a centred product of 0 in the mean, members of the mean or not.
CLUSTERS = ["a", "b", "b", "b", "c", "d", "d", "e", "v", "w", "x"]
MEMBERS = [name < "v" for name in CLUSTERS]
DRAWS, WIDTH = 20_000, 3


def drawn() -> Matrix:
    """Vectors of independent models around one mean; the models of a cluster share half of what they are."""
    rng = np.random.default_rng(11)
    root = {name: rng.normal(size=(DRAWS, WIDTH)) for name in sorted(set(CLUSTERS))}
    own = rng.normal(size=(DRAWS, len(CLUSTERS), WIDTH))
    return np.array([2.0, -1, 0.5]) + np.stack([root[name] for name in CLUSTERS], 1) + own


def kinds() -> dict[str, Matrix]:
    """Pairs of different clusters, by which of the two is in the mean."""
    inside, cluster = np.array(MEMBERS), np.array(CLUSTERS)
    apart = cluster[:, None] != cluster[None, :]
    return {
        "member, member": apart & inside[:, None] & inside[None, :],
        "member, outsider": apart & inside[:, None] & ~inside[None, :],
        "outsider, outsider": apart & ~inside[:, None] & ~inside[None, :],
    }


def off_by(values: Matrix, kind: str) -> tuple[float, float]:
    """The mean over pairs, and how many standard errors it is from 0."""
    means = values[:, kinds()[kind]].mean(1)
    return float(means.mean()), float(abs(means.mean()) / (means.std() / np.sqrt(len(means))))


@pytest.mark.parametrize("kind", kinds())
def test_independent_models_are_no_more_alike_than_0_whoever_is_in_the_mean(kind: str) -> None:
    vectors = drawn()
    products = vectors @ np.swapaxes(vectors, -1, -2)
    mean, errors = off_by(centred(products, reference(CLUSTERS, MEMBERS)), kind)
    assert errors < 4
    assert abs(mean) < 0.03


@pytest.mark.parametrize(("kind", "sign"), [("member, member", -1), ("member, outsider", 0), ("outsider, outsider", 1)])
def test_the_naive_form_excuses_members_and_accuses_outsiders(kind: str, sign: int) -> None:
    """The mean of one model a cluster, itself included, taken off both sides: what the module replaces."""
    vectors = drawn()
    weight = reference(CLUSTERS, MEMBERS).weight
    beyond = vectors - ((weight / weight.sum()) @ vectors)[:, None]
    mean, errors = off_by(beyond @ np.swapaxes(beyond, -1, -2), kind)
    if sign:
        assert errors > 50
        assert np.sign(mean) == sign
        assert abs(mean) > 0.5
