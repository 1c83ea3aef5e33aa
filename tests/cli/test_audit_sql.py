"""`tutelage audit sql`, as it is called: formats, files, hostile text, exit codes."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_scene import dataset_of
from typer.testing import CliRunner, Result

from tutelage.cli import main
from tutelage.cli.audit_sql import run_sql
from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.rows import Completion

HOSTILE = 'a "quoted", line\nand \x1b[31mred\x1b[0m \u202etxt.exe\u202c\x07'


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, completion: Callable[..., Completion]) -> str:
    monkeypatch.chdir(tmp_path)
    rows = [completion(prompt_id="p0", response="plain"), completion(prompt_id="p1", response=HOSTILE)]
    dataset_of(Path("set"), rows)
    return "set"


def tutelage(*arguments: str) -> Result:
    return CliRunner().invoke(main.app, ["audit", "sql", *arguments])


def output(*arguments: str) -> str:
    ended = tutelage(*arguments)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


QUERY = "SELECT prompt_id, response, completion_tokens AS tokens FROM completions ORDER BY prompt_id"


def test_a_table_stands_in_columns_and_hostile_text_is_only_shown(dataset: str) -> None:
    shown = output(dataset, QUERY)
    head, rule, plain, hostile = shown.splitlines()
    assert head.split() == ["prompt_id", "response", "tokens"]
    assert set(rule) == {"-", " "}
    assert plain.split() == ["p0", "plain", "5"]
    assert r"line\nand \x1b[31mred\x1b[0m \u202etxt.exe\u202c\x07" in hostile
    assert hostile.rindex("5") == plain.rindex("5")


def test_no_row_is_a_head_without_rows_and_a_word_on_stderr(dataset: str) -> None:
    ended = tutelage(dataset, "SELECT 1 AS one WHERE false")
    assert (ended.exit_code, ended.stdout.splitlines()) == (0, ["one", "---"])
    assert ended.stderr == "the query ran; no row came of it\n"


def test_a_long_cell_and_a_long_table_are_cut_visibly(dataset: str) -> None:
    assert output(dataset, "SELECT repeat('x', 500) AS x").splitlines()[2] == "x" * 59 + "…"
    ended = tutelage(dataset, "SELECT * FROM range(1001)")
    assert len(ended.stdout.splitlines()) == 1002
    assert "the first 1,000 rows" in ended.stderr
    assert tutelage(dataset, "SELECT * FROM range(1000)").stderr == ""


def test_csv_reads_back_as_it_was(dataset: str) -> None:
    rows = list(csv.reader(io.StringIO(output(dataset, QUERY, "--format", "csv"), newline="")))
    assert rows == [["prompt_id", "response", "tokens"], ["p0", "plain", "5"], ["p1", HOSTILE, "5"]]


@pytest.mark.parametrize(
    ("expression", "cell"),
    [
        ("NULL", ""),
        ("''", '""'),
        ("'a,b'", '"a,b"'),
        ("'say \"x\"'", '"say ""x"""'),
        ("' edge'", '" edge"'),
        ("true", "true"),
        ("1.50::DECIMAL(9, 6)", "1.500000"),
        ("0.000000000001::DECIMAL(20, 12)", "0.000000000001"),
        ("TIMESTAMPTZ '2026-11-25 01:02:03+00'", "2026-11-25T01:02:03+00:00"),
        ("DATE '2026-11-25'", "2026-11-25"),
        ("[1, 2]", '"[1, 2]"'),
        ("{'a': 'é'}", '"{""a"": ""é""}"'),
        ("'abc'::BLOB", "616263"),
        ("'nan'::DOUBLE", "nan"),
    ],
)
def test_csv_quotes_what_needs_it_and_says_values_exactly(dataset: str, expression: str, cell: str) -> None:
    assert output(dataset, f"SELECT {expression} AS x", "--format", "csv") == f"x\n{cell}\n"


def test_json_is_an_array_of_objects_in_which_no_control_stands(dataset: str) -> None:
    text = output(dataset, QUERY, "--format", "json")
    assert json.loads(text)[1] == {"prompt_id": "p1", "response": HOSTILE, "tokens": 5}
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert json.loads(output(dataset, "SELECT 1 WHERE false", "--format", "json")) == []


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'nan'::DOUBLE", "nan"),
        ("[1.5, 'infinity'::DOUBLE]", [1.5, "inf"]),
        ("0.1::DECIMAL(20, 12)", "0.100000000000"),
        ("'ab'::BLOB", "6162"),
        ("NULL", None),
        ("TIMESTAMP '2026-11-25 01:02:03'", "2026-11-25T01:02:03"),
        ("'infinity'::DATE", "infinity"),
    ],
)
def test_json_has_a_word_for_every_value(dataset: str, expression: str, value: Any) -> None:
    found = json.loads(output(dataset, f"SELECT {expression} AS x", "--format", "json"))
    assert [list(row) for row in found] == [["x"]]
    if value != "infinity":
        assert found == [{"x": value}]


def test_columns_of_one_name_are_told_apart(dataset: str) -> None:
    assert json.loads(output(dataset, "SELECT 1 AS a, 2 AS a, 3 AS a_1", "--format", "json")) == [
        {"a": 1, "a_1": 2, "a_1_1": 3}
    ]


@pytest.mark.parametrize("name", ["out.parquet", "deep/er/out.csv", "out.json"])
def test_a_file_is_written_in_the_format_of_its_name(dataset: str, name: str) -> None:
    assert output(dataset, QUERY, "--output", name) == ""
    if name.endswith("parquet"):
        assert pq.read_table(name).column("response").to_pylist() == ["plain", HOSTILE]
    else:
        assert "prompt_id" in Path(name).read_text(encoding="utf-8")
    assert [path.name for path in Path(name).parent.glob(".unfinished*")] == []


