import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.pipelines.croissant import croissant_of
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.table_file import TableFile
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.manifest import SealedTerms
from tutelage.schemas.rows import Completion

MakeRow = Callable[..., Completion]
TERMS = SealedTerms(
    teacher="smollm2",
    train_use="allow",
    obligations=(),
    entries={},
    reasons=(),
    declared_by_user=False,
    override=None,
)
NESTED = {"messages", "obligations", "tokens", "top_logprobs"}


def _dataset(folder: Path, *rows: Completion) -> Folder:
    with TableFile(COMPLETIONS, Folder(str(folder)), "completions/part-00000.parquet") as file:
        for row in rows:
            file.add(row)
    return Folder(str(folder))


def _document(folder: Path, *rows: Completion) -> dict[str, Any]:
    return json.loads(croissant_of(_dataset(folder, *rows), [TERMS]))  # type: ignore[no-any-return]


def test_every_scalar_column_is_a_field_with_its_type(tmp_path: Path, completion: MakeRow) -> None:
    document = _document(tmp_path, completion())
    [records] = document["recordSet"]
    types = {field["source"]["extract"]["column"]: field["dataType"] for field in records["field"]}
    assert set(types) == set(COMPLETIONS.schema.names) - NESTED
    assert types["response"] == "sc:Text"
    assert types["sample_index"] == "sc:Integer"
    assert types["cost_usd"] == "sc:Float"
    assert types["created_at"] == "sc:DateTime"
    assert records["key"] == {"@id": "completions/row_id"}


def test_the_files_are_the_completions_alone(tmp_path: Path, completion: MakeRow) -> None:
    [files] = _document(tmp_path, completion())["distribution"]
    assert (files["@type"], files["encodingFormat"], files["includes"]) == (
        "cr:FileSet",
        "application/x-parquet",
        "completions/*.parquet",
    )


def test_the_licence_is_the_card_s(tmp_path: Path, completion: MakeRow) -> None:
    assert _document(tmp_path / "free", completion())["license"] == "https://spdx.org/licenses/CC0-1.0.html"
    bound = completion(train_use="allow_with", obligations=["share_alike"])
    assert _document(tmp_path / "bound", bound)["license"] == "LICENSE.md"


def test_it_says_how_the_rows_came_about(tmp_path: Path, completion: MakeRow) -> None:
    document = _document(tmp_path, completion(), completion(train_use="allow_with", obligations=["attribution"]))
    activity = document["prov:wasGeneratedBy"]
    assert [agent["name"] for agent in activity["prov:wasAssociatedWith"]][1:] == [
        "SmolLM2-135M-Instruct b179c952 weights:local"
    ]
    assert activity["prov:used"] == [{"@type": "prov:Entity", "name": "prompts.jsonl", "license": "CC0-1.0"}]
    assert activity["prov:startedAtTime"] < activity["prov:endedAtTime"]
    assert document["rai:dataCollectionType"] == ["Synthetic data"]
    assert "smollm2: allow." in document["rai:dataCollection"]
    assert any("allow_with, attribution" in limitation for limitation in document["rai:dataLimitations"])


def test_a_dataset_without_rows_has_no_time_of_collection(tmp_path: Path) -> None:
    document = json.loads(croissant_of(Folder(str(tmp_path)), []))
    assert "rai:dataCollectionTimeFrame" not in document
    assert "datePublished" not in document


def test_hostile_text_stays_a_string(tmp_path: Path, completion: MakeRow) -> None:
    text = '"}],\n"license": "mit"\u202e'
    document = _document(tmp_path, completion(model_requested=text, prompt_source=text))
    assert document["license"] == "https://spdx.org/licenses/CC0-1.0.html"
    assert document["prov:wasGeneratedBy"]["prov:used"][0]["name"] == '"}], "license": "mit"'


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rows", [0, 3])
def test_mlcroissant_finds_no_error_and_reads_the_rows(
    rows: int, tmp_path: Path, completion: MakeRow, caplog: pytest.LogCaptureFixture
) -> None:
    croissant = pytest.importorskip(
        "mlcroissant", reason="mlcroissant, the reference reader of Croissant, is not installed"
    )
    folder = _dataset(tmp_path, *(completion() for _ in range(rows)))
    folder.write("croissant.json", croissant_of(folder, [TERMS]))
    with caplog.at_level(logging.WARNING):
        dataset = croissant.Dataset(jsonld=str(tmp_path / "croissant.json"))
    assert dataset.metadata.ctx.issues.errors == set()
    if rows:
        found = [record["completions/response"].decode() for record in dataset.records("completions")]
        assert len(found) == rows
