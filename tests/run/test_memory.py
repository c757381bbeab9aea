from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from onnxvis.run import memory

REPORT = """
import ctypes, sys
from onnxvis.run.memory import use_one_heap
set_ = use_one_heap() if sys.argv[1] == "yes" else True
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
block = libc.malloc(8 << 20)
near = [line for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]")]
first, last = (int(part, 16) for part in near[0].split()[0].split("-"))
print(set_, first <= block < last)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
@pytest.mark.parametrize("asked", ["yes", "no"])
def test_blocks_of_eight_megabytes_come_from_the_heap(asked: str) -> None:
    """By default glibc maps a block of this size apart."""
    found = subprocess.run([sys.executable, "-c", REPORT, asked], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["True", str(asked == "yes")]


def test_another_libc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert memory.use_one_heap() is False
