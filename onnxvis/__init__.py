"""See inside any ONNX vision model, with nothing but the .onnx file."""

from __future__ import annotations

from onnxvis.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onnxvis.api import activations, expose, read_input, report
    from onnxvis.errors import OnnxvisError
    from onnxvis.graph.load import Model, load
    from onnxvis.graph.receptive import receptive_field

__all__ = [
    "Model",
    "OnnxvisError",
    "__version__",
    "activations",
    "expose",
    "load",
    "read_input",
    "receptive_field",
    "report",
]

_HOMES = {
    "Model": "onnxvis.graph.load",
    "OnnxvisError": "onnxvis.errors",
    "activations": "onnxvis.api",
    "expose": "onnxvis.api",
    "load": "onnxvis.graph.load",
    "read_input": "onnxvis.api",
    "receptive_field": "onnxvis.graph.receptive",
    "report": "onnxvis.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import onnxvis` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxvis' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
