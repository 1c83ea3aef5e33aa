"""Bad input gets a clear answer, and nothing is lost: whole harvests, through Beam, on a teacher that lies.

What a teacher can do to one answer, and what a prompt file can hold, share one harvest: `ledger` and `rows` show what
became of each. What ends a run has a harvest of its own.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import yaml
from harvest_scene import config_of, eventually, teacher
from small_disk import files_of_at_most
from stub_teacher import StubTeacher, unused_port

from tutelage.cli.main import run
from tutelage.pipelines.config import HarvestConfig
from tutelage.pipelines.harvest import HarvestOptions, HarvestReport, Watcher, harvest
from tutelage.pipelines.journal_index import JournalIndex
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.verify import verify
from tutelage.schemas.errors import (
    ConfigError,
    ContractError,
    DatasetHeld,
    StorageError,
    TeacherError,
)

RETRY = {"max_attempts": 2, "timeout_s": 0.5}


def config_for(folder: Path, stub: StubTeacher, prompts: list[dict[str, Any]], **changed: Any) -> HarvestConfig:
    sections: dict[str, Any] = {"teachers": [teacher(base_url=stub.base_url)], "retry": RETRY}
    return config_of(folder, prompts, **{**sections, **changed})


def goods(count: int) -> list[dict[str, Any]]:
    return [{"id": f"good-{number}", "prompt": f"a good question, number {number}"} for number in range(count)]


def asked(
    config: HarvestConfig, options: HarvestOptions | None = None, watcher: Watcher | None = None
) -> HarvestReport:
    return harvest(config, options or HarvestOptions(), watcher)


def table(config: HarvestConfig, pattern: str) -> list[dict[str, Any]]:
    files = sorted(Path(config.output.uri).glob(pattern))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# What a teacher can do to one answer -------------------------------------------------------------------------------


class Told(NamedTuple):
    """A fault, the table that the request ends in, its outcome or cause there, and every call's word in the ledger."""

    fault: str
    table: str
    ends_as: str
    calls: tuple[str, ...]


def passes(fault: str, cause: str) -> Told:
    """A fault that is asked again, and then answered."""
    return Told(f"{fault} times=1", "completions", "ok", (cause, "ok"))


def stays(fault: str, cause: str) -> Told:
    """A fault that every call of the request meets: given up after `max_attempts`."""
    return Told(fault, "failed", cause, (cause, cause))


def is_kept(fault: str, outcome: str = "ok", cause: str = "ok") -> Told:
    return Told(fault, "completions", outcome, (cause,))


def is_final(fault: str, cause: str) -> Told:
    """A refusal: asking again would be the same again."""
    return Told(fault, "failed", cause, (cause,))


TOLD = [
    passes("html200", "not_json"),
    passes("cut_json", "not_json"),
    passes("error_in_200", "error_in_200"),
    passes("empty_choices", "no_choices"),
    passes("wrong_content_length=longer", "broken_body"),
    passes("wrong_content_length=shorter", "protocol"),
    passes("stalled_body", "timeout"),
    passes("stalled_body=100", "timeout"),
    passes("infinite_body", "too_large"),
    passes("reset", "broken_body"),
    passes("reset=headers", "broken_body"),
    passes("gzip=broken", "protocol"),
    passes("status=408", "try_later"),
    passes("status=429 retry_after=0", "rate_limited"),
    passes("status=500", "server_error"),
    passes("status=503 retry_after=0", "server_error"),
    passes("status=529", "server_error"),
    stays("html200", "not_json"),
    stays("cut_json", "not_json"),
    stays("error_in_200", "error_in_200"),
    stays("status=500", "server_error"),
    is_final("redirect", "redirect"),
    is_final("status=400", "request_refused"),
    is_final("status=403", "unauthorized"),
    is_final("status=404", "request_refused"),
    is_final("error_in_200=invalid_request_error", "error_in_200"),
    is_kept("empty_answer", "invalid", "empty_answer"),
    is_kept("truncated", "truncated", "max_tokens"),
    is_kept("filtered", "filtered", "content_filter"),
    is_kept("refused", "refused", "refusal"),
    is_kept("slow_drip every_s=0.001 bytes=64"),
    is_kept("no_keepalive"),
    is_kept("huge_body=2"),
    is_kept("gzip"),
    is_kept("bad_utf8"),
    is_kept("lone_surrogate"),
    is_kept("nul"),
    is_kept("wrong_model=another"),
    is_kept("fingerprint=fp_other"),
]


