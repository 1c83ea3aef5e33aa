import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tutelage.pipelines.storage import LOCK, Folder, storage_errors
from tutelage.pipelines.table_file import TableFile
from tutelage.schemas.contract_files import open_parquet
from tutelage.schemas.contracts import PLAN
from tutelage.schemas.errors import ContractError, DatasetHeld, StorageError
from tutelage.schemas.rows import PlannedRequest

HOLDER = """
import sys
from tutelage.pipelines.storage import Folder
with Folder(sys.argv[1]).held():
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["local", "object store", "local, with wildcards in its name"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "object store":
        yield Folder(f"memory://{tmp_path.name}/dataset")
        store = fsspec.filesystem("memory")
        store.rm(f"/{tmp_path.name}", recursive=True) if store.exists(f"/{tmp_path.name}") else None
    elif request.param == "local":
        yield Folder(str(tmp_path / "dataset"))
    else:
        yield Folder(str(tmp_path / "run[1] *?"))


def _planned(number: int) -> PlannedRequest:
    return PlannedRequest(f"{number:064x}", f"p{number}", "t", [("user", "q")], "{}", 0, "s", number, "CC0-1.0", 1)


def _write_plan(folder: Folder, rows: list[PlannedRequest]) -> None:
    with TableFile(PLAN, folder, "plan/a.parquet") as table:
        for row in rows:
            table.add(row)


def _write_half(folder: Folder, name: str, error: type[BaseException]) -> None:
    with folder.replacing(name) as stream:
        stream.write(b"half")
        raise error


def _holder(uri: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    return process


def _end(process: subprocess.Popen[str], *, kill: bool) -> None:
    if kill:
        process.kill()
    process.communicate()


# Reading and listing


def test_what_is_written_is_listed_and_read(folder: Folder) -> None:
    for name in ("b/2.txt", "b/1.txt", "b/10.csv", "top.txt", "b/deeper/3.txt"):
        folder.write(name, name.encode())
    assert folder.list("b/*.txt") == ["b/1.txt", "b/2.txt"]
    assert folder.list("*.txt") == ["top.txt"]
    assert folder.list("top.txt") == ["top.txt"]
    assert folder.list("b/*") == ["b/1.txt", "b/10.csv", "b/2.txt"]
    assert folder.list("absent/*.txt") == []
    assert folder.read("b/1.txt") == b"b/1.txt"
    assert folder.size("b/10.csv") == 8
    assert folder.exists("b/10.csv")
    assert not folder.exists("b/11.csv")


def test_deleting_what_is_not_there_is_no_error(folder: Folder) -> None:
    folder.write("a", b"1")
    folder.delete("a")
    folder.delete("a")
    assert not folder.exists("a")


def test_a_pickled_folder_is_the_same_folder(folder: Folder) -> None:
    folder.write("a", b"1")
    assert pickle.loads(pickle.dumps(folder)).read("a") == b"1"


# Replacing


def test_a_file_appears_whole_or_not_at_all(folder: Folder) -> None:
    folder.write("d/a.bin", b"before")
    with folder.replacing("d/a.bin") as stream:
        stream.write(b"aft")
        assert folder.read("d/a.bin") == b"before"
        stream.write(b"er")
    assert folder.read("d/a.bin") == b"after"
    assert folder.list("d/*") == ["d/a.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_while_replacing_leaves_no_trace(folder: Folder, error: type[BaseException]) -> None:
    folder.write("d/a.bin", b"before")
    for name in ("d/a.bin", "d/new.bin"):
        with pytest.raises(error):
            _write_half(folder, name, error)
    assert folder.list("d/*") == ["d/a.bin"]
    assert folder.read("d/a.bin") == b"before"


def test_a_table_without_rows_removes_the_file_of_its_name(folder: Folder) -> None:
    _write_plan(folder, [_planned(1)])
    assert folder.list("plan/*") == ["plan/a.parquet"]
    _write_plan(folder, [])
    assert folder.list("plan/*") == []


def test_a_refused_row_keeps_the_table_that_was_there_and_is_named(folder: Folder) -> None:
    _write_plan(folder, [_planned(1)])
    misfit = _planned(3)._replace(sample_index="x")  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=r"plan/a\.parquet: column 'sample_index', row 1 holds str 'x'"):
        _write_plan(folder, [_planned(2), misfit])
    assert folder.list("plan/*") == ["plan/a.parquet"]
    with folder.open("plan/a.parquet") as stream:
        assert open_parquet(PLAN, stream, "a").read().column("prompt_id").to_pylist() == ["p1"]


# Refusals


def test_a_refused_write_says_what_is_safe_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(StorageError) as refused:
        Folder(str(tmp_path / "taken")).write("plan/a.parquet", b"")
    assert f"the file {tmp_path / 'taken'} is in the way" in str(refused.value)
    assert "what was journaled before is safe" in str(refused.value)
    assert "run the same command again" in str(refused.value)


@pytest.mark.parametrize(
    "error", [OSError("Corrupt page"), FileNotFoundError(2, "gone"), ConnectionResetError(104, "x")]
)
def test_an_error_that_no_room_on_the_disk_would_mend_is_left_alone(error: OSError) -> None:
    with pytest.raises(type(error)) as raised, storage_errors("x"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError("AccessDenied")])
def test_a_full_disk_and_a_missing_permission_are_storage_errors(error: OSError) -> None:
    with pytest.raises(StorageError, match=r"^x: (No space left on device|AccessDenied); "), storage_errors("x"):
        raise error


# The lock


def test_a_folder_held_by_another_process_is_refused_with_its_pid(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "dataset"))
    holder = _holder(folder.uri)
    try:
        with pytest.raises(DatasetHeld) as refused, folder.held():
            pytest.fail("two runs were in")
        assert f"{folder.uri}: held by process {holder.pid} on " in str(refused.value)
        assert "wait for it, or stop it, or choose another output" in str(refused.value)
        with pytest.raises(DatasetHeld, match=f"process {holder.pid}"), folder.held():
            pytest.fail("the first refusal wiped out who holds it")
    finally:
        _end(holder, kill=False)
    with folder.held():
        assert folder.exists(LOCK)
    assert not folder.exists(LOCK)


def test_a_holder_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "dataset"))
    holder = _holder(folder.uri)
    _end(holder, kill=True)
    assert str(holder.pid) in folder.read(LOCK).decode()
    with folder.held():
        assert str(os.getpid()) in folder.read(LOCK).decode()
        assert str(holder.pid) not in folder.read(LOCK).decode()


def test_the_lock_goes_when_the_run_fails(folder: Folder) -> None:
    with pytest.raises(ValueError, match="failed"), folder.held():
        raise ValueError("failed")
    assert not folder.exists(LOCK)


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        (
            '{"pid": 1, "host": "elsewhere", "since": "2026-11-23T12:00:00"}',
            "held by process 1 on elsewhere since 2026",
        ),
        ("not json", "held by another process"),
    ],
)
def test_an_object_store_s_lock_is_kept_unless_its_holder_is_known_to_be_dead(lock: str, words: str) -> None:
    folder = Folder("memory://locked/dataset")
    folder.write(LOCK, lock.encode())
    with (
        pytest.raises(DatasetHeld, match=f"{words}.*; wait for it; if it died, delete /locked/dataset/{LOCK}"),
        folder.held(),
    ):
        pytest.fail("two runs were in")
    assert folder.read(LOCK) == lock.encode()


def test_an_object_store_s_lock_of_a_dead_process_here_is_taken_over() -> None:
    folder = Folder("memory://dead/dataset")
    ended = subprocess.Popen(["true"])
    ended.wait()
    with folder.held():
        mine = folder.read(LOCK).decode()
    folder.write(LOCK, mine.replace(f'"pid": {os.getpid()}', f'"pid": {ended.pid}').encode())
    with folder.held():
        assert str(os.getpid()) in folder.read(LOCK).decode()
    assert not folder.exists(LOCK)
