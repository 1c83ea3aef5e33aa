"""A plan and a job in a folder of a test's own, and a teacher that does what a script says: no Beam, no sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tutelage.pipelines.config import HarvestConfig, parse_config
from tutelage.pipelines.engine import Engine
from tutelage.pipelines.job import ControlFolder, HarvestJob, TermsStamp
from tutelage.pipelines.journal_index import JournalIndex
from tutelage.pipelines.plan import Plan, make_plan
from tutelage.pipelines.pricing import Cost
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.schemas.rows import Call

LICENSE = "CC0-1.0"
PATIENCE_S = 20.0
NOTHING = Cost(0, 0, "none")


def eventually(condition: Callable[[], Any], what: str = "") -> None:
    """Polls until the condition holds; fails after PATIENCE_S, which only a loaded machine needs."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"waited {PATIENCE_S:.0f} s in vain {what}"
        time.sleep(0.002)


def config_of(folder: Path, prompts: Sequence[str | dict[str, Any]], **changed: Any) -> HarvestConfig:
    """A config for `prompts` and one teacher, t, that nothing stops; `changed` replaces whole sections of it."""
    rows = [{"prompt": prompt} if isinstance(prompt, str) else prompt for prompt in prompts]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sections: dict[str, Any] = {
        "version": 1,
        "prompts": [{"uri": str(folder / "prompts.jsonl"), "license": LICENSE}],
        "teachers": [teacher()],
        "sampling": {"max_tokens": 16},
        "policy": {"distributed": False, "competes_with_teacher": False},
        "output": {"uri": str(folder / "dataset"), "shards": 1, "commit_interval_s": 0},
    }
    return parse_config({**sections, **changed}, "test")


def teacher(name: str = "t", **changed: Any) -> dict[str, Any]:
    sections = {
        "name": name,
        "protocol": "openai-chat",
        "base_url": f"http://{name}.test/v1",
        "model": f"model-of-{name}",
        "channel": "weights:local",
        "terms": "own-model",
    }
    return {**sections, **changed}


class Gate:
    """Holds calls back in the engine's loop until the test opens it from its own thread."""

    def __init__(self) -> None:
        self.waiting = 0
        self._opened = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def passed(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.waiting += 1
        try:
            await self._opened.wait()
        finally:
            self.waiting -= 1

    def open(self) -> None:
        if self._loop is None:
            self._opened.set()
        else:
            self._loop.call_soon_threadsafe(self._opened.set)


@dataclass
class Asked:
    """One call as the teacher hears it. `nth` counts the calls of its prompt, from 1."""

    prompt: str
    nth: int
    body: dict[str, Any]
    host: str


Script = Callable[[Asked], "httpx.Response | Awaitable[httpx.Response]"]


class ScriptedTeacher(httpx.AsyncBaseTransport):
    """Every teacher of the job: hosts differ. A script may raise what a transport raises."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.in_flight = self.most_in_flight = 0
        self.closed = False

    def asked_of(self, prompt: str) -> int:
        return sum(asked.prompt == prompt for asked in self.asked)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        prompt = body["messages"][-1]["content"]
        asked = Asked(prompt, self.asked_of(prompt) + 1, body, request.url.host)
        self.asked.append(asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            found = self.script(asked)
            return found if isinstance(found, httpx.Response) else await found
        finally:
            self.in_flight -= 1

    async def aclose(self) -> None:
        self.closed = True


def says(
    text: str = "yes", *, finish: str = "stop", usage: tuple[int, int] | None = (1, 1), **headers: str
) -> httpx.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    document: dict[str, Any] = {"model": "m", "choices": [choice]}
    if usage is not None:
        document["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return httpx.Response(200, json=document, headers=headers)


def refuses(status: int, *, headers: dict[str, str] | None = None, **error: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": f"refused with {status}", **error}}, headers=headers)


@dataclass
class Scene:
    """One run of the engine over one plan. `with scene(...) as run: run.ask()`."""

    config: HarvestConfig
    control_dir: Path
    script: Script = field(default=lambda _: says())
    run_id: str = "run-1"
    processes: int = 1
    max_pico_usd: int | None = None
    max_tokens: int | None = None
    spent: Cost = NOTHING

    def __post_init__(self) -> None:
        self.folder = Folder(self.config.output.uri)
        self.plan: Plan = make_plan(self.config, self.folder)
        self.control_dir.mkdir(exist_ok=True)
        self.control = ControlFolder(str(self.control_dir))
        self.teacher = ScriptedTeacher(self.script)
        self.engine = Engine(self.job, lambda: self.teacher, seed=1)

    @property
    def job(self) -> HarvestJob:
        stamp = {LICENSE: TermsStamp("own-model", "allow", ())}
        return HarvestJob(
            config=self.config,
            run_id=self.run_id,
            folder=self.folder,
            control_dir=str(self.control_dir),
            processes=self.processes,
            terms={self.run_id: {item.name: stamp for item in self.config.teachers}},
            max_pico_usd=self.max_pico_usd,
            max_tokens=self.max_tokens,
            spent=self.spent,
        )

    def __enter__(self) -> Scene:
        self.engine.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()
        assert self.teacher.closed

    def submit(self, name: str | None = None) -> list[Future[None]]:
        """Futures of the plan's shards, or of one teacher's."""
        return [self.engine.submit(shard) for shard in self.plan.shards if name in (None, shard.teacher)]

    def ask(self) -> Scene:
        """Runs the plan to its end."""
        wait_for(self.submit())
        return self

    def counts(self, name: str = "t") -> dict[str, Any]:
        return self.engine._lanes[name].report()

    def causes(self) -> list[str]:
        return [halt.cause for halt in self.control.halts()]

    def calls(self) -> list[Call]:
        """Every call in the journal, in the order in which they were sent."""
        found = [call for calls in JournalIndex(self.folder).requests_in(0, 1) for call in calls]
        return sorted(found, key=lambda call: (call.sent_at, call.call_id))

    def outcomes(self) -> list[str]:
        protocol = PROTOCOLS["openai-chat"]
        return [
            "lost"
            if call.kind == "lost"
            else protocol.parse(call.status, json.loads(call.headers or "{}"), call.body, {}).outcome
            for call in self.calls()
        ]


def wait_for(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        future.result(PATIENCE_S)
