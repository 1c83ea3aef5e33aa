"""The harvest as a Beam pipeline: plan shards in, rebuilt shards out. The DoFns only adapt; `engine` and `replay` work.

    Create(shards) -> Reshuffle -> Ask (submit in process, drain in finish_bundle) -> GroupByKey -> Rebuild

Elements are shard descriptors, never rows. The GroupByKey is the barrier after which the journal of a shard is whole.
"""

import argparse
import contextlib
import io
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from tutelage.pipelines.beam_runners import FULL_NAMES, QUIET_WORKERS, runner_named
from tutelage.pipelines.engine import Engine
from tutelage.pipelines.job import ControlFolder, HarvestJob
from tutelage.pipelines.journal_index import JournalIndex
from tutelage.pipelines.plan import PlanShard
from tutelage.pipelines.replay import rebuild_shard
from tutelage.schemas.errors import ConfigError

Shard = tuple[int, tuple[PlanShard, ...]]


@dataclass
class Harvest(beam.PTransform):
    """From (shard number, its plan shards) to nothing: the rebuilt files are the result."""

    job: HarvestJob
    ask: bool

    def expand(self, shards: Any) -> Any:
        if self.ask:
            shards = shards | "Spread" >> beam.Reshuffle() | "Ask" >> beam.ParDo(_Ask(self.job))
        return shards | "Barrier" >> beam.GroupByKey() | "Rebuild" >> beam.ParDo(_Rebuild(self.job))


def run_pipeline(
    job: HarvestJob,
    plan_shards: Sequence[PlanShard],
    runner: str | None,
    beam_args: Sequence[str],
    *,
    ask: bool,
    while_running: Callable[[], None],
) -> None:
    """Runs the pipeline to its end in a thread of its own, calling `while_running` five times a second meanwhile.

    Another thread, so that this one hears Ctrl-C, and with signals blocked there: the workers that Beam starts inherit
    that, and a Ctrl-C in the terminal does not kill them in the middle of a drain.
    """
    by_number: list[Shard] = [
        (number, tuple(shard for shard in plan_shards if shard.shard == number))
        for number in range(job.config.output.shards)
    ]
    failures: list[BaseException] = []

    def work() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            options = PipelineOptions([*QUIET_WORKERS, *beam_args])
            pipeline = beam.Pipeline(runner=runner_named(runner), options=options)
            elements = [(number, [tuple(shard) for shard in shards]) for number, shards in by_number]
            _ = pipeline | "Shards" >> beam.Create(elements, reshuffle=False) | Harvest(job, ask)
            pipeline.run().wait_until_finish()
        except BaseException as failure:  # noqa: BLE001 (handed over to the thread that waits)
            failures.append(failure)
        finally:
            _close_engine(job.run_id)

    control = ControlFolder(job.control_dir)
    thread = threading.Thread(target=work, name="tutelage-beam")
    thread.start()
    try:
        while thread.is_alive():
            while_running()
            thread.join(0.2)
    finally:
        if thread.is_alive():  # the display failed: nobody may ask on behind the caller's back
            control.ask_to_stop()
            thread.join()
    if failures:
        raise control.reported() or failures[0]


def process_count(runner: str | None, beam_args: Sequence[str]) -> int:
    """How many processes the given Beam options ask for: the teachers' limits are divided by it."""
    runner_named(runner)  # its module brings options of its own
    options = PipelineOptions(list(beam_args))
    parsers: list[argparse.ArgumentParser] = []
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            every = options.get_all_options(add_extra_args_fn=parsers.append)
    except SystemExit:  # after a hundred lines of usage
        raise ConfigError(f"Beam's {said.getvalue().rpartition('error: ')[2].strip()}") from None
    _, unknown = parsers[0].parse_known_args(list(beam_args))
    if unknown and (runner is None or runner.lower() in FULL_NAMES):
        # A misspelt --max-usd must not pass for an option of Beam. Other runners learn theirs from a server.
        raise ConfigError(f"{unknown[0]}: neither tutelage nor Beam knows this option; see `tutelage harvest --help`")
    if runner is None:
        direct = options.view_as(DirectOptions)
        if direct.direct_running_mode != "multi_processing":
            return 1
        return int(direct.direct_num_workers) or multiprocessing.cpu_count()
    name = runner.rsplit(".", 1)[-1].lower().removesuffix("runner")
    key = _PROCESSES_OPTION.get(name)
    count = str(_unknown_option(beam_args, key) or every.get(key)) if key else ""
    if not count.isdecimal() or int(count) < 1:
        wanted = f"--{key} N" if key else f"one of {', '.join(sorted(_PROCESSES_OPTION))}"
        raise ConfigError(
            f"runner {runner}: give {wanted}, so that the teachers' limits can be divided among its workers"
        )
    return int(count)


_PROCESSES_OPTION = {
    "dask": "dask_npartitions",
    "flink": "parallelism",
    "spark": "parallelism",
    "dataflow": "max_num_workers",
    "portable": "parallelism",
}


def _unknown_option(beam_args: Sequence[str], key: str) -> str | None:
    """An option of a runner whose module is not imported yet, read from the arguments themselves."""
    for place, argument in enumerate(beam_args):
        name, found, value = argument.partition("=")
        if name == f"--{key}":
            return value if found else next(iter(beam_args[place + 1 :]), None)
    return None


class _Ask(beam.DoFn):
    def __init__(self, job: HarvestJob) -> None:
        self._job = job
        self._waiting: list[tuple[int, Sequence[Future[None]]]] = []

    def start_bundle(self) -> None:
        self._waiting = []

    def process(self, element: tuple[int, list[Any]]) -> None:
        number, shards = element
        with ControlFolder(self._job.control_dir).reporting():
            engine = _engine(self._job)
        self._waiting.append((number, [engine.submit(PlanShard(*shard)) for shard in shards]))

    def finish_bundle(self) -> Iterator[Any]:
        for number, futures in self._waiting:
            with ControlFolder(self._job.control_dir).reporting():
                for future in futures:
                    future.result()
            yield WindowedValue((number, None), GlobalWindow().max_timestamp(), [GlobalWindow()])


class _Rebuild(beam.DoFn):
    def __init__(self, job: HarvestJob) -> None:
        self._job = job
        self._index: JournalIndex | None = None

    def process(self, element: tuple[int, Iterable[Any]]) -> None:
        number, _ = element
        control = ControlFolder(self._job.control_dir)
        halts = control.halts()
        if any(halt.cause == "storage" for halt in halts):
            return
        with control.reporting():
            # Not in setup: a runner may set the stage up before the asking is over.
            if self._index is None:
                self._index = JournalIndex(self._job.folder)
            shards = self._job.config.output.shards
            plan_files = self._job.folder.list(f"plan/*-{number:05d}-of-{shards:05d}.parquet")
            rebuild_shard(self._job, number, plan_files, self._index, halts)


_ENGINES: dict[str, Engine] = {}
_ENGINES_LOCK = threading.Lock()


def _engine(job: HarvestJob) -> Engine:
    """The process's engine for a run; the first bundle starts it."""
    with _ENGINES_LOCK:
        if job.run_id not in _ENGINES:
            engine = Engine(job)
            engine.start()
            _ENGINES[job.run_id] = engine
        return _ENGINES[job.run_id]


def _close_engine(run_id: str) -> None:
    with _ENGINES_LOCK:
        engine = _ENGINES.pop(run_id, None)
    if engine is not None:
        engine.close()