# What a prompt file can hold ---------------------------------------------------------------------------------------

BAD_LINES = {
    "a row without text": (b'{"id": "no-text", "question": "?"}', "no_text", "question"),
    "an empty text": (b'{"id": "empty", "prompt": "  "}', "no_text", "empty"),
    "a null": (b'{"id": "null", "prompt": null}', "no_text", "null"),
    "a number": (b'{"id": "number", "prompt": 7}', "wrong_type", "int"),
    "a list that is no message": (b'{"id": "list", "messages": ["hello"]}', "wrong_type", "content"),
    "a NUL": (b'{"id": "nul", "prompt": "a\\u0000b"}', "nul", "NUL"),
    "a lone surrogate": (b'{"id": "surrogate", "prompt": "half \\ud83d"}', "lone_surrogate", "surrogate"),
    "2 MB of text": (b'{"id": "large", "prompt": "%s"}' % (b"x" * 2_000_000), "too_large", "2,000,000"),
    "an id of another text": (b'{"id": "good-0", "prompt": "not the text of good-0"}', "duplicate_id", "good-0"),
    "a line that breaks off": (b'{"id": "cut", "prompt": "half of', "unreadable_json", "JSON"),
    "a list in place of an object": (b'["prompt"]', "not_an_object", "list"),
}


@dataclass
class Harvested:
    """The one harvest of all teacher faults and all bad lines."""

    report: HarvestReport
    config: HarvestConfig
    stub: StubTeacher
    rows: dict[str, tuple[str, dict[str, Any]]]
    ledger: dict[str, list[str]]
    rejected: dict[int, dict[str, Any]]
    first_bad_line: int


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Harvested:
    folder = tmp_path_factory.mktemp("faults")
    prompts = goods(len(TOLD))
    for place, told in enumerate(TOLD):
        prompts.insert(2 * place, {"id": told.fault, "prompt": f"[[fault:{told.fault}]]"})
    with StubTeacher() as stub:
        # Long enough for the 64 MiB of an endless body on a loaded machine.
        config = config_for(folder, stub, prompts, retry={**RETRY, "timeout_s": 2})
        with (folder / "prompts.jsonl").open("ab") as file:
            file.writelines(line + b"\n" for line, _, _ in BAD_LINES.values())
            file.write(b'{"id": "after", "prompt": "a good question after the bad lines"}\n')
        report = asked(config)
    rows: dict[str, tuple[str, dict[str, Any]]] = {}
    for name in ("completions", "failed"):
        for row in table(config, f"{name}/*.parquet"):
            assert row["prompt_id"] not in rows, "a request with two rows"
            rows[row["prompt_id"]] = (name, row)
    ids = {row["request_id"]: prompt_id for prompt_id, (_, row) in rows.items()}
    ledger = defaultdict(list)
    for call in sorted(table(config, "ledger.parquet"), key=lambda call: call["attempt"]):
        ledger[ids.get(call["request_id"], call["kind"])].append(call["cause"])
    rejected = {row["prompt_source_row"]: row for row in table(config, "rejected.parquet")}
    return Harvested(report, config, stub, rows, ledger, rejected, len(prompts) + 1)


@pytest.mark.parametrize("told", TOLD, ids=lambda told: told.fault)
def test_a_fault_of_one_answer_concerns_that_request_alone(harvested: Harvested, told: Told) -> None:
    where, row = harvested.rows[told.fault]
    assert (where, row.get("outcome") or row["cause"]) == (told.table, told.ends_as)
    assert tuple(harvested.ledger[told.fault]) == told.calls
    assert harvested.stub.asked(f"[[fault:{told.fault}]]") == len(told.calls) == row["attempts"]


def test_every_good_prompt_between_the_faults_is_answered_at_once(harvested: Harvested) -> None:
    for number in range(len(TOLD)):
        where, row = harvested.rows[f"good-{number}"]
        assert (where, row["outcome"], row["attempts"]) == ("completions", "ok", 1)


