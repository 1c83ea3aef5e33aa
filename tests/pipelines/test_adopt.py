"""Foreign Parquet: mapped, cast, never made up."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutelage.pipelines import adopt as adopting
from tutelage.pipelines.adopt import adopt, parse_maps
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contracts import ADOPTED
from tutelage.schemas.errors import ConfigError

MAPS = ["response=text"]


def write(path: Path, **columns: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return str(path)


def adopted(tmp_path: Path, source: str, maps: list[str]) -> list[dict[str, Any]]:
    into = Folder(str(tmp_path / "adopted"))
    adopt(source, parse_maps(maps), into)
    tables = [pq.read_table(into.path(name)) for name in into.list("completions/*.parquet")]
    assert all(table.schema.equals(ADOPTED.schema) for table in tables)
    return [row for table in tables for row in table.to_pylist()]


def test_what_is_mapped_is_there_and_the_rest_is_null(tmp_path: Path) -> None:
    source = write(
        tmp_path / "x.parquet",
        text=["yes", None],
        q=["why?", "how?"],
        when=[datetime(2026, 1, 1, tzinfo=UTC)] * 2,
        c=[1, 2],
    )
    rows = adopted(tmp_path, source, [*MAPS, "prompt=q", "created_at=when", "cost_usd=c"])
    assert [row["response"] for row in rows] == ["yes", None]
    assert [row["messages"] for row in rows] == [[{"role": "user", "content": text}] for text in ("why?", "how?")]
    assert rows[0]["created_at"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert rows[1]["cost_usd"] == Decimal(2)
    assert [row["row_id"] for row in rows] == ["x#0", "x#1"]
    assert {row[name] for row in rows for name in ("teacher", "terms_id", "train_use", "salt", "leaf_sha256")} == {None}


def test_a_folder_is_all_its_files_in_order_of_name(tmp_path: Path) -> None:
    write(tmp_path / "in/b.parquet", text=["3"])
    write(tmp_path / "in/a.parquet", text=["1", "2"])
    assert [(row["row_id"], row["response"]) for row in adopted(tmp_path, str(tmp_path / "in"), MAPS)] == [
        ("a#0", "1"),
        ("a#1", "2"),
        ("b#0", "3"),
    ]


def test_invalid_utf_8_is_kept_readable_and_counted(tmp_path: Path) -> None:
    broken = pa.array([b"caf\xe9", b"fine", None]).cast(pa.string(), safe=False)
    source = write(tmp_path / "x.parquet", text=broken, raw=pa.array([b"\xff", b"ok", b""]))
    into = Folder(str(tmp_path / "adopted"))
    found = adopt(source, parse_maps(["response=text", "reasoning=raw"]), into)
    assert found == (3, 2, ("response", "reasoning"))
    rows = pq.read_table(into.path("completions/part-00000.parquet")).to_pylist()
    assert [(row["response"], row["reasoning"]) for row in rows] == [
        ("caf\ufffd", "\ufffd"),
        ("fine", "ok"),
        (None, ""),
    ]


def test_the_same_files_are_adopted_once_and_changed_ones_again(tmp_path: Path) -> None:
    source = write(tmp_path / "x.parquet", text=["one"])
    adopted(tmp_path, source, MAPS)
    made = tmp_path / "adopted/completions/part-00000.parquet"
    before = made.stat().st_mtime_ns
    adopted(tmp_path, source, MAPS)
    assert made.stat().st_mtime_ns == before
    write(tmp_path / "x.parquet", text=["one", "two"])
    assert len(adopted(tmp_path, source, MAPS)) == 2


def test_many_rows_become_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopting, "ROWS_PER_FILE", 4)
    monkeypatch.setattr(adopting, "BATCH_ROWS", 2)
    source = write(tmp_path / "x.parquet", text=[str(number) for number in range(10)])
    assert [row["response"] for row in adopted(tmp_path, source, MAPS)] == [str(number) for number in range(10)]
    assert len(Folder(str(tmp_path / "adopted")).list("completions/*.parquet")) == 3


@pytest.mark.parametrize("rows", [0, 1])
def test_no_row_and_one_row_are_adopted(tmp_path: Path, rows: int) -> None:
    source = write(tmp_path / "x.parquet", text=pa.array(["a"] * rows, pa.string()))
    assert len(adopted(tmp_path, source, MAPS)) == rows


@pytest.mark.parametrize(
    ("maps", "complaint"),
    [
        (["response"], "OUR_COLUMN=THEIR_COLUMN was wanted"),
        (["answer=text"], "'answer' is no column of ours; they are row_id"),
        (["prompt=text"], "no column is mapped to `response`"),
        (["response=text", "response=q"], "mapped twice"),
        (["response=text", "prompt=q", "messages=m"], "both mapped"),
        (["response=txt"], "it has no column 'txt'; it has text, n"),
        (["response=n"], "'n' is list<element: int64>, and response wants string"),
        (["response=text", "attempts=text"], "'text' is string, and attempts wants int32"),
        (["response=text", "row_id=empty"], "holds nulls, and every row needs an id"),
    ],
)
def test_a_map_that_can_not_be_is_refused(tmp_path: Path, maps: list[str], complaint: str) -> None:
    source = write(tmp_path / "x.parquet", text=["a"], n=[[1]], empty=pa.nulls(1, pa.string()))
    with pytest.raises(ConfigError, match=complaint.replace("(", r"\(")):
        adopted(tmp_path, source, maps)


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no")
    (tmp_path / "empty").mkdir()
    for source, complaint in (("x.parquet", "no readable Parquet"), ("empty", "holds no"), ("gone", "no such file")):
        with pytest.raises(ConfigError, match=complaint):
            adopted(tmp_path, str(tmp_path / source), MAPS)
