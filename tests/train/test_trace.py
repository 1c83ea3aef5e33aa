"""`tutelage trace`: which rows, teachers and terms are in a student, and which of them were withdrawn since."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from curate_scene import GPT, SIGNED
from train_scene import LLAMA, TrainScene

from tutelage.cli.trace import show_trace
from tutelage.schemas.errors import ConfigError, ContractError, SealBroken
from tutelage.schemas.rows import Completion
from tutelage.train.record.trace import checked_run, row_of, rows_among

MakeRow = Callable[..., Completion]
Told = Callable[..., dict[str, Any]]


class Desk:
    """A student of the first three rows, the fourth of the set was never read; each was read in two epochs."""

    def __init__(self, folder: Path, completion: MakeRow) -> None:
        self.scene = TrainScene(folder)
        self.rows = [completion(), completion(**GPT), completion(**LLAMA), completion()]
        self.scene.curated(self.rows, terms={"overrides": [SIGNED]})
        readings = [
            (row, epoch, 2 * epoch + place // 2 + 1) for epoch in range(2) for place, row in enumerate(self.rows[:3])
        ]
        self.student = self.scene.student(readings, name="Llama-tiny")


@pytest.fixture
def desk(tmp_path: Path, completion: MakeRow) -> Desk:
    return Desk(tmp_path, completion)


@pytest.fixture
def told(desk: Desk, capsys: pytest.CaptureFixture[str]) -> Told:
    def call(row: str | None = None) -> dict[str, Any]:
        assert show_trace(desk.student, row, as_json=True) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return call


@pytest.fixture
def printed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def call(row: str | None = None) -> str:
        assert show_trace(desk.student, row, as_json=False) == 0
        return capsys.readouterr().out

    return call


def test_it_says_who_taught_the_student_under_which_terms(desk: Desk, printed: Callable[..., str]) -> None:
    out = printed()
    assert "student    Llama-tiny, weights after step 2 of 3" in out
    assert (
        f"dataset    {desk.scene.out.uri}, Merkle root {desk.scene.permit(name='Llama-a').manifest.merkle.root}" in out
    )
    assert "taught by  3 rows in 6 readings, Merkle root " in out
    assert "gpt: 1 rows, 9 trained tokens; deny_competing by CC0-1.0, openai-api, under the override of J. Doe" in out
    assert "duty       display_text (Built with Llama), for llama" in out
    assert "withdrawn  none of the rows that it has seen" in out
    assert f"looked at  {desk.scene.out.uri}" in out
    assert f"looked at  {desk.scene.harvest}" in out


def test_a_row_that_taught_it_has_its_readings(desk: Desk, told: Told, printed: Callable[..., str]) -> None:
    row = desk.rows[1]
    found = told(row.row_id)
    assert found["taught"] is True
    assert (found["row_id"], found["teacher"], found["terms_id"]) == (row.row_id, "gpt", row.terms_id)
    assert found["readings"] == [
        {"epoch": 0, "step": 1, "tokens_trained": 4},
        {"epoch": 1, "step": 3, "tokens_trained": 5},
    ]
    assert found["tokens_trained"] == 9
    assert found["withdrawn"] is None
    out = printed(row.row_id)
    assert f"row        {row.row_id}: yes, it taught Llama-tiny" in out
    assert "read       2 times, 9 tokens trained" in out
    assert "epoch 1, step 3: 5 tokens" in out


def test_the_beginning_of_an_id_is_enough(desk: Desk, told: Told) -> None:
    row = desk.rows[2]
    assert told(row.row_id[:8])["row_id"] == row.row_id


@pytest.mark.parametrize("of", ["a row of the set that was never read", "no row at all"])
def test_a_row_that_did_not_teach_it_is_a_no(desk: Desk, told: Told, printed: Callable[..., str], of: str) -> None:
    row_id = desk.rows[3].row_id if of.startswith("a row") else "f" * 64
    found = told(row_id)
    assert found["taught"] is False
    assert "readings" not in found
    assert f"{row_id}: no, it was not among the 3 rows that taught Llama-tiny" in printed(row_id)


def test_too_little_of_an_id_is_asked_back(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="has 7 characters; a row id, or at least its first 8 characters"):
        row_of(desk.student, desk.rows[0].row_id[:7])


def test_an_id_that_begins_several_is_asked_back(tmp_path: Path, completion: MakeRow) -> None:
    scene = TrainScene(tmp_path)
    alike = [completion(row_id=f"{'a' * 8}{number}") for number in range(2)]
    rows = [*alike, completion(row_id="a" * 8)]
    scene.curated(rows)
    student = scene.student([(row, 0, 1) for row in rows])
    found = row_of(student, "a" * 8)
    assert found is not None, "an id that is whole is no beginning of others"
    assert found.row_id == "a" * 8
    found = row_of(student, "a" * 8 + "1")
    assert found is not None
    student = scene.student([(row, 0, 1) for row in alike])
    with pytest.raises(ConfigError, match=r"begins the ids of 2 rows \(aaaaaaaa0, aaaaaaaa1 …\); write more of it"):
        row_of(student, "a" * 8)


def test_a_row_withdrawn_after_the_training_is_named(desk: Desk, told: Told, printed: Callable[..., str]) -> None:
    """One from the set, one from the harvest under it, and one that the student never saw."""
    seen, also, unseen = desk.rows[0], desk.rows[2], desk.rows[3]
    desk.scene.withdraw(desk.scene.out.uri, seen, unseen, reason="copyright")
    desk.scene.withdraw(desk.scene.harvest, also, reason="a data subject asked")
    found = told()
    assert {item["row_id"]: item["withdrawn"]["reason"] for item in found["seen_and_withdrawn"]} == {
        seen.row_id: "copyright",
        also.row_id: "a data subject asked",
    }
    assert all(item["tokens_trained"] == 9 for item in found["seen_and_withdrawn"])
    assert len(found["notes"]) == 2, "that both were sealed anew is said"
    out = printed()
    assert "it has seen 2 rows that are withdrawn today, and they are in its weights:" in out
    assert f"{also.row_id}: 2 readings, 9 tokens; withdrawn from {desk.scene.harvest} on " in out
    assert told(seen.row_id)["withdrawn"]["from"] == desk.scene.out.uri
    found = told(unseen.row_id)
    assert (found["taught"], found["withdrawn"]["reason"]) == (False, "copyright")


def test_what_cant_be_looked_at_is_said(desk: Desk, told: Told, printed: Callable[..., str]) -> None:
    Path(desk.scene.harvest).rename(desk.scene.folder / "moved")
    found = told()
    assert found["looked_for_withdrawals_in"] == [desk.scene.out.uri]
    [said] = found["not_looked_at"]
    assert said.startswith(f"{desk.scene.harvest}: has no manifest.json")
    assert "none of the rows that it has seen, as far as could be looked at" in printed()
    Path(desk.scene.out.root).rename(desk.scene.folder / "gone")
    assert len(told()["not_looked_at"]) == 2
    assert "withdrawn  not known: nothing that its rows came from could be looked at" in printed()


def test_a_damaged_dataset_is_said_and_no_error_of_the_student(desk: Desk, told: Told) -> None:
    (Path(desk.scene.harvest) / "manifest.json").write_text("{")
    [said] = told()["not_looked_at"]
    assert "is no JSON" in said


def _rows_changed(folder: Path) -> None:
    path = folder / "training_rows.parquet"
    path.write_bytes(path.read_bytes()[:-5])


def _rows_gone(folder: Path) -> None:
    (folder / "training_rows.parquet").unlink()


def _root_changed(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    run["training_rows"]["merkle_root"] = "0" * 64
    (folder / "run.json").write_text(json.dumps(run))


def _ledger_changed(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    record["teachers"][0]["teacher"] = "somebody"
    (folder / "run.json").write_text(json.dumps(record))


def _config_changed(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"{ }")


def _weights_changed(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"another student's")


def _weights_gone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _weights_unnamed(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    del run["student"]["files"]["model.safetensors"]
    (folder / "run.json").write_text(json.dumps(run))


BROKEN = {
    "rows changed": (_rows_changed, "training_rows.parquet: its bytes are not those that run.json names"),
    "rows gone": (_rows_gone, "training_rows.parquet: is missing"),
    "root changed": (_root_changed, "run.json names 6 under 000000000000"),
    "weights changed": (_weights_changed, "this is not the student that the record tells of"),
    "weights gone": (_weights_gone, "model.safetensors: is missing"),
    "ledger changed": (_ledger_changed, "of teacher 'gpt' run.json tells None"),
    "config changed": (_config_changed, "this is not the student that the record tells of"),
    "weights unnamed": (_weights_unnamed, "run.json names no weights"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_rows_or_weights_of_another_student_end_the_trace(desk: Desk, name: str) -> None:
    damage, said = BROKEN[name]
    damage(desk.student)
    with pytest.raises(SealBroken, match=said) as caught:
        show_trace(desk.student, None, as_json=False)
    assert caught.value.exit_code == 4


def test_a_folder_that_is_no_student_is_told(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no finished student"):
        checked_run(tmp_path)
    (Path(desk.scene.harvest) / "run.json").write_text('{"contract": "run/1", "runs": []}')
    with pytest.raises(ContractError, match="not a dataset's"):
        checked_run(Path(desk.scene.harvest))


def test_rows_are_looked_up_by_id(desk: Desk) -> None:
    found = rows_among(desk.student, [desk.rows[0].row_id, desk.rows[3].row_id])
    assert list(found) == [desk.rows[0].row_id]
    assert rows_among(desk.student, []) == {}


def test_a_terminal_is_shown_nothing_but_text(tmp_path: Path, completion: MakeRow, capsys: Any) -> None:
    scene = TrainScene(tmp_path)
    row = completion(teacher="\x1b[2Jsmol\nlm")
    scene.curated([row])
    student = scene.student([(row, 0, 1)])
    scene.withdraw(scene.harvest, row, reason="\x1b]0;owned\x07\nverified: all")
    show_trace(student, None, as_json=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "\nverified" not in out


def test_a_trace_needs_no_torch(desk: Desk) -> None:
    program = (
        "import sys; from pathlib import Path; from tutelage.cli.trace import show_trace\n"
        f"show_trace(Path({str(desk.student)!r}), None, False)\n"
        "print('LOADED', sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = found.stdout.partition("LOADED")[2]
    assert "'pyarrow'" in loaded
    assert not [name for name in ("torch", "transformers", "apache_beam", "duckdb") if f"'{name}'" in loaded]
