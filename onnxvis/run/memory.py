"""Keeping a process that opens large models small, where glibc manages its memory."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["give_back", "rare_collections", "use_one_heap"]

_M_MMAP_THRESHOLD = -3
_LARGEST_THRESHOLD = 32 << 20
_GLIBC = "libc.so.6"
_NEW_OBJECTS = 100_000


@contextmanager
def rare_collections() -> Iterator[None]:
    """Within the block, look for cycles of dead objects once in 100,000 new ones.

    Graphs and pages are hundreds of thousands of objects without a cycle: walking them at Python's default of 700 new
    ones takes 3 % of a report on YOLOv3. See gc.set_threshold.
    """
    before = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def use_one_heap() -> bool:
    """Have glibc take blocks of up to 32 MiB from its heap from the start; returns whether it will.

    It would come to that by itself, a freed block at a time, with what was taken before scattered around. ONNX Runtime,
    which copies each weight twice while it optimises, is quicker so and peaks lower (Darknet-53 and YOLOv3, 248 MB of
    weights: 0.48 s and 720 to 790 MB for a session instead of 0.61 s and 820 to 850). For commands: the setting holds
    for the whole process. See mallopt(3).
    """
    try:
        return bool(ctypes.CDLL(_GLIBC).mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD))
    except (OSError, AttributeError):
        return False


def give_back() -> bool:
    """Give memory that was freed back to the system; returns whether any was.

    What is asked for next then costs as much as at the start: 0.3 s for the 300 MB of a report on YOLOv3.
    See malloc_trim(3).
    """
    try:
        return bool(ctypes.CDLL(_GLIBC).malloc_trim(0))
    except (OSError, AttributeError):
        return False
