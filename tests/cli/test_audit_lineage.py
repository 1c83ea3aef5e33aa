"""`audit lineage` and `audit who-wrote` as a user meets them: what is asked, what is printed, what is refused.

What is found is made up here; how it is found is tests/audit/lineage's business.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_scene import dataset_of
from lineage_scene import hostile, nothing_known, nothing_measured, result_of, suspect_of, suspects_of_each_verdict
from report_scene import ATTACKS
from typer.testing import CliRunner, Result

from tutelage.audit.lineage.outputs import Outputs
from tutelage.audit.lineage.panel import Panel
from tutelage.audit.lineage.reliability import Measured, Reliability, ReliabilityBin
from tutelage.audit.lineage.result import VERDICTS, LineageResult
from tutelage.audit.lineage.who_wrote_result import Authorship, WhoWroteResult
from tutelage.cli.main import app
from tutelage.schemas.errors import ConfigError, SealBroken, StorageError, TutelageError
from tutelage.schemas.rows import Completion

HEADER = "model,role,family,taught_by,parent,cluster\n"
PANEL = f"{HEADER}aurora-large,teacher,aurora,,,\ncontrol-1,control,,,,\n"


class Asked:
    """Stands where the statistics are: keeps what it was given, and finds what the test says."""

    def __init__(self) -> None:
        self.result: LineageResult = result_of([suspect_of("x")])
        self.authors = authors_of("nimbus")
        self.outputs: Outputs | None = None
        self.suspects: tuple[str, ...] = ()
        self.options: dict[str, Any] = {}

    def lineage(self, outputs: Outputs, panel: Panel, suspects: Sequence[str], **options: Any) -> LineageResult:
        self.outputs, self.suspects, self.options = outputs, tuple(suspects), options
        return self.result

    def who_wrote(self, outputs: Outputs, panel: Panel, suspects: Sequence[str], **options: Any) -> WhoWroteResult:
        self.outputs, self.suspects, self.options = outputs, tuple(suspects), options
        return self.authors


def authors_of(text: str, **known: Any) -> WhoWroteResult:
    """A result in which every name and reason is the text; `known` is of the suspect."""
    found: dict[str, Any] = {"model": text, "family": text, "confidence": 0.95, "reason": None, "nearest": text}
    found |= {"ahead": 1.0, "likeness": 0.98, "outside_p": 0.05, "texts": 4, "abstained": 1}
    found |= {"shares": {f"{text}{number}": 0.125 for number in range(8)}, "guesses": ()}
    half = Measured(0.5, 0.4, 0.6)
    bins = (ReliabilityBin(0.4, 0.5, 3, 0.45, 2 / 3), ReliabilityBin(0.5, 0.6, 0, None, None))
    return WhoWroteResult(
        suspects=(Authorship(suspect=text, **(found | known)),),
        classes=(text,),
        prompts=4,
        reliability=Reliability(4, 3, 1 / 3, half, half, 0.1, half, half, bins),
        reason=None,
        cannot_tell=(text,),
        notes=(text,),
    )


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    for name, function in {
        "lineage": ("audit_lineage", asked.lineage),
        "who_wrote": ("who_wrote", asked.who_wrote),
    }.items():
        module = ModuleType(f"tutelage.audit.lineage.{name}")
        setattr(module, *function)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


@pytest.fixture(name="files")
def _files(tmp_path: Path) -> tuple[str, str]:
    """OUTPUTS and PANEL: a teacher, a control, and `x`, whom nobody knows."""
    return outputs_of(tmp_path), panel_in(tmp_path, PANEL)


def outputs_of(folder: Path, *models: str, name: str = "outputs.parquet") -> str:
    rows = [(model, n) for n in range(4) for model in models or ("aurora-large", "control-1", "x")]
    columns = {
        "model": [model for model, _ in rows],
        "prompt_id": [n for _, n in rows],
        "prompt": [f"question {n}" for _, n in rows],
        "response": [f"{model} on {n}" for model, n in rows],
    }
    pq.write_table(pa.table(columns), folder / name)
    return str(folder / name)


def panel_in(folder: Path, text: str) -> str:
    (folder / "panel.csv").write_text(text, encoding="utf-8")
    return str(folder / "panel.csv")


def call(*arguments: str, command: str = "lineage") -> Result:
    result = CliRunner().invoke(app, ["audit", command, *arguments])
    if isinstance(result.exception, TutelageError):
        raise result.exception
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def printed(asked: Asked, files: tuple[str, str], result: LineageResult) -> str:
    asked.result = result
    outputs, panel = files
    return call(outputs, "--panel", panel).stdout


def test_json_is_one_object_with_the_promised_keys(asked: Asked, files: tuple[str, str]) -> None:
    result = call(files[0], "--panel", files[1], "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert {"suspects", "calibration", "cannot_tell"} <= found.keys()
    [suspect] = found["suspects"]
    promised = {"model", "families", "verdict", "attributed_family", "nearest_model", "same_model_score", "power"}
    assert promised | {"reasons"} <= suspect.keys()
    assert {"family", "score", "p_value", "p_adjusted", "contrast_low", "contrast_high"} <= suspect["families"][
        0
    ].keys()
    assert {"false_positive_rate", "placebo_rate", "controls", "nominal"} <= found["calibration"].keys()


def test_the_exit_code_is_0_whatever_the_verdict(asked: Asked, files: tuple[str, str]) -> None:
    for verdict in VERDICTS:
        asked.result = result_of([suspect_of("x", verdict)])
        assert call(files[0], "--panel", files[1]).exit_code == 0


def test_options_reach_the_statistics(asked: Asked, files: tuple[str, str]) -> None:
    call(files[0], "--panel", files[1], "--nominal", "0.01", "--seed", "7", "--embedding")
    assert asked.options == {"nominal": 0.01, "seed": 7, "embedding": True, "asked": []}
    call(files[0], "--panel", files[1])
    assert asked.options == {"nominal": 0.05, "seed": 0, "embedding": False, "asked": []}


def test_who_is_asked_about_is_told_by_the_option_the_panel_or_the_outputs(asked: Asked, tmp_path: Path) -> None:
    outputs, panel = outputs_of(tmp_path), panel_in(tmp_path, PANEL)
    call(outputs, "--panel", panel)
    assert asked.suspects == ("x",)
    call(outputs, "--panel", panel, "--suspect", "control-1", "--suspect", "aurora-large")
    assert asked.suspects == ("control-1", "aurora-large")
    call(outputs, "--panel", panel_in(tmp_path, f"{PANEL}x,suspect,,,,\n"))
    assert asked.suspects == ("x",)
    with pytest.raises(ConfigError, match=r"--suspect control_1: is not in OUTPUTS; .* did you mean control-1"):
        call(outputs, "--panel", panel, "--suspect", "control_1")
    known = outputs_of(tmp_path, "aurora-large", "control-1", name="known.parquet")
    with pytest.raises(ConfigError, match="name one or more of aurora-large, control-1"):
        call(known, "--panel", panel_in(tmp_path, PANEL))


def test_a_file_without_a_seal_is_said_to_have_none_before_all_other_notes(
    asked: Asked, files: tuple[str, str]
) -> None:
    call(files[0], "--panel", files[1])
    assert asked.outputs is not None
    assert asked.outputs.notes == (f"{files[0]} carries no seal: nothing but the file says whose responses these are",)
    assert asked.outputs.models == ("aurora-large", "control-1", "x")


def test_a_seal_that_does_not_hold_is_refused_and_insisted_on(
    asked: Asked, files: tuple[str, str], tmp_path: Path, completion: Callable[..., Completion]
) -> None:
    rows = [completion(prompt_id=str(n), messages=[("user", f"question {n}")], teacher="y") for n in range(4)]
    sealed = dataset_of(tmp_path / "sealed", rows)
    call(files[0], sealed, "--panel", files[1])
    assert asked.suspects == ("x", "y")
    assert asked.outputs is not None
    assert asked.outputs.models == ("aurora-large", "control-1", "x", "y")
    assert not any("seal does not hold" in note for note in asked.outputs.notes)
    loose = dataset_of(tmp_path / "loose", rows, sealed=False)
    with pytest.raises(SealBroken, match="it was never sealed"):
        call(files[0], loose, "--panel", files[1])
    insisted = call(files[0], loose, "--panel", files[1], "--unsealed")
    assert "audited all the same" in insisted.stderr
    assert any(f"{loose}: its seal does not hold" in note for note in asked.outputs.notes)


@pytest.mark.parametrize("place", ["lineage.html", "new/folder/lineage.html"])
def test_the_page_is_written_and_its_place_is_told(
    asked: Asked, files: tuple[str, str], tmp_path: Path, place: str
) -> None:
    path = tmp_path / place
    assert f"report  {path}" in call(files[0], "--panel", files[1], "--report", str(path)).stdout
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [item.name for item in path.parent.iterdir() if item.name.startswith(".unfinished")] == []
    told = call(files[0], "--panel", files[1], "--report", str(path), "--json")
    assert json.loads(told.stdout)["suspects"]
    assert str(path) in told.stderr


def test_a_page_that_can_t_be_written_is_an_error_and_leaves_the_old_one(
    asked: Asked, files: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"lineage.html: .* name another file with --report") as refusal:
        call(files[0], "--panel", files[1], "--report", str(tmp_path / "file" / "lineage.html"))
    assert refusal.value.exit_code == 1
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        call(files[0], "--panel", files[1], "--report", str(tmp_path))
    assert asked.options, "the second is told before the audit, the first cannot be"


@pytest.mark.parametrize("nominal", ["0", "1", "-0.1", "nan"])
def test_a_rate_that_is_none_is_refused(asked: Asked, files: tuple[str, str], nominal: str) -> None:
    with pytest.raises(ConfigError, match="--nominal"):
        call(files[0], "--panel", files[1], "--nominal", nominal)


def test_what_can_t_be_read_is_refused_before_anything_is_computed(
    asked: Asked, files: tuple[str, str], tmp_path: Path
) -> None:
    outputs, panel = files
    (tmp_path / "other").mkdir()
    for arguments, said in [
        ([outputs, "--panel", str(tmp_path / "none.csv")], "can't be read"),
        ([outputs, "--panel", panel_in(tmp_path / "other", f"{HEADER}x,nobody,,,,\n")], "line 2: the role of x"),
        ([str(tmp_path / "none.parquet"), "--panel", panel], "is not there"),
        ([panel, "--panel", panel], "is no readable Parquet file"),
        ([outputs, outputs, "--panel", panel], "one is named twice"),
    ]:
        with pytest.raises(ConfigError, match=said) as refusal:
            call(*arguments)
        assert refusal.value.exit_code == 2
    assert asked.outputs is None
    assert call(outputs).exit_code == 2  # --panel is needed


def test_the_verdict_stands_in_words_with_its_error_rate_and_what_it_can_t_tell(
    asked: Asked, files: tuple[str, str]
) -> None:
    text = printed(asked, files, result_of([suspect_of("nimbus-7b")]))
    lines = text.splitlines()
    assert lines[0] == "nimbus-7b"
    assert lines[1] == (
        "  Consistent with training on outputs of aurora. This panel says so of 4% of pairs where nothing was "
        "taught, too."
    )
    assert lines[2].split("  ")[1:2] == ["family"]
    assert lines[3].split() == ["aurora", "+5.20", "2.3e-06", "(tail)", "1.4e-05", "+3.10", "to", "+6.40"]
    assert "  because      aurora is ahead of every other family on all bootstrap draws." in lines
    assert "  nearest      aurora-large, with a same-model score of +1.34" in lines
    assert (
        "error rate   at a nominal 5%, this panel rejected 4% of pairs where nothing was taught (40 controls in 31 "
        "clusters)" in lines
    )
    assert "             of 60 pairs whose teacher can't have taught, it rejected 6.7%" in lines
    assert "can't tell   Whether a teacher's text reached the suspect through pages that quote it." in lines
    assert "notes        12 prompts of 817 were left out: not all models answered them." in lines
    assert "compared     121 models on 805 prompts that all of them answered" in lines


def test_each_verdict_has_a_sentence_and_none_accuses(asked: Asked, files: tuple[str, str]) -> None:
    suspects = suspects_of_each_verdict()
    text = printed(asked, files, result_of(suspects))
    for said in (
        "Consistent with training on outputs of aurora. This panel says so of 4%",
        "Answers as aurora-large itself or a variant of it would",
        "Like aurora no more than that maker's models are like each other: no sign of teaching.",
        "Can't be told from models that were not taught by the families asked about",
        "Too little to tell whether it was taught",
        "outputs of aurora or borealis, which this panel can't tell apart.",
    ):
        assert said in text
    assert [line for line in text.splitlines() if line in {item.model for item in suspects}] == [
        item.model for item in suspects
    ]
    for word in ("stolen", "stole", "proved", "proof", "thief", "guilty"):
        assert word not in text.lower()


def test_a_withheld_verdict_names_no_family(asked: Asked, files: tuple[str, str]) -> None:
    result = result_of([suspect_of("x")], withheld=True, false_positive_rate=0.3)
    text = printed(asked, files, result)
    assert text.splitlines()[1].startswith("  The verdict is withheld")
    assert "Consistent with training" not in text


def test_what_is_not_known_is_a_dash_and_what_was_not_measured_is_said(asked: Asked, files: tuple[str, str]) -> None:
    text = printed(asked, files, replace(result_of([nothing_known()]), calibration=nothing_measured()))
    assert ["aurora", "-", "-", "-", "-"] in [line.split() for line in text.splitlines()]
    assert "nearest      unknown" in text
    assert "could not measure how often it is wrong" in text
    assert "no placebo to measure on" in text
    assert "nan" not in text
    assert "None" not in text


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_hostile_names_are_shown_and_obeyed_by_no_terminal(asked: Asked, files: tuple[str, str], attack: str) -> None:
    text = printed(asked, files, hostile(f"{attack}\x1b[2J\r\u202e"))
    assert [c for c in text if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028\u200b"] == []


def test_who_wrote_asks_the_classifier_without_the_need_for_a_teacher(asked: Asked, tmp_path: Path) -> None:
    outputs = outputs_of(tmp_path)
    panel = panel_in(tmp_path, f"{HEADER}aurora-large,background,,,,\ncontrol-1,background,,,,\n")
    found = call(outputs, "--panel", panel, "--seed", "3", "--json", command="who-wrote")
    assert json.loads(found.stdout)["reliability"]["accuracy"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert (asked.suspects, asked.options) == (("x",), {"seed": 3})
    with pytest.raises(ConfigError, match="has no teacher"):
        call(outputs, "--panel", panel)


def test_who_wrote_says_who_how_sure_and_how_often_that_holds(asked: Asked, files: tuple[str, str]) -> None:
    lines = call(files[0], "--panel", files[1], command="who-wrote").stdout.splitlines()
    assert lines[0].startswith("nimbus writes as nimbus (of nimbus) or another of its cluster does")
    assert lines[1].split("  ") == ["", "most probable model", "of texts"]
    assert [line.split() for line in lines[2:7]] == [[f"nimbus{number}", "12.5%"] for number in range(5)]
    assert lines[7:9] == ["  and 3 more models; --json has them all", ""]
    assert "50% (40% to 60%) are told rightly, against 33.3% by chance" in lines[9]
    assert [line.split() for line in lines[11:13]] == [
        ["probability", "texts", "told", "rightly"],
        ["0.4", "to", "0.5", "3", "66.7%"],
    ]
    assert lines[13:] == ["can't tell   nimbus", "notes        nimbus"]


def test_who_wrote_says_why_nobody_is_named(asked: Asked, files: tuple[str, str]) -> None:
    why = "the panel's models answer every prompt alike"
    nobody = authors_of("x", model=None, family=None, confidence=None, nearest=None, reason=why, shares={}, abstained=4)
    asked.authors = replace(nobody, reliability=None, reason=why)
    lines = call(files[0], "--panel", files[1], command="who-wrote").stdout.splitlines()
    assert lines[:3] == [
        f"Who wrote x can't be told: {why}. None of its 4 texts can be told on its own.",
        "",
        "How often this panel's models are told apart rightly was not measured.",
    ]


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_hostile_names_of_authors_are_obeyed_by_no_terminal(asked: Asked, files: tuple[str, str], attack: str) -> None:
    asked.authors = authors_of(f"{attack}\x1b[2J\r\u202e")
    text = call(files[0], "--panel", files[1], command="who-wrote").stdout
    assert [c for c in text if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028\u200b"] == []


def test_a_panel_without_an_answer_to_any_prompt_is_told_in_the_end(asked: Asked, tmp_path: Path) -> None:
    outputs = outputs_of(tmp_path, "x", "aurora_large")
    with pytest.raises(ConfigError, match="no model of the panel is left"):
        call(outputs, "--panel", panel_in(tmp_path, PANEL))
