"""Two ranks over gloo come to what one comes to: losses, norms, weights, and the optimizer's moments."""

from pathlib import Path
from typing import Any

import pytest
import torch
from rank_scene import ranked, report


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return report("ddp")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_two_ranks_are_one(parallel: str, alone: dict[str, Any], tmp_path: Path) -> None:
    first, second = ranked(tmp_path, parallel)
    assert first == second
    assert first["losses"] == pytest.approx(alone["losses"], abs=1e-5)
    assert first["norms"] == pytest.approx(alone["norms"], rel=1e-4)
    assert first["held_out"] == pytest.approx(alone["held_out"], abs=1e-5)
    # The first moment is a sum of gradients. AdamW divides by their size: where that is nearly 0, so do weights part.
    for kind, apart in (("moments", 1e-5), ("weights", 2e-3)):
        assert first[kind].keys() == alone[kind].keys()
        for name, values in first[kind].items():
            assert (torch.tensor(values) - torch.tensor(alone[kind][name])).abs().max() < apart, name


def test_a_loss_that_is_no_number_on_one_rank_stops_all_and_names_its_rows_alone(tmp_path: Path) -> None:
    first, second = ranked(tmp_path, "broken")
    assert "no weight was changed" in first["stopped"]
    assert "no weight was changed" in second["stopped"]
    assert (first["dumped"], second["dumped"]) == ([], [5])
    assert first["unchanged"]
    assert second["unchanged"]
