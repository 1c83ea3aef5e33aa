"""run.json of a student: made from permit, config and readings; read only where its contract is kept."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from curate_scene import GPT, SIGNED
from train_scene import LLAMA, TrainScene, student_run, train_config, training_rows

from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError, ContractError
from tutelage.schemas.rows import Completion
from tutelage.schemas.version import CODE_VERSION
from tutelage.train.record.new_record import thinned
from tutelage.train.record.run_record import StudentRun, read_run_record, write_run_record
from tutelage.train.record.training_rows import Written, write_training_rows

MakeRow = Callable[..., Completion]


class Taught:
    """A curated set of one smollm2, two gpt and one llama row, of which the last one taught nothing."""

    def __init__(self, folder: Path, completion: MakeRow) -> None:
        self.scene = TrainScene(folder)
        self.rows = [completion(), completion(**GPT), completion(**GPT), completion(**LLAMA)]
        self.scene.curated(self.rows, terms={"overrides": [SIGNED]})
        self.permit = self.scene.permit(name="Llama-tiny")
        (folder / "student").mkdir()
        self.folder = folder / "student"

    def written(self) -> Written:
        first, second, third, _ = self.rows
        readings = [(first, 0, 1), (second, 0, 1), (third, 0, 2), (second, 1, 2)]
        return write_training_rows(self.folder / "training_rows.parquet", training_rows(readings))

    def run(self, **facts: Any) -> StudentRun:
        return student_run(self.permit, self.written(), name="Llama-tiny", **facts)


@pytest.fixture
def taught(tmp_path: Path, completion: MakeRow) -> Taught:
    return Taught(tmp_path, completion)


def test_the_record_says_what_the_student_is_made_of(taught: Taught) -> None:
    run, permit = taught.run(), taught.permit
    assert (run.contract, run.code_version) == ("student-run/1", CODE_VERSION)
    assert (run.student.name, run.student.exported_step) == ("Llama-tiny", 2)
    assert run.dataset.merkle_root == permit.manifest.merkle.root
    assert run.dataset.manifest_sha256 == permit.manifest.sha256()
    assert run.dataset.policy_sha256 == permit.receipt.policy_sha256
    assert run.dataset.parents == permit.receipt.parents
    config = train_config("Llama-tiny")
    assert (run.config, run.config_sha256) == (config.model_dump(mode="json"), config.sha256())
    assert (run.base.kind, run.base.source) == ("gguf", "embedded")
    assert run.tokenizer.chat_template_sha256 == sha256_hex(b"{{ messages }}")
    assert run.parts["torch"] == version("torch")
    assert {"python", "transformers", "pyarrow", "safetensors"} <= set(run.parts)
    assert "peft" not in run.parts or version("peft")
    assert run.seeds == {"training": 0}


def test_teachers_have_their_share_and_todays_decision(taught: Taught) -> None:
    by_teacher = {entry.teacher: entry for entry in taught.run().teachers}
    assert sorted(by_teacher) == ["gpt", "smollm2"], "who taught nothing is no teacher of it"
    gpt = by_teacher["gpt"]
    assert (gpt.rows, gpt.readings, gpt.tokens_trained) == (2, 3, 13)
    assert gpt.terms_ids == ("CC0-1.0", "openai-api")
    assert (gpt.train_use, gpt.override) == ("deny_competing", SIGNED)
    assert set(gpt.entries) == {"CC0-1.0", "openai-api"}
    assert by_teacher["smollm2"].override is None


def test_every_duty_of_the_set_is_carried_over(taught: Taught) -> None:
    duties = {duty.obligation: duty for duty in taught.run().duties}
    assert duties["display_text"].detail == "Built with Llama"
    assert duties["name_prefix"].teachers == ("llama",)


def test_what_was_withdrawn_before_and_noted_by_the_gate_is_in_it(taught: Taught) -> None:
    taught.scene.withdraw(taught.scene.out.uri, taught.rows[3])
    Path(taught.scene.harvest).rename(taught.scene.folder / "moved")
    taught.permit = taught.scene.permit()
    run = taught.run(notes=["the last checkpoint was damaged"])
    assert run.dataset.withdrawn_rows == 1
    assert run.dataset.tombstone_head == taught.permit.tombstone_head is not None
    assert "whether rows were withdrawn from it is not known" in run.notes[0]
    assert run.notes[1] == "the last checkpoint was damaged"


def test_a_record_comes_back_as_it_was_written(taught: Taught) -> None:
    run = taught.run(losses=[(1, float("nan")), (2, 2.5)], evaluations=[{"step": 0, "loss": float("inf")}])
    write_run_record(taught.folder, run)
    assert read_run_record(taught.folder) == run
    text = (taught.folder / "run.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["losses"] == [{"step": 1, "loss": None}, {"step": 2, "loss": 2.5}]
    assert list(json.loads(text)) == sorted(json.loads(text)), "two records are compared line by line"


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 54_321])
def test_a_loss_curve_is_thinned_to_a_thousand_points_with_both_ends(count: int) -> None:
    losses = [(step, 1 / step) for step in range(1, count + 1)]
    kept = thinned(losses)
    assert len(kept) == min(count, 1000)
    assert len(set(kept)) == len(kept)
    assert kept == sorted(kept)
    assert set(kept) <= set(losses)
    if losses:
        assert (kept[0], kept[-1]) == (losses[0], losses[-1])


def test_a_folder_without_a_record_is_no_finished_student(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no finished student; name the folder that `tutelage train` wrote"):
        read_run_record(tmp_path)


REFUSED = {
    "no JSON": (b"{", "is no student-run/1"),
    "a list": (b"[]", "is no student-run/1"),
    "no contract": (b"{}", r"is no student-run/1 \(KeyError: 'contract'\)"),
    "a dataset's": (b'{"contract": "run/1", "runs": []}', "is of the contract run/1, student-run/1 was wanted"),
    "newer": (b'{"contract": "student-run/2"}', r"student-run/2 is newer than this tutelage reads .* upgrade"),
    "a key is missing": (b'{"contract": "student-run/1"}', r"does not keep student-run/1 \(student: Field required"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_record_says_what_it_is(tmp_path: Path, name: str) -> None:
    content, said = REFUSED[name]
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ContractError, match=said) as caught:
        read_run_record(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/run.json: ")
