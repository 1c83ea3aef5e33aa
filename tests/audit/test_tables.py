"""Every table of a dataset is a view, there or not; a step's values are bound by name."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from audit_scene import input_of

from tutelage.audit.folder import AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.tables import RECORDS, RESULT_CONTRACTS, TABLES, connect
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import Completion

EVERY = [*TABLES, *RECORDS, *RESULT_CONTRACTS]


@pytest.fixture
def dataset(tmp_path: Path, completion: Callable[..., Completion]) -> AuditInput:
    messages = [("system", "be brief"), ("user", "why?"), ("assistant", "so"), ("user", "how?")]
    return input_of(tmp_path / "it's a set", [completion(messages=messages), completion()])


@pytest.mark.parametrize("table", EVERY)
def test_a_table_without_a_file_has_no_rows(table: str, tmp_path: Path) -> None:
    empty = AuditInput("nothing", str(tmp_path), False, ("never sealed",))
    for inputs in ([], [empty]):
        with connect(inputs, AuditFolder(str(tmp_path / "out"))) as connection:
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
        assert len(rows) == (1 if (table, inputs) == ("manifests", [empty]) else 0)


@pytest.mark.parametrize("table", [name for name in EVERY if name not in RESULT_CONTRACTS])
def test_every_table_says_whose_it_is(table: str, dataset: AuditInput) -> None:
    with connect([dataset]) as connection:
        assert connection.execute(f"SELECT * FROM {table}").description[0][0] == "dataset"


def test_rows_of_several_datasets_stand_together(dataset: AuditInput, tmp_path: Path, completion: object) -> None:
    other = input_of(tmp_path / "other", [completion()])  # type: ignore[operator]
    with connect([dataset, other]) as connection:
        counts = (
            "SELECT dataset, count(*) FROM completions JOIN fingerprints USING (dataset, row_id) GROUP BY 1 ORDER BY 2"
        )
        assert connection.execute(counts).fetchall() == [(other.name, 1), (dataset.name, 2)]


def test_a_row_has_its_prompt(dataset: AuditInput) -> None:
    with connect([dataset]) as connection:
        prompts = connection.execute("SELECT prompt FROM completions ORDER BY length(prompt)").fetchall()
    assert prompts[0] == ("why?\nhow?",)


def test_the_seal_and_its_terms_are_tables(dataset: AuditInput) -> None:
    broken = dataset._replace(name="broken", sealed=False, problems=("a file changed",))
    with connect([dataset, broken]) as connection:
        manifests = connection.execute(
            "SELECT dataset, sealed, problems, leaves FROM manifests ORDER BY sealed"
        ).fetchall()
        terms = connection.execute("SELECT DISTINCT teacher, train_use, override FROM terms").fetchall()
    assert manifests == [("broken", False, ["a file changed"], 2), (dataset.name, True, [], 2)]
    assert terms == [("smollm2", "allow", None)]


def test_a_damaged_record_stops_no_audit(dataset: AuditInput) -> None:
    for name in ("manifest.json", "run.json", "tombstones.jsonl"):
        Path(dataset.uri, name).write_bytes(b'{"torn": ')
    with connect([dataset]) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
        assert connection.execute("SELECT leaves FROM manifests").fetchone() == (None,)


def test_a_locked_connection_stays_locked(dataset: AuditInput) -> None:
    with connect([dataset], locked=True) as connection:
        assert connection.execute("SELECT count(*) FROM completions").fetchone() == (2,)
        for query in ("SET enable_external_access = true", f"SELECT * FROM read_text('{dataset.uri}/manifest.json')"):
            with pytest.raises(duckdb.Error):
                connection.execute(query.replace("it's", "it''s"))


def test_a_memory_limit_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="give one like 2GB"):
        connect([], memory_limit="much")
