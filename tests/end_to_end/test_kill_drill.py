"""The kill drill of benchmarks/, made small: kill -9 at three moments, resume, and count."""

import subprocess
import sys
from pathlib import Path

DRILL = Path(__file__).parents[2] / "benchmarks" / "kill_drill.py"


def test_kill_9_loses_nothing_doubles_nothing_and_repays_only_what_was_in_flight() -> None:
    ended = subprocess.run(
        [sys.executable, str(DRILL), "--prompts", "200", "--kills", "3", "--latency-s", "0.02"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "3 kills" in ended.stdout
    assert "lost 0, doubled 0, repaid " in ended.stdout.splitlines()[-1]
