"""What a command costs: CPU of its whole process tree, wall time, and the peak of what the tree held resident."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
OURS = frozenset({"GOMP_SPINCOUNT", "THP_MEM_ALLOC_ENABLE"})


class Cost(NamedTuple):
    elapsed_s: float
    cpu_s: float  # user + sys of the process and of every descendant that was waited for
    peak_rss_bytes: int  # the largest sum over the tree that was sampled; 0 where nobody asked
    exit_code: int
    stdout: str


class CommandFailed(RuntimeError):
    pass


def _inherited() -> dict[str, str]:
    """The environment, without what tutelage.train puts into it for its own process: a peer has to do without."""
    return {key: value for key, value in os.environ.items() if key not in OURS}


def cost_of(
    command: Sequence[str | Path],
    *,
    env: dict[str, str] | None = None,
    sample_rss: bool = False,
    timeout_s: float = 1800,
    accept: frozenset[int] = frozenset({0}),
) -> Cost:
    """Runs the command in its own process group and waits for it by wait4, whose rusage counts its descendants too."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**_inherited(), "NO_PROXY": "127.0.0.1", **(env or {})},
            start_new_session=True,
        )
        killer = threading.Timer(timeout_s, os.killpg, (process.pid, signal.SIGKILL))
        killer.start()
        peak = _PeakRss(process.pid)
        if sample_rss:
            peak.start()
        _pid, status, usage = os.wait4(process.pid, 0)
        elapsed_s = time.monotonic() - started
        killer.cancel()
        peak.stop()
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen must not wait for it again
        out.seek(0)
        err.seek(0)
        if process.returncode not in accept:
            tail = err.read().decode(errors="replace")[-2000:]
            raise CommandFailed(f"{' '.join(map(str, command))} exited {process.returncode}:\n{tail}")
        said = out.read().decode(errors="replace")
    return Cost(elapsed_s, usage.ru_utime + usage.ru_stime, peak.bytes, process.returncode, said)


class _PeakRss:
    """Sums resident pages over the tree five times a second. Shared pages count once a process: an upper bound."""

    def __init__(self, root: int) -> None:
        self.bytes = 0
        self._root = root
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(0.2):
            self.bytes = max(self.bytes, sum(_resident_bytes(pid) for pid in tree_of(self._root)))


def tree_of(session: int) -> list[int]:
    """Living processes of a session: a command that `cost_of` began leads one, and its descendants stay in it."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()  # the name before it may hold anything
        except OSError:  # ended while we looked
            continue
        if int(fields[3]) == session:
            found.append(int(stat.parent.name))
    return found


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0
