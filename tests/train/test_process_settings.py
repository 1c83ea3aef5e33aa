"""What training asks of its process: memory that torch frees is kept, and threads that wait let others work."""

import os
import platform
import subprocess
import sys

import pytest

TWICE = """
import resource
import tutelage.train
import torch

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def touched():
    before = faults()
    torch.zeros(64 * 2**20 // 4).add_(1)
    return faults() - before

touched()
print(min(touched() for _ in range(3)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_memory_that_was_freed_is_not_asked_for_again() -> None:
    ran = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 10, "64 MB are 16,384 pages, or 32 huge ones; none of three times was without them"


@pytest.mark.parametrize(
    ("said", "spins"),
    [({}, "1000"), ({"OMP_WAIT_POLICY": "active"}, "None"), ({"GOMP_SPINCOUNT": "7"}, "7")],
)
def test_threads_wait_asleep_unless_the_user_says_otherwise(said: dict[str, str], spins: str) -> None:
    around = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    code = "import os, sys, tutelage.train; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=around | said)
    assert ran.stdout.split() == [spins, "False"], "libgomp reads it when torch is imported, so it has to come before"
