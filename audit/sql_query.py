"""One SELECT of a stranger's over all tables: what it may name, how long it may take, how much memory.

Three walls, one behind the other. `sql_names` lets a statement name only our tables and functions without side effects.
DuckDB itself has files, network, extensions and settings locked (`tables.connect`). And what DuckDB does not count or
can't interrupt (one huge string, one long call) is held by the operating system's limit on the process's data, and by a
clock that does not wait for the query.
"""

import contextlib
import os
import queue
import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from tutelage.audit.folder import AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.sql_names import NAMES, check_query
from tutelage.audit.tables import connect
from tutelage.schemas.errors import ConfigError, TutelageError

TIME_LIMIT_S = 60.0
GRACE_S = 3.0
"""How long a query that was interrupted may take to notice, before nobody waits for it any longer."""
ROWS_AT_ONCE = 8192
BATCHES_AHEAD = 2
HEADROOM_BYTES = 1 << 30
"""What the process may use beyond DuckDB's own memory: Arrow's buffers and what DuckDB does not count."""


class QueryStopped(TutelageError):
    """The query ran into its time or memory limit."""


@contextlib.contextmanager
def run_query(
    inputs: Sequence[AuditInput],
    out: AuditFolder | None,
    sql: str,
    *,
    memory_limit: str = "2GB",
    timeout_s: float = TIME_LIMIT_S,
) -> Iterator[pa.RecordBatchReader]:
    """The result of a query, batch by batch, while the context is open.

    Raises ConfigError where it is not one SELECT over the tables, and QueryStopped, here or while its batches are
    read, where it takes more than `timeout_s` of waiting or more memory than its limit.
    """
    if not timeout_s > 0:
        raise ConfigError(f"time limit {timeout_s:g} s: give a number of seconds above 0")
    check_query(sql)
    connection = connect(inputs, out, memory_limit=memory_limit, locked=True)
    work: _Work | None = None
    try:
        with _data_limit(connection):
            work = _Work(connection, sql, memory_limit, timeout_s)
            yield work.reader()
    except MemoryError as error:
        raise _too_much(memory_limit) from error
    finally:
        if work is None or work.stop():
            connection.close()


class _Work:
    """The query in a thread of its own, a few batches ahead of who reads them.

    Some calls of DuckDB can't be interrupted. Whoever waits stops waiting all the same; where such a call is still
    running when the process ends, the process ends at once instead of tearing down what the call still uses.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, sql: str, memory_limit: str, timeout_s: float) -> None:
        self._connection, self._sql = connection, sql
        self._memory_limit, self._timeout_s, self._left_s = memory_limit, timeout_s, timeout_s
        self._batches: queue.Queue[Any] = queue.Queue(BATCHES_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-sql", daemon=True)
        self._thread.start()

    def reader(self) -> pa.RecordBatchReader:
        schema = self._next()
        return pa.RecordBatchReader.from_batches(schema, iter(self._next, None))

    def stop(self) -> bool:
        """Ends the query; whether its thread is gone."""
        self._stopped.set()
        ends_at = time.monotonic() + GRACE_S
        while self._thread.is_alive() and time.monotonic() < ends_at:
            self._connection.interrupt()
            with contextlib.suppress(queue.Empty):
                self._batches.get_nowait()
            self._thread.join(0.05)
        if self._thread.is_alive():
            import atexit

            atexit.register(self._leave)
        return not self._thread.is_alive()

    def _leave(self) -> None:
        if self._thread.is_alive():
            os._exit(TutelageError.exit_code)

    def _run(self) -> None:
        try:
            with self._connection.sql(self._sql).to_arrow_reader(ROWS_AT_ONCE) as batches:
                self._put(batches.schema)
                for batch in batches:
                    self._put(batch)
            self._put(None)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is for the thread that waits)
            with contextlib.suppress(_Stopped):
                self._put(error)

    def _put(self, item: Any) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                return self._batches.put(item, timeout=0.1)
        raise _Stopped

    def _next(self) -> Any:
        """What the query yields next. Only waiting for it counts: a reader that pauses costs it nothing."""
        began = time.monotonic()
        try:
            item = self._batches.get(timeout=min(max(self._left_s, 0.0), threading.TIMEOUT_MAX))
        except queue.Empty:
            raise QueryStopped(
                f"query: stopped after {self._timeout_s:g} s, its time limit; ask for less, or give it more with "
                "--timeout-s"
            ) from None
        self._left_s -= time.monotonic() - began
        if isinstance(item, BaseException):
            raise self._told(item) from item
        return item

    def _told(self, error: BaseException) -> Exception:
        # Arrow hands on DuckDB's errors as OSError, of which only the text tells what it was.
        out_of_memory = isinstance(error, duckdb.OutOfMemoryException | MemoryError | pa.ArrowMemoryError)
        if out_of_memory or "Out of Memory Error" in str(error):
            return _too_much(self._memory_limit)
        if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
            return ConfigError(
                f"query: {error}\nthe tables are {', '.join(NAMES)}; DESCRIBE completions shows a table's columns"
            )
        if isinstance(error, duckdb.Error | pa.ArrowException | OSError | RuntimeError):
            return ConfigError(f"query: {error}")
        return error if isinstance(error, Exception) else RuntimeError(repr(error))


def _too_much(memory_limit: str) -> QueryStopped:
    return QueryStopped(
        f"query: needed more than its memory limit, {memory_limit}; ask for less, or give it more with --memory-limit"
    )


class _Stopped(Exception):
    """Nobody reads any longer."""


@contextlib.contextmanager
def _data_limit(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Holds the process to its memory of now, the query's limit and HEADROOM_BYTES, where the system can."""
    used = _data_bytes()
    if used is None:  # not Linux; DuckDB's own limit still holds
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + _limit_bytes(connection) + HEADROOM_BYTES
    ceilings = [bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([limit, *ceilings]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int | None:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
            found = re.search(r"^VmData:\s+(\d+) kB", stream.read(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _limit_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    rows = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    number, unit = str(rows[0][0]).split()
    powers = {"bytes": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}
    return int(float(number) * 1024 ** powers[unit])
