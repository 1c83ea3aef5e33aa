"""The harvest: gate, plan, probe, ask through Beam, rebuild rows from the journal, seal. Resumes whatever it finds."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from secrets import token_hex
from typing import Any

import pyarrow.compute as pc

from tutelage.pipelines.config import HarvestConfig, PicoUsd
from tutelage.pipelines.dataset_files import LEDGER_FILE, UNSEALED_SEGMENTS, digest_of, refuse_newer
from tutelage.pipelines.gate import Gate, open_gate
from tutelage.pipelines.job import ControlFolder, Halt, HarvestJob
from tutelage.pipelines.journal_index import JournalIndex
from tutelage.pipelines.plan import Plan, license_of, make_plan
from tutelage.pipelines.pricing import BudgetMeter, Cost
from tutelage.pipelines.probing import probe_costs, probe_teachers
from tutelage.pipelines.replay import spent_so_far
from tutelage.pipelines.run_record import (
    new_run,
    prices_by_run,
    read_runs,
    require_same_identity,
    terms_by_run,
    write_runs,
)
from tutelage.pipelines.seal import merge_ledger, read_manifest, seal
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import open_parquet
from tutelage.schemas.contracts import COMPLETIONS, FAILED, LEDGER
from tutelage.schemas.errors import DONE_WITH_FAILED_ROWS, ConfigError, StorageError, TeacherError
from tutelage.schemas.manifest import Manifest

INTERRUPTED = 130
"""Exit code of the second Ctrl-C, as shells give it to a command that SIGINT ended."""
FINAL_HALTS = ("unauthorized", "unreachable", "refused")
"""Reasons to stop that no second run mends by itself: the command ends with an error, after sealing what there is."""


@dataclass
class HarvestReport:
    """What a run did, as `harvest --json` prints it, and the exit code that follows from it."""

    run_id: str
    dataset: str
    rows: dict[str, int]
    requests_sent: int = 0
    responses_reused: int = 0
    repaid: int = 0
    tokens: dict[str, int] = field(default_factory=dict)
    cost_usd: Decimal = Decimal(0)
    elapsed_s: float = 0.0
    requests_per_second: float = 0.0
    left: dict[str, int] = field(default_factory=dict)
    unusable_prompts: int = 0
    halts: list[Halt] = field(default_factory=list)
    torn_bytes: int = 0
    root: str = ""

    @property
    def exit_code(self) -> int:
        return DONE_WITH_FAILED_ROWS if self.left or self.unusable_prompts else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "dataset": self.dataset,
            "rows": self.rows,
            "requests_sent": self.requests_sent,
            "responses_reused": self.responses_reused,
            "repaid": self.repaid,
            "tokens": self.tokens,
            "cost_usd": f"{self.cost_usd:f}",
            "elapsed_s": round(self.elapsed_s, 3),
            "requests_per_second": round(self.requests_per_second, 1),
            "left": self.left,
            "unusable_prompts": self.unusable_prompts,
            "stopped": [halt._asdict() for halt in self.halts],
            "journal_torn_bytes": self.torn_bytes,
            "merkle_root": self.root,
        }


class HarvestStopped(TeacherError):
    """A teacher can't be asked any more. `report` says what was sealed before."""

    def __init__(self, message: str, report: HarvestReport) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class HarvestOptions:
    """`runner` and `beam_args` go to Beam as they are. `max_usd` takes the place of the config's budget."""

    runner: str | None = None
    beam_args: tuple[str, ...] = ()
    max_usd: Decimal | None = None
    limit: int | None = None
    reparse: bool = False


class Watcher:
    """What a caller may show while a harvest runs. This one shows nothing."""

    def phase(self, name: str, detail: str = "") -> None:
        """A step begins: plan, probe, ask, seal."""

    def progress(self, plan: Plan, lanes: dict[str, Counter[str]]) -> None:
        """Called about five times a second while asking, with each teacher's counts over all processes."""

    def stopping(self) -> None:
        """The first Ctrl-C (or SIGTERM) was heard."""


