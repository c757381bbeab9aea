"""One whole process: its wall time from start to end, its processor time, and the most memory it ever held.

The process that measures must itself stay small: on Linux a child's peak never reads lower than what its parent held
when it started it. So nothing heavy is imported here, nor by what imports this.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["THREAD_VARIABLES", "Finished", "ProcessFailed", "environment", "run"]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)

_ROOT = Path(__file__).parent.parent
_BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: getrusage(2) of either system


class ProcessFailed(Exception):
    """A measured process ended with an error; the message is the last line that it wrote to stderr."""


@dataclass(frozen=True)
class Finished:
    """`seconds` of wall time, `cpu` seconds of all its threads, `peak` bytes of resident memory at most, and stdout."""

    seconds: float
    cpu: float
    peak: int
    stdout: str


def environment(threads: int) -> dict[str, str]:
    """This process's environment, with every library that has a pool of threads told to use `threads`."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def run(command: Sequence[str], variables: Mapping[str, str]) -> Finished:
    """Run `command` to its end from the checkout's folder. Raises ProcessFailed where its exit code is not 0."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=variables, cwd=_ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    if process.returncode:
        said = [line for line in texts[1].splitlines() if line.strip()]
        raise ProcessFailed(said[-1].strip() if said else f"exit code {process.returncode}")
    return Finished(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _BYTES_PER_UNIT, texts[0])
