from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tutelage.cli import display as module
from tutelage.cli.display import LINE_EVERY_S, RATE_OVER_S, _Rate, _table, display, duration
from tutelage.pipelines.plan import Plan, TeacherPlan


class Clock:
    """Stands in for time.monotonic: it goes when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def plan(**requests: int) -> Plan:
    return Plan(teachers={name: TeacherPlan(requests=count) for name, count in requests.items()})


def lane(**counts: int) -> Counter[str]:
    return Counter(counts)


PLAN = plan(smol=2000)
LANE = lane(
    ok=1000,
    truncated=20,
    failed=4,
    reused=500,
    in_flight=12,
    window=64,
    throttled=3,
    prompt_tokens=40_000,
    completion_tokens=2_345,
    cost_pico_usd=1_234_567_000_000,
)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (360_061, "100:01:01")],
)
def test_a_time_left_reads_as_a_clock(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_rate_is_of_the_last_seconds_only(clock: Clock) -> None:
    rate = _Rate()
    assert rate.of(0) == 0, "one look tells no rate"
    clock.now += 2
    assert rate.of(100) == 50
    clock.now += RATE_OVER_S - 1
    assert rate.of(100) == 0, "what was before is forgotten, however fast it went"


def test_piped_output_has_a_plain_line_a_teacher_now_and_then(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with display() as watcher:
        watcher.progress(PLAN, {})
        for _ in range(20):
            clock.now += 0.25
            watcher.progress(PLAN, {"smol": lane(ok=1)})
        clock.now += LINE_EVERY_S
        watcher.progress(PLAN, {"smol": LANE})
    out, err = capsys.readouterr()
    assert out == "", "stdout belongs to the result"
    first, last = err.splitlines()
    assert first.startswith("teacher smol, done 0/2,000, failed 0, in flight 0/0, a second 0.0")
    assert last == (  # 1,024 new answers in 15 s
        "teacher smol, done 1,524/2,000, failed 4, in flight 12/64, a second 68.3, 429s 3, tokens 42,345, "
        "USD 1.2346, left 0:06"
    )


def test_what_is_left_is_reckoned_from_the_rate_of_new_answers(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with display() as watcher:
        watcher.progress(PLAN, {"smol": lane(reused=1000, ok=0)})
        clock.now += LINE_EVERY_S
        watcher.progress(PLAN, {"smol": lane(reused=1000, ok=100)})
    last = capsys.readouterr().err.splitlines()[-1]
    assert "done 1,100/2,000" in last
    assert "a second 10.0" in last
    assert last.endswith("left 1:30")


def test_a_finished_teacher_has_nothing_left_and_a_paused_one_says_so(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with display() as watcher:
        watcher.progress(plan(a=10, b=10), {"a": lane(), "b": lane()})
        clock.now += LINE_EVERY_S
        watcher.progress(plan(a=10, b=10), {"a": lane(ok=10), "b": lane(ok=1, paused=1)})
    a, b = capsys.readouterr().err.splitlines()[-2:]
    assert a.startswith("teacher a, done 10/10")
    assert a.endswith("left -")
    assert b.startswith("teacher b (paused), done 1/10")


def test_the_steps_and_a_stop_are_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with display() as watcher:
        for name in ("plan", "probe", "ask", "seal"):
            watcher.phase(name)
        watcher.stopping()
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.rstrip() for line in err.splitlines()] == [
        "planning …",
        "asking each teacher what it can do …",
        "asking …",
        "sealing …",
        "stopping: draining what is in flight, then sealing. Ctrl-C again ends at once.",
    ]


def test_a_terminal_shows_a_live_table_of_every_teacher_and_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what Rich takes for a terminal
    monkeypatch.setenv("COLUMNS", "100")
    with display() as watcher:
        watcher.progress(plan(smol=2000, gpt=5), {"smol": LANE, "gpt": lane(ok=5)})
    err = capsys.readouterr().err
    assert "1,524/2,000" in err
    assert "5/5" in err
    assert "\x1b[1A\x1b[2K" in err, "the table is wiped: the report follows on stdout"


def shown(rows: list[dict[str, str]], width: int) -> list[str]:
    console = Console(record=True, width=width, force_terminal=True, file=_Nowhere())
    console.print(_table(rows))
    return [line.rstrip() for line in console.export_text().splitlines()]


class _Nowhere:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def row(**changes: str) -> dict[str, Any]:
    return {
        "teacher": "smol",
        "done": "19,000/20,000",
        "failed": "12",
        "in flight": "256/256",
        "a second": "1,234.5",
        "429s": "3",
        "tokens": "12,345,678",
        "USD": "12.3456",
        "left": "1:23",
    } | changes


def test_the_table_of_a_large_harvest_fits_eighty_columns() -> None:
    header, line = shown([row()], 80)
    assert header.split() == [
        "teacher",
        "done",
        "failed",
        "in",
        "flight",
        "a",
        "second",
        "429s",
        "tokens",
        "USD",
        "left",
    ]
    assert line.split() == list(row().values())


def test_a_name_in_square_brackets_is_no_markup() -> None:
    assert shown([row(teacher="[red]x[/red]")], 120)[1].startswith("[red]x[/red]")


def test_a_long_name_gives_way_and_the_figures_stay_whole() -> None:
    lines = shown([row(teacher="x" * 64)], 90)
    assert all(len(line) <= 90 for line in lines)
    assert lines[1].split()[1:] == list(row().values())[1:]
