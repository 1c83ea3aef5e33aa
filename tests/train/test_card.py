"""The student's card: what taught it, what that asks, what was measured; no name breaks its markup."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from curate_scene import GPT, SIGNED
from train_scene import LLAMA, TrainScene, student_run, training_rows

from tutelage.schemas.rows import Completion
from tutelage.schemas.terms_words import DUTIES
from tutelage.train.record.card import license_name, license_page, student_card, write_card
from tutelage.train.record.run_record import BaseEntry, DutyEntry, StudentRun
from tutelage.train.record.training_rows import write_training_rows

MakeRow = Callable[..., Completion]
# As the Hugging Face hub cuts a README in two.
FRONT_MATTER = re.compile(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))")
HOSTILE = "x|y\n---\n# <b>owned</b> [link](http://evil) `code` \u202eright 'to' \"left\": {a: b}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, completion: MakeRow) -> StudentRun:
    folder = tmp_path_factory.mktemp("card")
    scene = TrainScene(folder)
    rows = [completion(), completion(**LLAMA), completion(**GPT)]
    scene.curated(rows, terms={"overrides": [SIGNED]})
    readings = [(row, epoch, 1) for epoch in range(2) for row in rows]
    written = write_training_rows(folder / "training_rows.parquet", training_rows(readings))
    return student_run(scene.permit(name="Llama-tiny"), written, name="Llama-tiny")


def changed(run: StudentRun, **parts: Any) -> StudentRun:
    return run.model_copy(update=parts)


def front(card: str) -> dict[str, Any]:
    cut = FRONT_MATTER.match(card)
    assert cut
    return yaml.safe_load(cut[2])  # type: ignore[no-any-return]


def test_the_hub_finds_what_it_looks_for(run: StudentRun) -> None:
    assert front(student_card(run)) == {
        "license": "other",
        "license_name": "display-text-name-prefix-user-cap",
        "license_link": "LICENSE.md",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "datasets": ["out"],
        "tags": ["distillation", "synthetic-data", "tutelage"],
        "model_name": "Llama-tiny",
    }


def test_a_licence_is_never_made_up(run: StudentRun) -> None:
    free = changed(run, duties=())
    assert front(student_card(free))["license"] == "other"
    assert license_name(free) == "none-stated"
    assert "nobody has put it under a licence yet" in license_page(free)
    assert "mit" not in re.findall(r"\w+", student_card(free).lower())


@pytest.mark.parametrize(
    ("kind", "source", "shown"),
    [
        ("folder", "/home/me/models/My Base/", "My-Base"),
        ("gguf", "s3://weights/smollm2.Q4_1.gguf", "smollm2.Q4_1"),
        ("fresh", None, None),
    ],
)
def test_no_path_of_a_machine_is_shown_as_the_base(run: StudentRun, kind: Any, source: str | None, shown: Any) -> None:
    base = BaseEntry(kind=kind, source=source, sha256="b" * 64, description="a base")
    card = student_card(changed(run, base=base))
    assert front(card).get("base_model") == shown
    assert "/home/me" not in card
    assert ("The licence of the base" in card) == (kind != "fresh")


def test_a_text_that_has_to_be_shown_stands_alone_above_all_else(run: StudentRun) -> None:
    for page in (student_card(run), license_page(run)):
        assert "\n\nBuilt with Llama\n\n" in page
    body = student_card(run).partition("\n# Llama-tiny\n")[2]
    assert body.startswith("\nBuilt with Llama\n\n")


@pytest.mark.parametrize(
    "text", ["# Big", "- item", "--- ", "=====", "> quote", "1. first", "+ plus", "    code", "\t"]
)
def test_a_text_to_show_does_nothing_but_show(run: StudentRun, text: str) -> None:
    duty = DutyEntry(obligation="display_text", detail=text, teachers=("t",), terms_ids=("i",), urls=())
    body = student_card(changed(run, duties=(duty,))).partition("\n# Llama-tiny\n\n")[2]
    line = body.split("\n")[0]
    assert line.strip()
    assert line[0].isalpha() or line.startswith("&#") or line == "–"


def test_every_duty_is_told_in_words_with_who_asks(run: StudentRun) -> None:
    card = student_card(run)
    must, limits = card.partition("### What you must do")[2].split("### What limits its use")
    assert "- **name_prefix**: Llama. Let the name of a model trained on the rows begin as the terms ask." in must
    assert "(Asked for llama by llama-3.3, <https://www.llama.com/llama3_3/license/>.)" in must
    assert "**user_cap**. Ask the licensor for a licence of your own" in limits.partition("### ")[0]
    every = [
        DutyEntry(obligation=name, detail=None, teachers=("t",), terms_ids=("i",), urls=())
        for name in [*DUTIES, "sing"]
    ]
    page = license_page(changed(run, duties=tuple(every)))
    assert all(f"**{name}**" in page for name in DUTIES)
    assert "**sing**. Not a word that this version of tutelage knows" in page


def test_who_taught_it_stands_with_rows_tokens_and_terms(run: StudentRun) -> None:
    card = student_card(run)
    assert "| smollm2 | allow | CC0-1.0, smollm2-apache-2.0 | 1 | 2 | 9 |" in card
    assert "**The terms say no; somebody signed an exception** (approver: J. Doe;" in card
    assert run.dataset.merkle_root in card
    assert run.training_rows.merkle_root in card
    assert "6 readings of 3 rows" in card
    assert "It does not prove that nothing else was trained on" in card


def test_withdrawn_rows_and_notes_are_told(run: StudentRun) -> None:
    dataset = run.dataset.model_copy(update={"withdrawn_rows": 7})
    card = student_card(changed(run, dataset=dataset, notes=("a parent was gone",)))
    assert "withdrawn before: 7 rows had gone from the dataset; it read none of them" in card
    assert "- note: a parent was gone" in card
    assert "`tutelage trace .` says which those are" in card
    assert "withdrawn before" not in student_card(run)


def figure(value: float | None, *interval: float) -> dict[str, Any]:
    return {"value": value, "interval": list(interval) or None, "rows": 40, "groups": 30}


def evaluation(run: StudentRun) -> dict[str, Any]:
    columns = {
        "teacher": {"loss_per_token": None, "bits_per_byte": figure(0.5)},
        "student": {"loss_per_token": figure(1.25, 1.2, 1.3), "bits_per_byte": figure(0.75, 0.7, 0.8)},
        "base": {"loss_per_token": figure(2.5, 2.4, 2.6), "bits_per_byte": figure(1.5, 1.4, 1.6)},
    }
    return {
        "student": {"files": dict(run.student.files)},
        "held_out": {
            "rows": 40,
            "groups": 30,
            "columns": columns,
            "student_minus": {"base": {"bits_per_byte": figure(-0.75, -0.8, -0.7)}},
            "agreement": {"columns": {"student": {"same_top": figure(0.5)}, "base": {"same_top": figure(0.25)}}},
        },
        "tasks": [{"name": "gsm|8k", "questions": 20, "columns": {"student": {"score": figure(0.1, 0.0, 0.3)}}}],
        "notes": ["the teacher read its own words"],
    }


def test_what_was_measured_is_a_table_with_intervals(run: StudentRun) -> None:
    card = student_card(run, evaluation(run))
    assert "| held-out loss, nats a token | – | 1.2500 (1.2000 to 1.3000) | 2.5000 (2.4000 to 2.6000) |" in card
    assert "| held-out bits a byte | 0.5000 | 0.7500 (0.7000 to 0.8000) | 1.5000 (1.4000 to 1.6000) |" in card
    assert "| first choice is the teacher's | – | 50.0% | 25.0% |" in card
    assert "| gsm&#124;8k: share right of 20 questions | – | 10.0% (0.0% to 30.0%) | – |" in card
    assert "Student minus untaught base: -0.7500 (-0.8000 to -0.7000) bits a byte; below zero is better." in card
    assert "- the teacher read its own words" in card
    assert "KL from the teacher" not in card, "what nobody measured has no row"


def test_figures_of_other_weights_are_left_out(run: StudentRun) -> None:
    other = evaluation(run) | {"student": {"files": {"model.safetensors": "f" * 64}}}
    card = student_card(run, other)
    assert "is of other weights than these" in card
    assert "1.2000 to" not in card


def test_without_an_evaluation_the_training_says_what_it_saw(run: StudentRun) -> None:
    card = student_card(run)
    assert "Nobody has evaluated this student yet" in card
    assert "| untaught base | 1.2500 | 3.5000 |" in card
    assert "| student, after step 2 | 0.7500 | 2.5000 |" in card
    assert "measured no held-out loss" in student_card(changed(run, evaluations=()))


@pytest.mark.parametrize("content", [{}, {"held_out": 7}, {"held_out": {"columns": []}}, {"tasks": [3], "notes": "x"}])
def test_an_evaluation_that_is_none_breaks_nothing(run: StudentRun, content: dict[str, Any]) -> None:
    card = student_card(run, {"student": {"files": dict(run.student.files)}} | content)
    assert "## Licence and terms" in card


def test_hostile_words_end_neither_yaml_nor_table_nor_paragraph(run: StudentRun) -> None:
    """Wherever somebody else's words stand: a teacher's name, an approver's, a duty's, a dataset's, a note's."""
    [first, *_] = run.teachers
    override = {"approver": HOSTILE, "reason": HOSTILE, "scope": HOSTILE, "expires": HOSTILE}
    teacher = first.model_copy(update={"teacher": HOSTILE, "terms_ids": (HOSTILE,), "override": override})
    duty = DutyEntry(
        obligation=HOSTILE, detail=HOSTILE, teachers=(HOSTILE,), terms_ids=(HOSTILE,), urls=("https://x/> <b>\n# y",)
    )
    shown = duty.model_copy(update={"obligation": "display_text"})
    broken = changed(
        run,
        student=run.student.model_copy(update={"name": HOSTILE}),
        dataset=run.dataset.model_copy(update={"uri": HOSTILE}),
        base=run.base.model_copy(update={"source": HOSTILE, "description": HOSTILE}),
        teachers=(teacher,),
        duties=(duty, shown),
        notes=(HOSTILE,),
        device=HOSTILE,
    )
    clean, card = student_card(run), student_card(broken, evaluation(run) | {"notes": [HOSTILE]})
    assert list(front(card)) == list(front(clean))
    assert front(card)["license"] == "other"
    for page in (card, license_page(broken)):
        body = FRONT_MATTER.sub("", page)
        assert not re.search(r"<(?!https://)", body)
        assert "\u202e" not in page
        assert not re.search(r"(?<!&)\[|\]\(|`code`", body)
        headings = [line for line in body.splitlines() if line.startswith("#")]
        assert all(not line.startswith("# <") and "owned" not in line.partition(" ")[0] for line in headings)
        assert sum(line.startswith("# ") for line in headings) == 1
        assert not any(re.fullmatch(r"\s*(---+|===+)\s*", line) for line in body.splitlines())
    [row] = [line for line in card.splitlines() if line.startswith("| x&#124;y")]
    assert row.count("|") == 7


def test_card_and_licence_are_written_whole(run: StudentRun, tmp_path: Path) -> None:
    write_card(tmp_path, run, evaluation(run))
    assert (tmp_path / "README.md").read_text() == student_card(run, evaluation(run))
    assert (tmp_path / "LICENSE.md").read_text() == license_page(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LICENSE.md", "README.md"]
