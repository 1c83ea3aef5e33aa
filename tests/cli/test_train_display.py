"""What a person sees of a training while it runs, and at its end."""

from typing import Any

import pytest

from tutelage.cli.train import print_trained
from tutelage.cli.train_display import display, sparkline

LINE: dict[str, Any] = {
    "kind": "step",
    "step": 7,
    "epoch": 1,
    "loss": 2.34567,
    "trained_tokens": 500,
    "tokens": 1000,
    "fill": 0.985,
    "learning_rate": 0.0003,
    "tokens_per_s": 1234.5,
    "memory_bytes": 1_500_000_000,
    "mfu": None,
}


def test_piped_output_is_a_line_with_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    with display() as watcher:
        watcher.phase("tokens")
        watcher.evaluated({"step": 0, "loss": 10.9})
        watcher.step(LINE, 0.25)
        watcher.step(LINE | {"step": 8}, 0.5)  # within ten seconds: no second line
    out, errors = capsys.readouterr()
    assert out == ""
    assert "held out at step 0: loss 10.9000" in errors
    line = next(text for text in errors.splitlines() if text.startswith("step"))
    assert line.startswith("step 7, done 25%, epoch 1, loss 2.3457, held out 10.9000, tokens/s 1,234, fill 98.5%")
    assert "MFU" not in line
    assert "step 8" not in errors


def test_on_a_gpu_the_share_of_its_arithmetic_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with display() as watcher:
        watcher.step(LINE | {"mfu": 0.415}, 0.25)
    assert "MFU 41.5%" in capsys.readouterr().err


def test_a_rank_that_does_not_lead_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with display(speaks=False) as watcher:
        watcher.phase("tokens")
        watcher.step(LINE, 0.25)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("values", "bars"),
    [([], ""), ([1.0], "▁"), ([2.0, 1.0], "█▁"), ([4.0, float("nan"), 1.0], "█▁"), ([1.0, 1.0], "▁▁")],
)
def test_the_curve(values: list[float], bars: str) -> None:
    assert sparkline(values) == bars


def test_a_long_curve_is_averaged_to_the_width() -> None:
    assert len(sparkline([float(value) for value in range(1000)], width=60)) <= 60


@pytest.mark.parametrize(
    ("finished", "exported", "said"),
    [
        (True, 10, "held out  3.0000 untaught, 1.5000 at its best (step 10: exported)"),
        (True, 12, "held out  3.0000 untaught, 1.5000 at its best (step 10: step 12 was exported)"),
        (False, None, "stopped   after step 12, with a checkpoint; run the same command to go on"),
    ],
)
def test_the_end_says_what_came_of_it(
    finished: bool, exported: int | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from tutelage.train.run import Trained

    print_trained(Trained("s", finished, 12, exported, 1.0, ((0, 3.0), (10, 1.5), (12, 1.6)), ()))
    assert said in capsys.readouterr().out
