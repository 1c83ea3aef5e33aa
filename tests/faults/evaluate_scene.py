"""Students that can be evaluated, in a folder of a test's own: trained for a moment on answers of one form."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from run_scene import RunScene
from tiny_tokenizer import tiny_tokenizer

from tutelage.schemas.rows import Completion
from tutelage.train.config import TrainConfig
from tutelage.train.evaluation.evaluate import evaluate
from tutelage.train.evaluation.evaluate_config import EvaluateConfig
from tutelage.train.run import train

K = 4
SURE = (0.7, 0.1, 0.05, 0.02)
"""What the made-up teacher gives its own token and three others."""


class EvaluateScene(RunScene):
    def teach(self, folder: str = "student", base: dict[str, Any] | None = None, **changed: Any) -> None:
        sections = self.sections(folder, **{"training": {"epochs": 4}, **changed})
        if base is not None:
            sections["student"]["base"] = base
        train(TrainConfig.model_validate(sections), self.permit())

    def copied(self, name: str) -> Path:
        """Another folder of the same student, which a test may spoil."""
        folder = self.folder / name
        shutil.copytree(self.folder / "student", folder, ignore=shutil.ignore_patterns("checkpoints"))
        return folder

    def keys(self, **keys: Any) -> dict[str, Any]:
        return {"version": 1, "student": str(self.folder / "student"), "bootstrap_draws": 200, **keys}

    def evaluate(self, **keys: Any) -> dict[str, Any]:
        return evaluate(EvaluateConfig.model_validate(self.keys(**keys)))

    def questions(self, pairs: Sequence[tuple[str, str]], name: str = "questions.jsonl") -> str:
        path = self.folder / name
        lines = (json.dumps({"question": question, "answer": answer}) for question, answer in pairs)
        path.write_text("".join(f"{line}\n" for line in lines))
        return str(path)


def answers_in(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "evaluation_answers.json").read_text())["answers"])


def numbers(
    completion: Callable[..., Completion], rows: int = 60, first: int = 0, *, logprobs: bool = True
) -> list[Completion]:
    """Answers of one form to different questions, the same ones in every test; with `logprobs`, what a made-up teacher
    thought of each token."""
    build = partial(completion, sampling=json.dumps({"max_tokens": 64, "top_logprobs": K}))
    tokenizer = tiny_tokenizer()
    found = []
    for number in range(first, first + rows):
        answer = f"The number is {number % 7}. #### {number % 7}"
        thoughts = _thoughts(tokenizer, answer) if logprobs else {}
        asked = [("user", f"Number {number}, please?")]
        found.append(build(request_id=f"{number:064x}", messages=asked, response=answer, **thoughts))
    return found


def _thoughts(tokenizer: Any, answer: str) -> dict[str, Any]:
    ids = tokenizer.encode(answer, add_special_tokens=False)
    size = len(tokenizer)
    own, *others = (math.log(share) for share in SURE)
    tops = [
        [(token, own), *(((token + 100 + rank) % size, logprob) for rank, logprob in enumerate(others))]
        for token in ids
    ]
    return {"tokens": [(token, tokenizer.decode([token]), own) for token in ids], "top_logprobs": tops}
