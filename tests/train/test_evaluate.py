"""Teacher, student and base side by side, on a student that was trained for a moment."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from base_folders import edit_json, write_folder
from evaluate_scene import SURE, EvaluateScene, K, answers_in, numbers
from tiny_tokenizer import tiny_tokenizer

from tutelage.schemas.errors import ConfigError, ContractError, DatasetHeld, SealBroken
from tutelage.schemas.rows import Completion
from tutelage.train.bases.load import load_model, load_tokenizer, tokenizer_sha256
from tutelage.train.config import Base, Data, Loss
from tutelage.train.evaluation import evaluate as evaluate_module
from tutelage.train.evaluation.held_out import row_losses
from tutelage.train.evaluation.held_out_rows import read_held_out
from tutelage.train.record.run_record import read_run_record, write_run_record
from tutelage.train.record.training_rows import read_training_rows, write_training_rows
from tutelage.train.rows.dataset import Dataset
from tutelage.train.rows.token_store import TokenStore, build_store
from tutelage.train.student_folder import held

QUESTIONS = [(f"Number {number}, please?", f"so it is #### {number % 7}") for number in range(100, 108)]


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory, completion: Callable[..., Completion]) -> EvaluateScene:
    scene = EvaluateScene(tmp_path_factory.mktemp("evaluate")).with_rows(numbers(completion))
    scene.teach()
    return scene


@pytest.fixture(name="found", scope="module")
def _found(scene: EvaluateScene) -> dict[str, Any]:
    return scene.evaluate(tasks=[{"uri": scene.questions(QUESTIONS), "max_new_tokens": 40}])


def logits_of(scene: EvaluateScene, **changed: Any) -> dict[str, Any]:
    digest = tokenizer_sha256(load_tokenizer(Base(folder=str(scene.folder / "base"))))
    return {"tokenizer_sha256": digest, "k": K, **changed}


def store_of(scene: EvaluateScene, base: Base, folder: Path) -> TokenStore:
    tokenizer = load_tokenizer(base)
    data = Data.model_validate(read_run_record(scene.folder / "student").config["data"])
    return build_store(scene.out.uri, "held_out", tokenizer, data, Loss(), folder)


def value(found: dict[str, Any], *keys: str) -> float:
    for key in keys:
        found = found[key]
    return float(found["value"])  # type: ignore[arg-type]


def test_a_taught_student_is_better_than_its_untaught_base(found: dict[str, Any]) -> None:
    held_out = found["held_out"]
    low, high = held_out["student_minus"]["base"]["loss_per_token"]["interval"]
    assert low < high < 0
    wins = held_out["student_wins_over_base"]["rows"]
    assert (wins["won"], wins["lost"], wins["tied"]) == (held_out["rows"], 0, 0)
    assert wins["p_value"] == pytest.approx(2 / 2 ** held_out["rows"])
    assert held_out["grouped_by"] == "prompt_cluster"


def test_the_base_is_what_the_student_was_before_a_step(
    scene: EvaluateScene, found: dict[str, Any], tmp_path: Path
) -> None:
    base = Base(folder=str(scene.folder / "base"))
    store = store_of(scene, base, tmp_path)
    nats = row_losses(load_model(base, load_tokenizer(base), 0), store)
    trained = int((store.lengths - store.first_trained).sum())
    assert value(found, "held_out", "columns", "base", "loss_per_token") == pytest.approx(nats.sum() / trained)
    bits = nats.sum() / np.log(2) / sum(len(row["response"].encode()) for row in scene.rows("held_out"))
    assert value(found, "held_out", "columns", "base", "bits_per_byte") == pytest.approx(bits)
    # The training looked at the same rows, before its first step and after its last.
    tested = [line["loss"] for line in scene.metrics() if line["kind"] == "evaluation"]
    assert value(found, "held_out", "columns", "base", "loss_per_token") == pytest.approx(tested[0])
    assert value(found, "held_out", "columns", "student", "loss_per_token") == pytest.approx(min(tested[1:]))


def test_the_teachers_column_is_what_the_harvest_kept(scene: EvaluateScene, found: dict[str, Any]) -> None:
    column = found["held_out"]["columns"]["teacher"]
    assert value(column, "loss_per_token") == pytest.approx(-np.log(SURE[0]), rel=1e-5)
    assert found["teacher"]["kind"] == "harvested"
    assert any("it had just drawn itself" in note for note in found["notes"])
    tokens = sum(len(row["tokens"]) for row in scene.rows("held_out"))
    assert column["tokens"] == tokens
    assert found["held_out"]["columns"]["student"]["tokens"] == tokens + found["held_out"]["rows"], "ends of turn"


def test_tasks_are_answered_greedily_scored_and_kept(scene: EvaluateScene, found: dict[str, Any]) -> None:
    (task,) = found["tasks"]
    assert (task["questions"], task["of_questions"]) == (8, 8)
    assert task["columns"]["student"]["ended"] == 8
    answers = answers_in(scene.folder / "student")
    assert len(answers) == 8
    assert all(answer["student"]["response"].startswith("The number is ") for answer in answers)
    right = sum(answer["student"]["score"] for answer in answers)
    assert value(task, "columns", "student", "score") == right / 8
    assert value(task, "columns", "base", "score") == 0
    assert task["student_against_base"]["better"] == right


def test_the_same_inputs_give_the_same_file_and_its_figures_stand_in_the_card(
    scene: EvaluateScene, found: dict[str, Any]
) -> None:
    folder = scene.folder / "student"
    scene.evaluate()
    first = (folder / "evaluation.json").read_bytes()
    again = scene.evaluate()
    assert (folder / "evaluation.json").read_bytes() == first
    assert json.loads(first) == again
    assert (
        f"{value(again, 'held_out', 'columns', 'student', 'bits_per_byte'):.4f}" in (folder / "README.md").read_text()
    )
    # Packs of another size change the order of additions, and no more.
    other = scene.evaluate(batch_tokens=8)
    for name in ("student", "base"):
        ours, theirs = (value(of, "held_out", "columns", name, "loss_per_token") for of in (again, other))
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_agreement_with_harvested_logprobs_where_it_is_said_what_they_are(scene: EvaluateScene) -> None:
    agreement = scene.evaluate(teacher_logits=logits_of(scene))["held_out"]["agreement"]
    assert agreement["with"] == "harvested"
    rows = scene.rows("held_out")
    assert agreement["positions"] == sum(len(row["tokens"]) for row in rows), "the end of turn has no logprobs"
    columns = agreement["columns"]
    assert value(columns, "student", "same_top") > 0.5 > value(columns, "base", "same_top")
    assert 0 < value(columns, "student", "kl_nats") < value(columns, "base", "kl_nats")
    assert agreement["student_minus_base"]["kl_nats"]["interval"][1] < 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (None, "nobody said of which tokenizer the harvested logprobs are"),
        ({"tokenizer_sha256": "0" * 64}, "are of the tokenizer 0000000000000000…, and the student's is"),
        ({"temperature": 0.7}, "were made at temperature 0.7"),
    ],
)
def test_without_comparable_logprobs_it_is_said_why(
    scene: EvaluateScene, changed: dict[str, Any] | None, reason: str
) -> None:
    keys = {} if changed is None else {"teacher_logits": logits_of(scene, **changed)}
    agreement = scene.evaluate(**keys)["held_out"]["agreement"]
    assert agreement["positions"] == 0
    assert reason in agreement["reason"]


def test_a_student_that_is_its_own_teacher_agrees_wholly(scene: EvaluateScene) -> None:
    found = scene.evaluate(
        teacher={"folder": str(scene.folder / "student")},
        tasks=[{"uri": scene.questions(QUESTIONS[:2]), "max_new_tokens": 40}],
    )
    agreement, columns = found["held_out"]["agreement"], found["held_out"]["columns"]
    assert (agreement["with"], found["teacher"]["kind"]) == ("loaded", "loaded")
    assert value(agreement, "columns", "student", "same_top") == 1.0
    assert value(agreement, "columns", "student", "kl_nats") == pytest.approx(0, abs=1e-5)
    assert value(agreement, "columns", "base", "same_top") < 1
    assert agreement["positions"] == columns["student"]["tokens"]
    assert value(columns, "teacher", "loss_per_token") == pytest.approx(value(columns, "student", "loss_per_token"))
    assert found["tasks"][0]["columns"]["teacher"] == found["tasks"][0]["columns"]["student"]


def test_a_teacher_of_other_tokens_is_compared_by_bytes_only(scene: EvaluateScene, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["number"])
    write_folder(tmp_path / "teacher", tokenizer=tokenizer)
    found = scene.evaluate(teacher={"folder": str(tmp_path / "teacher")})["held_out"]
    assert found["columns"]["teacher"]["tokens"] != found["columns"]["student"]["tokens"]
    assert found["columns"]["teacher"]["text_bytes"] == found["columns"]["student"]["text_bytes"]
    assert found["student_minus"]["teacher"]["loss_per_token"] is None
    assert value(found, "student_minus", "teacher", "bits_per_byte") < 0
    assert "its tokenizer is not the student's" in found["agreement"]["reason"]


def test_a_fresh_base_is_the_one_that_the_runs_seed_made(scene: EvaluateScene) -> None:
    fresh = {"tokenizer": str(scene.folder / "base"), "hidden_size": 32, "layers": 1, "heads": 2}
    scene.teach("fresh", base={"fresh": fresh}, training={"max_steps": 2, "seed": 11})
    found = scene.evaluate(student=str(scene.folder / "fresh"))
    before = next(line["loss"] for line in scene.metrics("fresh") if line["kind"] == "evaluation")
    assert value(found, "held_out", "columns", "base", "loss_per_token") == pytest.approx(before)


def test_a_student_that_learned_from_logprobs_is_compared_with_them_unasked(scene: EvaluateScene) -> None:
    scene.teach("distilled", loss={"kind": "forward_kl", "teacher": logits_of(scene)}, training={"max_steps": 4})
    found = scene.evaluate(student=str(scene.folder / "distilled"))
    assert found["held_out"]["agreement"]["positions"] > 0


def test_fewer_rows_are_drawn_by_the_seed(scene: EvaluateScene) -> None:
    held_out = [scene.evaluate(limit_rows=5, seed=seed)["held_out"] for seed in (1, 1, 2)]
    assert [found["rows"] for found in held_out] == [5, 5, 5]
    assert held_out[0] == held_out[1]
    assert held_out[0]["columns"] != held_out[2]["columns"]
    assert held_out[0]["columns"]["student"]["loss_per_token"]["interval"] is None


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "training_rows.parquet"])
def test_a_file_that_is_not_the_records_ends_it(scene: EvaluateScene, name: str, tmp_path: Path) -> None:
    folder = scene.copied(f"spoilt-{name}")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SealBroken, match=name):
        scene.evaluate(student=str(folder))
    (folder / name).unlink()
    with pytest.raises(SealBroken, match=rf"{name}: is missing"):
        scene.evaluate(student=str(folder))


def test_a_folder_without_a_record_is_no_student(scene: EvaluateScene, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run.json: can't be read.*no finished student"):
        scene.evaluate(student=str(tmp_path))
    folder = scene.copied("recordless")
    (folder / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"no finished student"):
        scene.evaluate(student=str(folder), dataset=scene.out.uri, base={"folder": str(scene.folder / "base")})


def test_a_held_out_row_among_the_training_rows_ends_it(scene: EvaluateScene) -> None:
    folder = scene.copied("leaky")
    held_out = read_held_out(Dataset(scene.out.uri)).row_ids[0]
    rows = list(read_training_rows(folder / "training_rows.parquet"))
    rows[-1] = rows[-1]._replace(row_id=held_out)
    written = write_training_rows(folder / "training_rows.parquet", rows)
    record = read_run_record(folder)
    sealed = record.training_rows.model_copy(update={"merkle_root": written.merkle_root, "sha256": written.sha256})
    teachers = tuple(
        entry.model_copy(update={"rows": share.rows})
        for entry, share in zip(record.teachers, written.taught_by, strict=True)
    )
    write_run_record(folder, record.model_copy(update={"training_rows": sealed, "teachers": teachers}))
    with pytest.raises(ContractError, match=rf"1 held-out rows? were trained on: {held_out}"):
        scene.evaluate(student=str(folder))


def test_a_base_may_have_moved_but_not_changed(scene: EvaluateScene, tmp_path: Path) -> None:
    shutil.copytree(scene.folder / "base", tmp_path / "moved")
    found = scene.evaluate(base={"folder": str(tmp_path / "moved")})
    assert found["base"]["description"].startswith("moved")
    write_folder(tmp_path / "other", seed=9)
    with pytest.raises(ConfigError, match=r"its digest is .*the student began as .*name that one as `base`"):
        scene.evaluate(base={"folder": str(tmp_path / "other")})
    edit_json(scene.folder / "base" / "config.json", rms_norm_eps=1e-3)
    try:
        with pytest.raises(SealBroken, match="restore it, or say as `base` where it lies now"):
            scene.evaluate()
    finally:
        shutil.copy(tmp_path / "moved" / "config.json", scene.folder / "base" / "config.json")


def test_another_dataset_is_read_where_it_is_named_and_said_to_be_another(
    scene: EvaluateScene, completion: Callable[..., Completion], tmp_path: Path
) -> None:
    other = EvaluateScene(tmp_path).with_rows(numbers(completion, 30, first=1000))
    found = scene.evaluate(dataset=other.out.uri)
    assert found["notes"][0] == "the held-out rows are of another dataset than the student was taught from"
    assert (found["dataset"]["trained_on"], found["dataset"]["compared_by_content"]) == (False, True)
    shutil.move(scene.out.root, tmp_path / "hidden")
    try:
        found = scene.evaluate(dataset=other.out.uri)
        assert "compared with the training rows by row id only" in found["notes"][1]
        shutil.copytree(other.out.root, scene.out.root)
        with pytest.raises(SealBroken, match=r"its Merkle root is .*, the student was taught from"):
            scene.evaluate()
    finally:
        shutil.rmtree(scene.out.root, ignore_errors=True)
        shutil.move(tmp_path / "hidden", scene.out.root)


def test_the_same_rows_split_by_another_policy_are_another_dataset(scene: EvaluateScene, tmp_path: Path) -> None:
    """Their Merkle root is the same; which of them are held out is not."""
    other = EvaluateScene(tmp_path)
    other.curate(other.config(scene.harvest, dedupe=None, held_out={"share": 0.1, "seed": 1}))
    tokens = scene.folder / "student" / "tokens" / "held_out" / "store.json"
    before = tokens.read_bytes()
    found = scene.evaluate(dataset=other.out.uri)
    assert found["dataset"]["merkle_root"] == scene.evaluate()["dataset"]["merkle_root"]
    assert not found["dataset"]["trained_on"]
    assert found["notes"][0] == "the held-out rows are of another dataset than the student was taught from"
    assert tokens.read_bytes() == before
    shutil.move(scene.out.root, tmp_path / "hidden")
    try:
        shutil.copytree(other.out.root, scene.out.root)
        with pytest.raises(SealBroken, match="curated by another policy, so others may be held out; restore that"):
            scene.evaluate()
    finally:
        shutil.rmtree(scene.out.root, ignore_errors=True)
        shutil.move(tmp_path / "hidden", scene.out.root)


def test_a_student_that_is_being_trained_is_not_evaluated(scene: EvaluateScene) -> None:
    with held(scene.folder / "student"), pytest.raises(DatasetHeld, match="works in it"):
        scene.evaluate()


def test_an_answer_that_the_scorer_can_say_nothing_of_is_named_before_a_model_is_loaded(
    scene: EvaluateScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "load_tokenizer", None)
    uri = scene.questions([*QUESTIONS, ("What?", "no number")], "unscorable.jsonl")
    with pytest.raises(ContractError, match=r"unscorable.jsonl, line 9: the answer 'no number' holds no number"):
        scene.evaluate(tasks=[{"uri": uri}])


def test_a_users_scorer_sees_response_and_answer(scene: EvaluateScene, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def share(response, answer):\n    return 0.25 if 'number' in response else 0.0\n")
    task = {
        "uri": scene.questions(QUESTIONS),
        "scorer": f"{tmp_path}/own.py:share",
        "max_new_tokens": 40,
        "name": "own",
    }
    (found,) = scene.evaluate(tasks=[{**task, "limit_rows": 3}])["tasks"]
    assert (found["name"], found["questions"], found["of_questions"]) == ("own", 3, 8)
    assert value(found, "columns", "student", "score") == 0.25
    assert found["student_against_base"]["better"] == 3
    (tmp_path / "own.py").write_text("def share(response, answer):\n    raise KeyError('lost')\n")
    with pytest.raises(ContractError, match=r"questions.jsonl, line 1: .*own.py:share raised KeyError: 'lost'"):
        scene.evaluate(tasks=[task])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read"),
        ("\n\n", "holds no question"),
        ('{"question": "q"', "line 1: is no JSON"),
        ('{"question": "q", "answer": "1"}\n[1]', "line 2: found list, a text in 'question' was wanted"),
        ('{"prompt": "q", "answer": "1"}', "line 1: found prompt, answer, a text in 'question' was wanted"),
        ('{"question": "q", "answer": null}', "a text in 'answer' was wanted"),
    ],
)
def test_questions_that_are_none_are_named_before_a_model_is_loaded(
    scene: EvaluateScene, tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "questions.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        scene.evaluate(tasks=[{"uri": str(path)}])