def harvest(config: HarvestConfig, options: HarvestOptions, watcher: Watcher | None = None) -> HarvestReport:
    """Runs or resumes one harvest and seals the result; see HarvestReport for what comes back.

    Raises PolicyRefused before anything else, ConfigError for another config's folder, DatasetHeld where another run is
    in, TeacherError where a teacher can't be asked (what was answered before is sealed), StorageError on a full disk.
    """
    watcher = watcher or Watcher()
    gate = open_gate(config, {license_of(source) for source in config.prompts}, datetime.now(UTC).date())
    gate.require()
    for teacher in config.teachers if not options.reparse else ():
        teacher.api_key()
    folder = Folder(config.output.uri)
    with folder.held():
        return _Harvest(config, options, watcher, folder, gate).run()


class _Harvest:
    def __init__(
        self, config: HarvestConfig, options: HarvestOptions, watcher: Watcher, folder: Folder, gate: Gate
    ) -> None:
        self.config, self.options, self.watcher, self.folder, self.gate = config, options, watcher, folder, gate
        self.started = time.monotonic()
        started_at = datetime.now(UTC)
        self.run_id = f"{started_at:%Y%m%dT%H%M%SZ}-{token_hex(3)}"
        self.runs = read_runs(folder)
        require_same_identity(config, self.runs, folder.uri)
        self.record = new_run(config, self.run_id, started_at.isoformat(), gate.stamps)

    def run(self) -> HarvestReport:
        self.watcher.phase("plan")
        if self.options.reparse and not self.folder.list("journal/*"):
            raise ConfigError(
                f"{self.folder.uri}: has no journal to rebuild rows from; harvest without --reparse first"
            )
        # Before anything is written: a dataset that this version can't read is left as it is.
        manifest = read_manifest(self.folder)
        if manifest is not None and manifest.is_curated:
            raise ConfigError(
                f"{self.folder.uri}: holds a curated set, which a harvest would replace; name another output.uri"
            )
        refuse_newer(self.folder)
        planned = sum(entry.rows or 0 for entry in manifest.files if entry.path.startswith("plan/")) if manifest else 0
        if self.options.limit is not None and self.options.limit < planned:
            raise ConfigError(
                f"--limit {self.options.limit:,}: {self.folder.uri} holds {planned:,} planned requests already, "
                "and their rows would leave it; leave --limit out, or harvest into another folder"
            )
        plan = make_plan(self.config, self.folder, limit=self.options.limit)
        if manifest is not None and not self.options.reparse and self._nothing_to_do(manifest):
            return self._report(plan, manifest, asked_s=0.0, torn_bytes=0, halts=[])
        processes = self._processes()
        self._probe(plan)
        write_runs(self.folder, [*self.runs, self.record])
        control_dir = tempfile.mkdtemp(prefix="tutelage-")
        try:
            return self._ask_and_seal(plan, control_dir, processes)
        finally:
            shutil.rmtree(control_dir, ignore_errors=True)

    def _processes(self) -> int:
        from tutelage.pipelines.beam_pipeline import process_count

        processes = process_count(self.options.runner, self.options.beam_args)
        _require_shares(self.config, processes)
        return processes

    def _probe(self, plan: Plan) -> None:
        """Asks what the teachers can do, once a dataset: a resumed run pays for no second probe, a run whose budget
        has no room for it for none."""
        known = next((run["capabilities"] for run in reversed(self.runs) if run["capabilities"]), None)
        if known is None and not self.options.reparse and self._can_afford(probe_costs(self.config), plan):
            self.watcher.phase("probe")
            found = probe_teachers(self.config, self.folder, self.run_id)
            known = {name: capabilities._asdict() for name, capabilities in found.items()}
        self.record["capabilities"] = known or {}

    def _can_afford(self, wanted: Cost, plan: Plan) -> bool:
        spent = self._spent(JournalIndex(self.folder), plan)
        return BudgetMeter(*self._caps(), spent).reserve(wanted)

    def _ask_and_seal(self, plan: Plan, control_dir: str, processes: int) -> HarvestReport:
        from tutelage.pipelines.beam_pipeline import run_pipeline

        index = JournalIndex(self.folder)
        torn_bytes = index.torn_bytes
        job = self._job(plan, index, control_dir, processes)
        del index
        control = ControlFolder(control_dir)
        control.open()
        self.watcher.phase("ask")
        asking = time.monotonic()
        with _draining_on_signals(control, self.watcher):
            run_pipeline(
                job,
                plan.shards,
                self.options.runner,
                self.options.beam_args,
                ask=not self.options.reparse,
                while_running=lambda: self.watcher.progress(plan, progress_of(control)),
            )
        asked_s = time.monotonic() - asking
        halts = control.halts()
        storage = next((halt for halt in halts if halt.cause == "storage"), None)
        if storage:
            raise StorageError(storage.message)
        self.watcher.phase("seal")
        manifest = self._seal(halts)
        report = self._report(plan, manifest, asked_s, torn_bytes, halts)
        final = next((halt for halt in halts if halt.cause in FINAL_HALTS), None)
        if final:
            left = sum(report.left.values())
            raise HarvestStopped(
                f"{final.message}. {left:,} of {plan.requests:,} requests are left; what was answered is sealed in "
                f"{self.folder.uri}, and the same command asks the rest",
                report,
            )
        return report

    def _job(self, plan: Plan, index: JournalIndex, control_dir: str, processes: int) -> HarvestJob:
        max_pico_usd, max_tokens = self._caps()
        return HarvestJob(
            config=self.config,
            run_id=self.run_id,
            folder=self.folder,
            control_dir=control_dir,
            processes=processes,
            terms=terms_by_run(self.runs) | {self.run_id: self.gate.stamps},
            max_pico_usd=max_pico_usd,
            max_tokens=max_tokens,
            spent=self._spent(index, plan),
            prices=prices_by_run(self.runs),
            code_versions={run["run_id"]: run["code_version"] for run in self.runs},
        )

    def _caps(self) -> tuple[PicoUsd | None, int | None]:
        max_usd = self.config.budget.max_usd if self.options.max_usd is None else self.options.max_usd
        return None if max_usd is None else int(max_usd.scaleb(12)), self.config.budget.max_tokens_total

    def _spent(self, index: JournalIndex, plan: Plan) -> Cost:
        if self._caps() == (None, None):
            return Cost(0, 0, "none")  # nobody asks, and it takes a look at every call
        return spent_so_far(self.config, self.folder, index, plan.shards, prices_by_run(self.runs))

    def _seal(self, halts: list[Halt]) -> Manifest:
        merge_ledger(self.folder)
        self.record["ended_at"] = datetime.now(UTC).isoformat()
        self.record["stopped"] = [halt._asdict() for halt in halts]
        runs = [*self.runs, self.record]
        write_runs(self.folder, runs)
        manifest = seal(
            self.folder,
            "reparse" if self.options.reparse else "harvest",
            [run["run_id"] for run in runs],
            self.gate.sealed(),
            self.gate.texts,
        )
        # Only now: until the seal stands, the segments are the only durable copy of some answers.
        for name in self.folder.list(UNSEALED_SEGMENTS):
            self.folder.delete(name)
        return manifest

    def _nothing_to_do(self, manifest: Manifest) -> bool:
        if self.folder.list(UNSEALED_SEGMENTS) or any(_failed_retryable(self.folder)):
            return False
        if self.config.retry.truncated_max_tokens != self.runs[-1]["config"]["retry"]["truncated_max_tokens"]:
            return False  # a larger limit, set since, is for answers that were cut off before
        sealed = {entry.path: entry.sha256 for entry in manifest.files if entry.path.startswith(("plan/", "rejected"))}
        return sealed == {
            name: digest_of(self.folder, name).sha256
            for name in self.folder.list("plan/*.parquet") + self.folder.list("rejected.parquet")
        }

    def _report(
        self, plan: Plan, manifest: Manifest, asked_s: float, torn_bytes: int, halts: list[Halt]
    ) -> HarvestReport:
        report = HarvestReport(self.run_id, self.folder.uri, dict(manifest.rows), torn_bytes=torn_bytes, halts=halts)
        _count_calls(self.folder, self.run_id, report)
        report.responses_reused = _count_reused(self.folder, self.run_id)
        report.left = _left(self.folder)
        report.unusable_prompts = plan.unusable
        report.elapsed_s = time.monotonic() - self.started
        report.requests_per_second = report.requests_sent / asked_s if asked_s else 0.0
        report.root = manifest.merkle.root
        return report


