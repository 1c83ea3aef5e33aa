"""Controls that are like the suspect in what isn't lineage: which are taken, and when nothing is said."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lineage_texts import entry, pairs_with, panel_of

from tutelage.audit.lineage.calibration import LEAST_CLUSTERS
from tutelage.audit.lineage.contrast import LEAST_BLOCKS
from tutelage.audit.lineage.matches import Match, matches
from tutelage.audit.lineage.panel import PanelModel
from tutelage.audit.lineage.scores import Scores

CONTROLS = 12
NAMES = [*(f"c{number}" for number in range(CONTROLS)), "suspect"]


def scene(
    suspect: float,
    controls: npt.NDArray[np.float64],
    *,
    consensus: npt.NDArray[np.float64] | None = None,
    blocks: int = 20,
    entries: tuple[PanelModel, ...] = (),
    clusters: list[str] | None = None,
    seed: int = 0,
    **suspects: Any,
) -> list[Match]:
    """What is said of a suspect with this score where controls have those (one family)."""
    total = np.array([*controls, suspect])[:, None]
    noise = np.random.default_rng(3).normal(size=(blocks, len(total), 1))
    scores = Scores(
        total=total,
        signals={},
        blocks=total + 0.5 * (noise - noise.mean(0)),
        correlations={},
        consensus=np.zeros(len(total)) if consensus is None else consensus,
        weights={},
        weights_from="",
    )
    control = np.ones((len(total), 1), bool)
    control[-1] = False
    pairs = pairs_with(clusters or NAMES, 1, control=control)
    panel = panel_of(*entries, entry("suspect", "suspect", **suspects))
    return matches(scores, pairs, panel, NAMES, len(total) - 1, 0, 0.05, seed)


CALM = np.linspace(-1, 1, CONTROLS)


def test_the_half_that_is_as_capable_is_asked() -> None:
    """Controls as capable as the suspect score as it does; the others don't."""
    capable = np.arange(CONTROLS) >= CONTROLS // 2
    controls = np.where(capable, 5 + CALM, CALM)
    (found,) = scene(5.5, controls, consensus=np.array([*capable, 1.0], float))
    assert "the 6 controls nearest in capability" in found.sentence
    assert not found.holds
    (other,) = scene(5.5, controls, consensus=np.array([*~capable, 1.0], float))
    assert other.holds
    assert "p is below 0.001" in other.sentence or "p is 0.0" in other.sentence


def test_too_few_controls_are_not_halved() -> None:
    few = [f"c{number % (2 * LEAST_CLUSTERS - 1)}" for number in range(CONTROLS)]
    assert scene(9, CALM, clusters=[*few, "suspect"]) == []


def test_a_half_that_is_one_cluster_grows_until_it_can_be_used() -> None:
    clusters = [*["big"] * 5, *(f"c{number}" for number in range(7))]
    consensus = np.array([*[1.0] * 5, *np.linspace(0.5, 0.1, 7), 1.0])
    (found,) = scene(9, CALM, clusters=[*clusters, "suspect"], consensus=consensus)
    assert "the 8 controls nearest" in found.sentence  # five of one cluster, three of three others


def released(day: str, number: int) -> PanelModel:
    return entry(f"c{number}", "control", released=day)


def test_its_era_is_a_year_and_a_half_to_either_side() -> None:
    days = ["2023-01-01", "2022-07-03", "2021-07-02", "2021-07-01", "2023-12-31", "2024-12-31", None]
    entries = tuple(released(day, number) for number, day in enumerate(days) if day)
    era = scene(9, CALM, entries=entries, released="2023-01-01")[1]
    # 548 days before is 2021-07-02.
    assert "the 4 controls released within 548 days" in era.sentence
    assert era.holds
    assert len(scene(9, CALM, entries=entries)) == 1  # its own date isn't known
    assert len(scene(9, CALM, entries=entries, released="2019-01-01")) == 1  # nobody is of its time


def test_a_suspect_that_is_like_all_of_its_time_does_not_stand() -> None:
    new = np.arange(CONTROLS) % 2 == 0
    entries = tuple(released("2024-01-01" if new[number] else "2020-01-01", number) for number in range(CONTROLS))
    mixed = np.where(new, 4 + CALM, CALM)
    assert not scene(5, mixed, entries=entries, released="2024-03-01")[1].holds
    assert scene(5, mixed, entries=entries, released="2020-03-01")[1].holds


def of_base(number: int, **known: Any) -> PanelModel:
    return entry(f"c{number}", known.pop("role", "control"), base_model="llama", **known)


@pytest.mark.parametrize(("suspect", "holds"), [(3.0, True), (0.1, False), (-2.0, False)])
def test_other_models_of_its_base_are_compared_by_prompts(suspect: float, holds: bool) -> None:
    found = scene(suspect, np.zeros(CONTROLS), entries=(of_base(0), of_base(1)), base_model="llama")[-1]
    assert found.sentence.startswith("Against 2 other model(s) of the base llama")
    assert found.holds is holds


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (entry("c0", "control", base_model="qwen"),),
        (of_base(0, role="taught", taught_by={"family-0"}),),
        (of_base(0, maybe={"family-0"}),),
        (of_base(0, role="background"),),
        (of_base(0, role="variant"),),
        (entry("elsewhere", "control", base_model="llama"),),
    ],
)
def test_who_may_be_taught_by_the_family_is_no_kin_to_compare_with(entries: tuple[PanelModel, ...]) -> None:
    assert not [item for item in scene(3, CALM, entries=entries, base_model="llama") if "base" in item.sentence]


def test_a_student_of_another_family_is_kin() -> None:
    other = (of_base(0, role="taught", taught_by={"family-9"}),)
    assert "1 other model(s)" in scene(3, CALM, entries=other, base_model="llama")[-1].sentence


def test_too_few_blocks_say_nothing_of_the_base() -> None:
    said = scene(3, CALM, entries=(of_base(0),), base_model="llama", blocks=LEAST_BLOCKS - 1)
    assert not [item for item in said if "base" in item.sentence]


def test_a_suspect_that_the_panel_does_not_know_has_its_capability_only() -> None:
    assert len(scene(3, CALM)) == 1


def test_no_sentence_speaks_of_more_than_likeness() -> None:
    said = scene(9, CALM, entries=(of_base(0),), base_model="llama")
    assert len(said) == 2
    assert not [word for word in ("stolen", "proved") for item in said if word in item.sentence]
