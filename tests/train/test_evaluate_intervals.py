import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.train.evaluation.evaluation_figures import Losses, Sample, column, difference, paired, ratio, share, wins
from tutelage.train.evaluation.intervals import LEAST_GROUPS, bootstrap, grouped, sign_test, wilson


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilsons_interval_is_the_published_one(hits: int, of: int, low: float, high: float) -> None:
    assert wilson(hits, of) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_sign_test_counts_the_splits_that_are_as_uneven(wins: int, losses: int) -> None:
    pairs = wins + losses
    as_uneven = sum(math.comb(pairs, hits) for hits in range(min(wins, losses) + 1))
    assert sign_test(wins, losses) == pytest.approx(
        float(min(Fraction(1), Fraction(2 * as_uneven, 2**pairs))), rel=1e-9
    )


def test_the_sign_test_by_hand() -> None:
    assert sign_test(0, 5) == pytest.approx(2 / 32)
    assert sign_test(9, 1) == pytest.approx(2 * 11 / 1024)
    assert sign_test(3, 3) == 1.0
    assert sign_test(0, 0) == 1.0
    assert sign_test(60_000, 40_000) == 0.0, "beyond what a float can say"


def test_a_bootstrap_draws_whole_groups_and_the_same_ones_for_a_seed() -> None:
    values = np.repeat(np.arange(8.0), 50)[:, None]
    by_group = grouped(np.hstack([values, np.ones_like(values)]), np.repeat(np.arange(8), 50))
    mean = lambda sums: sums[:, 0] / sums[:, 1]  # noqa: E731
    whole = bootstrap(by_group, mean, draws=2000, seed=1)
    alone = bootstrap(np.hstack([values, np.ones_like(values)]), mean, draws=2000, seed=1)
    assert whole is not None
    assert alone is not None
    # The standard error of a mean of 8 is sqrt(50) times that of one of 400, and t of 7 degrees wider than normal.
    assert 1 < (whole.high - whole.low) / (alone.high - alone.low) / math.sqrt(50) < 1.4
    assert bootstrap(by_group, mean, draws=2000, seed=1) == whole
    assert bootstrap(by_group, mean, draws=200, seed=2) != bootstrap(by_group, mean, draws=200, seed=1)


def test_with_fewer_groups_than_could_ever_tell_there_is_no_interval() -> None:
    assert 2 / 2 ** (LEAST_GROUPS - 1) > 0.05 > 2 / 2**LEAST_GROUPS
    sums = np.ones((LEAST_GROUPS, 2))
    assert bootstrap(sums[:-1], lambda s: s[:, 0] / s[:, 1], draws=200, seed=0) is None
    assert bootstrap(sums, lambda s: s[:, 0] / s[:, 1], draws=200, seed=0) == (1.0, 1.0)


@pytest.mark.parametrize("groups", [6, 10, 30])
def test_a_95_percent_bootstrap_of_a_ratio_holds_the_truth_about_that_often(groups: int) -> None:
    """Rows of one group go together, lengths differ: the truth is 1 nat a token. 300 samples tell to about 2.5 %."""
    random = np.random.default_rng(5)
    held = 0
    for seed in range(300):
        tokens = random.lognormal(4, 0.6, groups * 3).round() + 1
        level = np.repeat(random.normal(0, 0.2, groups), 3)
        nats = tokens * (1 + level) + random.normal(0, 1, groups * 3) * np.sqrt(tokens)
        figure = ratio(np.stack([nats, tokens], 1), Sample(np.repeat(np.arange(groups), 3), 1000, seed))
        assert figure is not None
        low, high = figure["interval"]
        held += low <= 1 <= high
    assert 0.91 <= held / 300 <= 0.98


SAMPLE = Sample(np.array([0, 0, 1]), 200, 0)


def losses(*nats: float) -> Losses:
    return Losses(np.array(nats), np.array([10, 20, 30]), np.array([40, 60, 100]))


def test_loss_per_token_and_bits_per_byte_by_hand() -> None:
    found = column(losses(10 * math.log(2), 20 * math.log(2), 90 * math.log(2)), SAMPLE)
    assert found["loss_per_token"]["value"] == pytest.approx(120 / 60 * math.log(2))
    assert found["bits_per_byte"]["value"] == pytest.approx(120 / 200)
    assert (found["rows"], found["tokens"], found["text_bytes"]) == (3, 60, 200)
    assert found["bits_per_byte"]["groups"] == 2
    assert found["bits_per_byte"]["interval"] is None


def test_rows_that_a_model_lacks_are_left_out_of_its_figures_and_of_differences() -> None:
    some, all_ = losses(math.nan, 20 * math.log(2), 90 * math.log(2)), losses(7.0, 40 * math.log(2), 30 * math.log(2))
    assert column(some, SAMPLE)["bits_per_byte"]["value"] == pytest.approx(110 / 160)
    assert column(some, SAMPLE)["tokens"] == 50
    minus = difference(some, all_, SAMPLE, by_token=False)
    assert minus["loss_per_token"] is None
    assert minus["bits_per_byte"]["value"] == pytest.approx(110 / 160 - 70 / 160)
    assert minus["bits_per_byte"]["rows"] == 2
    nothing = column(losses(math.nan, math.nan, math.nan), SAMPLE)
    assert (nothing["rows"], nothing["bits_per_byte"]) == (0, None)


def test_rows_without_a_byte_of_text_have_no_bits_per_byte() -> None:
    empty = Losses(np.array([1.0, 1.0, 1.0]), np.array([1, 1, 1]), np.zeros(3, np.int64))
    assert column(empty, SAMPLE)["bits_per_byte"] is None
    assert column(empty, SAMPLE)["loss_per_token"]["value"] == 1.0


def test_a_win_is_a_lower_loss_ties_stand_apart_and_groups_count_once() -> None:
    ours, theirs = np.array([1.0, 3.0, 2.0, 5.0]), np.array([2.0, 1.0, 2.0, 9.0])
    found = wins(ours, theirs, np.array([0, 0, 1, 2]))
    assert [found["rows"][key] for key in ("of", "won", "lost", "tied")] == [4, 2, 1, 1]
    assert found["rows"]["share"]["value"] == pytest.approx(2 / 3)
    assert found["rows"]["share"]["interval"] == pytest.approx(list(wilson(2, 3)))
    assert found["rows"]["p_value"] == 1.0
    # Group 0 sums to 4 against 3, so it is lost as a whole.
    assert [found["groups"][key] for key in ("of", "won", "lost", "tied")] == [3, 1, 1, 1]


def test_of_right_and_wrong_answers_wilson_of_scores_a_bootstrap() -> None:
    assert share([1.0, 0.0, 1.0, 1.0], SAMPLE)["interval"] == list(wilson(3, 4))
    scored = share([0.5, 0.25] * 10, SAMPLE)
    assert scored["value"] == pytest.approx(0.375)
    low, high = scored["interval"]
    assert 0.25 < low < 0.375 < high < 0.5
    assert share([], SAMPLE)["value"] is None


def test_two_models_on_the_same_questions_are_paired() -> None:
    found = paired([1.0] * 8 + [0.0, 0.0], [0.0] * 7 + [1.0, 1.0, 0.0], SAMPLE)
    assert [found[key] for key in ("better", "worse", "same")] == [7, 1, 2]
    assert found["p_value"] == pytest.approx(2 * (1 + 8) / 256)
    assert found["difference"]["value"] == pytest.approx(0.6)