def progress_of(control: ControlFolder) -> dict[str, Counter[str]]:
    """Each teacher's counts, added up over the processes."""
    lanes: dict[str, Counter[str]] = {}
    for content in control.published("progress"):
        for name, counts in content.items():
            lanes.setdefault(name, Counter()).update(counts)
    return lanes


@contextmanager
def _draining_on_signals(control: ControlFolder, watcher: Watcher) -> Iterator[None]:
    """Ctrl-C or SIGTERM once: stop asking, drain, seal. Twice: end at once; the journal has what was answered."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heard(number: int, frame: object) -> None:
        if control.stop_asked:
            for each, handler in before.items():
                signal.signal(each, handler)
            os._exit(INTERRUPTED)
        control.ask_to_stop()
        watcher.stopping()

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_shares(config: HarvestConfig, processes: int) -> None:
    for teacher in config.teachers:
        for name in ("max_in_flight", "requests_per_minute", "tokens_per_minute"):
            limit = getattr(teacher.limits, name)
            if limit is not None and limit < processes:
                raise ConfigError(
                    f"teacher {teacher.name}: {name} {limit} can't be divided among {processes} processes; "
                    "raise it, or run with fewer processes"
                )


def _failed_retryable(folder: Folder) -> Iterator[bool]:
    for name in folder.list("failed/*.parquet"):
        with folder.open(name) as stream:
            yield from open_parquet(FAILED, stream, name).read(columns=["retryable"]).column(0).to_pylist()


def _left(folder: Folder) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name in folder.list("failed/*.parquet"):
        with folder.open(name) as stream:
            counts.update(open_parquet(FAILED, stream, name).read(columns=["cause"]).column(0).to_pylist())
    return dict(sorted(counts.items()))


def _count_calls(folder: Folder, run_id: str, report: HarvestReport) -> None:
    columns = ["run_id", "request_id", "kind", "cost_usd", "prompt_tokens", "completion_tokens"]
    lost: set[str] = set()
    asked: set[str] = set()
    tokens: Counter[str] = Counter()
    with folder.open(LEDGER_FILE) as stream:
        for batch in open_parquet(LEDGER, stream, LEDGER_FILE).iter_batches(columns=columns):
            lost.update(batch.filter(pc.equal(batch["kind"], "lost"))["request_id"].to_pylist())
            mine = batch.filter(pc.equal(batch["run_id"], run_id))
            report.requests_sent += mine.num_rows
            report.cost_usd += pc.sum(mine["cost_usd"]).as_py() or 0
            for name in ("prompt_tokens", "completion_tokens"):
                tokens[name] += pc.sum(mine[name]).as_py() or 0
            if lost:
                asked.update(mine["request_id"].to_pylist())
    report.tokens = dict(tokens)
    report.repaid = len(lost & asked)


def _count_reused(folder: Folder, run_id: str) -> int:
    reused = 0
    for name in folder.list("completions/*.parquet"):
        with folder.open(name) as stream:
            runs = open_parquet(COMPLETIONS, stream, name).read(columns=["run_id"]).column(0)
        reused += pc.sum(pc.not_equal(runs, run_id)).as_py() or 0
    return reused
