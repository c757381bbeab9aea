"""The machine in one line: processor, cores, system and versions; no names and no paths."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe_machine", "processor"]

_PACKAGES = (
    "onnxvis",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
    "opencv-python-headless",
    "torch",
    "matplotlib",
)


def describe_machine() -> str:
    """Such as `AMD EPYC 7763, 2 cores, load 0.1, Linux, Python 3.11.9, onnxvis 0.1.0, ...`."""
    versions = [f"{name} {found}" for name in _PACKAGES if (found := _version(name))]
    load = f"load {os.getloadavg()[0]:.1f} before the first round"
    python = f"Python {platform.python_version()}"
    return ", ".join([processor(), f"{os.cpu_count()} cores", load, platform.system(), python, *versions])


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as the system tells it; its architecture where it does not."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
