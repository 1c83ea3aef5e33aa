"""The training drill of benchmarks/, made small: kill -9 at three moments, resume, and compare bit for bit."""

import subprocess
import sys
from pathlib import Path

DRILL = Path(__file__).parents[2] / "benchmarks" / "train_drill.py"


def test_a_killed_and_resumed_training_comes_to_the_same_losses_rows_and_weights() -> None:
    ended = subprocess.run(
        [sys.executable, str(DRILL), "--prompts", "40", "--kills", "3", "--epochs", "2.5"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "3 kills" in ended.stdout
    assert ", 0 differ; " in ended.stdout.splitlines()[-1]
