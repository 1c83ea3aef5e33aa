"""The page of a student: what it says for whom, that hostile text stays text, and what a browser makes of it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from devtools import CHROMIUM, Browser, browser
from hypothesis import given
from hypothesis import strategies as st
from report_scene import ATTACKS
from student_scene import evaluation, metric_lines, run_record, with_strings, write_student

from tutelage.audit.charts import Point
from tutelage.audit.curves import Series, averaged, curves
from tutelage.audit.student_page import StudentFiles, read_student, student_page, write_student_page
from tutelage.schemas.errors import ConfigError, ContractError

NOTHING = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening")


class Parsed(HTMLParser):
    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, frozenset[str]]] = []
        self.text: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, frozenset(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(
    run: dict[str, Any] | None = None,
    metrics: list[dict[str, Any]] | None = None,
    evaluated: dict[str, Any] | None = None,
) -> str:
    files = StudentFiles(run or run_record(), metric_lines() if metrics is None else metrics, evaluated)
    return student_page(files).decode()


def text_of(content: str) -> str:
    return " ".join(" ".join(Parsed(content).text).split())


def minus_base(value: float, interval: list[float] | None) -> dict[str, Any]:
    changed = evaluation()
    figure = {"value": value, "interval": interval, "rows": 120, "groups": 60}
    changed["held_out"]["student_minus"]["base"]["bits_per_byte"] = figure
    return changed


@pytest.mark.parametrize(
    ("value", "interval", "said"),
    [
        (
            -0.88,
            [-0.92, -0.84],
            "is better than its untaught base: it needs 0.880 bits a byte less (95 %: 0.840 to 0.920)",
        ),
        (0.4, [0.3, 0.5], "is WORSE than its untaught base: it needs 0.400 bits a byte more (95 %: 0.300 to 0.500)"),
        (-0.01, [-0.03, 0.01], "can't be told from its untaught base: it needs 0.010 bits a byte less (95 %: −0.030"),
        (-0.88, None, "needs 0.880 bits a byte less than its untaught base; there are too few rows to tell chance"),
    ],
)
def test_the_first_sentence_says_whether_it_is_better_than_it_was(
    value: float, interval: list[float] | None, said: str
) -> None:
    assert said in text_of(page_of(evaluated=minus_base(value, interval)))


def test_the_table_has_teacher_student_and_base_with_their_intervals() -> None:
    said = text_of(page_of(evaluated=evaluation()))
    for told in (
        "Teacher 118 9,000 0.8000 0.7500 to 0.8500 0.2200 0.2000 to 0.2400",
        "Student 120 9,400 2.4000 2.3500 to 2.4500 0.6600",
        "61.0% 59.0% to 63.0% 1.1000",
        "Untaught base 120 9,400 5.6000",
        "118 of 120 rows are likelier to the student than to the base, 1 less likely, 1 the same: 99.2%",
        "60 of 60 groups of rows that ask alike",
        "sums 50 of 1,319 gsm8k – 30.0%",
        "Over 200 steps the loss of its own rows fell: from",
        "Of held-out rows it was 5.600 at step 0 and least at step 200",
        "smollm2 900 150,000",
        "J. Doe : asked until 2027-01-01",
        "notice_text Who has this student has to keep the licence's text and its notices with every copy.",
        "Built with Aurora.",
        "200 steps, 200,000 trained tokens, 4.5 minutes, cpu",
        "0d0d0d0d",
    ):
        assert told in said, told


def test_a_student_that_nobody_evaluated_has_a_page_too() -> None:
    said = text_of(page_of())
    assert "Nobody has evaluated this student yet" in said
    assert "fell: from" in said


def test_an_evaluation_of_other_weights_is_left_out() -> None:
    other = evaluation(student={"name": "x", "files": {"model.safetensors": "00" * 32}})
    said = text_of(page_of(evaluated=other))
    assert "evaluation.json is of other weights than these" in said
    assert "0.880" not in said


def test_a_teacher_that_could_not_be_asked_is_told_with_the_reason() -> None:
    changed = evaluation(teacher={"kind": "none", "reason": "the harvest kept no logprobs"})
    del changed["held_out"]["columns"]["teacher"]
    changed["held_out"]["agreement"] = {"positions": 0, "reason": "its tokenizer is another"}
    said = text_of(page_of(evaluated=changed))
    assert "Teacher – – – – – – –" in said
    assert "No teacher's column: the harvest kept no logprobs ." in said
    assert "was not measured: its tokenizer is another." in said


def test_without_metrics_the_curve_is_that_of_the_run_record() -> None:
    run = run_record(losses=[{"step": 1, "loss": 5.0}, {"step": 9, "loss": 2.0}], evaluations=[[0, 6.0], [9, 2.5]])
    assert "from 5.000 to 2.000" in text_of(page_of(run, metrics=[]))
    assert "No step is recorded" in text_of(page_of(metrics=[]))


def test_a_resumed_runs_steps_count_once_and_torn_or_endless_lines_not_at_all(tmp_path: Path) -> None:
    lines = [
        {"kind": "step", "step": 1, "loss": 9.0},
        *metric_lines(steps=40),
        {"kind": "step", "step": 41, "loss": "x"},
    ]
    folder = write_student(tmp_path / "s", metrics=lines)
    with (tmp_path / "s" / "metrics.jsonl").open("a") as stream:
        stream.write('{"kind": "step", "step": 42, "loss": NaN}\n[1]\n{"kind": "step", "st')
    said = text_of(student_page(read_student(folder)).decode())
    assert "Over 40 steps" in said
    assert "NaN" not in said


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    folder = write_student(tmp_path / "s", evaluated=evaluation())
    first = Path(write_student_page(folder)).read_bytes()
    assert Path(write_student_page(folder)).read_bytes() == first
    assert {path.name for path in (tmp_path / "s").iterdir()} == {
        *("run.json", "metrics.jsonl", "evaluation.json", "report.html"),
    }


def test_a_long_run_makes_no_long_page() -> None:
    assert len(page_of(metrics=metric_lines(steps=20_000, every=1000), evaluated=evaluation())) < 250_000


@pytest.mark.parametrize("content", ["", "{", "[]", "3"])
def test_a_record_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError, match=r"run.json: is missing; the folder of a student"):
        write_student_page(str(tmp_path))
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ContractError, match=r"run.json: .*restore it, or make it again"):
        write_student_page(str(tmp_path))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(run_record())), JSON)
def test_whatever_a_key_of_the_run_record_holds_there_is_a_page(key: str, value: Any) -> None:
    page_of(run_record(**{key: value}), metrics=metric_lines(steps=3), evaluated=evaluation())


@given(st.sampled_from(sorted(evaluation())), JSON)
def test_whatever_a_key_of_the_evaluation_holds_there_is_a_page(key: str, value: Any) -> None:
    page_of(metrics=metric_lines(steps=3), evaluated=evaluation(**{key: value}))


@given(st.sampled_from(sorted(evaluation()["held_out"])), JSON)
def test_whatever_the_held_out_figures_are_there_is_a_page(key: str, value: Any) -> None:
    page_of(metrics=metric_lines(steps=3), evaluated=evaluation(held_out={**evaluation()["held_out"], key: value}))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_in_every_string_leaves_the_pages_elements_as_they_are(attack: str) -> None:
    def attacked(text: str) -> Parsed:
        run, evaluated = with_strings(run_record(), text), with_strings(evaluation(), text)
        return Parsed(page_of(run, evaluated=evaluated))

    assert attacked(attack).elements == attacked("x" * len(attack)).elements


def test_the_page_needs_no_database() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import sys, tutelage.audit.student_page; print('duckdb' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "False"


def test_a_curve_goes_up_where_values_do_on_an_axis_of_round_numbers() -> None:
    points = [Point(0.0, 1.0), Point(0.5, 2.0), Point(1.0, 1.5)]
    chart = curves([Series("main", points, "failed")], ("step 0", "step 9"), "said")
    heights = [float(height) for height in re.findall(r'cy="([^"]*)"', chart)]
    assert heights[0] > heights[2] > heights[1]
    assert chart.count("stroke-main") == 2
    assert re.findall(r">([\d.]+)</text>", chart) == ["1", "1.5", "2"]


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 3.0], [0.0, 0.0], [float("nan"), 1.0], [float("inf")]])
def test_a_curve_of_little_or_nothing_is_a_chart_too(values: list[float]) -> None:
    chart = curves([Series("main", [Point(0.1 * n, v) for n, v in enumerate(values)])], ("a", "b"), "said")
    assert 'aria-label="said"' in chart
    assert "nan" not in chart
    assert "inf" not in chart


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=900), st.integers(1, 300))
def test_averaging_keeps_the_mean_and_the_order(values: list[float], most: int) -> None:
    points = [(float(step), value) for step, value in enumerate(values)]
    found = averaged(points, most)
    assert len(found) == min(most, len(points))
    assert [x for x, _ in found] == sorted(x for x, _ in found)
    if len(values) % len(found) == 0:
        assert sum(y for _, y in found) / len(found) == pytest.approx(sum(values) / len(values), abs=1e-9)


# In a browser.


@pytest.fixture(name="chromium", scope="module")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed")
    with browser(tmp_path_factory.mktemp("chromium") / "profile") as opened:
        opened.window(1280, 900)
        yield opened


@pytest.fixture(name="url", scope="module")
def _url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page whose every name is an attack."""
    run, evaluated = json.loads(json.dumps(run_record())), json.loads(json.dumps(evaluation()))
    for number, attack in enumerate(ATTACKS.values()):
        row = {**run["teachers"][1], "teacher": attack, "terms_ids": [attack], "obligations": [attack]}
        run["teachers"].append(row)
        run["notes"].append(attack)
        run["duties"].append({**run["duties"][0], "detail": attack, "obligation": attack})
        run["parts"][attack] = attack
        evaluated["notes"].append(attack)
        evaluated["tasks"].append({**evaluated["tasks"][0], "name": attack})
        evaluated["held_out"]["by_teacher"][attack] = evaluated["held_out"]["by_teacher"]["smollm2"]
        run["student"]["files"][f"{number}{attack}"] = attack
    evaluated["student"]["files"] = run["student"]["files"]
    folder = tmp_path_factory.mktemp("student")
    return Path(write_student_page(write_student(folder, run, None, evaluated))).as_uri()


