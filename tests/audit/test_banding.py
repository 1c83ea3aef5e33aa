import numpy as np
import pytest

from tutelage.audit.banding import LEAST_RECALL, Banding, band_digests, choose_banding
from tutelage.schemas.contracts import PERMUTATIONS
from tutelage.schemas.errors import ConfigError


@pytest.mark.parametrize(
    ("threshold", "bands", "rows_per_band"),
    [
        (1.0, 1, 112),
        (0.95, 7, 16),
        (0.9, 10, 11),
        (0.8, 16, 7),
        (0.7, 22, 5),
        (0.5, 37, 3),
        (0.3, 56, 2),
        (0.01, 112, 1),
    ],
)
def test_bands_follow_from_the_threshold(threshold: float, bands: int, rows_per_band: int) -> None:
    assert choose_banding(threshold) == (bands, rows_per_band)


@pytest.mark.parametrize(
    ("banding", "similarity", "recall"),
    [
        # 1 - (1 - s^r)^b by hand: 0.8^7 = 0.2097, 1 - 0.7903^16 = 0.9769
        (Banding(16, 7), 0.8, 0.976851),
        (Banding(14, 8), 0.8, 0.923548),
        (Banding(1, 1), 0.3, 0.3),
        (Banding(20, 5), 0.0, 0.0),
        (Banding(20, 5), 1.0, 1.0),
    ],
)
def test_the_recall_is_that_of_the_s_curve(banding: Banding, similarity: float, recall: float) -> None:
    assert banding.recall_at(similarity) == pytest.approx(recall, abs=2e-6)


def test_the_chosen_bands_reach_the_recall_wherever_the_signature_can() -> None:
    for threshold in np.linspace(0.04, 1, 97).tolist():
        banding = choose_banding(threshold)
        assert banding.recall_at(threshold) >= LEAST_RECALL
        assert banding.bands * banding.rows_per_band <= PERMUTATIONS


@pytest.mark.parametrize("threshold", [0, -0.1, 1.1, 80, float("nan")])
def test_a_threshold_outside_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1 was wanted"):
        choose_banding(threshold)


def test_bands_are_equal_where_their_rows_are() -> None:
    random = np.random.default_rng(3)
    signatures = random.integers(0, 3, (500, PERMUTATIONS), dtype=np.uint32)
    banding = Banding(37, 3)
    digests = band_digests(signatures, banding)
    rows = signatures[:, :111].reshape(500, 37, 3)
    for band in range(37):
        known: dict[bytes, int] = {}
        for row, digest in zip(rows[:, band], digests[:, band].tolist(), strict=True):
            assert known.setdefault(row.tobytes(), digest) == digest
        assert len(set(known.values())) == len(known)