def test_a_query_that_fails_midway_leaves_no_file(dataset: str) -> None:
    sql = "SELECT CASE WHEN range < 50000 THEN 1 ELSE error('midway') END FROM range(100000)"
    with pytest.raises(ConfigError, match="midway"):
        run_sql([dataset, sql], output="out.parquet")
    assert sorted(path.name for path in Path().iterdir()) == ["set"]


def test_several_datasets_are_read_as_one_table(dataset: str, completion: Callable[..., Completion]) -> None:
    dataset_of(Path("other"), [completion()])
    query = "SELECT dataset, count(*) AS n FROM completions GROUP BY ALL ORDER BY ALL"
    assert json.loads(output(dataset, "other", query, "--format", "json")) == [
        {"dataset": "other", "n": 1},
        {"dataset": "set", "n": 2},
    ]


def test_fingerprints_are_made_when_a_query_asks_for_them(dataset: str) -> None:
    output(dataset, "SELECT 1 AS one")
    assert not Path("set/fingerprints").exists()
    output(dataset, "SELECT 'fingerprints' AS word")
    assert not Path("set/fingerprints").exists()
    assert json.loads(output(dataset, "SELECT count(*) AS n FROM fingerprints", "--format", "json")) == [{"n": 2}]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"format": "xml"}, "needed one of table, csv, json, parquet"),
        ({"format": "parquet"}, "name a file with --output"),
        ({"output": "out"}, "say with --format"),
        ({"output": "out/", "format": "csv"}, "is a folder"),
        ({"timeout_s": -1.0}, "above 0"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(dataset: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run_sql([dataset, "SELECT 1"], **options)


def test_a_query_without_a_dataset_is_refused() -> None:
    with pytest.raises(ConfigError, match="needed datasets and, last, a query"):
        run_sql(["SELECT 1"])


@pytest.mark.parametrize("arguments", [["set", "set"], ["SELECT 1", "set"]])
def test_a_dataset_where_the_query_belongs_is_told_as_such(dataset: str, arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="set: is a file or folder, where a query was needed; the query comes last"):
        run_sql(arguments)


@pytest.mark.parametrize(
    ("table", "audit"),
    [
        ("duplicate_pairs", "audit duplicates DIR"),
        ("prompt_clusters", "audit duplicates DIR"),
        ("contamination_hits", "audit contamination DIR --against BENCH"),
        ("findings", "audit quality DIR"),
    ],
)
def test_an_audit_that_was_never_run_does_not_look_like_one_that_found_nothing(
    dataset: str, table: str, audit: str
) -> None:
    ended = tutelage(dataset, f"SELECT count(*) AS n FROM {table}", "--format", "json")
    assert (ended.exit_code, json.loads(ended.stdout)) == (0, [{"n": 0}])
    assert f"{table}: has no rows, as set/audit holds no {table}.parquet; `tutelage {audit}` writes it" in ended.stderr


def test_an_error_only_shows_the_text_that_it_quotes(dataset: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run_sql([dataset, "SELECT response::INTEGER FROM completions WHERE prompt_id = 'p1'"])
    assert r"\x1b[31mred\x1b[0m \u202etxt.exe\u202c\x07" in str(caught.value)
    assert not {"\x1b", "\x07", "\u202e"} & set(str(caught.value))


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["set", "SELECT colour FROM completions"], 2, "the tables are completions"),
        (["set", "COPY completions TO 'x.csv'"], 2, "one SELECT over completions"),
        (["set", "FROM read_csv('x.csv')"], 2, "read_csv() is not among the table functions"),
        (["set", "SELECT count(*) FROM range(100000000) a, range(100000000) b", "--timeout-s", "0.2"], 1, "time limit"),
        (["set", "SELECT list(range) FROM range(1000000000)", "--memory-limit", "200MB"], 1, "its memory limit, 200MB"),
        (["set", "SELECT 1", "--memory-limit", "lots"], 2, "2GB or 500MB"),
        (["nowhere", "SELECT 1"], 2, "nowhere: there is no such file or folder"),
    ],
)
def test_what_fails_ends_with_its_exit_code_and_prints_nothing(
    dataset: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["tutelage", "audit", "sql", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.run()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (code, "")
    assert told in printed.err
    assert "Traceback" not in printed.err


def test_a_foreign_table_is_asked_by_our_names(dataset: str) -> None:
    pq.write_table(pa.table({"question": ["why?"], "answer": ["because"]}), "theirs.parquet")
    maps = ["--map", "prompt=question", "--map", "response=answer"]
    query = "SELECT dataset, prompt, response FROM completions"
    assert json.loads(output("theirs.parquet", query, *maps, "--format", "json")) == [
        {"dataset": "theirs.parquet", "prompt": "why?", "response": "because"}
    ]


def test_a_typo_is_told_before_anything_is_read() -> None:
    with pytest.raises(ConfigError, match="SELEC"):
        run_sql(["nowhere", "SELEC 1"])


def test_a_broken_seal_is_refused_unless_one_insists(dataset: str) -> None:
    Path("set/manifest.json").unlink()
    with pytest.raises(SealBroken):
        run_sql([dataset, "SELECT 1"])
    found = json.loads(output(dataset, "SELECT sealed FROM manifests", "--format", "json", "--unsealed"))
    assert found == [{"sealed": False}]


@pytest.mark.parametrize(
    ("query", "rows"),
    [("SELECT 1 AS a, 'x]' AS b", [{"a": 1, "b": "x]"}]), ("SELECT 1 AS a WHERE false", [])],
)
def test_json_prints_one_object_like_every_command(dataset: str, query: str, rows: list[dict[str, Any]]) -> None:
    assert json.loads(output(dataset, query, "--json")) == {"rows": rows}
