"""Which model is nearest, and is it nearer than siblings are to each other?"""

import numpy as np
import numpy.typing as npt
import pytest
from lineage_texts import entry, panel_of

from tutelage.audit.lineage.panel import Panel
from tutelage.audit.lineage.same_model import LEAST_PAIRS, closeness, same_model

SIBLINGS = (0.30, 0.32, 0.34, 0.36, 0.38, 0.40)
"""Their median is 0.35 and the median distance from it 0.03: 1.4826 times that is the unit."""
UNIT = 1.4826 * 0.03


def scene(to_first: float, siblings: tuple[float, ...] = SIBLINGS) -> tuple[npt.NDArray[np.float64], Panel, list[str]]:
    """Pairs of controls, a cluster each, so close to each other; a suspect that is so close to the first of them."""
    entries = [
        entry(f"{place}-{side}", "control", cluster=f"c{place}") for place in range(len(siblings)) for side in "ab"
    ]
    models = [item.model for item in entries] + ["suspect"]
    near = np.full((len(models), len(models)), 0.01)
    for place, value in enumerate(siblings):
        near[2 * place, 2 * place + 1] = near[2 * place + 1, 2 * place] = value
    near[-1, 0] = near[0, -1] = to_first
    np.fill_diagonal(near, 1)
    return near, panel_of(*entries), models


def clusters_of(panel: Panel, models: list[str]) -> list[str]:
    return [panel.models[name].cluster if name in panel.models else name for name in models]


@pytest.mark.parametrize(
    ("to_first", "same"), [(0.9, True), (0.49, True), (0.35 + 2.9 * UNIT, False), (0.4, False), (0.1, False)]
)
def test_nearer_than_siblings_is_three_of_their_deviations_from_their_median(to_first: float, same: bool) -> None:
    near, panel, models = scene(to_first)
    found = same_model(near, models, clusters_of(panel, models), panel, "suspect")
    assert found.nearest == "0-a"
    assert found.same is same
    assert found.score == pytest.approx((to_first - 0.35) / UNIT)


def test_siblings_that_are_one_model_raise_the_bar() -> None:
    """A panel with copies in it: 90 % of its siblings have to be passed."""
    near, panel, models = scene(0.7, (*SIBLINGS, 0.95, 0.97))
    assert not same_model(near, models, clusters_of(panel, models), panel, "suspect").same


@pytest.mark.parametrize("siblings", [SIBLINGS[: LEAST_PAIRS - 1], (), (0.3,) * 8])
def test_too_few_siblings_or_all_the_same_name_the_nearest_and_no_score(siblings: tuple[float, ...]) -> None:
    near, panel, models = scene(0.99, siblings or (0.3,))
    found = same_model(near, models, clusters_of(panel, models), panel, "suspect")
    assert (found.nearest, found.score, found.same) == ("0-a", None, False)


def test_variants_other_suspects_and_strangers_are_not_the_answer() -> None:
    near, panel, models = scene(0.2)
    panel.models["tuned"] = entry("tuned", "variant", parent="0-a")
    panel.models["other"] = entry("other", "suspect")
    models += ["tuned", "other", "unknown"]
    grown = np.full((len(models), len(models)), 0.9)
    grown[: len(near), : len(near)] = near
    assert same_model(grown, models, clusters_of(panel, models), panel, "suspect").nearest == "0-a"


def test_kin_is_asked_about_for_a_variant_only() -> None:
    near, panel, models = scene(0.9)
    for roles, nearest in ((("variant",), "0-a"), (("suspect",), "1-a")):
        panel.models["suspect"] = entry("suspect", *roles, parent="0-a", cluster="c0")
        near[-1, 2] = 0.5
        assert same_model(near, models, clusters_of(panel, models), panel, "suspect").nearest == nearest


def test_siblings_of_its_own_cluster_do_not_set_the_measure() -> None:
    near, panel, models = scene(0.5)
    panel.models["suspect"] = entry("suspect", "suspect", cluster="c5")
    found = same_model(near, models, clusters_of(panel, models), panel, "suspect")
    assert found.score == pytest.approx((0.5 - 0.34) / (1.4826 * 0.02))


def test_models_of_which_nothing_is_known_are_no_answer() -> None:
    near, panel, models = scene(0.9)
    near[-1] = np.nan
    found = same_model(near, models, clusters_of(panel, models), panel, "suspect")
    assert found == (None, None, False)


def test_closeness_is_the_mean_of_views() -> None:
    one, other = np.array([[1.0, 0.2], [0.2, 1]]), np.array([[1.0, 0.6], [0.6, 1]])
    np.testing.assert_allclose(closeness({"a": one, "b": other}), [[1, 0.4], [0.4, 1]])
