"""Whole harvests on the stub teacher, through the real Beam runner: what is asked, what is kept, what is sealed."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
import yaml
from harvest_scene import config_of, eventually, teacher
from stub_teacher import StubTeacher

from tutelage.pipelines.config import HarvestConfig
from tutelage.pipelines.harvest import HarvestOptions, HarvestReport, Watcher, harvest
from tutelage.pipelines.plan import Plan
from tutelage.pipelines.probing import probe_costs
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.verify import verify
from tutelage.schemas.errors import ConfigError

REPARSE = HarvestOptions(reparse=True)
TWO_PROCESSES = HarvestOptions(
    beam_args=("--direct_running_mode", "multi_processing", "--direct_num_workers", "2"),
)


def prompts(count: int, first: int = 0) -> list[str]:
    return [f"question {number}" for number in range(first, first + count)]


def config_for(folder: Path, stub: StubTeacher, asked: list[str], **changed: Any) -> HarvestConfig:
    """Two shards, the default commit interval, one teacher: the stub."""
    sections: dict[str, Any] = {
        "teachers": [teacher(base_url=stub.base_url)],
        "output": {"uri": str(folder / "dataset"), "shards": 2},
    }
    return config_of(folder, asked, **{**sections, **changed})


def run(config: HarvestConfig, options: HarvestOptions | None = None, watcher: Watcher | None = None) -> HarvestReport:
    return harvest(config, options or HarvestOptions(), watcher)


def table(config: HarvestConfig, name: str) -> list[dict[str, Any]]:
    files = Folder(config.output.uri).list(f"{name}/*.parquet")
    return [row for file in files for row in pq.read_table(Folder(config.output.uri).path(file)).to_pylist()]


def ledger(config: HarvestConfig) -> list[dict[str, Any]]:
    return list(pq.read_table(f"{config.output.uri}/ledger.parquet").to_pylist())


def problems(config: HarvestConfig) -> list[str]:
    return verify(Folder(config.output.uri)).problems


def manifest_of(config: HarvestConfig) -> bytes:
    return Path(config.output.uri, "manifest.json").read_bytes()


def leaves(config: HarvestConfig) -> dict[str, str]:
    return {row["row_id"]: row["leaf_sha256"] for row in table(config, "completions")}


@pytest.fixture
def stub() -> Iterator[StubTeacher]:
    with StubTeacher() as running:
        yield running


# Fresh ----------------------------------------------------------------------------------------------------------------


def test_every_planned_request_ends_in_one_row_and_every_call_in_the_ledger(tmp_path: Path, stub: StubTeacher) -> None:
    asked = [
        *prompts(20),
        "cut [[fault:truncated]]",
        "forbidden [[fault:filtered]]",
        "unwilling [[fault:refused]]",
        "silent [[fault:empty_answer]]",
        "unwanted [[fault:status=400]]",
    ]
    config = config_for(tmp_path, stub, asked)
    report = run(config)

    completions, failed = table(config, "completions"), table(config, "failed")
    assert sorted(row["request_id"] for row in completions + failed) == sorted(
        row["request_id"] for row in table(config, "plan")
    )
    assert Counter(row["outcome"] for row in completions) == {
        "ok": 20,
        "truncated": 1,
        "filtered": 1,
        "refused": 1,
        "invalid": 1,
    }
    assert [(row["cause"], row["retryable"]) for row in failed] == [("request_refused", False)]
    assert report.rows == {"ok": 20, "truncated": 1, "filtered": 1, "refused": 1, "invalid": 1, "failed": 1}
    assert report.exit_code == 5
    assert len(ledger(config)) == stub.received == report.requests_sent == 26, "25 requests and the probe"
    assert report.to_json()["tokens"]["completion_tokens"] == sum(
        row["completion_tokens"] or 0 for row in ledger(config)
    )
    assert problems(config) == []


def test_a_dataset_is_plain_parquet_that_pyarrow_reads_by_itself(tmp_path: Path, stub: StubTeacher) -> None:
    changed = {"top_logprobs": 2, "seed": 7, "temperature": 0.5, "max_tokens": 16}
    config = config_for(tmp_path, stub, prompts(10), sampling=changed)
    run(config)
    found = pads.dataset(f"{config.output.uri}/completions").to_table()
    assert found.num_rows == 10
    assert found.schema.field("created_at").type == pa.timestamp("us", tz="UTC")
    row = found.to_pylist()[0]
    assert row["messages"] == [{"role": "user", "content": row["messages"][0]["content"]}]
    assert json.loads(row["sampling"]) == changed
    assert "".join(token["text"] for token in row["tokens"]) == row["response"]
    assert [len(position) for position in row["top_logprobs"]] == [2] * len(row["tokens"])
    assert (row["terms_id"], row["train_use"], row["obligations"]) == ("CC0-1.0;own-model", "allow", [])


def test_samples_are_asked_for_with_seeds_of_their_own(tmp_path: Path, stub: StubTeacher) -> None:
    config = config_for(tmp_path, stub, prompts(2), sampling={"max_tokens": 16, "samples": 3, "seed": 7})
    run(config)
    seeds = Counter(seen.json()["seed"] for seen in stub.seen if seen.prompt.startswith("question"))
    assert seeds == {7: 2, 8: 2, 9: 2}
    rows = table(config, "completions")
    assert sorted((row["prompt_id"], row["sample_index"]) for row in rows) == sorted(
        (prompt_id, index) for prompt_id in {row["prompt_id"] for row in rows} for index in range(3)
    )
    assert len({row["response"] for row in rows}) == 6, "the stub answers by seed"


def test_teachers_of_three_protocols_answer_in_one_harvest(tmp_path: Path, stub: StubTeacher) -> None:
    protocols = ("openai-chat", "openai-completions", "anthropic-messages")
    teachers = [teacher(name=name, protocol=name, base_url=stub.base_url) for name in protocols]
    config = config_for(tmp_path, stub, prompts(8), teachers=teachers)
    report = run(config)
    assert report.rows == {"ok": 24}
    assert Counter(row["teacher"] for row in table(config, "completions")) == dict.fromkeys(protocols, 8)
    paths = Counter(seen.path for seen in stub.seen if seen.prompt.startswith("question"))
    assert paths == {"/v1/chat/completions": 8, "/v1/completions": 8, "/v1/messages": 8}
    assert problems(config) == []


def test_a_limit_plans_no_more_and_a_later_run_without_it_asks_only_the_rest(tmp_path: Path, stub: StubTeacher) -> None:
    config = config_for(tmp_path, stub, prompts(12))
    assert run(config, HarvestOptions(limit=5)).rows == {"ok": 5}
    before = stub.received
    assert run(config).rows == {"ok": 12}
    assert stub.received - before == 7


# Again ----------------------------------------------------------------------------------------------------------------


def test_a_run_with_nothing_to_do_makes_no_call_and_leaves_the_manifest_as_it_is(tmp_path: Path) -> None:
    with StubTeacher() as stub:
        config = config_for(tmp_path, stub, prompts(10))
        run(config)
    before = manifest_of(config)
    report = run(config)  # and nobody listens there any more
    assert manifest_of(config) == before
    assert (report.rows, report.requests_sent, report.responses_reused) == ({"ok": 10}, 0, 10)
    assert report.exit_code == 0


def test_added_prompts_are_asked_and_the_others_reused(tmp_path: Path, stub: StubTeacher) -> None:
    first = run(config_for(tmp_path, stub, prompts(10)))
    before, old = stub.received, leaves(config_for(tmp_path, stub, prompts(10)))
    config = config_for(tmp_path, stub, prompts(14))
    report = run(config)
    assert sorted(seen.prompt for seen in stub.seen[before:]) == sorted(prompts(4, first=10))
    assert (report.rows, report.requests_sent, report.responses_reused) == ({"ok": 14}, 4, 10)
    assert old.items() <= leaves(config).items(), "not one leaf of the old rows moved"
    assert {row["run_id"] for row in table(config, "completions")} == {first.run_id, report.run_id}
    assert problems(config) == []


def test_a_prompt_that_is_taken_out_loses_its_row_and_keeps_its_calls(tmp_path: Path, stub: StubTeacher) -> None:
    run(config_for(tmp_path, stub, prompts(10)))
    config, before = config_for(tmp_path, stub, prompts(6)), stub.received
    assert run(config).rows == {"ok": 6}
    assert (len(ledger(config)), len(table(config, "journal"))) == (11, 11)
    config = config_for(tmp_path, stub, prompts(10))
    assert run(config).rows == {"ok": 10}
    assert stub.received == before, "put back, it is not paid for again"


def test_reparse_rebuilds_every_row_without_a_call_or_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_KEY", "sk-of-the-stub-0123")
    with StubTeacher() as stub:
        keyed = [teacher(base_url=stub.base_url, api_key_env="STUB_KEY")]
        config = config_for(tmp_path, stub, [*prompts(10), "unwanted [[fault:status=400]]"], teachers=keyed)
        run(config)
    monkeypatch.delenv("STUB_KEY")
    before = {name: table(config, name) for name in ("completions", "failed", "journal")}
    for file in Path(config.output.uri, "completions").iterdir():
        file.unlink()
    report = run(config, REPARSE)
    assert {name: table(config, name) for name in before} == before
    assert (report.requests_sent, report.responses_reused) == (0, 10)
    sealed = json.loads(manifest_of(config))
    assert sealed["event"] == "reparse"
    assert problems(config) == []


def test_reparse_of_what_was_never_harvested_is_refused(tmp_path: Path, stub: StubTeacher) -> None:
    with pytest.raises(ConfigError, match="has no journal"):
        run(config_for(tmp_path, stub, prompts(2)), REPARSE)
    assert stub.received == 0


def test_what_failed_is_asked_again_by_the_next_run(tmp_path: Path, stub: StubTeacher) -> None:
    config = config_for(tmp_path, stub, [*prompts(5), "busy [[fault:status=503 times=1]]"], retry={"max_attempts": 1})
    first = run(config)
    assert (first.rows, first.left, first.exit_code) == ({"ok": 5, "failed": 1}, {"server_error": 1}, 5)
    before = stub.received
    second = run(config)
    assert (second.rows, second.left, second.exit_code) == ({"ok": 6}, {}, 0)
    assert [seen.prompt for seen in stub.seen[before:]] == ["busy [[fault:status=503 times=1]]"]
    assert max(row["attempts"] for row in table(config, "completions")) == 2
    assert table(config, "failed") == []


def test_a_larger_limit_that_is_set_later_is_used_by_the_next_run_and_once(tmp_path: Path, stub: StubTeacher) -> None:
    asked = [*prompts(3), "long [[fault:truncated until=64]]", "endless [[fault:truncated]]"]
    first = run(config_for(tmp_path, stub, asked))
    assert first.rows == {"ok": 3, "truncated": 2}
    config, before = config_for(tmp_path, stub, asked, retry={"truncated_max_tokens": 64}), stub.received
    assert run(config).rows == {"ok": 4, "truncated": 1}
    assert [seen.json()["max_tokens"] for seen in stub.seen[before:]] == [64, 64]
    limits = Counter(json.loads(row["sampling"])["max_tokens"] for row in table(config, "completions"))
    assert limits == {16: 3, 64: 2}, "a row says with what limit it was asked"
    sealed = manifest_of(config)
    run(config)
    assert manifest_of(config) == sealed


# The budget -----------------------------------------------------------------------------------------------------------

PRICED = {"price_usd_per_million_tokens": {"input": 1000, "output": 1000}}


def test_at_the_budget_the_run_ends_with_5_and_names_what_is_left(tmp_path: Path, stub: StubTeacher) -> None:
    teachers = [teacher(base_url=stub.base_url, limits={"max_in_flight": 2}, **PRICED)]
    config = config_for(tmp_path, stub, prompts(40), teachers=teachers, budget={"max_usd": "0.3"})
    report = run(config)
    answered = report.rows["ok"]
    assert 0 < answered < 40
    assert (report.left, report.exit_code) == ({"budget": 40 - answered}, 5)
    assert report.cost_usd == sum(row["cost_usd"] for row in ledger(config)) <= Decimal("0.3")
    assert {row["cause"] for row in table(config, "failed")} == {"budget"}
    assert problems(config) == []

    before = stub.received
    rest = run(config, HarvestOptions(max_usd=Decimal(10)))
    assert (rest.rows, stub.received - before) == ({"ok": 40}, 40 - answered)


def test_a_budget_without_room_for_the_probe_makes_no_call_at_all(tmp_path: Path, stub: StubTeacher) -> None:
    config = config_for(tmp_path, stub, prompts(3), budget={"max_tokens_total": 0})
    assert probe_costs(config).tokens > 0
    report = run(config)
    assert stub.received == 0
    assert (report.rows, report.left) == ({"failed": 3}, {"budget": 3})
    assert problems(config) == []


# Stopped and killed ---------------------------------------------------------------------------------------------------


@contextmanager
def started(config: HarvestConfig, folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`tutelage harvest` in a process group of its own, which is gone when the context ends."""
    file = folder / "harvest.yaml"
    file.write_text(yaml.safe_dump(json.loads(config.model_dump_json(exclude_defaults=True))))
    command = [sys.executable, "-c", "from tutelage.cli.main import run; run()", "harvest", str(file), "--json"]
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    with (
        (folder / "stderr").open("w") as stderr,
        subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            if group_is_alive(process):
                os.killpg(process.pid, signal.SIGKILL)


def group_is_alive(process: subprocess.Popen[str]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def while_it_runs(process: subprocess.Popen[str], folder: Path, condition: Callable[[], bool]) -> None:
    def holds() -> bool:
        assert process.poll() is None, (folder / "stderr").read_text()
        return condition()

    eventually(holds)


def of_ours(stub: StubTeacher) -> list[str]:
    """Prompts in the order in which they were asked, the probe's left out."""
    return [seen.prompt for seen in stub.seen if seen.prompt.startswith("question")]


def test_an_interrupted_run_drains_and_seals_and_the_next_one_asks_exactly_the_rest(tmp_path: Path) -> None:
    with StubTeacher(latency=0.05) as stub:
        teachers = [teacher(base_url=stub.base_url, limits={"max_in_flight": 4})]
        config = config_for(tmp_path, stub, prompts(150), teachers=teachers)
        with started(config, tmp_path) as process:
            while_it_runs(process, tmp_path, lambda: stub.answered > 20)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=30)
        assert process.returncode == 5
        report = json.loads(said)
        answered = report["rows"]["ok"]
        assert answered == len(of_ours(stub)) < 150
        assert report["left"] == {"interrupted": 150 - answered}
        assert [halt["cause"] for halt in report["stopped"]] == ["interrupted"]
        assert problems(config) == []

        asked = of_ours(stub)
        rest = run(config)
        assert (rest.rows, rest.requests_sent) == ({"ok": 150}, 150 - answered)
        assert sorted(of_ours(stub)) == sorted(prompts(150))
        assert set(of_ours(stub)[len(asked) :]).isdisjoint(asked)
    assert problems(config) == []


def test_a_second_interrupt_ends_the_run_at_once_and_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    stalled = [f"question {number} [[fault:stalled_body times=1]]" for number in range(100, 103)]
    with StubTeacher() as stub:
        config = config_for(tmp_path, stub, [*stalled, *prompts(30)])
        with started(config, tmp_path) as process:
            while_it_runs(process, tmp_path, lambda: len(of_ours(stub)) == 33 and stub.answered == 31)
            process.send_signal(signal.SIGINT)
            eventually(lambda: "Ctrl-C again" in (tmp_path / "stderr").read_text())
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        assert not Path(config.output.uri, "manifest.json").exists()
        before = len(of_ours(stub))
        report = run(config)
        assert sorted(of_ours(stub)[before:]) == stalled
        assert (report.rows, report.repaid) == ({"ok": 33}, 3)
    assert problems(config) == []


def test_after_kill_9_no_more_is_paid_for_again_than_was_in_flight(tmp_path: Path) -> None:
    with StubTeacher(latency=0.02) as stub:
        teachers = [teacher(base_url=stub.base_url, limits={"max_in_flight": 4})]
        config = config_for(tmp_path, stub, prompts(200), teachers=teachers)
        with started(config, tmp_path) as process:
            while_it_runs(process, tmp_path, lambda: stub.answered > 50)
            process.kill()
            process.wait(30)
        report = run(config)
        assert report.rows == {"ok": 200}
        assert len(of_ours(stub)) - 200 <= report.repaid <= 4, "a call may be marked as sent and not be out yet"
    assert len({row["request_id"] for row in table(config, "completions")}) == 200
    assert sum(row["kind"] == "lost" for row in ledger(config)) == report.repaid
    assert problems(config) == []


# Many processes -------------------------------------------------------------------------------------------------------


def test_two_processes_share_the_work_and_the_limits(tmp_path: Path) -> None:
    with StubTeacher(latency=0.02) as stub:
        teachers = [teacher(base_url=stub.base_url, limits={"max_in_flight": 6})]
        output = {"uri": str(tmp_path / "dataset"), "shards": 8}
        config = config_for(tmp_path, stub, prompts(120), teachers=teachers, output=output)
        report = run(config, TWO_PROCESSES)
        assert stub.max_in_flight <= 6
    assert report.rows == {"ok": 120}
    # A journaled call is named by its writer; the probe's is the third.
    writers = {row["call_id"].partition("-")[0] for row in table(config, "journal")}
    assert len(writers) == 3
    assert problems(config) == []


def test_workers_end_when_the_process_that_drives_them_is_killed(tmp_path: Path) -> None:
    with StubTeacher(latency=0.05) as stub:
        teachers = [teacher(base_url=stub.base_url, limits={"max_in_flight": 4})]
        config = config_for(tmp_path, stub, prompts(1000), teachers=teachers)
        with started(config, tmp_path, *TWO_PROCESSES.beam_args) as process:
            while_it_runs(process, tmp_path, lambda: stub.answered > 20)
            process.kill()
            process.wait(30)
            eventually(lambda: not group_is_alive(process), "for the workers to end")
        answered = stub.answered
    with StubTeacher() as quick:
        assert run(config_for(tmp_path, quick, prompts(1000))).rows == {"ok": 1000}
        assert 1000 - answered <= quick.answered <= 1000 - answered + 4 + 1, (
            "what was in flight, and the probe's answer"
        )


def test_limits_that_can_not_be_divided_are_refused_before_a_call(tmp_path: Path, stub: StubTeacher) -> None:
    teachers = [teacher(base_url=stub.base_url, limits={"max_in_flight": 1})]
    with pytest.raises(ConfigError, match="max_in_flight 1 can't be divided among 2 processes"):
        run(config_for(tmp_path, stub, prompts(2), teachers=teachers), TWO_PROCESSES)
    assert stub.received == 0


# Places and surroundings ----------------------------------------------------------------------------------------------


def test_a_dataset_can_lie_on_an_object_store(tmp_path: Path, stub: StubTeacher) -> None:
    output = {"uri": "memory://harvests/on-an-object-store", "shards": 2}
    config = config_for(tmp_path, stub, prompts(10), output=output)
    store = fsspec.filesystem("memory")
    try:
        assert run(config).rows == {"ok": 10}
        assert problems(config) == []
        assert run(config).requests_sent == 0
        more = config_for(tmp_path, stub, prompts(13), output=output)
        before = stub.received
        assert run(more).rows == {"ok": 13}
        assert stub.received - before == 3
        assert problems(more) == []
        assert run(more, REPARSE).rows == {"ok": 13}
        assert not Folder(output["uri"]).list("journal/*.seg")
        assert not Folder(output["uri"]).exists(".lock")
    finally:
        store.rm("/harvests", recursive=True)


def test_a_display_that_fails_stops_the_asking(tmp_path: Path) -> None:
    class Broken(Watcher):
        def progress(self, plan: Plan, lanes: dict[str, Counter[str]]) -> None:
            if lanes:
                raise BrokenPipeError("whoever read the display has gone")

    with StubTeacher(latency=0.1) as stub:
        teachers = [teacher(base_url=stub.base_url, limits={"max_in_flight": 2})]
        config = config_for(tmp_path, stub, prompts(500), teachers=teachers)
        with pytest.raises(BrokenPipeError):
            run(config, watcher=Broken())
        assert len(of_ours(stub)) < 500
        assert stub.in_flight == 0, "nobody asks on behind the caller's back"


def test_a_run_leaves_nothing_beside_its_dataset(
    tmp_path: Path, stub: StubTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    config = config_for(tmp_path, stub, prompts(3))
    run(config)
    assert list(temporary.glob("tutelage-*")) == []
    names = {path.name for path in Path(config.output.uri).rglob("*") if path.is_file()}
    assert not {name for name in names if name.endswith((".unfinished", ".seg", ".lock"))}
