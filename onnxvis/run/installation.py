"""The installed packages and devices, and the mistakes that are made with them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from onnxvis.run.session import cuda_devices, resolve_provider

__all__ = ["automatic", "packages", "problems", "providers"]

_PACKAGES = (
    "onnxvis", "onnx", "onnxruntime", "onnxruntime-gpu", "numpy", "opencv-python-headless", "opencv-python",
    "pillow", "jinja2", "protobuf",
)  # fmt: skip


def packages() -> dict[str, str]:
    """{package: version} of what is installed, and Python's own."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def providers() -> list[str]:
    """The execution providers this ONNX Runtime was built with."""
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def automatic() -> str:
    """What `--provider auto` comes to, and why."""
    name, notes = resolve_provider("auto")
    reasons = "; ".join(note.removeprefix("ran on the CPU: ") for note in notes)
    return f"{name} ({reasons})" if reasons else name


def problems() -> list[str]:
    """What is wrong with the installation, each with the command that mends it."""
    found = []
    installed = packages()
    if "onnxruntime" in installed and "onnxruntime-gpu" in installed:
        found.append(
            "onnxruntime and onnxruntime-gpu are installed over each other, so files of one overwrite the other's. "
            "Mend it: pip uninstall -y onnxruntime onnxruntime-gpu && pip install --force-reinstall onnxruntime-gpu"
        )
    if cuda_devices() and "CUDAExecutionProvider" not in providers():
        found.append("a CUDA device is there and this ONNX Runtime cannot use it: pip install 'onnxvis[cuda]'")
    return found
