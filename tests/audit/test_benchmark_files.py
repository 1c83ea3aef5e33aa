"""Evaluation sets as they are published."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutelage.audit.benchmark_files import BenchmarkFile

ITEM = {"question": "Why is the sky blue?", "choices": ["red light", "blue light"], "answer": 1, "id": 7}


def entries(path: Path, *fields: str) -> list[tuple[str, str, str]]:
    return [(entry.item_id, entry.field, entry.text) for entry in BenchmarkFile(str(path), fields).entries()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.jsonl", json.dumps(ITEM) + "\n\n"),
        ("b.ndjson", "\ufeff" + json.dumps(ITEM)),
        ("b.json", json.dumps([ITEM])),
        ("b.json", json.dumps({"data": [ITEM], "version": 1})),
        ("b.json", json.dumps(ITEM) + "\n" + json.dumps(ITEM)),
        ("b.csv", "id,question,answer\n7,Why is the sky blue?,\n"),
        ("b.tsv", "question\tid\nWhy is the sky blue?\t7\n"),
    ],
)
def test_each_shape_is_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert entries(tmp_path / name)[0] == ("7", "question", "Why is the sky blue?")


def test_parquet_and_compressed_files_are_read(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"prompt": ["one", None], "solution": ["two", "three"], "n": [1, 2]}), tmp_path / "b.parquet"
    )
    assert entries(tmp_path / "b.parquet") == [
        ("#0", "prompt", "one"),
        ("#0", "solution", "two"),
        ("#1", "solution", "three"),
    ]
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as stream:
        stream.write(json.dumps(ITEM))
    assert entries(tmp_path / "b.jsonl.gz")[0][0] == "7"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["a", "b"], "a\nb"),
        ([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}], "hi\nyes"),
        ({"text": ["x", "y"], "label": ["A", "B"]}, "x\ny"),
    ],
)
def test_text_inside_lists_and_objects_is_joined(tmp_path: Path, value: Any, text: str) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps({"question": value}))
    assert entries(tmp_path / "b.jsonl") == [("#0", "question", text)]


def test_invalid_utf_8_is_kept_readable_and_counted(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(b'{"question": "caf\xe9 noir"}\n{"question": "fine"}\n')
    file = BenchmarkFile(str(tmp_path / "b.jsonl"))
    assert [entry.text for entry in file.entries()] == ["caf\ufffd noir", "fine"]
    assert (file.items, file.undecodable) == (2, 1)


def test_only_named_fields_are_read_where_some_are_named(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps(ITEM | {"note": "see page 4"}))
    assert [field for _, field, _ in entries(tmp_path / "b.jsonl", "note")] == ["note"]