def test_no_planned_request_is_without_a_row_and_the_dataset_verifies(harvested: Harvested) -> None:
    planned = [row["prompt_id"] for row in table(harvested.config, "plan/*.parquet")]
    assert sorted(planned) == sorted(harvested.rows)
    assert verify(Folder(harvested.config.output.uri)).problems == []


def test_the_report_counts_what_is_left_by_its_cause_and_exits_with_5(harvested: Harvested) -> None:
    failed = Counter(told.ends_as for told in TOLD if told.table == "failed")
    assert harvested.report.left == failed
    assert harvested.report.rows["failed"] == failed.total()
    assert harvested.report.unusable_prompts == len(BAD_LINES)
    assert harvested.report.exit_code == 5
    assert harvested.report.halts == []


def test_a_failed_row_says_what_the_teacher_said(harvested: Harvested) -> None:
    assert "Captive portal" in harvested.rows["html200"][1]["detail"]
    assert harvested.rows["error_in_200"][1]["detail"] == "the upstream model is overloaded"
    assert harvested.rows["status=400"][1]["last_status"] == 400


def test_an_odd_answer_is_kept_as_it_is_or_with_replacement_characters(harvested: Harvested) -> None:
    text = {prompt_id: row.get("response", "") for prompt_id, (_, row) in harvested.rows.items()}
    assert text["nul"] == "a zero byte: \0."
    assert text["lone_surrogate"] == "half a pair: \N{REPLACEMENT CHARACTER}."
    assert "\N{REPLACEMENT CHARACTER}" in text["bad_utf8"]
    assert text["huge_body=2"] == "x" * (2 << 20)
    raw = {row["request_id"]: row["body"] for row in table(harvested.config, "journal/*.parquet")}
    assert b"\xff\xfe" in raw[harvested.rows["bad_utf8"][1]["request_id"]]


def test_another_model_and_another_fingerprint_are_told_row_by_row(harvested: Harvested) -> None:
    assert harvested.rows["wrong_model=another"][1]["model_reported"] == "another"
    assert harvested.rows["wrong_model=another"][1]["model_requested"] == "model-of-t"
    assert harvested.rows["fingerprint=fp_other"][1]["system_fingerprint"] == "fp_other"


def test_a_redirect_is_not_followed(harvested: Harvested) -> None:
    assert [seen.path for seen in harvested.stub.seen if not seen.path.endswith("/chat/completions")] == []


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_rejected_with_its_number_and_reason(harvested: Harvested, name: str) -> None:
    number = harvested.first_bad_line + list(BAD_LINES).index(name)
    _, cause, words = BAD_LINES[name]
    row = harvested.rejected[number]
    assert row["cause"] == cause
    assert words in row["detail"]


def test_lines_around_the_bad_ones_are_asked(harvested: Harvested) -> None:
    assert len(harvested.rejected) == len(BAD_LINES)
    assert harvested.rows["after"][1]["outcome"] == "ok"


def test_when_only_failing_prompts_are_left_the_run_stops_waiting_and_says_so(tmp_path: Path) -> None:
    broken = [{"id": f"b{number}", "prompt": f"[[fault:status=500]] {number}"} for number in range(10)]
    with StubTeacher() as stub:
        report = asked(config_for(tmp_path, stub, goods(5) + broken, retry={**RETRY, "max_outage_s": 6}))
    assert report.left == {"server_error": 10}
    assert report.rows == {"failed": 10, "ok": 5}
    assert [halt.cause for halt in report.halts] == ["outage"]


def test_prompts_that_hang_do_not_keep_the_others_from_being_asked(tmp_path: Path) -> None:
    """They fill the window and open the breaker: what is sent then, to see if the teacher is back, must be another."""
    hanging = [{"id": f"h{number}", "prompt": f"[[fault:stalled_body]] {number}"} for number in range(8)]
    with StubTeacher() as stub:
        teachers = [teacher(base_url=stub.base_url, limits={"max_in_flight": 8})]
        report = asked(
            config_for(tmp_path, stub, hanging + goods(30), teachers=teachers, retry={**RETRY, "max_outage_s": 6})
        )
    assert report.rows == {"failed": 8, "ok": 30}


# What ends a run ---------------------------------------------------------------------------------------------------


@pytest.fixture
def good_stub() -> Iterator[StubTeacher]:
    with StubTeacher() as stub:
        yield stub


