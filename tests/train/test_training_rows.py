"""The table of what was read: streamed, sealed by a Merkle root, and refused where it is not what was sealed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.schemas import contract_files
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contract_files import open_parquet, table_of
from tutelage.schemas.contracts import TRAINING_ROWS
from tutelage.schemas.errors import ContractError, SealBroken, StorageError
from tutelage.schemas.merkle import inclusion_path, leaf_hash, merkle_root, verify_inclusion
from tutelage.schemas.rows import TrainingRow
from tutelage.train.record import training_rows
from tutelage.train.record.training_rows import (
    GrowingRoot,
    TaughtBy,
    Written,
    leaf_of,
    read_training_rows,
    require_training_rows,
    write_training_rows,
)


def readings(ids: Sequence[str], epochs: int = 1, teacher: str = "smollm2") -> list[TrainingRow]:
    every = [(row_id, epoch) for epoch in range(epochs) for row_id in ids]
    return [
        TrainingRow(place, place // 2 + 1, row_id, epoch, 5, 9, teacher, "CC0-1.0;t-1")
        for place, (row_id, epoch) in enumerate(every)
    ]


def check(path: Path, written: Written) -> None:
    require_training_rows(path, rows=written.rows, merkle_root=written.merkle_root, sha256=written.sha256)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "student" / "training_rows.parquet"


@given(st.lists(st.binary(min_size=1, max_size=3), max_size=40))
def test_a_root_that_grows_is_the_root_of_all(texts: list[bytes]) -> None:
    leaves, growing = [leaf_hash(text) for text in texts], GrowingRoot()
    for leaf in leaves:
        growing.add(leaf)
    assert growing.root() == growing.root() == merkle_root(leaves)


def test_the_root_is_over_position_step_row_epoch_and_tokens_in_canonical_json(path: Path) -> None:
    rows = readings(["a" * 64, "b" * 64], 2)
    written = write_training_rows(path, rows)
    leaves = [leaf_hash(f'[{p},{p // 2 + 1},"{rows[p].row_id}",{p // 2},5]'.encode()) for p in range(4)]
    assert written.merkle_root == merkle_root(leaves).hex()
    assert written.sha256 == sha256_hex(path.read_bytes())
    proof = inclusion_path(leaves, 2)
    assert verify_inclusion(leaf_of(rows[2]), 2, 4, proof, bytes.fromhex(written.merkle_root))


def test_rows_are_counted_once_and_readings_each_time_by_teacher_and_terms(path: Path) -> None:
    first, second = (
        readings([f"{n:064x}" for n in range(3)], 3),
        readings([f"{n:064x}" for n in range(9, 11)], 2, "gpt"),
    )
    both = [row._replace(position=place) for place, row in enumerate([*first, *second])]
    written = write_training_rows(path, both)
    assert (written.rows, written.distinct_rows) == (13, 5)
    assert written.taught_by == (
        TaughtBy("gpt", "CC0-1.0;t-1", rows=2, readings=4, tokens_trained=20),
        TaughtBy("smollm2", "CC0-1.0;t-1", rows=3, readings=9, tokens_trained=45),
    )


def test_rows_come_and_go_a_group_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_rows, "ROWS_PER_GROUP", 4)
    monkeypatch.setattr(contract_files, "ROWS_PER_GROUP", 4)
    rows = readings([f"{n:064x}" for n in range(7)], 2)
    seen: list[int] = []

    def told() -> Iterator[TrainingRow]:
        for row in rows:
            seen.append(row.position)
            yield row

    written = write_training_rows(path, told())
    assert seen == list(range(14))
    assert pq.ParquetFile(path).num_row_groups == 4
    assert list(read_training_rows(path)) == rows
    check(path, written)


def test_a_student_that_read_nothing_has_an_empty_table(path: Path) -> None:
    written = write_training_rows(path, [])
    assert written == Written(0, 0, merkle_root([]).hex(), sha256_hex(path.read_bytes()), ())
    with path.open("rb") as stream:
        assert open_parquet(TRAINING_ROWS, stream, str(path)).read().num_rows == 0
    check(path, written)


def test_counting_different_rows_keeps_count_across_its_own_batches() -> None:
    distinct = training_rows._Distinct()
    for number in range(90_000):
        distinct.add(f"row {number % 40_000}")
    assert len(distinct) == 40_000


def test_the_same_readings_give_the_same_bytes(tmp_path: Path) -> None:
    rows = readings([f"{n:064x}" for n in range(50)], 2)
    assert write_training_rows(tmp_path / "a", rows) == write_training_rows(tmp_path / "b", iter(rows))


def test_a_write_that_fails_leaves_what_was_there(path: Path) -> None:
    written = write_training_rows(path, readings(["a" * 64]))

    def torn() -> Iterator[TrainingRow]:
        yield from readings(["b" * 64])
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_training_rows(path, torn())
    check(path, written)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_full_disk_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StorageError, match="the checkpoints are safe"):
        write_training_rows(path, readings(["a" * 64]))


def test_positions_without_a_gap_are_the_callers_duty(path: Path) -> None:
    with pytest.raises(AssertionError, match="reading 0 says that it is number 1"):
        write_training_rows(path, [readings(["a" * 64])[0]._replace(position=1)])


def _torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _changed(path: Path) -> None:
    rows = [row._replace(teacher="somebody else") for row in read_training_rows(path)]
    pq.write_table(table_of(TRAINING_ROWS, rows), path)


@pytest.mark.parametrize(
    ("damage", "said"), [(_torn, "its bytes are not"), (_changed, "its bytes"), (Path.unlink, "is missing")]
)
def test_a_table_that_is_not_what_was_sealed_is_refused(path: Path, damage: object, said: str) -> None:
    written = write_training_rows(path, readings(["a" * 64, "b" * 64]))
    damage(path)  # type: ignore[operator]
    with pytest.raises(SealBroken, match=said):
        check(path, written)


@pytest.mark.parametrize("claim", [{"rows": 3}, {"merkle_root": "0" * 64}])
def test_a_root_that_the_record_made_up_is_refused(path: Path, claim: dict[str, object]) -> None:
    written = write_training_rows(path, readings(["a" * 64, "b" * 64]))
    with pytest.raises(SealBroken, match=r"holds 2 readings under the Merkle root .*, run\.json names"):
        check(path, written._replace(**claim))  # type: ignore[arg-type]


def test_another_table_is_no_table_of_readings(path: Path) -> None:
    path.parent.mkdir()
    pq.write_table(table_of(TRAINING_ROWS, readings(["a" * 64])).replace_schema_metadata(None), path)
    with pytest.raises(ContractError, match="names no contract, training-rows/1 was wanted"):
        list(read_training_rows(path))


def test_a_damaged_page_is_told(path: Path) -> None:
    write_training_rows(path, readings([f"{n:064x}" for n in range(200)]))
    content = bytearray(path.read_bytes())
    for place in range(40, 200):
        content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(SealBroken, match="can't be read"):
        list(read_training_rows(path))
