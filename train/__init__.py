"""Students from curated, permitted rows: tokens, packs, losses, the loop, and the record of what taught them."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def _keep_memory() -> None:
    """Lets this process keep what torch frees on a CPU. Otherwise glibc hands every large tensor back to the system and
    asks for its pages anew, thousands a step, which was a quarter of the time of a step of a 16M model."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it when it first allocates: huge pages
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)


def _wait_asleep() -> None:
    """Lets a thread that waits for another spin a thousand times and not 300,000 (libgomp reads it when torch is first
    imported). With one other busy process on two cores a step of a 16M model took a third longer spinning; on idle
    cores it takes as long either way, and less of the CPU. A model of toy size loses a third there."""
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        os.environ["GOMP_SPINCOUNT"] = "1000"


_keep_memory()
_wait_asleep()
