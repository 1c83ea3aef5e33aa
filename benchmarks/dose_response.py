"""How small a share of a teacher's answers does `tutelage audit lineage` see in a student?

python benchmarks/dose_response.py [--questions 400] [--asked 120] [--students 2] [--controls 8] [--epochs 4]

Small Llamas are trained by this project's loop on the same questions (GSM8K). Of a dose of them the embedded teacher's
answers are the ones trained, of the others people's. Controls are as large, as long trained, and taught by people
alone. All of them then answer questions that none has seen, and the audit is asked about each student. Needs the
shared prompts beside the project; the teacher's harvest is kept under `.data/dose/`. `--quick` tells whether it works.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ["HF_HUB_OFFLINE"] = "1"

import pyarrow as pa
import pyarrow.parquet as pq
from dose_student import Answered, Lesson, Recipe, own_tokenizer, taught_and_asked
from lineage_ours import ACCUSES, Audit, audit
from ours import tutelage
from report import machine, table
from train_data import DATA, SHARED

from tutelage.pipelines.embedded_teacher import serve

PLACE = DATA.parent / "dose"
DOSES = (0.0, 0.01, 0.05, 0.25, 1.0)
TEACHER, PEOPLE = "smollm2", "people"
TEMPERATURE, MAX_TOKENS = 0.7, 128
NOMINAL = 0.05


class Question(NamedTuple):
    id: str
    prompt: str
    people: str


class Student(NamedTuple):
    name: str
    dose: float
    seed: int


def questions(count: int) -> list[Question]:
    """GSM8K's, with the worked answers that people wrote, less its calculator marks."""
    file = SHARED / "gsm8k_test.jsonl"
    if not file.is_file():
        raise SystemExit(f"found no {file.name} among the shared prompts, {SHARED}; it is needed for people's answers")
    found = []
    for line in file.read_text(encoding="utf-8").splitlines()[:count]:
        row = json.loads(line)
        found.append(Question(row["id"], row["prompt"], _unmarked(row["answer"])))
    return found


def _unmarked(answer: str) -> str:
    worked, _, result = answer.partition("\n#### ")
    parts = [part.rpartition("<<")[0] if "<<" in part else part for part in worked.split(">>")]
    return f"{''.join(parts)}\nThe answer is {result}."


def teacher_answers(asked: Sequence[Question], place: Path) -> dict[str, str]:
    """By question: harvested and sealed once."""
    dataset = place / f"harvest-{len(asked)}"
    if not (dataset / "manifest.json").is_file():
        place.mkdir(parents=True, exist_ok=True)
        prompts = place / f"prompts-{len(asked)}.jsonl"
        lines = [json.dumps({"id": question.id, "prompt": question.prompt}) + "\n" for question in asked]
        prompts.write_text("".join(lines), encoding="utf-8")
        with serve() as teacher:
            config = _harvest_config(prompts, teacher.base_url, dataset)
            (place / "harvest.yaml").write_text(json.dumps(config))  # JSON is YAML too
            subprocess.run([tutelage(), "harvest", place / "harvest.yaml", "--json"], check=True, stdout=sys.stderr)
    rows = pq.read_table(dataset / "completions", columns=["messages", "response"]).to_pylist()
    said = {row["messages"][-1]["content"]: row["response"] for row in rows}
    missing = [question.id for question in asked if question.prompt not in said]
    if missing:
        raise SystemExit(
            f"{dataset}: has no answer to {len(missing)} questions ({missing[0]}, …); delete it, run again"
        )
    return {question.id: said[question.prompt] for question in asked}


