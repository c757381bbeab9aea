from __future__ import annotations

import platform
from importlib.metadata import version

import onnxruntime
import pytest

from onnxvis.run import installation


def test_what_is_installed() -> None:
    found = installation.packages()
    assert found["python"] == platform.python_version()
    for name in set(found) - {"python"}:
        assert found[name] == version(name)
    assert {"onnx", "numpy", "jinja2"} <= set(found)


def test_providers_are_those_of_the_runtime() -> None:
    assert installation.providers() == onnxruntime.get_available_providers()


@pytest.mark.parametrize(
    ("there", "device", "wanted"),
    [
        (("CUDAExecutionProvider", "CPUExecutionProvider"), True, "CUDAExecutionProvider"),
        (
            ("CUDAExecutionProvider", "CPUExecutionProvider"), False,
            "CPUExecutionProvider (no CUDA device was found)",
        ),
        (("CPUExecutionProvider",), True, "CPUExecutionProvider (this ONNX Runtime has no CUDA provider)"),
    ],
)  # fmt: skip
def test_what_auto_comes_to(monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], device: bool, wanted: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(there))
    monkeypatch.setattr("onnxvis.run.session.cuda_devices", lambda: device)
    assert installation.automatic() == wanted


@pytest.mark.parametrize(
    ("packages", "device", "there", "words"),
    [
        ((), False, ("CPUExecutionProvider",), []),
        (("onnxruntime",), False, ("CPUExecutionProvider",), []),
        (("onnxruntime-gpu",), True, ("CUDAExecutionProvider", "CPUExecutionProvider"), []),
        (
            ("onnxruntime", "onnxruntime-gpu"), False, ("CPUExecutionProvider",),
            ["installed over each other", "pip uninstall -y onnxruntime onnxruntime-gpu"],
        ),
        (("onnxruntime",), True, ("CPUExecutionProvider",), ["pip install 'onnxvis[cuda]'"]),
    ],
)  # fmt: skip
def test_problems_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...], device: bool, there: tuple[str, ...], words: list[str]
) -> None:
    monkeypatch.setattr(installation, "packages", lambda: dict.fromkeys(packages, "1"))
    monkeypatch.setattr(installation, "providers", lambda: list(there))
    monkeypatch.setattr(installation, "cuda_devices", lambda: device)
    found = " ".join(installation.problems())
    assert bool(found) == bool(words)
    assert all(word in found for word in words)
