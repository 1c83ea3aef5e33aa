"""A stranger's query reads our tables and nothing else, and ends in time."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from audit_scene import input_of

from tutelage.audit.inputs import AuditInput
from tutelage.audit.sql_names import check_query
from tutelage.audit.sql_query import QueryStopped, run_query
from tutelage.audit.tables import connect
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import Completion


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, completion: Callable[..., Completion]) -> Path:
    """A dataset, and beside it what a query might try to read or to change."""
    place = tmp_path_factory.mktemp("sql")
    input_of(place / "set", [completion(row_id=name, response=f"answer {name}") for name in "abc"])
    (place / "secret.csv").write_text("row_id\nstolen\n")
    (place / "secret.txt").write_text("stolen")
    (place / "secret.json").write_text('{"row_id": "stolen"}')
    with duckdb.connect(str(place / "secret.db")) as other:
        other.execute("CREATE TABLE loot AS SELECT 'stolen' AS row_id")
    return place


@pytest.fixture
def dataset(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AuditInput:
    monkeypatch.chdir(folder)
    return AuditInput("set", "set", True)


@pytest.fixture
def nothing_is_touched(dataset: AuditInput) -> Iterator[None]:
    def state() -> dict[str, tuple[int, int]]:
        files = (path for path in Path().rglob("*") if path.is_file())
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

    before = state()
    yield
    assert state() == before


def answer(dataset: AuditInput, sql: str, **limits: Any) -> pa.Table:
    with run_query([dataset], None, sql, **limits) as reader:
        return reader.read_all()


ESCAPES = [
    # Files, by function.
    "SELECT * FROM read_csv('secret.csv')",
    "SELECT * FROM READ_CSV('secret.csv')",
    "SELECT * FROM \"read_csv\"('secret.csv')",
    "SELECT * FROM main.read_csv('secret.csv')",
    "SELECT * FROM system.main.read_csv('secret.csv')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_text('secret.txt')",
    "SELECT * FROM read_blob('secret.txt')",
    "SELECT * FROM read_json('secret.json')",
    "SELECT * FROM read_ndjson('secret.json')",
    "SELECT * FROM glob('*')",
    "SELECT * FROM sniff_csv('secret.csv')",
    "SELECT * FROM read_parquet('set/completions/*.parquet')",
    "SELECT * FROM parquet_scan('set/completions/part-00000-of-00001.parquet')",
    "SELECT * FROM parquet_metadata('set/completions/part-00000-of-00001.parquet')",
    "SELECT * FROM parquet_schema('set/completions/part-00000-of-00001.parquet')",
    "SELECT * FROM parquet_kv_metadata('set/completions/part-00000-of-00001.parquet')",
    "SELECT * FROM read_duckdb('secret.db')",
    # Files and addresses, as tables.
    "SELECT * FROM 'secret.csv'",
    'SELECT * FROM "secret.csv"',
    "FROM 'set/completions/part-00000-of-00001.parquet'",
    "FROM '/etc/passwd'",
    "FROM 'https://example.com/x.parquet'",
    "FROM read_csv('https://example.com/x.csv')",
    "FROM 's3://bucket/x.parquet'",
    # In places where one does not look.
    "SELECT (SELECT count(*) FROM read_csv('secret.csv'))",
    "SELECT * FROM completions WHERE row_id IN (FROM 'secret.csv')",
    "WITH x AS (FROM read_text('secret.txt')) SELECT * FROM x",
    "WITH RECURSIVE x AS (SELECT 1 UNION ALL SELECT 1 FROM 'secret.csv') SELECT * FROM x",
    "SELECT * FROM completions, LATERAL (SELECT * FROM read_text('secret.txt'))",
    "SELECT * FROM completions ORDER BY (SELECT content FROM read_text('secret.txt'))",
    "SELECT * FROM completions LIMIT (SELECT count(*) FROM read_text('secret.txt'))",
    "SELECT [x FOR x IN (SELECT list(content) FROM read_text('secret.txt'))]",
    "SELECT 1 UNION SELECT content FROM read_text('secret.txt')",
    "PIVOT read_csv('secret.csv') ON row_id IN ('stolen') USING count(*)",
    "DESCRIBE SELECT * FROM read_csv('secret.csv')",
    "SUMMARIZE 'secret.csv'",
    "DESCRIBE 'secret.csv'",
    "(FROM 'secret.csv')",
    "VALUES ((SELECT content FROM read_text('secret.txt')))",
    # SQL out of a string.
    "FROM query('FROM read_csv(''secret.csv'')')",
    "FROM query('COPY completions TO ''stolen.csv''')",
    "FROM query_table('secret.csv')",
    "FROM query_table(['completions', 'secret.csv'])",
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 42'))",
    "SELECT json_serialize_sql('SELECT 1')",
    # Other statements.
    "COPY completions TO 'stolen.csv'",
    "COPY (SELECT 1) TO 'stolen.parquet' (FORMAT parquet)",
    "COPY completions FROM 'secret.csv'",
    "EXPORT DATABASE 'stolen'",
    "IMPORT DATABASE 'stolen'",
    "ATTACH 'secret.db'",
    "ATTACH ':memory:' AS other",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET VARIABLE x = 1",
    "RESET lock_configuration",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CALL enable_logging()",
    "CHECKPOINT",
    "VACUUM",
    "CREATE TABLE t AS SELECT 1",
    "CREATE TEMP VIEW v AS SELECT 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW completions AS SELECT 1",
    "MERGE INTO completions USING failed ON true WHEN MATCHED THEN DELETE",
    "SELECT * FROM (COPY completions TO 'stolen.csv')",
    "SELECT 1 INTO OUTFILE 'stolen'",
    "SELECT * FROM completions AT (VERSION => 1)",
    "CREATE MACRO m() AS 1",
    "CREATE SECRET s (TYPE s3)",
    "DROP VIEW completions",
    "INSERT INTO completions SELECT * FROM completions",
    "UPDATE completions SET response = ''",
    "DELETE FROM completions",
    "ALTER TABLE completions RENAME TO x",
    "BEGIN TRANSACTION",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXPLAIN ANALYZE SELECT 1",
    "WITH gone AS MATERIALIZED (DELETE FROM completions RETURNING row_id) SELECT * FROM gone",
    # Several statements, hidden or not.
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW completions",
    "SELECT 1; -- harmless\nCOPY completions TO 'stolen.csv'",
    "SELECT 1 /* ; */ ; ATTACH 'secret.db'",
    "SELECT 1 -- ;\n; INSTALL httpfs",
    "SELECT 1;;SELECT 2",
    # Settings, secrets, this machine.
    "SELECT getenv('HOME')",
    "SELECT current_setting('secret_directory')",
    "SELECT current_setting('home_directory')",
    "SELECT CURRENT_SETTING('temp_directory')",
    "SELECT completions.row_id.current_setting() FROM completions",
    "SELECT set_config('threads', '1')",
    "SELECT getvariable('x')",
    "FROM duckdb_settings()",
    "FROM duckdb_secrets()",
    "FROM which_secret('s3://x', 's3')",
    "FROM duckdb_extensions()",
    "FROM duckdb_databases()",
    "FROM duckdb_functions()",
    "FROM duckdb_temporary_files()",
    "FROM pg_settings",
    "FROM pg_catalog.pg_settings",
    "FROM duckdb_tables",
    "FROM sqlite_master",
    "FROM pragma_database_list",
    "FROM information_schema.tables",
    "WITH pg_settings AS (SELECT 1) SELECT * FROM (SELECT * FROM pg_settings)",
    "SELECT (FROM pg_settings LIMIT 1) FROM (WITH pg_settings AS (SELECT 1) SELECT * FROM pg_settings)",
    "SHOW DATABASES",
    "SHOW ALL TABLES",
    "FROM (SHOW ALL TABLES)",
    "FROM (DESCRIBE 'secret.csv')",
    "SHOW secrets",
    "SHOW VARIABLES",
    "SHOW memory_limit",
    "SELECT current_query()",
    "SELECT pg_get_viewdef(1)",
    # What has effects, or keeps a state.
    "FROM enable_logging(storage = 'file', storage_path = 'stolen')",
    "FROM enable_profiling(save_location = 'stolen')",
    "FROM checkpoint()",
    "FROM force_checkpoint()",
    "FROM truncate_duckdb_logs()",
    "SELECT write_log('x')",
    "SELECT setseed(0.5)",
    "SELECT nextval('s')",
    "SELECT sleep_ms(1)",
    "SELECT 'HOME'.getenv()",
    "SELECT invoke(lambda x: getenv(x), 'HOME')",
    "SELECT * REPLACE (getenv('HOME') AS row_id) FROM completions",
    "SELECT COLUMNS(lambda c: getenv(c) = 'x') FROM completions",
    "SELECT count(*) FROM completions QUALIFY getenv('HOME') = 'x'",
    "SELECT system.main.getenv('HOME')",
    "SELECT list_aggregate(['HOME'], 'getenv')",
    # Bytes that DuckDB would take for its own.
    "SELECT finalize('AAAAAAAA'::BLOB)",
    "SELECT finalize(to_aggregate_state('AAAA'::BLOB, 'list', ['INTEGER']))",
    "SELECT combine(s, s) FROM (SELECT list(1) EXPORT_STATE AS s)",
    "SELECT variant_bytes_to_variant('AAAA'::BLOB)",
    "SELECT pg_sleep(1)",
    "FROM create_external_resource('x')",
    "FROM summary(completions)",
    # Memory, and variables of this process.
    "FROM arrow_scan(1, 2, 3)",
    "FROM pandas_scan(1)",
    "FROM python_map_function(completions)",
    "FROM loot",
    "FROM dataset",
    "FROM ESCAPES",
    "FROM _completions_0",
    "SELECT $1",
    "SELECT ?",
    # No query at all.
    "",
    ";",
    "-- nothing",
    "SELEC 1",
    "SELECT no_such_column FROM completions",
    "SELECT '\udc80'",
    "SELECT 1 \x00",
]


@pytest.mark.parametrize("sql", ESCAPES)
@pytest.mark.usefixtures("nothing_is_touched")
def test_what_is_not_one_select_over_the_tables_is_refused_and_touches_nothing(dataset: AuditInput, sql: str) -> None:
    loot = pa.table({"row_id": ["stolen"]})
    with pytest.raises(ConfigError) as caught:
        answer(dataset, sql, timeout_s=20)
    assert caught.value.exit_code == 2
    assert "stolen" not in str(caught.value).replace(sql, "")
    assert loot.num_rows == 1


FILE_ESCAPES = [
    sql
    for sql in ESCAPES
    if ("secret." in sql or "stolen" in sql or "example.com" in sql or "httpfs" in sql) and "\udc80" not in sql
]


@pytest.mark.usefixtures("nothing_is_touched")
def test_duckdbs_own_lock_alone_keeps_files_and_network_out(dataset: AuditInput) -> None:
    """The second wall, with the first one gone."""
    with connect([dataset], locked=True) as connection:
        for sql in FILE_ESCAPES:
            with pytest.raises(duckdb.Error):
                connection.execute(sql)


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("SELECT row_id FROM completions ORDER BY row_id", [("a",), ("b",), ("c",)]),
        ("FROM completions SELECT count(*)", [(3,)]),
        ("select count(*) from main.completions", [(3,)]),
        ("SELECT count(*) FROM completions;", [(3,)]),
        ("SELECT count(*) -- of all\nFROM completions /* every one */", [(3,)]),
        ("(SELECT 1) UNION ALL (VALUES (2)) ORDER BY 1", [(1,), (2,)]),
        ("WITH x AS (SELECT row_id FROM completions) SELECT max(row_id) FROM x", [("c",)]),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4) SELECT sum(i) FROM n", [(10,)]),
        ("SELECT sum(i) FROM range(4) AS r(i)", [(6,)]),
        ("SELECT unnest([1, 2])", [(1,), (2,)]),
        ("SELECT [x + 1 FOR x IN [1, 2] IF x > 1]", [([3],)]),
        ("SELECT count(*) FROM failed, ledger, plan, rejected, terms, runs, tombstones, findings", [(0,)]),
        ("SELECT dataset, sealed FROM manifests", [("set", True)]),
        ("PIVOT completions ON outcome IN ('ok') USING count(*) GROUP BY teacher", [("smollm2", 3)]),
        ("SELECT response.upper() FROM completions WHERE row_id = 'a'", [("ANSWER A",)]),
        ("SELECT strftime(TIMESTAMPTZ '2026-01-01 00:00:00+00', '%H:%M')", [("00:00",)]),
        ("SELECT 1 WHERE false", []),
        ("SELECT 1;;", [(1,)]),
        ("/* SELECT 2; COPY x */ SELECT 1 -- ; DROP VIEW completions", [(1,)]),
        ("SELECT 'ATTACH ''y''; COPY completions TO x' AS text", [("ATTACH 'y'; COPY completions TO x",)]),
        ("SELECT $$;INSTALL httpfs;$$", [(";INSTALL httpfs;",)]),
        ('SELECT "set", "copy", "getenv" FROM (SELECT 1 AS "set", 2 AS "copy", 3 AS "getenv")', [(1, 2, 3)]),
        ("SELECT count(*) FROM completions AS failed_copy, completions AS load", [(9,)]),
        ("SELECT count(*) FROM completions WHERE response LIKE '%read_csv(%'", [(0,)]),
        ("WITH settings AS (SELECT 1 AS one) SELECT one FROM settings", [(1,)]),
        ("TABLE tombstones", []),
        ("SELECT regexp_matches(repeat('a', 100000), '(a*)*b')", [(False,)]),
    ],
)
def test_a_select_over_the_tables_is_answered(dataset: AuditInput, sql: str, wanted: list[Any]) -> None:
    table = answer(dataset, sql)
    assert list(zip(*(column.to_pylist() for column in table.columns), strict=True)) == wanted


@pytest.mark.parametrize("sql", ["DESCRIBE completions", "SUMMARIZE ledger", "SHOW TABLES"])
def test_a_table_may_be_described(dataset: AuditInput, sql: str) -> None:
    assert answer(dataset, sql).num_rows > 0


def test_a_refusal_names_the_tables_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"completion is no table here; the tables are completions, failed, ledger"):
        check_query("FROM completion")


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        ("SELECT 1", set()),
        ("SELECT 'fingerprints'", set()),
        ("SELECT * FROM Fingerprints JOIN main.plan USING (request_id)", {"fingerprints", "plan"}),
        ("WITH f AS (FROM findings) SELECT * FROM f", {"findings", "f"}),
    ],
)
def test_a_check_says_which_tables_a_query_reads(sql: str, read: set[str]) -> None:
    assert check_query(sql) == read


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT " + "1 + " * 900 + "1", "nested too deep"),
        ("SELECT * FROM " + "(SELECT * FROM " * 400 + "completions" + ")" * 400, "nested too deep"),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "expression depth"),
        ("SELECT " + "NOT " * 5000 + "true", "expression depth"),
    ],
)
def test_a_query_nested_without_measure_is_refused(sql: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_query(sql)


@pytest.mark.parametrize("sql", ["SELECT colour FROM completions", "SELECT completions.colour FROM completions"])
def test_an_unknown_column_is_told_with_the_tables(dataset: AuditInput, sql: str) -> None:
    with pytest.raises(ConfigError, match=r"(?s)colour.*the tables are completions, .*; DESCRIBE completions shows"):
        answer(dataset, sql)


def test_a_time_limit_may_be_without_end(dataset: AuditInput) -> None:
    assert answer(dataset, "SELECT 1", timeout_s=float("inf")).num_rows == 1


def test_the_environment_is_out_of_reach(dataset: AuditInput) -> None:
    assert "HOME" in os.environ
    with connect([dataset], locked=True) as connection, pytest.raises(duckdb.Error):
        connection.execute("SELECT getenv('HOME')")


ENDLESS = [
    "SELECT count(*) FROM range(100000000) AS a, range(100000000) AS b, range(100000000) AS c",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "SELECT * FROM range(100000000000) WHERE range < 0",
]


@pytest.mark.parametrize("sql", ENDLESS)
def test_a_query_without_end_is_stopped_at_its_time_limit(dataset: AuditInput, sql: str) -> None:
    began = time.monotonic()
    with pytest.raises(QueryStopped, match=r"stopped after 0\.2 s, its time limit") as caught:
        answer(dataset, sql, timeout_s=0.2)
    assert caught.value.exit_code == 1
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT list(range) FROM range(1000000000)",
        "SELECT string_agg(repeat('x', 1000), '') FROM range(100000000)",
        # DuckDB does not count one value's own bytes; the system's limit on the process does.
        pytest.param(
            "SELECT length(repeat('x', 4000000000))",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="no limit on a process's data elsewhere"),
        ),
    ],
)
def test_a_query_that_wants_too_much_memory_is_stopped(dataset: AuditInput, sql: str) -> None:
    with pytest.raises(QueryStopped, match="more than its memory limit, 200MB") as caught:
        answer(dataset, sql, memory_limit="200MB")
    assert caught.value.exit_code == 1


def test_a_call_that_can_not_be_interrupted_is_not_waited_for(folder: Path) -> None:
    """One call of levenshtein takes half a minute and hears no interrupt; the process ends all the same."""
    code = (
        "from tutelage.audit import sql_query\n"
        "sql_query.GRACE_S = 0.1\n"
        "sql = \"SELECT levenshtein(repeat('a', 150000), repeat('b', 150000))\"\n"
        "with sql_query.run_query([], None, sql, timeout_s=0.1) as reader:\n"
        "    reader.read_all()\n"
    )
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)
    assert ended.returncode == 1
    assert "stopped after 0.1 s, its time limit" in ended.stderr
    assert time.monotonic() - began < 20


def test_a_reader_that_pauses_costs_the_query_no_time(dataset: AuditInput) -> None:
    with run_query([dataset], None, "SELECT * FROM range(100000)", timeout_s=20) as reader:
        first = next(iter(reader)).num_rows
        rest = sum(batch.num_rows for batch in reader)
    assert first + rest == 100_000


def test_a_result_that_nobody_reads_on_ends_its_query(dataset: AuditInput) -> None:
    with run_query([dataset], None, "SELECT * FROM range(1000000000000)") as reader:
        assert next(iter(reader)).num_rows > 0


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"timeout_s": 0}, "above 0"),
        ({"timeout_s": float("nan")}, "above 0"),
        ({"memory_limit": "lots"}, "2GB or 500MB"),
    ],
)
def test_a_limit_that_is_none_is_refused(dataset: AuditInput, limits: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        answer(dataset, "SELECT 1", **limits)
