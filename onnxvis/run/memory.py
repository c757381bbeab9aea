"""Keeping a process that opens large models small, where glibc manages its memory."""

from __future__ import annotations

import ctypes

__all__ = ["give_back", "use_one_heap"]

_M_MMAP_THRESHOLD = -3
_LARGEST_THRESHOLD = 32 << 20
_KEPT_AT_THE_END = 512 << 20
_BLOCK = 16 << 20
_M_TRIM_THRESHOLD = -1
_GLIBC = "libc.so.6"


def use_one_heap() -> bool:
    """Have glibc take blocks of up to 32 MiB from its heap from the start; returns whether it will.

    It would come to that by itself, a freed block at a time, with what was taken before scattered around. ONNX Runtime,
    which copies each weight twice while it optimises, is quicker so and peaks lower (Darknet-53 and YOLOv3, 248 MB of
    weights: 0.48 s and 720 to 790 MB for a session instead of 0.61 s and 820 to 850). For commands: the setting holds
    for the whole process. See mallopt(3).
    """
    try:
        libc = ctypes.CDLL(_GLIBC)
        return bool(
            libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD) and libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_AT_THE_END)
        )
    except (OSError, AttributeError):
        return False


def give_back(keep: int = 0) -> bool:
    """Give memory that was freed back to the system, but for about `keep` bytes; returns whether any was.

    What is given back costs its time again when it is asked for: 0.3 s for the 300 MB of a report on YOLOv3. So what is
    about to be needed is taken, untouched, while the rest goes. See malloc_trim(3).
    """
    try:
        libc = ctypes.CDLL(_GLIBC)
        libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        held = [libc.malloc(_BLOCK) for _ in range(keep // _BLOCK)]
        gone = bool(libc.malloc_trim(0))
        for block in held:
            libc.free(block)
        return gone
    except (OSError, AttributeError):
        return False