def test_a_refused_key_stops_before_anything_is_asked(tmp_path: Path) -> None:
    with StubTeacher(faults=["always:status=401"]) as stub:
        config = config_for(tmp_path, stub, goods(500))
        with pytest.raises(TeacherError, match=r"answered 401 .*give a key that it takes.*Nothing was asked yet"):
            asked(config)
    assert stub.received == 1


def test_a_key_that_is_revoked_midway_stops_at_once_and_the_next_run_asks_the_rest(tmp_path: Path) -> None:
    at_once = {"max_in_flight": 8}
    with StubTeacher(faults=["after=101:status=401"], latency=0.001) as stub:
        config = config_for(tmp_path, stub, goods(400), teachers=[teacher(base_url=stub.base_url, limits=at_once)])
        with pytest.raises(TeacherError, match=r"300 of 400 requests are left.*the same command asks the rest"):
            asked(config)
        assert stub.received <= 101 + at_once["max_in_flight"]
        assert stub.answered == 101  # the first was the probe
        assert verify(Folder(config.output.uri)).rows == 100
        stub.schedule.clear()
        report = asked(config)
    assert (report.rows, report.responses_reused, report.repaid) == ({"ok": 400}, 100, 0)
    assert stub.answered == 401


def test_a_teacher_that_redirects_everything_is_not_followed_with_the_key(tmp_path: Path) -> None:
    with StubTeacher(faults=["always:redirect"]) as stub:
        with pytest.raises(
            TeacherError, match="a redirect, which is never followed with a key; name the final base_url"
        ):
            asked(config_for(tmp_path, stub, goods(3)))
        assert [seen.path for seen in stub.seen] == ["/v1/chat/completions"]


def test_a_certificate_that_nobody_vouches_for_ends_the_run(tmp_path: Path) -> None:
    with StubTeacher(tls=True) as stub:
        config = config_for(tmp_path, stub, goods(3))
        with pytest.raises(
            TeacherError, match=r"TLS certificate is not one that this machine trusts.*Nothing was asked"
        ):
            asked(config)
    assert stub.received == 0


def test_a_port_that_nobody_listens_on_ends_the_run_and_a_later_one_does_the_work(tmp_path: Path) -> None:
    port = unused_port()
    there = [teacher(base_url=f"http://127.0.0.1:{port}/v1")]
    config = config_of(tmp_path, goods(3), teachers=there, retry=RETRY)
    with pytest.raises(TeacherError, match=rf"127\.0\.0\.1:{port}.*nothing answers there; start the teacher"):
        asked(config)
    with StubTeacher(port=port):
        assert asked(config).rows == {"ok": 3}


def test_a_teacher_that_goes_down_for_a_while_costs_time_and_no_row(tmp_path: Path) -> None:
    with StubTeacher(latency=0.01, faults=["at=40:down=0.7"]) as stub:
        limits = {"max_in_flight": 4}
        report = asked(config_for(tmp_path, stub, goods(80), teachers=[teacher(base_url=stub.base_url, limits=limits)]))
    assert report.rows == {"ok": 80}
    # A reset also takes what had arrived and was not read: those calls were answered, and could not be heard.
    assert stub.answered <= 1 + 80 + limits["max_in_flight"]


# The folder --------------------------------------------------------------------------------------------------------


def test_a_folder_that_another_run_holds_is_refused_with_its_pid_and_taken_over_when_that_is_killed(
    tmp_path: Path,
) -> None:
    waiting = {"id": "waiting", "prompt": "[[fault:stalled_body times=1]]"}
    everything_is_asked = threading.Event()

    def note(number: int) -> None:
        if number == 1 + 6:  # the first is the probe
            everything_is_asked.set()

    with StubTeacher(on_request=note) as stub:
        config = config_for(tmp_path, stub, [*goods(5), waiting], retry={**RETRY, "timeout_s": 60})
        holder = subprocess.Popen([*tutelage, "harvest", written(config, tmp_path)], stderr=subprocess.DEVNULL)
        try:
            assert everything_is_asked.wait(30)
            eventually(lambda: answers_in_the_journal(config) == 5)
            with pytest.raises(DatasetHeld, match=rf"held by process {holder.pid} .*wait for it, or stop it"):
                asked(config)
        finally:
            holder.kill()
            holder.wait()
        assert holder.returncode == -signal.SIGKILL
        report = asked(config)
    assert (report.rows, report.responses_reused, report.repaid) == ({"ok": 6}, 5, 1)
    assert (stub.asked("good"), stub.asked("stalled")) == (5, 2)


