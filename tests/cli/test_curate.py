"""`tutelage curate` as a user meets it: a config in, a sealed set out, and an exit code for what went wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from audit_scene import dataset_of
from typer.testing import CliRunner, Result

from tutelage.cli.main import app
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.verify import verify
from tutelage.schemas.errors import ConfigError, DatasetHeld, PolicyRefused, SealBroken, TutelageError
from tutelage.schemas.rows import Completion

MakeRow = Callable[..., Completion]
LONG = "the quick brown fox jumps over the lazy dog and runs into the forest where it sleeps until the morning comes"
QUESTION = (
    "A baker sells twelve rolls in the morning and twice as many in the afternoon. How many rolls does the baker sell "
    "on that day in all, and how many are left of sixty?"
)
GPT: dict[str, Any] = {
    "teacher": "gpt",
    "model_requested": "gpt-5.2",
    "channel": "api:openai",
    "terms_id": "CC0-1.0;openai-api",
    "train_use": "deny_competing",
}
SIGNED = {"approver": "J. Doe", "reason": "contract 7", "scope": "gpt", "expires": "9999-12-31"}


class Desk:
    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, str(folder / "out")

    def config(self, *datasets: str, **policy: Any) -> str:
        path = self.folder / "curate.yaml"
        output = {"uri": self.out, "shards": 2}
        document = {"version": 1, "datasets": list(datasets), "policy": policy, "output": output}
        path.write_text(yaml.safe_dump(document))
        return str(path)

    def call(self, *datasets: str, as_json: bool = False, **policy: Any) -> Result:
        arguments = ["curate", self.config(*datasets, **policy), *(["--json"] if as_json else [])]
        result = CliRunner().invoke(app, arguments)
        if isinstance(result.exception, TutelageError):
            raise result.exception
        assert result.exit_code == 0, result.exception
        return result

    def printed(self, *datasets: str, **policy: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call(*datasets, as_json=True, **policy).stdout)
        return found

    def reasons(self) -> dict[str, tuple[str, str]]:
        rows = pq.read_table(f"{self.out}/decisions.parquet").to_pylist()
        return {row["row_id"]: (row["reason"], row["detail"]) for row in rows}

    def bytes(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in Path(self.out).rglob("*") if path.is_file()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def rows(completion: MakeRow) -> list[Completion]:
    prompts = [f"tell me about the number {word} and where it is used" for word in ("one", "two", "three", "four")]
    return [
        completion(messages=[("user", prompts[0])], prompt_id="same", response=LONG),
        completion(messages=[("user", prompts[0])], prompt_id="same", response=f"{LONG} again"),
        completion(messages=[("user", prompts[1])], response=LONG),
        completion(messages=[("user", prompts[2])], response="something else entirely, and long enough to matter"),
        completion(messages=[("user", prompts[3])], outcome="truncated"),
    ]


def test_it_prints_one_object_and_leaves_a_sealed_set(desk: Desk, rows: list[Completion]) -> None:
    dataset = dataset_of(desk.folder / "set", rows)
    found = desk.printed(dataset, held_out={"share": 0.5, "seed": 1})
    assert (found["dataset"], found["rows_in"], found["rows_out"]) == (desk.out, 5, 3)
    assert found["reasons"] == {"kept": 3, "outcome": 1, "duplicate": 1}
    assert sum(found["splits"].values()) == 3
    receipt = json.loads(Path(found["receipt"]).read_text())
    assert receipt["policy_sha256"] == found["policy_sha256"]
    assert receipt["merkle"]["root"] == found["merkle_root"]
    assert receipt["audits"]["dedupe"]["within"] == "prompt"
    assert receipt["audits"]["held_out"]["within"] == "all"
    assert verify(Folder(desk.out)).problems == []


def test_the_audits_find_the_near_copies_and_the_split_keeps_them_together(desk: Desk, rows: list[Completion]) -> None:
    dataset = dataset_of(desk.folder / "set", rows)
    desk.call(dataset, dedupe={"within": "prompt", "keep": "longest"}, held_out={"share": 0.5, "seed": 1})
    reasons = desk.reasons()
    assert reasons[rows[0].row_id] == ("duplicate", f"near copy of {rows[1].row_id}")
    assert reasons[rows[2].row_id] == ("kept", None), "the same answer to another prompt is no copy within a prompt"
    decisions = {row["row_id"]: row for row in pq.read_table(f"{desk.out}/decisions.parquet").to_pylist()}
    assert len({decisions[row.row_id]["prompt_cluster"] for row in rows[:3]}) == 1
    assert len({decisions[row.row_id]["prompt_cluster"] for row in rows}) == 3


def test_it_says_it_in_words_too(desk: Desk, rows: list[Completion], completion: MakeRow) -> None:
    dataset = dataset_of(desk.folder / "set", [*rows, completion(**GPT)])
    text = desk.call(dataset, terms={"overrides": [SIGNED]}).stdout
    assert "rows      6 of 1 datasets, 4 kept" in text
    assert "terms     gpt: deny_competing, under the override of J. Doe; 1 rows" in text
    assert "decisions.parquet has every row's reason" in text


def test_two_calls_leave_the_same_bytes(desk: Desk, rows: list[Completion]) -> None:
    one, other = dataset_of(desk.folder / "a", rows[:3], files=2), dataset_of(desk.folder / "b", rows[2:])
    policy: dict[str, Any] = {"dedupe": {"within": "all"}, "held_out": {"share": 0.5}}
    desk.call(one, other, **policy)
    first = desk.bytes()
    desk.call(one, other, **policy)
    assert desk.bytes() == first


def test_benchmark_text_is_found_and_the_benchmark_is_pinned(
    desk: Desk, rows: list[Completion], completion: MakeRow
) -> None:
    bench = desk.folder / "bench.jsonl"
    bench.write_text(json.dumps({"id": "b1", "question": QUESTION, "answer": "36"}) + "\n")
    asked = completion(messages=[("user", QUESTION)])
    found = desk.printed(
        dataset_of(desk.folder / "set", [*rows, asked]), contamination={"against": str(bench), "drop": ["exact"]}
    )
    assert found["reasons"]["contamination"] == 1
    reason, detail = desk.reasons()[asked.row_id]
    assert reason == "contamination"
    assert detail.startswith(f"exact: 100% of {bench} item b1 (question)")
    [pinned] = json.loads(Path(found["receipt"]).read_text())["evaluation_sets"]
    assert pinned["bytes"] == bench.stat().st_size


def test_findings_of_the_quality_audit_put_rows_out(desk: Desk, completion: MakeRow) -> None:
    empty = completion(response="")
    found = desk.printed(
        dataset_of(desk.folder / "set", [empty, completion(response=LONG)]), findings={"drop": ["quality.empty"]}
    )
    assert found["reasons"] == {"kept": 1, "finding": 1}
    assert desk.reasons()[empty.row_id] == ("finding", "quality.empty")


def test_a_split_that_large_groups_spoil_is_told_with_what_helps(desk: Desk, completion: MakeRow) -> None:
    answers = ("yes, it is spam", "no, it is not spam")
    rows = [completion(response=answers[number % 2]) for number in range(120)]
    dataset = dataset_of(desk.folder / "set", rows)
    spoilt = desk.call(dataset, held_out={"share": 0.2})
    assert "near-duplicates are never parted" in spoilt.stderr
    assert "policy.held_out.link_responses_from_words above 1" in spoilt.stderr
    desk.out += "-2"
    fine = desk.call(dataset, held_out={"share": 0.2, "link_responses_from_words": 8})
    assert "near-duplicates" not in fine.stderr


def test_a_refused_teacher_ends_it_with_3_and_writes_nothing(
    desk: Desk, rows: list[Completion], completion: MakeRow
) -> None:
    dataset = dataset_of(desk.folder / "set", [*rows, completion(**GPT)])
    with pytest.raises(PolicyRefused, match="teacher gpt: deny_competing") as refusal:
        desk.call(dataset, teachers=["gpt", "smollm2"])
    assert refusal.value.exit_code == 3
    assert not Path(desk.out).exists()
    only = dataset_of(desk.folder / "only", [completion(**GPT)])
    with pytest.raises(PolicyRefused, match="nothing was written"):
        desk.call(only)
    assert not Path(desk.out).exists()


def test_a_broken_seal_ends_it_with_4(desk: Desk, rows: list[Completion]) -> None:
    dataset = dataset_of(desk.folder / "set", rows)
    file = next(Path(dataset, "completions").iterdir())
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(SealBroken, match="its bytes are not those that were sealed") as refusal:
        desk.call(dataset)
    assert refusal.value.exit_code == 4
    with pytest.raises(SealBroken, match="it was never sealed"):
        desk.call(dataset_of(desk.folder / "open", rows, sealed=False))


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"dedupe": {"threshold": 0}}, "policy.dedupe.threshold: found 0, it should be greater than 0"),
        ({"held_out": {"share": 1}}, "policy.held_out.share: found 1, it should be less than 1"),
        ({"caps": {"per_teacher": 0}}, "policy.caps.per_teacher: found 0"),
        ({"dedup": {}}, "unknown key 'policy.dedup'; did you mean 'dedupe'?"),
        ({"teachers": ["smolm2"]}, "no row of the datasets is of 'smolm2'; did you mean 'smollm2'?"),
    ],
)
def test_a_policy_that_is_none_ends_it_with_2(
    desk: Desk, rows: list[Completion], policy: dict[str, Any], said: str
) -> None:
    dataset = dataset_of(desk.folder / "set", rows)
    with pytest.raises(ConfigError) as refusal:
        desk.call(dataset, **policy)
    assert said in str(refusal.value)
    assert refusal.value.exit_code == 2


def test_a_parent_that_is_no_dataset_ends_it_with_2(desk: Desk) -> None:
    (desk.folder / "nothing").mkdir()
    with pytest.raises(ConfigError, match="is no dataset"):
        desk.call(str(desk.folder / "nothing"))
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        desk.call(str(desk.folder / "absent"))


def test_an_output_that_holds_something_else_ends_it_with_2_and_is_left_alone(
    desk: Desk, rows: list[Completion]
) -> None:
    dataset = dataset_of(desk.folder / "set", rows)
    dataset_of(Path(desk.out), rows)
    before = desk.bytes()
    with pytest.raises(ConfigError, match="holds a harvest, which a curation would replace"):
        desk.call(dataset)
    assert desk.bytes() == before


def test_an_output_that_another_run_holds_is_left_alone(desk: Desk, rows: list[Completion]) -> None:
    dataset = dataset_of(desk.folder / "set", rows)
    with Folder(desk.out).held(), pytest.raises(DatasetHeld, match="held by process"):
        desk.call(dataset)
