import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.schemas.config_file import check_config
from tutelage.schemas.errors import ConfigError
from tutelage.train.evaluation.evaluate_config import EvaluateConfig, evaluate_schema, load_evaluate_config

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "evaluate.schema.json"
REGENERATE = (
    ".venv/bin/python -c 'import json; from tutelage.train.evaluation.evaluate_config import evaluate_schema; "
    "print(json.dumps(evaluate_schema(), indent=2))' > docs/evaluate.schema.json"
)
LEAST: dict[str, Any] = {"version": 1, "student": "students/a"}


def parsed(**keys: Any) -> EvaluateConfig:
    return check_config(EvaluateConfig, {**copy.deepcopy(LEAST), **keys}, "job.yaml")


def test_the_least_config_takes_all_else_from_the_students_record() -> None:
    config = parsed()
    assert (config.dataset, config.base, config.teacher, config.tasks, config.limit_rows) == (
        None,
        None,
        None,
        (),
        None,
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"student": None}, "student: found NoneType, text was wanted"),
        ({"studnet": "x"}, "unknown key 'studnet'; did you mean 'student'?"),
        ({"base": {}}, "found none of folder, gguf and fresh"),
        ({"teacher": {}}, "found none of folder and gguf"),
        ({"teacher": {"folder": "a", "gguf": "b"}}, "found both of folder and gguf"),
        ({"teacher": {"fresh": {}}}, "unknown key 'teacher.fresh'"),
        ({"teacher_logits": {"k": 20}}, "teacher_logits.tokenizer_sha256 is missing"),
        ({"limit_rows": 0}, "limit_rows: found 0, it should be greater than or equal to 1"),
        ({"bootstrap_draws": 10}, "bootstrap_draws: found 10"),
        ({"tasks": [{}]}, "tasks.0.uri is missing"),
        ({"tasks": [{"uri": "a", "scorer": "rouge"}]}, "tasks.0.scorer: names no scorer; there are gsm8k and exact"),
        ({"tasks": [{"uri": "a", "scorer": "own.py"}]}, "path/to/file.py:function"),
        ({"tasks": [{"uri": "a", "scorer": "own:f"}]}, "names no scorer"),
        ({"tasks": [{"uri": "a", "scorer": "own.py:a b"}]}, "names no scorer"),
        ({"tasks": [{"uri": "x/a"}, {"uri": "y/a"}]}, "two tasks are called 'a'; give one of them another name"),
        ({"tasks": [{"uri": "a", "max_new_tokens": 0}]}, "tasks.0.max_new_tokens: found 0"),
        ({"student": "s3://u:secret@bucket/x"}, "has a password in it"),
        ({"version": 2}, "version: found 2, it should be 1"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_wanted(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(**keys)
    assert said in str(caught.value)
    assert str(caught.value).startswith("job.yaml: ")


def test_a_task_is_called_by_its_name_or_its_file() -> None:
    config = parsed(tasks=[{"uri": "x/a.jsonl"}, {"uri": "y/a.jsonl", "name": "other", "scorer": "x/own.py:f"}])
    assert [task.title for task in config.tasks] == ["a.jsonl", "other"]


def test_a_file_that_is_no_config_says_what_one_holds(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("")
    with pytest.raises(ConfigError, match="holds nothing, a mapping with version, student was wanted"):
        load_evaluate_config(tmp_path / "job.yaml")
    with pytest.raises(ConfigError, match=r"docs/evaluate.md has one to start from"):
        load_evaluate_config(tmp_path / "absent.yaml")


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == evaluate_schema(), f"the config changed; regenerate it: {REGENERATE}"


def test_the_guides_config_is_one() -> None:
    guide = (ROOT / "docs" / "evaluate.md").read_text()
    block = guide.split("```yaml\n", 1)[1].split("```", 1)[0]
    path = ROOT / "docs" / "evaluate.md"
    import yaml

    check_config(EvaluateConfig, yaml.safe_load(block), str(path))
