"""Rows that were withdrawn since a set was curated: gone, listed, or the training ends with their names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from train_scene import TrainScene, manifest_torn

from tutelage.pipelines import train_gate
from tutelage.pipelines.curate_gate import CurateGate
from tutelage.pipelines.fingerprint import fingerprint_dataset
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.train_terms import decide_today
from tutelage.schemas.errors import PolicyRefused, SealBroken
from tutelage.schemas.manifest import MANIFEST, TOMBSTONES
from tutelage.schemas.rows import Completion

MakeRow = Callable[..., Completion]


@pytest.fixture
def scene(tmp_path: Path) -> TrainScene:
    return TrainScene(tmp_path)


def test_rows_withdrawn_from_the_set_are_gone_and_listed(scene: TrainScene, completion: MakeRow) -> None:
    rows = [completion() for _ in range(4)]
    scene.curated(rows)
    scene.withdraw(scene.out.uri, rows[1])
    permit = scene.permit()
    assert permit.withdrawn == (rows[1].row_id,)
    assert permit.tombstone_head == permit.manifest.tombstones_sha256 is not None
    assert permit.notes == ()


def test_a_withdrawn_row_that_still_stands_in_the_set_breaks_its_seal(scene: TrainScene, completion: MakeRow) -> None:
    rows = [completion() for _ in range(4)]
    scene.curated(rows)
    [path] = Path(scene.out.root).glob("completions/train-00000-*.parquet")
    before = path.read_bytes()
    held = [row for row in rows if row.row_id in set(pq.read_table(path)["row_id"].to_pylist())]
    scene.withdraw(scene.out.uri, held[0])
    path.write_bytes(before)
    with pytest.raises(SealBroken, match=f"row {held[0].row_id} was withdrawn but is still there"):
        scene.permit()


def test_a_row_withdrawn_from_the_parent_since_is_refused_by_name(scene: TrainScene, completion: MakeRow) -> None:
    rows = [completion() for _ in range(25)]
    scene.curated(rows)
    scene.withdraw(scene.harvest, *rows[:22], reason="a data subject asked")
    with pytest.raises(PolicyRefused) as caught:
        scene.permit()
    said = str(caught.value)
    assert f"{scene.out.uri}: 22 of its rows were withdrawn from a dataset that it was chosen from" in said
    assert said.count("- row ") == 20
    assert "- and 2 more" in said
    assert f"from {scene.harvest} on " in said
    assert "(a data subject asked)" in said
    assert f"tutelage withdraw {scene.out.uri}" in said


def test_once_it_is_withdrawn_from_the_set_too_training_goes_on(scene: TrainScene, completion: MakeRow) -> None:
    rows = [completion() for _ in range(4)]
    scene.curated(rows)
    scene.withdraw(scene.harvest, rows[0])
    scene.withdraw(scene.out.uri, rows[0])
    permit = scene.permit()
    assert permit.withdrawn == (rows[0].row_id,)
    assert permit.notes == (
        f"{scene.harvest}: was sealed anew since (a harvest or a withdrawal); what it says today was looked at",
    )


def test_a_withdrawal_further_up_counts(tmp_path: Path, completion: MakeRow) -> None:
    """The set was curated from a curated set; the row was withdrawn from the harvest under both."""
    rows = [completion() for _ in range(4)]
    first, second = TrainScene(tmp_path / "first"), TrainScene(tmp_path / "second")
    fingerprint_dataset(Folder(first.curated(rows)), likeness_only=True)
    second.curate(second.config(first.out.uri))
    second.permit()
    first.withdraw(first.harvest, rows[2])
    with pytest.raises(PolicyRefused, match=f"row {rows[2].row_id}: from {first.harvest}"):
        second.permit()


def test_a_row_withdrawn_from_the_parent_that_is_not_in_the_set_stops_nothing(
    scene: TrainScene, completion: MakeRow
) -> None:
    rows = [completion() for _ in range(3)]
    out = completion(outcome="truncated")
    scene.curated([*rows, out])
    scene.withdraw(scene.harvest, out)
    assert scene.permit().withdrawn == ()


def test_a_withdrawal_that_was_cut_off_counts(scene: TrainScene, completion: MakeRow) -> None:
    """The tombstone is written first: the parent's next seal erases the row, whether it comes or not."""
    rows = [completion() for _ in range(3)]
    scene.curated(rows)
    manifest = Path(scene.harvest, MANIFEST).read_bytes()
    scene.withdraw(scene.harvest, rows[0])
    Path(scene.harvest, MANIFEST).write_bytes(manifest)
    with pytest.raises(PolicyRefused, match=f"row {rows[0].row_id}"):
        scene.permit()


def test_a_parent_that_is_gone_is_noted(scene: TrainScene, completion: MakeRow) -> None:
    scene.curated([completion()])
    Path(scene.harvest).rename(scene.folder / "moved")
    [note] = scene.permit().notes
    assert note.startswith(f"{scene.harvest}: has no manifest.json")
    assert note.endswith("whether rows were withdrawn from it is not known")


def test_another_dataset_where_the_parent_was_is_noted(scene: TrainScene, completion: MakeRow) -> None:
    scene.curated([completion()])
    Path(scene.harvest).rename(scene.folder / "moved")
    scene.parent("harvest", [completion()])
    [note] = scene.permit().notes
    assert "is not the dataset that was used, nor made from it" in note


def _tombstones_gone(harvest: Path) -> None:
    (harvest / TOMBSTONES).unlink()


def _tombstones_torn(harvest: Path) -> None:
    (harvest / TOMBSTONES).write_bytes((harvest / TOMBSTONES).read_bytes()[:-30])


@pytest.mark.parametrize("damage", [_tombstones_gone, _tombstones_torn, manifest_torn])
def test_a_parent_whose_withdrawals_cant_be_read_is_no_parent_without_any(
    scene: TrainScene, completion: MakeRow, damage: Callable[[Path], None]
) -> None:
    rows = [completion() for _ in range(3)]
    scene.curated(rows)
    scene.withdraw(scene.harvest, rows[0])
    damage(Path(scene.harvest))
    with pytest.raises(SealBroken, match=r"whether its rows were withdrawn .* can't be told"):
        scene.permit()


def test_a_withdrawal_while_the_set_is_checked_is_seen(
    scene: TrainScene, completion: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [completion() for _ in range(3)]
    scene.curated(rows)

    def decide_late(*arguments: Any) -> CurateGate:
        found = decide_today(*arguments)
        scene.withdraw(scene.out.uri, rows[0])
        return found

    monkeypatch.setattr(train_gate, "decide_today", decide_late)
    with pytest.raises(SealBroken, match="was sealed anew while it was checked"):
        scene.permit()
