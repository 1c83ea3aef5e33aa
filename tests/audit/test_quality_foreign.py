"""Quality of tables that others made: what they lack is said, and never made up."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from quality_scene import Audited, words

from tutelage.audit.inputs import AuditInput
from tutelage.pipelines.adopt import adopt, parse_maps
from tutelage.pipelines.fingerprint import fingerprint_dataset
from tutelage.pipelines.storage import Folder

LONG = words(1, 80)


def test_a_foreign_table_of_which_nearly_all_is_absent_is_read(tmp_path: Path) -> None:
    answers = [LONG, None, "I'm sorry, but I can't help with that.", "spam and eggs, " * 30]
    pq.write_table(pa.table({"q": ["why?"] * 4, "a": answers}), tmp_path / "foreign.parquet")
    adopted = adopt(str(tmp_path / "foreign.parquet"), parse_maps(["response=a", "prompt=q"]), Folder(f"{tmp_path}/in"))
    fingerprint_dataset(Folder(f"{tmp_path}/in"))
    found = Audited(AuditInput("foreign", f"{tmp_path}/in", False, ("it is a foreign table",), adopted.mapped))
    assert found.severities() == {
        "unsealed": "warning",
        "absent_provenance": "warning",
        "empty": "warning",
        "unmarked_refusal": "warning",
        "repetition": "warning",
    }
    assert {"teacher", "terms_id", "created_at", "leaf_sha256"} <= set(found.evidence("absent_provenance")["absent"])


def test_a_foreign_table_with_temperatures_and_costs_is_told_of_as_ours_would_be(tmp_path: Path) -> None:
    """A row is a request, an answer without an outcome is a useful one, and no prompt is not the same prompt."""
    columns = {
        "a": [LONG, LONG, LONG, LONG],
        "q": [[{"role": "user", "content": "why?"}]] * 2 + [None] * 2,
        "s": ['{"temperature":1}'] * 4,
        "c": [Decimal("0.01")] * 4,
    }
    pq.write_table(pa.table(columns), tmp_path / "foreign.parquet")
    maps = parse_maps(["response=a", "messages=q", "sampling=s", "cost_usd=c"])
    adopted = adopt(str(tmp_path / "foreign.parquet"), maps, Folder(f"{tmp_path}/in"))
    fingerprint_dataset(Folder(f"{tmp_path}/in"))
    found = Audited(AuditInput("foreign", f"{tmp_path}/in", False, ("it is a foreign table",), adopted.mapped))
    assert found["equal_samples"].rows == 2
    assert found["cost"].severity == "info"
    assert found.evidence("cost")["teachers"][0]["usd_per_useful_row"] == 0.01
