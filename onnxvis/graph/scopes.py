"""Names for blocks, taken from the scopes that exporters leave in the names of nodes and tensors."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable

from onnxvis.graph.ops import CONVOLUTIONS
from onnxvis.graph.view import GraphView, Node

__all__ = ["Scopes"]

ScopePath = tuple[str, ...]
_TORCH_SCOPES = "pkg.torch.onnx.name_scopes"


class Scopes:
    """The scope of each node: ('layer1', 'layer1.0', 'conv1') from '/layer1/layer1.0/conv1/Conv', () without one."""

    def __init__(self, view: GraphView) -> None:
        self._paths = {node.index: _path(node) for node in view.nodes}
        self._shared = len(_common(path for path in self._paths.values() if len(path) > 1))
        self._convolutions: Counter[ScopePath] = Counter()
        for node in view.nodes:
            path = self._paths[node.index] if node.op in CONVOLUTIONS else ()
            self._convolutions.update(path[:end] for end in range(1, len(path) + 1))

    def labels(self, nodes: Iterable[Node]) -> list[str]:
        """The scopes that hold all convolutions of `nodes` and no others, widest first, as people write them
        ('layer1', 'layer1.0'). For nodes without a convolution, the innermost scope that holds them all.
        """
        nodes = list(nodes)
        convolutions = [node for node in nodes if node.op in CONVOLUTIONS]
        paths = [self._paths[node.index] for node in convolutions or nodes]
        if not paths or not all(paths):
            return []
        common = _common(paths)
        ends = range(self._shared + 1, len(common) + 1)
        if not convolutions:
            ends = ends[-1:]
        own = [end for end in ends if not convolutions or self._convolutions[common[:end]] == len(convolutions)]
        return [_joined(common[self._shared : end]) for end in own]


def _path(node: Node) -> ScopePath:
    for text in (node.name, next(filter(None, node.outputs), "")):
        parts = tuple(part for part in text.split("/") if part)
        if len(parts) > 1:
            return parts[:-1]
    for item in node.proto.metadata_props:
        if item.key == _TORCH_SCOPES and len(item.value) < 4096:
            return _listed(item.value)
    return ()


def _listed(text: str) -> ScopePath:
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ()
    if not isinstance(scopes, list) or not all(isinstance(item, str) for item in scopes):
        return ()
    return tuple(item for item in scopes[:-1] if item)


def _common(paths: Iterable[ScopePath]) -> ScopePath:
    shared: ScopePath | None = None
    for path in paths:
        if shared is None:
            shared = path
            continue
        length = next((i for i, (a, b) in enumerate(zip(shared, path, strict=False)) if a != b), None)
        shared = shared[: min(len(shared), len(path)) if length is None else length]
    return shared or ()


def _joined(parts: ScopePath) -> str:
    """Scopes written out in full ('layer1/layer1.0') repeat what holds them; bare ones ('stage3/block5') do not."""
    label = before = ""
    for part in parts:
        label = label.removesuffix(before) + part if before and part.startswith(f"{before}.") else f"{label}.{part}"
        before = part
    return label.removeprefix(".")