def test_it_opens_from_a_file_asks_for_nothing_else_and_no_text_of_it_does_anything(
    chromium: Browser, url: str
) -> None:
    chromium.open(url)
    chromium.open_and_poke_all()
    assert chromium.js("window.pwned === undefined && document.body.offsetHeight > 0")
    assert (
        chromium.js("document.querySelectorAll('iframe, img, form, base, main script, main style, #lure').length") == 0
    )
    assert [event["request"]["url"] for event in chromium.named("Network.requestWillBeSent")] == [url]
    chromium.js("new Promise((done) => setTimeout(done, 0))")
    assert [event for method in NOTHING for event in chromium.named(method)] == []


def test_the_curve_is_seen_and_its_numbers_fold_open(chromium: Browser, url: str) -> None:
    chromium.open(url)
    assert chromium.js("document.querySelectorAll('#learning svg.plot line.stroke-main').length") == 199
    box = chromium.js(
        "(() => { const box = document.querySelector('#learning svg.plot').getBoundingClientRect();"
        " return [box.width, box.height]; })()"
    )
    assert box[0] > 400
    assert box[1] > 150
    assert not chromium.js("document.querySelector('#learning details').open")
    chromium.click("#learning summary")
    assert chromium.js("document.querySelectorAll('#learning tbody tr').length") > 20


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_fits_its_window_and_wide_tables_scroll_by_themselves(chromium: Browser, url: str, width: int) -> None:
    chromium.window(width, 800)
    chromium.open(url)
    chromium.js("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    fits = chromium.js("document.documentElement.scrollWidth")
    chromium.window(1280, 900)
    assert fits == width


def test_whoever_hears_the_page_is_told_what_each_table_and_chart_is(chromium: Browser, url: str) -> None:
    chromium.open(url)
    assert chromium.js("[...document.querySelectorAll('table')].every((table) => table.caption)")
    ids = chromium.js("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    assert chromium.js(
        "[...document.querySelectorAll('svg')].every((svg) => svg.matches('[aria-hidden=true], [role=img]'))"
    )
    assert chromium.js("[...document.querySelectorAll('nav a')].every((a) => document.getElementById(a.hash.slice(1)))")
