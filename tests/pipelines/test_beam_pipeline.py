"""Which runner, how many processes, and what an error of a worker becomes."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from harvest_scene import config_of, teacher
from stub_teacher import StubTeacher

from tutelage.pipelines.beam_pipeline import process_count
from tutelage.pipelines.harvest import HarvestOptions, harvest
from tutelage.pipelines.job import ControlFolder
from tutelage.schemas.errors import ConfigError, ContractError

MANY = ("--direct_running_mode", "multi_processing")


@pytest.mark.parametrize(
    ("runner", "args", "count"),
    [
        (None, (), 1),
        (None, ("--direct_num_workers", "4"), 1),
        (None, ("--direct_running_mode=multi_threading", "--direct_num_workers", "4"), 1),
        (None, (*MANY, "--direct_num_workers", "3"), 3),
        ("FlinkRunner", ("--parallelism", "6"), 6),
        ("flink", ("--flink_master=localhost:8081", "--parallelism=2"), 2),
        ("SparkRunner", ("--parallelism", "5"), 5),
    ],
)
def test_limits_are_divided_by_as_many_processes_as_beam_is_told_to_use(
    runner: str | None, args: tuple[str, ...], count: int
) -> None:
    assert process_count(runner, args) == count


def test_all_processors_are_as_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 7)
    assert process_count(None, (*MANY, "--direct_num_workers", "0")) == 7


@pytest.mark.parametrize(
    ("runner", "args", "said"),
    [
        (None, ("--max-usdd", "5"), "--max-usdd: neither tutelage nor Beam knows this option"),
        (None, ("another.yaml",), "another.yaml: neither tutelage nor Beam"),
        ("FlinkRunner", (), "give --parallelism N"),
        ("FlinkRunner", ("--parallelism", "many"), "Beam's argument --parallelism: invalid int value: 'many'"),
        ("FlinkRunner", ("--parallelism", "0"), "give --parallelism N"),
        ("BundleBasedDirectRunner", (), "give one of dask, dataflow, flink, portable, spark"),
        ("NoSuchRunner", (), "runner NoSuchRunner: can't be used here"),
        ("no.such.module.Runner", (), "No module named 'no'"),
    ],
)
def test_what_can_not_be_run_is_a_usage_error(runner: str | None, args: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        process_count(runner, args)
    assert said in str(refused.value)


@pytest.mark.parametrize("beam_args", [(), (*MANY, "--direct_num_workers", "2")], ids=["one process", "two processes"])
def test_an_error_of_a_worker_keeps_its_type_and_its_words(tmp_path: Path, beam_args: tuple[str, ...]) -> None:
    with StubTeacher() as stub:
        config = config_of(tmp_path, ["a question"], teachers=[teacher(base_url=stub.base_url)])
        harvest(config, HarvestOptions())
    part = Path(config.output.uri, "journal", "part-00000.parquet")
    group = pq.ParquetFile(part).metadata.row_group(0)
    body = next(group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == "body")
    damaged = bytearray(part.read_bytes())
    damaged[body.dictionary_page_offset + 150] ^= 0xFF
    part.write_bytes(damaged)
    with pytest.raises(ContractError, match=r"part-00000\.parquet: is damaged .*restore the file"):
        harvest(config, HarvestOptions(beam_args=beam_args, reparse=True))


def test_what_is_published_after_the_run_brings_no_folder_back(tmp_path: Path) -> None:
    control = ControlFolder(str(tmp_path / "gone"))
    control.publish("progress", "writer", {"t": {}})
    assert list(control.published("progress")) == []
    assert not control.path.exists()


def test_a_halt_that_two_processes_met_is_one(tmp_path: Path) -> None:
    control = ControlFolder(str(tmp_path))
    for writer in ("a", "b"):
        control.publish("halt", writer, [("", "interrupted", "the run was asked to stop")])
    assert len(control.halts()) == 1


def test_workers_see_that_the_driver_is_gone(tmp_path: Path) -> None:
    control = ControlFolder(str(tmp_path))
    assert not control.abandoned, "a worker on another machine has no such file"
    control.open()
    assert not control.abandoned
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (control.path / "driver").write_text(str(ended.pid))
    assert control.abandoned
