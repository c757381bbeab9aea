"""See inside any ONNX vision model, with nothing but the .onnx file."""

from __future__ import annotations

from onnxvis.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onnxvis.api import (
        activations,
        detect,
        embed,
        expose,
        gradient,
        heatmap,
        maximize,
        patches,
        project,
        read_input,
        report,
        weights,
    )  # fmt: skip
    from onnxvis.errors import OnnxvisError
    from onnxvis.graph.load import Model, load
    from onnxvis.graph.receptive import receptive_field
    from onnxvis.measure.activations import Activations
    from onnxvis.measure.boxes.detections import Box, Detections
    from onnxvis.measure.boxes.flags import DetectorFlags
    from onnxvis.measure.heatmaps.explain import Heatmap
    from onnxvis.measure.weights import WeightTable

__all__ = [
    "Activations",
    "Box",
    "Detections",
    "DetectorFlags",
    "Heatmap",
    "Model",
    "OnnxvisError",
    "WeightTable",
    "__version__",
    "activations",
    "detect",
    "embed",
    "expose",
    "gradient",
    "heatmap",
    "load",
    "maximize",
    "patches",
    "project",
    "read_input",
    "receptive_field",
    "report",
    "weights",
]

_HOMES = {
    "Activations": "onnxvis.measure.activations",
    "Box": "onnxvis.measure.boxes.detections",
    "Detections": "onnxvis.measure.boxes.detections",
    "DetectorFlags": "onnxvis.measure.boxes.flags",
    "Heatmap": "onnxvis.measure.heatmaps.explain",
    "Model": "onnxvis.graph.load",
    "OnnxvisError": "onnxvis.errors",
    "WeightTable": "onnxvis.measure.weights",
    "activations": "onnxvis.api",
    "detect": "onnxvis.api",
    "embed": "onnxvis.api",
    "expose": "onnxvis.api",
    "gradient": "onnxvis.api",
    "heatmap": "onnxvis.api",
    "load": "onnxvis.graph.load",
    "maximize": "onnxvis.api",
    "patches": "onnxvis.api",
    "project": "onnxvis.api",
    "read_input": "onnxvis.api",
    "receptive_field": "onnxvis.graph.receptive",
    "report": "onnxvis.api",
    "weights": "onnxvis.api",
}
_SHOWN_BY = {
    "Activations": "activations_html",
    "Heatmap": "heatmap_html",
    "Model": "model_html",
    "WeightTable": "weights_html",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import onnxvis` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxvis' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    _show_in_notebooks()
    return value


def _show_in_notebooks() -> None:
    """Let the results whose modules are imported draw themselves: what stands left of `show` need not know it."""
    import sys

    for name, drawing in _SHOWN_BY.items():
        kind = getattr(sys.modules.get(_HOMES[name]), name, None)
        if kind is not None and not hasattr(kind, "_repr_html_"):
            kind._repr_html_ = _html_by(drawing)


def _html_by(drawing: str) -> Any:
    def _repr_html_(self: object) -> str:
        from onnxvis.show import notebook

        return str(getattr(notebook, drawing)(self))

    return _repr_html_


def __dir__() -> list[str]:
    return sorted(__all__)