def answers_in_the_journal(config: HarvestConfig) -> int:
    requests = JournalIndex(Folder(config.output.uri)).requests_in(0, 1)
    return sum(call.kind == "ask" for calls in requests for call in calls)


def test_a_folder_that_another_config_made_is_refused_with_the_difference_and_left_as_it_was(
    tmp_path: Path, good_stub: StubTeacher
) -> None:
    asked(config_for(tmp_path, good_stub, goods(3), sampling={"max_tokens": 16}))
    before, received = snapshot(tmp_path / "dataset"), good_stub.received
    other = config_for(tmp_path, good_stub, goods(4), sampling={"max_tokens": 32})
    with pytest.raises(ConfigError, match=r"(?s)another config.*sampling\.max_tokens: 16 -> 32\n.*another output\.uri"):
        asked(other)
    assert snapshot(tmp_path / "dataset") == before
    assert good_stub.received == received


def rewritten_json(name: str, **changed: Any) -> Callable[[Path], None]:
    def rewrite(dataset: Path) -> None:
        document = json.loads((dataset / name).read_text())
        (dataset / name).write_text(json.dumps({**document, **changed}))

    return rewrite


def newer_footer(pattern: str) -> Callable[[Path], None]:
    def rewrite(dataset: Path) -> None:
        (file,) = dataset.glob(pattern)
        found = pq.read_table(file)
        name = found.schema.metadata[b"tutelage.contract"].decode().partition("/")[0]
        pq.write_table(found.replace_schema_metadata({"tutelage.contract": f"{name}/2"}), file)

    return rewrite


NEWER: dict[str, Callable[[Path], None]] = {
    "manifest.json": rewritten_json("manifest.json", version=2),
    "run.json": rewritten_json("run.json", contract="run/2"),
    "journal/part-": newer_footer("journal/part-*.parquet"),
}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    with StubTeacher() as stub:
        asked(config_for(folder, stub, goods(3)))
    return folder / "dataset"


@pytest.mark.parametrize("name", NEWER)
def test_a_dataset_of_a_newer_version_is_refused_by_name_and_left_as_it_was(
    tmp_path: Path, sealed: Path, good_stub: StubTeacher, name: str
) -> None:
    shutil.copytree(sealed, tmp_path / "dataset")
    NEWER[name](tmp_path / "dataset")
    before = snapshot(tmp_path / "dataset")
    with pytest.raises(ContractError, match=rf"{name}.*newer than this tutelage reads.*upgrade"):
        asked(config_for(tmp_path, good_stub, goods(4)))
    assert snapshot(tmp_path / "dataset") == before
    assert good_stub.received == 0


def test_completions_of_a_newer_version_are_named_by_verify(tmp_path: Path, sealed: Path) -> None:
    shutil.copytree(sealed, tmp_path / "dataset")
    newer_footer("completions/*")(tmp_path / "dataset")
    problems = "\n".join(verify(Folder(str(tmp_path / "dataset"))).problems)
    assert "contract completions/2 is newer than this tutelage reads (completions/1); upgrade tutelage" in problems


SAFE = r"what was journaled before is safe\. Make room .*run the same command again"


def test_a_disk_that_is_full_from_the_start_is_told_before_a_call_is_made(
    tmp_path: Path, good_stub: StubTeacher
) -> None:
    config = config_for(tmp_path, good_stub, goods(3))
    with files_of_at_most(100_000), pytest.raises(StorageError, match=SAFE):
        asked(config)
    assert good_stub.received == 0
    assert asked(config).rows == {"ok": 3}


def test_a_disk_that_fills_up_stops_the_asking_and_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    large = [{"id": str(number), "prompt": f"[[fault:huge_body=1]] {number}"} for number in range(40)]
    with StubTeacher() as stub:
        limits = {"max_in_flight": 2}
        config = config_for(tmp_path, stub, large, teachers=[teacher(base_url=stub.base_url, limits=limits)])
        with files_of_at_most(20 << 20), pytest.raises(StorageError, match=SAFE):
            asked(config)
        before = stub.asked("huge_body")
        assert 8 <= before < 40
        report = asked(config)
    assert report.rows == {"ok": 40}
    assert report.repaid == 0
    assert stub.asked("huge_body") == 40


