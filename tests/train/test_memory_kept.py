"""What torch frees on a CPU stays with the process: a step asks the system for no page that an earlier one had."""

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
print(touched())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_memory_that_was_freed_is_not_asked_for_again() -> None:
    ran = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 10, "64 MB are 16,384 pages, or 32 huge ones"