def _harvest_config(prompts: Path, base_url: str, dataset: Path) -> dict[str, Any]:
    teacher = {
        "name": TEACHER,
        "protocol": "openai-chat",
        "base_url": base_url,
        "model": "SmolLM2-135M-Instruct",
        "revision": "b179c952",
        "channel": "weights:local",
        "terms": "smollm2-apache-2.0",
        "limits": {"max_in_flight": 8},
    }
    return {
        "version": 1,
        "prompts": [{"uri": str(prompts), "license": "MIT"}],
        "teachers": [teacher],
        "sampling": {"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS, "seed": 7},
        "policy": {"distributed": False, "competes_with_teacher": False},
        "output": {"uri": str(dataset)},
    }


def lessons(student: Student, trained: Sequence[Question], taught: dict[str, str]) -> list[Lesson]:
    """The same questions for every student; whose answers of the teacher they are is drawn by its seed."""
    dosed = set(random.Random(student.seed).sample(range(len(trained)), round(student.dose * len(trained))))
    return [
        Lesson(question.prompt, taught[question.id] if place in dosed else question.people)
        for place, question in enumerate(trained)
    ]


def write_inputs(
    place: Path,
    held_out: Sequence[Question],
    said: dict[str, Sequence[str]],
    controls: Sequence[Student],
    suspects: Sequence[Student],
) -> tuple[Path, Path]:
    """The audit's outputs and panel: one teacher, controls of a cluster each, people as background."""
    rows = [
        {"model": model, "prompt_id": question.id, "prompt": question.prompt, "response": response}
        for model, responses in said.items()
        for question, response in zip(held_out, responses, strict=True)
    ]
    outputs, panel = place / "outputs.parquet", place / "panel.csv"
    pq.write_table(pa.Table.from_pylist(rows), outputs)
    lines = ["model,role,family,taught_by,parent,cluster", f"{TEACHER},teacher,{TEACHER},,,{TEACHER}"]
    lines.append(f"{PEOPLE},background,,,,{PEOPLE}")
    lines += [f"{control.name},control,,,,{control.name}" for control in controls]
    lines += [f"{suspect.name},suspect,,,,{suspect.name}" for suspect in suspects]
    panel.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return outputs, panel


def told(found: Audit, suspects: Sequence[Student], answered: dict[str, Answered], trained: int) -> str:
    rows = []
    for student in suspects:
        family = found.family(student.name, TEACHER)
        rows.append(
            [
                f"{student.dose:.0%}",
                f"{round(student.dose * trained)} of {trained}",
                student.name,
                f"{answered[student.name].first_loss:.2f} to {answered[student.name].last_loss:.2f}",
                _number(family.get("score"), 2),
                _number(family.get("p_value"), 4),
                _number(family.get("p_adjusted"), 4),
                found.verdict(student.name),
            ]
        )
    return table(["dose", "rows", "student", "loss", "score", "p", "p adjusted", "verdict"], rows)


def smallest(suspects: Sequence[Student], seen: Callable[[Student], bool]) -> str:
    """The smallest dose at which every student is seen, and at every larger one."""
    best = "none"
    for dose in sorted({student.dose for student in suspects} - {0.0}, reverse=True):
        if not all(seen(student) for student in suspects if student.dose == dose):
            break
        best = f"{dose:.0%}"
    return best


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def run(args: argparse.Namespace) -> None:
    all_questions = questions(args.questions + args.asked)
    trained, held_out = all_questions[: args.questions], all_questions[args.questions :]
    taught = teacher_answers(all_questions, PLACE)
    texts = [text for question in trained for text in (question.prompt, question.people, taught[question.id])]
    tokenizer = own_tokenizer(texts, PLACE / f"tokenizer-{args.questions}")
    suspects = [Student(f"dose-{dose:g}-{n}", dose, 1000 + n) for dose in DOSES for n in range(args.students)]
    controls = [Student(f"control-{n}", 0.0, n) for n in range(args.controls)]
    everyone = [*controls, *suspects]
    recipes = [
        Recipe(lessons(student, trained, taught), tokenizer, student.seed, args.epochs, TEMPERATURE, MAX_TOKENS)
        for student in everyone
    ]
    prompts = [question.prompt for question in held_out]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        results = pool.map(taught_and_asked, recipes, [prompts] * len(recipes))
        answered = {}
        for student, result in zip(everyone, results, strict=True):
            print(f"{student.name}: {result.parameters:,} parameters, {result.tokens:,} tokens", file=sys.stderr)
            answered[student.name] = result
    said: dict[str, Sequence[str]] = {
        TEACHER: [taught[question.id] for question in held_out],
        PEOPLE: [question.people for question in held_out],
        **{name: result.responses for name, result in answered.items()},
    }
    outputs, panel = write_inputs(PLACE, held_out, said, controls, suspects)
    found = audit(outputs, panel, [student.name for student in suspects])
    some = answered[everyone[0].name]
    print(
        f"{some.parameters / 1e6:.1f}M parameters, {args.epochs} epochs of {len(trained)} questions "
        f"({some.tokens:,} tokens), {len(held_out)} other questions asked at a temperature of {TEMPERATURE:g}, "
        f"{len(controls)} controls; placebo rate {found.calibration['placebo_rate']}\n"
    )
    print(told(found, suspects, answered, len(trained)))

    def by_p(student: Student) -> bool:
        p = found.family(student.name, TEACHER).get("p_value")
        return p is not None and p <= NOMINAL

    def by_verdict(student: Student) -> bool:
        return found.verdict(student.name) == ACCUSES

    print(f"smallest dose whose students all have p of at most {NOMINAL:g}: {smallest(suspects, by_p)}")
    print(f"smallest dose whose students all come out as {ACCUSES}: {smallest(suspects, by_verdict)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=400, help="that students are trained on")
    parser.add_argument("--asked", type=int, default=120, help="that they answer afterwards")
    parser.add_argument("--students", type=int, default=2, help="of each dose")
    parser.add_argument("--controls", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="one epoch and two controls: no figures to be quoted")
    args = parser.parse_args()
    if args.quick:
        args.students, args.controls, args.epochs = 1, 2, 1
    print(machine())
    started = time.monotonic()
    run(args)
    print(f"took {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