def test_a_disk_that_is_full_when_the_seal_is_due_costs_no_answer(tmp_path: Path, good_stub: StubTeacher) -> None:
    class Filling(Watcher):
        def phase(self, name: str, detail: str = "") -> None:
            if name == "seal":
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    config = config_for(tmp_path, good_stub, goods(3))
    with files_of_at_most(1 << 30), pytest.raises(StorageError, match=SAFE):
        asked(config, watcher=Filling())
    assert good_stub.asked("good") == 3
    assert asked(config).rows == {"ok": 3}
    assert good_stub.asked("good") == 3
    assert verify(Folder(config.output.uri)).problems == []


# The command: what is wrong is said on stderr, in one message, with the exit code of its kind ------------------------

tutelage = [sys.executable, "-c", "from tutelage.cli.main import run; run()"]


def written(config: HarvestConfig, folder: Path, **changed: Any) -> str:
    path = folder / "harvest.yaml"
    path.write_text(yaml.safe_dump({**json.loads(config.model_dump_json(exclude_defaults=True)), **changed}))
    return str(path)


class Said(NamedTuple):
    exit_code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def in_process(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["tutelage", *arguments])
        with pytest.raises(SystemExit) as exited:
            run()
        code = exited.value.code
        return Said(code if isinstance(code, int) else 0, *capsys.readouterr())

    return in_process


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"samplign": {}}, "unknown key 'samplign'; did you mean 'sampling'?"),
        ({"sampling": {"max_token": 5}}, "unknown key 'sampling.max_token'; did you mean 'max_tokens'?"),
        ({"prompts": [{"uri": "nowhere.jsonl", "license": "CC0-1.0"}]}, "there is no file nowhere.jsonl"),
        (
            {"teachers": [teacher(api_key_env="NOT_SET_ANYWHERE")]},
            "the environment variable NOT_SET_ANYWHERE is not set",
        ),
    ],
)
def test_a_config_that_can_not_be_used_is_a_usage_error_and_leaves_no_dataset(
    tmp_path: Path, command: Callable[..., Said], changed: dict[str, Any], words: str, good_stub: StubTeacher
) -> None:
    said = command("harvest", written(config_for(tmp_path, good_stub, goods(1)), tmp_path, **changed), "--json")
    assert (said.exit_code, said.out) == (2, "")
    assert words in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "dataset" / "manifest.json").exists()
    assert good_stub.received == 0


def test_a_run_that_ends_in_an_error_midway_still_says_as_json_what_it_sealed(
    tmp_path: Path, command: Callable[..., Said]
) -> None:
    with StubTeacher(faults=["after=21:status=401"], latency=0.001) as stub:
        config = config_for(tmp_path, stub, goods(60), teachers=[teacher(base_url=stub.base_url)])
        said = command("harvest", written(config, tmp_path), "--json")
    found = json.loads(said.out)
    assert (said.exit_code, found["rows"]["ok"], found["stopped"][0]["cause"]) == (1, 20, "unauthorized")
    assert "40 of 60 requests are left" in said.err


def test_failed_rows_end_the_command_with_5_and_one_json_object(
    tmp_path: Path, command: Callable[..., Said], good_stub: StubTeacher
) -> None:
    prompts = [*goods(2), {"id": "x", "prompt": "[[fault:status=400]]"}]
    said = command("harvest", written(config_for(tmp_path, good_stub, prompts), tmp_path), "--json")
    assert said.exit_code == 5
    assert json.loads(said.out)["rows"] == {"failed": 1, "ok": 2}
    assert "Traceback" not in said.err


def test_a_teacher_that_is_not_there_ends_the_command_with_1_and_one_message(
    tmp_path: Path, command: Callable[..., Said]
) -> None:
    there = [teacher(base_url=f"http://127.0.0.1:{unused_port()}/v1")]
    said = command("harvest", written(config_of(tmp_path, goods(1), teachers=there), tmp_path), "--json")
    assert (said.exit_code, said.out) == (1, "")
    assert "nothing answers there; start the teacher, or mend base_url" in said.err
    assert "Traceback" not in said.err
