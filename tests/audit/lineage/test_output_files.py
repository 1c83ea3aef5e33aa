"""Files that outputs come in: any spelling of their columns, datasets of ours, and what can't be read."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_scene import dataset_of
from lineage_files import PANEL, grid, read, refused, shown, table

from tutelage.audit.lineage.output_files import is_dataset, models_in
from tutelage.audit.lineage.outputs import read_outputs
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import Completion

REAL = Path(__file__).parents[4] / "shared" / "data" / "lineage-dev"


def test_any_spelling_of_the_columns_types_is_read(tmp_path: Path) -> None:
    rows = [(model, n, f"question {n}", f"{model} on {n}") for n in range(3) for model in ("teacher", "control")]
    plain = table(rows)
    coded = plain.set_column(1, "prompt_id", plain["prompt_id"].cast(pa.string()).dictionary_encode())
    for name in ("model", "prompt"):
        place = coded.column_names.index(name)
        coded = coded.set_column(place, name, coded[name].dictionary_encode())
    wide = plain.set_column(0, "model", plain["model"].cast(pa.large_string()))
    wide = wide.set_column(3, "response", wide["response"].cast(pa.string_view()))
    small = plain.set_column(1, "prompt_id", plain["prompt_id"].cast(pa.uint8())).select(
        ["response", "prompt", "model", "prompt_id"]
    )
    wanted = shown(read(tmp_path, plain))
    assert wanted[0] == ("0", "teacher", "teacher on 0")
    for other in (coded, wide, small):
        assert shown(read(tmp_path, other.append_column("dataset", pa.nulls(len(rows))))) == wanted


def test_several_files_and_a_folder_are_read_as_one(tmp_path: Path) -> None:
    for number, model in enumerate(("teacher", "control")):
        pq.write_table(table(grid(model)), tmp_path / f"{number}.parquet")
    apart = read_outputs([str(tmp_path / "0.parquet"), str(tmp_path / "1.parquet")], PANEL, [])
    whole = read_outputs([str(tmp_path)], PANEL, [])
    assert shown(apart) == shown(whole)
    assert models_in([str(tmp_path)]) == {"teacher": 10, "control": 10}


def test_a_dataset_of_ours_is_read_by_its_teachers_and_mixes_with_a_file(
    tmp_path: Path, completion: Callable[..., Completion]
) -> None:
    rows = [
        completion(
            prompt_id=f"p{n}",
            messages=[("system", "Be brief."), ("user", f"question {n}")],
            response=f"sample {sample} of {n}",
            sample_index=sample,
            teacher="x",
        )
        for n in range(10)
        for sample in (1, 0)
    ]
    dataset = dataset_of(tmp_path / "set", rows)
    pq.write_table(table(grid("teacher", "control")), tmp_path / "outputs.parquet")
    assert is_dataset(dataset)
    assert not is_dataset(str(tmp_path / "outputs.parquet"))
    uris = [str(tmp_path / "outputs.parquet"), dataset]
    assert models_in(uris) == {"teacher": 10, "control": 10, "x": 20}
    found = read_outputs(uris, PANEL, ["x"])
    assert found.notes == ()
    assert found.models == ("teacher", "control", "x")
    assert shown(found)[:4] == [
        *[("p0", "teacher", "teacher on 0"), ("p0", "control", "control on 0")],
        *[("p0", "x", "sample 0 of 0"), ("p0", "x", "sample 1 of 0")],
    ]


def test_a_file_of_a_dataset_is_refused_as_its_seal_lies_beside_it(
    tmp_path: Path, completion: Callable[..., Completion]
) -> None:
    dataset = dataset_of(tmp_path / "set", [completion()])
    [file] = Path(dataset, "completions").glob("*.parquet")
    with pytest.raises(ConfigError, match="is a file of a dataset; name the dataset's folder"):
        read_outputs([str(file)], PANEL, [])


def test_text_that_is_no_utf_8_is_mended_and_counted(tmp_path: Path) -> None:
    content = table(grid("teacher", "control", prompts=2))
    broken = pa.array([b"caf\xe9 noir", b"fine", b"fine", b"also \xff"], pa.binary())
    content = content.set_column(3, "response", pa.Array.from_buffers(pa.string(), 4, broken.buffers()))
    found = read(tmp_path, content)
    assert found.texts == ["caf\ufffd noir", "fine", "fine", "also \ufffd"]
    assert found.notes == ("2 texts are no valid UTF-8: U+FFFD stands where it was broken",)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("prompt_id", pa.array([1.0, 2.0]), "column 'prompt_id' is double, and text or whole numbers was wanted"),
        ("response", pa.array([1, 2]), "column 'response' is int64, and text was wanted"),
        ("response", pa.array([["a"], ["b"]]), "column 'response' is list"),
        ("response", pa.array([b"a", b"b"]), "column 'response' is binary"),
        ("model", pa.nulls(2), "column 'model' is null, and text was wanted"),
        ("prompt", pa.array([True, False]), "column 'prompt' is bool"),
        ("sample_index", pa.array(["0", "1"]), "column 'sample_index' is string, and whole numbers was wanted"),
        ("sample_index", pa.array([2**64 - 1, 0], pa.uint64()), "column 'sample_index' can't be read as whole numbers"),
    ],
)
def test_a_column_of_another_type_is_refused_by_name(tmp_path: Path, column: str, values: pa.Array, said: str) -> None:
    content = table(grid("teacher", prompts=2))
    content = content.drop_columns(column) if column in content.column_names else content
    message = refused(tmp_path, content.append_column(column, values))
    assert said in message
    assert message.endswith("cast it")


def test_missing_and_doubled_columns_are_named(tmp_path: Path) -> None:
    content = table(grid("teacher")).rename_columns(["generator", "prompt_id", "instruction", "response"])
    message = refused(tmp_path, content)
    assert "lacks the columns model, prompt; found generator, prompt_id, instruction, response" in message
    doubled = pa.Table.from_arrays([*table(grid("teacher")).columns, pa.nulls(10)], [*"abcd", "a"])
    doubled = doubled.rename_columns(["model", "prompt_id", "prompt", "response", "response"])
    assert "has the column 'response' 2 times" in refused(tmp_path, doubled)


def test_what_is_no_parquet_or_empty_or_not_there_is_refused(tmp_path: Path) -> None:
    assert "holds no row" in refused(tmp_path, table([]).cast(table(grid("a")).schema))
    (tmp_path / "outputs.csv").write_text("model,prompt_id,prompt,response\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.parquet").write_bytes(b"")
    for name, said in {
        "outputs.csv": "is no readable Parquet file",
        "nothing.parquet": "is no readable Parquet file",
        "empty": "holds neither",
        "none.parquet": "is not there",
    }.items():
        with pytest.raises(ConfigError, match=said):
            read_outputs([str(tmp_path / name)], PANEL, [])
    with pytest.raises(ConfigError, match="can't be opened"):
        models_in(["nowhere://outputs.parquet"])


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outputs.parquet"
    pq.write_table(table(grid("teacher", "control", prompts=2000)), path, compression="none")
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="can't be read"):
        read_outputs([str(path)], PANEL, [])
