import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tutelage.cli import main
from tutelage.pipelines.seal import seal
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.table_file import TableFile
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.errors import ConfigError, ContractError, DatasetHeld, SealBroken, TutelageError
from tutelage.schemas.identity import leaf_sha256, row_id
from tutelage.schemas.rows import Completion

ROWS = 12
PLAIN: dict[str, Any] = dict.fromkeys(Completion._fields, "x") | {
    "messages": [("user", "why?")],
    "outcome": "ok",
    "sample_index": 0,
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "cached_tokens": None,
    "reasoning_tokens": None,
    "cost_usd": Decimal("0.000150000000"),
    "latency_ms": 100,
    "attempts": 1,
    "created_at": datetime(2026, 11, 24, tzinfo=UTC),
    "prompt_source_row": 1,
    "train_use": "allow",
    "obligations": [],
    "tokens": None,
    "top_logprobs": None,
    "salt": "00" * 16,
    "leaf_sha256": "",
}


def completion(number: int) -> Completion:
    request = f"{number:064x}"
    facts = {
        "row_id": row_id(request),
        "request_id": request,
        "prompt_id": f"p{number}",
        "response": f"answer {number}",
    }
    row = Completion(**PLAIN | facts)
    return row._replace(leaf_sha256=leaf_sha256(row))


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A sealed dataset of 12 rows, in the folder `set` of the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = Folder("set")
    with TableFile(COMPLETIONS, folder, "completions/part-00000.parquet") as table:
        for number in range(ROWS):
            table.add(completion(number))
    seal(folder, "harvest", ["r1"], [], {})
    return folder


def call(*args: str) -> Result:
    return CliRunner().invoke(main.app, args)


def test_a_sealed_dataset_verifies_with_its_rows_and_root(dataset: Folder) -> None:
    result = call("verify", "set")
    assert result.exit_code == 0
    manifest = json.loads(dataset.read("manifest.json"))
    assert result.stdout.startswith("verified: 12 rows, ")
    assert manifest["merkle"]["root"] in result.stdout


def test_verify_in_json_is_one_object(dataset: Folder) -> None:
    result = call("verify", "set", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["verified"], found["rows"], found["problems"]) == (0, True, 12, [])
    assert found["merkle_root"] == json.loads(dataset.read("manifest.json"))["merkle"]["root"]
    assert result.stderr == ""


def drop_a_file(dataset: Folder) -> None:
    dataset.delete("README.md")


def add_a_file(dataset: Folder) -> None:
    dataset.write("completions/part-00001.parquet", dataset.read("completions/part-00000.parquet"))


def change_a_row(dataset: Folder) -> None:
    with TableFile(COMPLETIONS, dataset, "completions/part-00000.parquet") as table:
        for number in range(ROWS):
            row = completion(number)
            table.add(row._replace(response="another") if number == 3 else row)


def drop_a_row(dataset: Folder) -> None:
    with TableFile(COMPLETIONS, dataset, "completions/part-00000.parquet") as table:
        for number in range(1, ROWS):
            table.add(completion(number))


def cut_a_file_off(dataset: Folder) -> None:
    name = "completions/part-00000.parquet"
    dataset.write(name, dataset.read(name)[:-100])


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (drop_a_file, "README.md: is missing ("),
        (add_a_file, "completions/part-00001.parquet: is not in the manifest"),
        (add_a_file, "stands in the dataset more than once"),
        (change_a_row, f"row {completion(3).row_id} is not what was sealed"),
        (drop_a_row, "is not the sealed one over 12: rows were added, dropped or changed"),
        (cut_a_file_off, "part-00000.parquet: not a readable Parquet file"),
    ],
)
def test_a_dataset_that_is_not_what_was_sealed_ends_with_4_and_says_what_differs(
    dataset: Folder, spoil: Any, problem: str
) -> None:
    spoil(dataset)
    result = call("verify", "set")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert problem in result.stderr
    assert "NOT VERIFIED: set: " in result.stderr
    assert any(problem in found for found in json.loads(call("verify", "set", "--json").stdout)["problems"])
    assert call("verify", "set", "--json").exit_code == 4


def test_of_many_problems_the_first_are_told_and_the_rest_counted(dataset: Folder) -> None:
    for number in range(40):
        dataset.write(f"terms/{number}.txt", b"x")
    told = call("verify", "set").stderr.splitlines()
    assert len(told) == 21
    assert told[-1] == "NOT VERIFIED: set: 40 problems, 20 not shown"


def test_a_damaged_manifest_ends_with_4(dataset: Folder) -> None:
    dataset.write("manifest.json", dataset.read("manifest.json")[:-50])
    result = call("verify", "set")
    assert isinstance(result.exception, SealBroken)
    assert result.exception.exit_code == 4


def test_any_flipped_byte_of_the_rows_is_seen_and_is_no_crash(dataset: Folder) -> None:
    name = "completions/part-00000.parquet"
    sealed = dataset.read(name)
    for place in random.Random(7).sample(range(len(sealed)), 40):
        flipped = bytearray(sealed)
        flipped[place] ^= 0xFF
        dataset.write(name, bytes(flipped))
        result = call("verify", "set")
        assert result.exit_code == 4, (place, result.exception)


