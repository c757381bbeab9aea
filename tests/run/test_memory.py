from __future__ import annotations

import ctypes
import gc
import subprocess
import sys

import pytest

from onnxvis.run import memory

ON_THE_HEAP = """
import ctypes, sys
from onnxvis.run.memory import use_one_heap
done = use_one_heap() if sys.argv[1] == "yes" else True
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
block = libc.malloc(8 << 20)
heap = next(line for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]"))
first, last = (int(part, 16) for part in heap.split()[0].split("-"))
print(done, first <= block < last)
"""
GIVEN_BACK = """
import numpy as np
from onnxvis.run.memory import give_back, use_one_heap
held = lambda: int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1])
use_one_heap()
blocks = [np.ones(10 << 20, np.uint8) for _ in range(5)]
last = np.ones(100_000, np.uint8)
full = held()
blocks.clear()
print(full - held() < 10_000, give_back(), full - held() > 40_000)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory held")


def said(code: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@linux
@pytest.mark.parametrize("asked", ["yes", "no"])
def test_blocks_of_eight_megabytes_come_from_the_heap(asked: str) -> None:
    """By default glibc maps a block of this size apart."""
    assert said(ON_THE_HEAP, asked) == ["True", str(asked == "yes")]


@linux
def test_what_was_freed_is_given_back() -> None:
    assert said(GIVEN_BACK) == ["True", "True", "True"]


def test_another_libc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert memory.use_one_heap() is memory.give_back() is False


def test_collections_are_rare_within_the_block_only() -> None:
    before = gc.get_threshold()
    with memory.rare_collections():
        assert gc.get_threshold()[0] > 50 * before[0]
    assert gc.get_threshold() == before
