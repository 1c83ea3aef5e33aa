"""The same work on many parts, in as many processes as the machine has cores."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

LEAST_FOR_TWO_PROCESSES = 4_000
"""Texts under which a second process costs more than it saves."""

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

Task = TypeVar("Task")
Found = TypeVar("Found")


def each_of(work: Callable[[Task], Found], tasks: Sequence[Task], texts: int) -> Iterator[Found]:
    """What `work` makes of each task, in their order; here, where all of them hold few `texts`."""
    processes = min(os.cpu_count() or 1, len(tasks))
    if processes < 2 or texts < LEAST_FOR_TWO_PROCESSES:
        yield from map(work, tasks)
        return
    with _single_threaded(), ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        found: Iterable[Found] = pool.map(work, tasks)
        yield from found


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes started within use one thread each for linear algebra: one a core is all that there is to use."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
