"""Keeping a process that opens large models small."""

from __future__ import annotations

import ctypes

__all__ = ["use_one_heap"]

_M_MMAP_THRESHOLD = -3
_LARGEST_THRESHOLD = 32 << 20
_GLIBC = "libc.so.6"


def use_one_heap() -> bool:
    """Have glibc take blocks of up to 32 MiB from its heap from the start; returns whether it does.

    It would come to that by itself, a freed block at a time, and what lies scattered by then is never given back:
    ONNX Runtime, which copies each weight twice while it optimises, peaks a sixth lower so (Darknet-53 and YOLOv3,
    248 MB: 700 instead of 820 MB) in the same time. For commands: the setting holds for the whole process.
    See mallopt(3).
    """
    try:
        return bool(ctypes.CDLL(_GLIBC).mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD))
    except (OSError, AttributeError):
        return False