@pytest.mark.parametrize("command", [["verify"], ["prove", "x"], ["withdraw", "--where=true", "--reason=x"]])
def test_a_folder_without_a_manifest_is_no_dataset_and_is_not_made(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(command[0], "absent", *command[1:])
    assert isinstance(result.exception, ConfigError)
    assert "absent: has no manifest.json, so it is no sealed dataset" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_withdrawn_rows_are_gone_and_the_rest_still_verifies(dataset: Folder) -> None:
    root = json.loads(dataset.read("manifest.json"))["merkle"]["root"]
    result = call("withdraw", "set", "--where", "prompt_id IN ('p3', 'p4')", "--reason", "asked to")
    assert result.exit_code == 0
    assert result.stdout.startswith("withdrew 2 rows from set; leaves and tombstones stay")
    verified = call("verify", "set")
    assert verified.stdout.startswith("verified: 10 rows, 2 withdrawn, ")
    assert root in verified.stdout
    assert not any(b"answer 3" in path.read_bytes() for path in Path("set").rglob("*") if path.is_file())


def test_withdraw_in_json_names_the_rows(dataset: Folder) -> None:
    result = call("withdraw", "set", "--where", "prompt_id = 'p3'", "--reason", "asked to", "--json")
    assert json.loads(result.stdout) == {"dataset": "set", "withdrawn": [completion(3).row_id]}


def test_a_condition_that_no_row_meets_changes_nothing(dataset: Folder) -> None:
    before = dataset.read("manifest.json")
    result = call("withdraw", "set", "--where", "prompt_id = 'p99'", "--reason", "asked to")
    assert result.exit_code == 0
    assert result.stdout == "no row of set matches; nothing was changed\n"
    assert dataset.read("manifest.json") == before
    assert not dataset.exists("tombstones.jsonl")


def test_a_withdrawal_that_was_cut_off_is_finished_though_no_row_matches_any_more(dataset: Folder) -> None:
    sealed = dataset.read("manifest.json")
    call("withdraw", "set", "--where", "prompt_id = 'p3'", "--reason", "asked to")
    dataset.write("manifest.json", sealed)  # as if it had been cut off just before it sealed
    assert call("verify", "set").exit_code == 4
    assert call("withdraw", "set", "--where", "prompt_id = 'p3'", "--reason", "asked to").exit_code == 0
    assert call("verify", "set").exit_code == 0


@pytest.mark.parametrize("where", ["promt_id = 'p3'", "true); DROP VIEW completions; --", ""])
def test_a_condition_that_is_none_changes_nothing(dataset: Folder, where: str) -> None:
    before = dataset.read("manifest.json")
    result = call("withdraw", "set", "--where", where, "--reason", "asked to")
    assert isinstance(result.exception, ConfigError)
    assert dataset.read("manifest.json") == before


def test_a_row_id_that_a_condition_made_up_withdraws_nothing(dataset: Folder) -> None:
    result = call("withdraw", "set", "--where", "false) UNION ALL (SELECT 'made up'", "--reason", "x")
    assert isinstance(result.exception, ConfigError)
    assert "has no row made up; nothing was withdrawn" in str(result.exception)


def test_a_dataset_that_a_run_holds_is_not_withdrawn_from(dataset: Folder) -> None:
    with dataset.held():
        result = call("withdraw", "set", "--where", "true", "--reason", "x")
    assert isinstance(result.exception, DatasetHeld)
    assert "held by process" in str(result.exception)


def test_the_proof_of_a_row_is_json_and_a_withdrawn_row_has_none(dataset: Folder) -> None:
    wanted = completion(3)
    proof = json.loads(call("prove", "set", wanted.row_id).stdout)
    assert proof["row"]["response"] == "answer 3"
    assert proof["root"] == json.loads(dataset.read("manifest.json"))["merkle"]["root"]
    call("withdraw", "set", "--where", "prompt_id = 'p3'", "--reason", "asked to")
    result = call("prove", "set", wanted.row_id)
    assert isinstance(result.exception, ConfigError)
    assert "was withdrawn" in str(result.exception)


def test_a_dataset_of_a_newer_version_is_refused_by_name(dataset: Folder) -> None:
    manifest = json.loads(dataset.read("manifest.json"))
    dataset.write("manifest.json", json.dumps(manifest | {"version": 2}).encode())
    for command in (["verify", "set"], ["prove", "set", "x"], ["withdraw", "set", "--where=true", "--reason=x"]):
        result = call(*command)
        assert isinstance(result.exception, ContractError)
        assert "version 2 is newer than this tutelage reads" in str(result.exception)


def test_every_error_of_ours_has_an_exit_code_of_the_contract() -> None:
    def below(kind: type[TutelageError]) -> list[type[TutelageError]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))]

    assert {kind.exit_code for kind in below(TutelageError)} == {1, 2, 3, 4}
