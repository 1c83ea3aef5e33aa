"""The config of `tutelage evaluate`: which student, beside whom, on which held-out rows and tasks."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from tutelage.schemas.config_file import Section, Uri, read_config, schema_of
from tutelage.train.config import Base, LocalFolder, TeacherLogits

OWN_SCORERS = ("gsm8k", "exact")


def _scorer(name: str) -> str:
    file, colon, function = name.rpartition(":")
    if name not in OWN_SCORERS and not (colon and file.endswith(".py") and function.isidentifier()):
        raise ValueError(
            f"names no scorer; there are {' and '.join(OWN_SCORERS)}, and functions of a file: path/to/file.py:function"
        )
    return name


class LoadedTeacher(Section):
    """The teacher as weights on this machine; exactly one of the two. Nothing is downloaded."""

    folder: Uri | None = None
    gguf: Uri | None = None

    @model_validator(mode="after")
    def _one(self) -> "LoadedTeacher":
        if (self.folder is None) == (self.gguf is None):
            raise ValueError(f"found {'none' if self.folder is None else 'both'} of folder and gguf; name one of them")
        return self

    @property
    def base(self) -> Base:
        return Base(folder=self.folder, gguf=self.gguf)


class Task(Section):
    """Questions with answers, JSON Lines. The response is greedy. `prompt_suffix` follows each question.

    A scorer `path/to/file.py:function` is the user's code, and runs with the user's rights: function(response, answer)
    gives True or False, or a number from 0 to 1.
    """

    uri: Uri
    name: str | None = Field(None, min_length=1, max_length=96)
    question_field: str = "question"
    answer_field: str = "answer"
    scorer: Annotated[str, AfterValidator(_scorer)] = "gsm8k"
    max_new_tokens: int = Field(256, ge=1, le=32_768)
    prompt_suffix: str = ""
    limit_rows: int | None = Field(None, ge=1)

    @property
    def title(self) -> str:
        return self.name or Path(self.uri).name


class EvaluateConfig(Section):
    """`dataset` and `base` are those of the student's run record, unless they lie elsewhere now. The untaught base
    always takes part. Without a `teacher` to load, what the harvest kept of its logprobs stands for it;
    `teacher_logits` says what those are, where training did not have to."""

    version: Literal[1]
    student: LocalFolder
    dataset: Uri | None = None
    base: Base | None = None
    teacher: LoadedTeacher | None = None
    teacher_logits: TeacherLogits | None = None
    tasks: tuple[Task, ...] = ()
    limit_rows: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0, lt=2**31)
    batch_tokens: int = Field(1024, ge=8)
    bootstrap_draws: int = Field(2000, ge=200, le=100_000)

    @model_validator(mode="after")
    def _tasks_are_told_apart(self) -> "EvaluateConfig":
        titles = [task.title for task in self.tasks]
        if twice := sorted({title for title in titles if titles.count(title) > 1}):
            raise ValueError(f"two tasks are called {twice[0]!r}; give one of them another name")
        return self


def load_evaluate_config(path: str | Path) -> EvaluateConfig:
    """Reads and checks a config file; every problem at once, an unknown key with the nearest known one."""
    return read_config(EvaluateConfig, path, "version, student", "docs/evaluate.md has one to start from")


def evaluate_schema() -> dict[str, Any]:
    """JSON Schema of a config file, for editors; docs/evaluate.schema.json is this."""
    return schema_of(EvaluateConfig, "tutelage evaluate config")
