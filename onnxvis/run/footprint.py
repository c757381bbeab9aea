"""How much memory the tensors of one run take at a time."""

from __future__ import annotations

import math

import numpy as np

from onnxvis.graph.view import GraphView

__all__ = ["live_bytes"]

_UNUSUAL = 4
"""Bytes an element of a type that NumPy does not have; none has more."""


def live_bytes(view: GraphView) -> int:
    """The most bytes that the tensors of one run take at a time, each from when it is made to when it is last read.

    Only what depends on the inputs is counted, not weights or what is made of them. A tensor whose size is not known
    counts as much as the largest that is.
    """
    last = {name: at for at, node in enumerate(view.nodes) for name in (*node.inputs, *node.captures)}
    last |= {tensor.name: len(view.nodes) for tensor in (*view.inputs, *view.outputs)}
    sizes = {name: _bytes(view, name) for name in view.data_path}
    largest = max((size for size in sizes.values() if size is not None), default=0)
    held = peak = sum(sizes[tensor.name] or 0 for tensor in view.inputs)
    leaving = [0] * (len(view.nodes) + 1)
    for at, node in enumerate(view.nodes):
        for name in view.data_path.intersection(node.outputs):
            size = sizes[name]
            size = largest if size is None else size
            held += size
            leaving[last.get(name, at)] += size
        peak = max(peak, held)
        held -= leaving[at]
    return peak


def _bytes(view: GraphView, name: str) -> int | None:
    """The bytes of a tensor, None where its size is not known."""
    found = view.tensor(name)
    sizes = [size for size in found.shape or () if isinstance(size, int)]
    if found.shape is None or len(sizes) < len(found.shape):
        return None
    try:
        return math.prod(sizes) * np.dtype(found.dtype or "float32").itemsize
    except TypeError:
        return math.prod(sizes) * _UNUSUAL
