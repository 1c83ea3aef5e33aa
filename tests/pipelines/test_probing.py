"""The probe: what it asks, what it journals, when it ends the harvest before it began."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from harvest_scene import Asked, Script, ScriptedTeacher, config_of, refuses, says, teacher

from tutelage.pipelines import probing
from tutelage.pipelines.config import HarvestConfig
from tutelage.pipelines.journal_index import JournalIndex
from tutelage.pipelines.probing import probe_costs, probe_teachers
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.teachers.probe import Capabilities
from tutelage.schemas.errors import TeacherError
from tutelage.schemas.rows import Call


def probed(config: HarvestConfig, script: Script) -> tuple[dict[str, Capabilities], ScriptedTeacher]:
    transport = ScriptedTeacher(script)
    try:
        return probe_teachers(config, Folder(config.output.uri), "run-1", lambda: transport), transport
    finally:
        assert transport.closed


def journaled(config: HarvestConfig) -> list[Call]:
    index = JournalIndex(Folder(config.output.uri))
    return [call for calls in index.requests_in(0, 1) for call in calls]


def test_each_teacher_is_asked_once_and_its_call_is_journaled(tmp_path: Path) -> None:
    config = config_of(tmp_path, ["x"], teachers=[teacher("a"), teacher("b")])
    found, transport = probed(config, lambda _: says("Once upon"))
    assert [asked.host for asked in transport.asked] == ["a.test", "b.test"]
    assert set(found) == {"a", "b"}
    calls = journaled(config)
    assert sorted((call.teacher, call.kind, call.status, call.run_id) for call in calls) == [
        ("a", "probe", 200, "run-1"),
        ("b", "probe", 200, "run-1"),
    ]
    assert all(b"Once upon" in call.body for call in calls)


def test_a_seed_is_probed_by_asking_the_same_twice(tmp_path: Path) -> None:
    text = "A heron that was afraid of water walked into town on a Monday."
    config = config_of(tmp_path, ["x"], sampling={"max_tokens": 16, "seed": 7})
    found, transport = probed(config, lambda _: says(text))
    assert len(transport.asked) == 2
    assert transport.asked[0].body == transport.asked[1].body
    assert found["t"].seed == "honoured"
    found, _ = probed(config, lambda asked: says(text[asked.nth :]))
    assert found["t"].seed == "ignored"


def test_a_protocol_without_a_seed_is_asked_once(tmp_path: Path) -> None:
    messages = teacher("c", protocol="anthropic-messages")
    config = config_of(tmp_path, ["x"], teachers=[messages], sampling={"max_tokens": 16})
    answer = {"content": [{"type": "text", "text": "Once upon"}], "stop_reason": "end_turn", "model": "m"}
    found, transport = probed(config, lambda _: httpx.Response(200, json=answer))
    assert len(transport.asked) == 1
    assert found["c"].seed == found["c"].n == "not in protocol"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: refuses(401), "it answered 401 to a call without a key (api_key_env is null)"),
        (lambda: refuses(403), "it answered 403"),
        (lambda: refuses(402), "it answered 402"),
        (lambda: refuses(404), "base_url should end where /chat/completions follows"),
        (lambda: refuses(405), "base_url should end where /chat/completions follows"),
        (lambda: refuses(308), "a redirect, which is never followed with a key; name the final base_url"),
        (httpx.ConnectError("refused"), "nothing answers there; start the teacher, or mend base_url"),
        (httpx.ReadError("reset"), None),
    ],
)
def test_a_teacher_that_can_not_be_asked_at_all_ends_the_harvest_before_it_began(
    tmp_path: Path, answer: Any, said: str | None
) -> None:
    def script(_: Asked) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer()  # type: ignore[no-any-return]

    config = config_of(tmp_path, ["x"])
    if said is None:  # a broken answer is not the end: the harvest asks again
        assert probed(config, script)[0]["t"].logprobs == "unknown"
    else:
        with pytest.raises(TeacherError) as refused:
            probed(config, script)
        assert said in str(refused.value)
        assert str(refused.value).startswith("teacher t at http://t.test/v1: ")
        assert str(refused.value).endswith("Nothing was asked yet")
    assert len(journaled(config)) == 1, "the call is journaled, since it may have been paid for"


@pytest.mark.parametrize("status", [400, 408, 429, 500, 503])
def test_a_teacher_that_is_busy_or_dislikes_the_probe_is_asked_all_the_same(tmp_path: Path, status: int) -> None:
    found, transport = probed(config_of(tmp_path, ["x"]), lambda _: refuses(status))
    assert len(transport.asked) == 1
    assert found["t"].logprobs == ("refused" if status == 400 else "unknown")


def test_a_probe_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: Asked) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    monkeypatch.setattr(probing, "PATIENCE_S", 0.02)
    config = config_of(tmp_path, ["x"])
    found, _ = probed(config, hang)
    assert found["t"].logprobs == "unknown"
    assert [call.headers for call in journaled(config)] == ['{"x-tutelage-cause":"timeout"}']


@pytest.mark.parametrize(
    ("protocol", "seed", "calls", "answers"),
    [
        ("openai-chat", None, 1, probing.ANSWERS),
        ("openai-chat", 7, 2, probing.ANSWERS),
        ("openai-completions", 7, 2, probing.ANSWERS),
        ("anthropic-messages", None, 1, 1),
    ],
)
def test_a_probe_costs_no_more_than_the_budget_counts_for_it(
    tmp_path: Path, protocol: str, seed: int | None, calls: int, answers: int
) -> None:
    asker = teacher(protocol=protocol, price_usd_per_million_tokens={"input": 3, "output": 15})
    config = config_of(tmp_path, ["x"], teachers=[asker], sampling={"max_tokens": 16, "seed": seed})
    # A tokenizer makes no more tokens of the question than it has bytes, and no answer is longer than its limit.
    prompt_tokens, completion_tokens = len(probing.QUESTION), answers * probing.MAX_TOKENS
    most = probe_costs(config)
    assert most.tokens >= calls * (prompt_tokens + completion_tokens)
    assert most.pico_usd >= calls * (prompt_tokens * 3 + completion_tokens * 15) * 1_000_000
