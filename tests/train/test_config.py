"""What a training config may say, what it may not, and what the refusal tells."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tutelage.schemas.config_file import check_config
from tutelage.schemas.errors import ConfigError
from tutelage.train.config import TrainConfig, load_train_config, train_schema

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "train.schema.json"
REGENERATE = (
    ".venv/bin/python -c 'import json; from tutelage.train.config import train_schema; "
    "print(json.dumps(train_schema(), indent=2))' > docs/train.schema.json"
)
LEAST: dict[str, Any] = {
    "version": 1,
    "dataset": "set",
    "student": {"name": "s", "base": {"gguf": "embedded"}},
    "output": {"folder": "students/s"},
}
KEYS_OF_TERMS = {"overrides", "approver", "reason", "scope", "expires", "terms_register"}
"""docs/terms.md has those."""
TEACHER = {"tokenizer_sha256": "0" * 64, "k": 20}


def parsed(**sections: Any) -> TrainConfig:
    return check_config(TrainConfig, {**copy.deepcopy(LEAST), **sections}, "job.yaml")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"student": {"name": "s", "base": {}}}, "found none of folder, gguf and fresh; name exactly one"),
        ({"student": {"name": "s", "base": {"folder": "a", "gguf": "b"}}}, "found folder, gguf of folder, gguf and"),
        ({"student": {"name": "s", "base": {"fresh": {"hidden_size": 30, "heads": 4}}}}, "an even multiple of heads"),
        ({"data": {"max_tokens": 2048}}, "a row has to fit into a pack"),
        ({"data": {"template": "plain", "chat_template": "x"}}, "take one of the two out"),
        ({"data": {"mix": {"weights": {"a": -1}}}}, "greater than or equal to 0"),
        ({"loss": {"kind": "forward_kl"}}, "needs the teacher's logprobs; say what they are"),
        ({"loss": {"teacher": TEACHER}}, "kind is cross_entropy, which has no use for teacher"),
        ({"loss": {"kind": "jsd", "teacher": TEACHER, "tail": "renormalise"}}, "jsd, which has no use for tail"),
        ({"loss": {"kind": "random_sampling", "teacher": TEACHER, "temperature": 2}}, "no use for temperature"),
        ({"loss": {"beta": 0.1}}, "no use for beta"),
        ({"loss": {"kind": "jsd", "teacher": TEACHER}, "training": {"kernels": "cce"}}, "knows cross-entropy only"),
        ({"training": {"epochs": True}}, "training: epochs is true, a number was wanted"),
        ({"data": {"mix": {"weights": {"a": True}}}}, "data.mix.weights: found True, it should be a valid number"),
        ({"version": True}, "version is true, a number was wanted; write one"),
        ({"output": {"folder": "file://"}}, "a path from the root was wanted"),
        ({"output": {"folder": "file://localhost/students"}}, "a path from the root was wanted"),
        ({"output": {"folder": "s3://bucket/student"}}, "is at s3://, and a folder of this machine's disk was wanted"),
        ({"output": {"folder": "a\0b"}}, "has a NUL in it"),
        ({"training": {"kernels": "cce"}}, "knows half precision only, and training.precision is fp32"),
        ({"optimizer": {"lr": 1}}, "unknown key 'optimizer.lr'"),
        ({"training": {"epochs": 0}}, "training.epochs: found 0"),
        ({"training": {"patience": 3}}, "set evaluate_every_steps, or take patience out"),
    ],
)
def test_a_config_that_contradicts_itself_says_where(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(**sections)
    assert said in str(raised.value)


def test_a_folder_may_be_told_as_a_file_uri() -> None:
    assert parsed(output={"folder": "file:///students/tiny"}).output.folder == "/students/tiny"


def test_what_is_saved_how_often_and_where_is_no_part_of_a_runs_identity() -> None:
    one = parsed(training={"checkpoint_every_steps": 5}, trackers=["tensorboard"])
    other = parsed(training={"checkpoint_every_steps": 7, "checkpoints_kept": 9}, output={"folder": "elsewhere"})
    assert one.identity() == other.identity()
    assert one.identity() != parsed(training={"seed": 1}).identity()


def test_the_example_and_the_guide_are_configs() -> None:
    import yaml

    load_train_config(ROOT / "examples/train.yaml")
    guide = (ROOT / "docs/train.md").read_text().split("```yaml\n")[1].split("```")[0]
    check_config(TrainConfig, yaml.safe_load(guide), "docs/train.md")


def test_the_guide_names_every_key() -> None:
    guide = (ROOT / "docs/train.md").read_text()
    definitions = train_schema()["$defs"]
    keys = {key for name in definitions for key in definitions[name].get("properties", {})}
    assert sorted(key for key in keys - KEYS_OF_TERMS if not re.search(rf"\b{key}\b", guide)) == []


def test_the_schema_for_editors_is_the_configs() -> None:
    assert json.loads(SCHEMA.read_text()) == train_schema(), f"run: {REGENERATE}"
