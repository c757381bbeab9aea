"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: examples are judged by what they give, not by how long they take.
settings.register_profile("onnxvis", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("onnxvis")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """A folder of real models and photos, named by $ONNXVIS_CORPUS; tests that need it skip without."""
    folder = os.environ.get("ONNXVIS_CORPUS")
    if not folder:
        pytest.skip("$ONNXVIS_CORPUS names no folder of real models")
    return Path(folder)


@pytest.fixture(scope="session")
def data() -> Path:
    """The models and scenes that ship with onnxvis."""
    from importlib.resources import files

    return Path(str(files("onnxvis.models") / "data"))


@pytest.fixture(scope="session")
def classifier(data: Path) -> Path:
    """The built-in classifier's file."""
    return data / "classifier.onnx"


@pytest.fixture(scope="session")
def scene(data: Path) -> Path:
    """One of the scenes that ship with it."""
    return sorted((data / "scenes").glob("*.png"))[0]
