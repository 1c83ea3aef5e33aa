import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tutelage.audit.select_rows import row_ids_where
from tutelage.schemas.contract_files import ContractWriter, table_of
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import Completion

NIGHT = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
PLAIN: dict[str, Any] = dict.fromkeys(Completion._fields, "x") | {
    "messages": [("user", "why?")],
    "sampling": '{"max_tokens":256,"seed":7}',
    "sample_index": 0,
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "cached_tokens": None,
    "reasoning_tokens": None,
    "cost_usd": Decimal("0.000150"),
    "latency_ms": 100,
    "attempts": 1,
    "created_at": NIGHT,
    "prompt_source_row": 1,
    "obligations": ["keep_notice"],
    "outcome": "ok",
    "tokens": [(1, "x", -0.5)],
    "top_logprobs": None,
}
ROWS = [
    PLAIN | {"row_id": "a", "prompt_id": "p1", "response": "it's so"},
    PLAIN | {"row_id": "b", "prompt_id": "p2", "outcome": "refused", "cost_usd": None, "obligations": []},
    PLAIN | {"row_id": "c", "prompt_id": "p3", "created_at": NIGHT + timedelta(hours=1), "prompt_source_row": 7},
]


def write_completions(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream, ContractWriter(COMPLETIONS, stream, str(path)) as writer:
        writer.write(table_of(COMPLETIONS, [Completion(**row) for row in rows], str(path)))


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three rows in two files; the working folder holds files that a condition might try to read or to change."""
    write_completions(tmp_path / "set" / "completions" / "part-0.parquet", ROWS[2:])
    write_completions(tmp_path / "set" / "completions" / "part-1.parquet", ROWS[:2])
    (tmp_path / "secret.csv").write_text("row_id\nstolen\n")
    write_completions(tmp_path / "secret.parquet", [PLAIN | {"row_id": "stolen"}])
    monkeypatch.chdir(tmp_path)
    return "set"


@pytest.fixture
def nothing_is_touched(dataset: str) -> Iterator[None]:
    def state() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in Path().rglob("*") if path.is_file()
        }

    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("true", "abc"),
        ("false", ""),
        ("prompt_id = 'p2'", "b"),
        ("prompt_id IN ('p1', 'p3')", "ac"),
        ("outcome = 'refused' OR prompt_source_row > 5", "bc"),
        ("response LIKE '%it''s%'", "a"),
        ("cost_usd IS NULL", "b"),
        ("cost_usd = 0.00015", "ac"),
        ("list_contains(obligations, 'keep_notice')", "ac"),
        ("len(obligations) = 0", "b"),
        ("messages[1].role = 'user' AND messages[1].content = 'why?'", "abc"),
        ("json_extract(sampling, '$.seed') = 7", "abc"),
        ("created_at >= '2026-11-24'", "c"),
        ("created_at < TIMESTAMPTZ '2026-11-24 00:00:00+00'", "ab"),
        ("created_at::DATE = DATE '2026-11-23'", "ab"),
        ("date_trunc('day', created_at) = '2026-11-24'", "c"),
        ("true -- a comment", "abc"),
        ("true /* a comment */", "abc"),
        ("prompt_source_row = (SELECT max(prompt_source_row) FROM completions)", "c"),
        ("row_id IN (SELECT row_id FROM completions WHERE outcome = 'ok')", "ac"),
    ],
)
def test_a_condition_means_its_rows_in_order_of_id(dataset: str, where: str, wanted: str) -> None:
    assert row_ids_where(dataset, where) == list(wanted)


def test_a_day_is_a_day_of_utc_whatever_the_machine_says(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for zone in ("America/New_York", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", zone)
        assert row_ids_where(dataset, "created_at::DATE = '2026-11-23'") == ["a", "b"]


ESCAPES = [
    # Statements beside the condition.
    "true); SELECT row_id FROM completions WHERE (false",
    "true); DROP VIEW completions; --",
    "true); SELECT 1; SELECT (1",
    "true); COPY completions TO 'stolen.csv'; --",
    "true); COPY (SELECT 1) TO 'stolen.csv'; SELECT (1",
    "true); ATTACH 'stolen.db'; --",
    "true); EXPORT DATABASE 'stolen'; --",
    "true); INSTALL httpfs; --",
    "true); LOAD httpfs; --",
    "true); SET enable_external_access = true; --",
    "true); RESET lock_configuration; --",
    "true); PRAGMA enable_profiling; --",
    "true); CREATE TABLE t AS SELECT 1; --",
    "true); CALL pragma_version(); --",
    # One statement that is no longer only ours.
    "true) UNION SELECT row_id FROM read_csv('secret.csv') --",
    "true) UNION ALL (SELECT row_id FROM read_csv('secret.csv')",
    "false) UNION ALL (SELECT row_id FROM 'secret.csv'",
    "false) UNION ALL (SELECT row_id FROM 'secret.parquet'",
    "false) UNION ALL (SELECT row_id FROM read_parquet('secret.parquet')",
    "false) UNION ALL (SELECT content FROM read_text('secret.csv')",
    "false) UNION ALL (SELECT content::VARCHAR FROM read_blob('secret.csv')",
    "false) UNION ALL (SELECT file FROM glob('*')",
    "false) UNION ALL (SELECT path FROM parquet_metadata('secret.parquet')",
    # Within the condition.
    "row_id IN (SELECT row_id FROM read_csv('secret.csv'))",
    "row_id IN (FROM 'secret.csv')",
    "EXISTS (SELECT * FROM read_parquet('secret.parquet'))",
    "EXISTS (SELECT * FROM read_text('/etc/passwd'))",
    "EXISTS (SELECT * FROM read_json('/etc/passwd'))",
    "EXISTS (SELECT * FROM sniff_csv('secret.csv'))",
    "EXISTS (SELECT * FROM read_duckdb('stolen.db'))",
    "EXISTS (SELECT * FROM glob('*'))",
    "EXISTS (SELECT * FROM read_csv('https://example.com/x.csv'))",
    "EXISTS (SELECT * FROM duckdb_secrets())",
    "EXISTS (SELECT * FROM enable_logging(storage='file', storage_path='stolen'))",
    "EXISTS (SELECT * FROM enable_profiling(save_location='stolen'))",
    "EXISTS (FROM query('COPY completions TO ''stolen.csv'''))",
    "EXISTS (FROM query('FROM read_csv(''secret.csv'')'))",
    "getenv('HOME') IS NOT NULL",
    # Our own variables in Python.
    "EXISTS (FROM table)",
    "EXISTS (FROM ROWS)",
    "EXISTS (FROM columns)",
    # No condition at all.
    "",
    "prompt_id =",
    "no_such_column = 1",
    "tokens IS NULL",
    ")",
    "true) --",
    "prompt_id = ?",
    "prompt_id = $1",
    "prompt_id = 'p1' ORDER BY 1",
    "response = '\udc80'",
    "COPY completions TO 'stolen.csv'",
]


@pytest.mark.parametrize("where", ESCAPES)
@pytest.mark.usefixtures("nothing_is_touched")
def test_what_is_no_condition_over_completions_is_refused_and_touches_nothing(dataset: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        row_ids_where(dataset, where)
    assert str(caught.value).startswith("--where ")
    assert caught.value.exit_code == 2


def test_a_refusal_names_the_columns_that_there_are(dataset: str) -> None:
    with pytest.raises(ConfigError, match="the columns are row_id, request_id, prompt_id, messages, response"):
        row_ids_where(dataset, "promt_id = 'p1'")


def test_the_environment_is_out_of_reach(dataset: str) -> None:
    assert "HOME" in os.environ
    with pytest.raises(ConfigError):
        row_ids_where(dataset, "current_setting('HOME') IS NOT NULL")


@pytest.mark.parametrize("uri", ["absent", "set/completions"])
def test_a_folder_without_completions_has_no_rows(dataset: str, uri: str) -> None:
    assert row_ids_where(uri, "true") == []


def test_a_folder_on_an_object_store_or_with_wildcards_in_its_name_is_read(dataset: str) -> None:
    fsspec.filesystem("memory").put("set/", "/select-test/", recursive=True)
    assert row_ids_where("memory://select-test", "outcome = 'ok'") == ["a", "c"]
    Path("set").rename("set[1]")
    assert row_ids_where("set[1]", "outcome = 'ok'") == ["a", "c"]
    fsspec.filesystem("memory").rm("/select-test", recursive=True)
