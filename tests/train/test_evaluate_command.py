"""What a person sees of an evaluation: the table, the JSON, the page."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml
from evaluate_scene import EvaluateScene, numbers

from tutelage.cli.evaluate import run_evaluate
from tutelage.schemas.rows import Completion


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory, completion: Callable[..., Completion]) -> EvaluateScene:
    scene = EvaluateScene(tmp_path_factory.mktemp("command")).with_rows(numbers(completion))
    scene.teach()
    return scene


@pytest.fixture
def config(scene: EvaluateScene, tmp_path: Path) -> Path:
    task = {
        "uri": scene.questions([("Number 9, please?", "#### 2")]),
        "name": "[bold]sums\x1b[31m",
        "max_new_tokens": 24,
    }
    path = tmp_path / "evaluate.yaml"
    path.write_text(yaml.safe_dump(scene.keys(tasks=[task])))
    return path


def test_a_person_reads_a_table_with_teacher_student_and_base(
    config: Path, scene: EvaluateScene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run_evaluate(config, as_json=False) == 0
    out = capsys.readouterr().out
    lines = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert re.search(r"teacher\s+student\s+untaught base", out)
    assert len(re.findall(r"\d\.\d{4}", lines["bits a byte"])) == 3
    assert len(re.findall(r"\(\d\.\d{4} to \d\.\d{4}\)", out)) == 6
    assert "[bold]sums" in out
    assert "…" not in out[: out.index("held out")]
    assert "\x1b" not in out
    assert "rows are likelier to it than to its base" in lines["student"]
    assert "nobody said of which tokenizer" in lines["agreement"]
    assert f"{scene.folder}/student/report.html" in lines["page"]


def test_json_is_one_object_and_nothing_else_on_stdout(
    config: Path, scene: EvaluateScene, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_evaluate(config, as_json=True) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    page = Path(found.pop("page"))
    assert found == json.loads((scene.folder / "student" / "evaluation.json").read_text())
    assert found["contract"] == "evaluation/1"
    assert "student: rows" in printed.err
    assert page.is_file()


def test_the_page_shows_what_was_measured_and_how_it_learned(
    config: Path, scene: EvaluateScene, capsys: pytest.CaptureFixture[str]
) -> None:
    run_evaluate(config, as_json=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    page = unescape(Path(found["page"]).read_text())
    assert "is better than its untaught base" in page
    assert f"{found['held_out']['columns']['student']['bits_per_byte']['value']:.4f}" in page
    assert "the loss of its own rows fell" in page
    assert "smollm2" in page
