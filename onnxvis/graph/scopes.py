"""Names for blocks, taken from the scopes that exporters leave in the names of nodes and tensors."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from onnxvis.graph.view import GraphView, Node

__all__ = ["Scopes"]

Path = tuple[str, ...]
_TORCH_SCOPES = "pkg.torch.onnx.name_scopes"


class Scopes:
    """The scope of each node: ('layer1', 'layer1.0', 'conv1') from '/layer1/layer1.0/conv1/Conv', () without one."""

    def __init__(self, view: GraphView) -> None:
        self._paths = {node.index: _path(node) for node in view.nodes}
        self._shared = _common(path for path in self._paths.values() if len(path) > 1)

    def label(self, nodes: Iterable[Node]) -> str:
        """The innermost scope that holds all of `nodes`, shortened as people write it ('layer1.0'); '' without one."""
        paths = [self._paths[node.index] for node in nodes]
        if not paths or not all(paths):
            return ""
        common = _common(paths)
        own = common[len(self._shared) :] if len(common) > len(self._shared) else ()
        return _joined(own)

    def holds(self, label: str, node: Node) -> bool:
        """Whether `node` lies in the scope that `label` names."""
        own = self._paths[node.index][len(self._shared) :]
        return any(_joined(own[: end + 1]) == label for end in range(len(own)))


def _path(node: Node) -> Path:
    for text in (node.name, next(filter(None, node.outputs), "")):
        parts = tuple(part for part in text.split("/") if part)
        if len(parts) > 1:
            return parts[:-1]
    for item in node.proto.metadata_props:
        if item.key == _TORCH_SCOPES and len(item.value) < 4096:
            return _listed(item.value)
    return ()


def _listed(text: str) -> Path:
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ()
    if not isinstance(scopes, list) or not all(isinstance(item, str) for item in scopes):
        return ()
    return tuple(item for item in scopes[:-1] if item)


def _common(paths: Iterable[Path]) -> Path:
    shared: Path | None = None
    for path in paths:
        if shared is None:
            shared = path
            continue
        length = next((i for i, (a, b) in enumerate(zip(shared, path, strict=False)) if a != b), None)
        shared = shared[: min(len(shared), len(path)) if length is None else length]
    return shared or ()


def _joined(parts: Path) -> str:
    """Scopes in full ('layer1/layer1.0') give their last; bare ones ('stage3/block5') are joined by dots."""
    label = ""
    for part in parts:
        label = part if not label or part.startswith(f"{label}.") else f"{label}.{part}"
    return label
