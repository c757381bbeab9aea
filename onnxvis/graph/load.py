"""Opening a model file: `load(path)` and the `Model` it returns."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis import files
from onnxvis.errors import ModelError
from onnxvis.files import one_line
from onnxvis.graph import blocks, normalize, skeleton, weights
from onnxvis.graph.external import anchor, embed_small, references
from onnxvis.graph.layout import FeatureMaps, fixed, guess_layout
from onnxvis.graph.types import Shape
from onnxvis.graph.view import GraphView, Tensor, declared_ports
from onnxvis.graph.wire import UnexpectedWireFormat

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["LayerTensor", "Model", "load"]

_PROTOBUF_LIMIT = 2**31 - 1
_DEFAULT_SIDE = 224


@dataclass(frozen=True)
class LayerTensor:
    """A tensor that a node makes, and where in the network it stands.

    `part` is 'stem', 'backbone', 'neck', 'head…', 'shape' for arithmetic on shapes, 'weights' for what depends on no
    input, or '' off the paths of feature maps; `stage` and `block` are names from the tree of blocks, or ''.
    """

    name: str
    op: str
    shape: Shape | None
    dtype: str
    part: str
    stage: str
    block: str


class Model:
    """An opened model. Nothing here changes the file, and large weights stay in it until they are read.

    `skeleton` is the file's own graph, `proto` the same with local functions inlined: every rewrite starts from it.
    Both refer to their large tensors by paths relative to `folder`. Neither may be changed in place. `embedded` names
    by (place, name) the small tensors that the file keeps in other files and the skeleton does not.
    """

    def __init__(
        self,
        path: Path,
        skeleton: ModelProto,
        folder: Path,
        input_shapes: Mapping[str, tuple[int, ...]] | None = None,
        embedded: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        self.path = path
        self.folder = folder
        self.skeleton = skeleton
        self._embedded = embedded
        self.proto = normalize.inline_functions(skeleton)
        self._asked_shapes = dict(input_shapes or {})

    @property
    def name(self) -> str:
        """The file's name, safe to print."""
        return one_line(self.path.name)

    @cached_property
    def assumed_shapes(self) -> dict[str, tuple[int, ...]]:
        """The numbers put in place of free dimensions of picture inputs: batch 1, sides 224 unless told otherwise."""
        assumed = dict(self._asked_shapes)
        for tensor in self.inputs:
            if tensor.name not in assumed and (shape := _concrete(tensor)):
                assumed[tensor.name] = shape
        return assumed

    @cached_property
    def view(self) -> GraphView:
        """The main graph, with shapes inferred for `assumed_shapes`. Raises ModelError where it is no valid graph."""
        return GraphView(self.proto, self.assumed_shapes)

    @cached_property
    def maps(self) -> FeatureMaps:
        """Which tensors are feature maps, and how their axes lie."""
        return FeatureMaps(self.view)

    @cached_property
    def parts(self) -> tuple[blocks.Block, ...]:
        """The tree of blocks: stem, backbone, neck, heads."""
        return blocks.find_parts(self.view, self.maps)

    def stages(self) -> tuple[blocks.Block, ...]:
        """The backbone's stages, deepest last; empty for a model without feature maps."""
        return next((part.children for part in self.parts if part.name == "backbone"), ())

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What must be fed, with the shapes the file declares. Initializers listed as inputs (old files) are not."""
        return self._ports[0]

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What the model returns, in order, with the shapes the file declares."""
        return self._ports[1]

    @cached_property
    def _ports(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return declared_ports(self.proto.graph)

    @cached_property
    def function_names(self) -> dict[str, str]:
        """{tensor: where it was} for what local functions make, as `Block[call 3]/Gelu[call 0]/hidden`."""
        return normalize.origins(self.skeleton, self.proto)

    @cached_property
    def files(self) -> frozenset[Path]:
        """The real paths of the model's file and of those that hold its weights: no result is written over them."""
        return frozenset({self.path.resolve(), *(self.folder / at.location for _, at in references(self.skeleton))})

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The metadata properties stored in the file."""
        return {item.key: item.value for item in self.skeleton.metadata_props}

    @property
    def producer(self) -> str:
        """The exporter and its version, '' where the file does not say."""
        return f"{self.skeleton.producer_name} {self.skeleton.producer_version}".strip()

    @cached_property
    def opset(self) -> int:
        """The version of ONNX's own operator set."""
        return max((item.version for item in self.skeleton.opset_import if item.domain in ("", "ai.onnx")), default=0)

    @cached_property
    def size(self) -> int:
        """The model file's size in bytes, its external data not counted."""
        return self.path.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """The model file's SHA-256, external data not included."""
        return files.sha256(self.path)

    @cached_property
    def weights(self) -> weights.Weights:
        """The tensors stored in the model, wherever they stand."""
        return weights.Weights(self.skeleton, self.folder, self._own_location(), self._embedded)

    def tensors(self) -> tuple[LayerTensor, ...]:
        """Every tensor that a node makes, in order."""
        places: dict[str, tuple[str, str, str]] = {}
        for part in self.parts:
            for stage in part.children or (part,):
                in_backbone = part.name == "backbone"
                for block in (stage.children if in_backbone else ()) or (stage,):
                    place = (part.name, stage.name if in_backbone else "", block.name if block is not part else "")
                    places.update(dict.fromkeys(block.tensors, place))
        view = self.view
        return tuple(
            LayerTensor(t.name, node.op, t.shape, t.dtype, *places.get(t.name, (self._off_path(t.name), "", "")))
            for t in view.intermediates
            if (node := view.producer(t.name))
        )

    def at(self, input_shapes: Mapping[str, tuple[int, ...]]) -> Model:
        """The same model seen with these input shapes in place of free dimensions."""
        seen = {tensor.name: tensor.shape for tensor in self.inputs} | self.assumed_shapes
        if all(seen.get(name) == shape for name, shape in input_shapes.items()):
            return self
        return Model(self.path, self.skeleton, self.folder, input_shapes, self._embedded)

    def read(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        """A stored tensor as a read-only array. Raises TensorNotFound."""
        return self.weights.read(name)

    def _own_location(self) -> str:
        own = self.path.resolve()
        return own.relative_to(self.folder).as_posix() if own.is_relative_to(self.folder) else ""

    def _off_path(self, name: str) -> str:
        if name in self.view.shape_arithmetic:
            return "shape"
        return "" if name in self.view.data_path else "weights"


def load(path: Path | str) -> Model:
    """Open an ONNX file. Large weights are left where they are and read when asked for.

    Raises ModelError, in one sentence, for a file that is missing, is no regular file, is not an ONNX model, or whose
    external data is missing, cut short or outside the model's folder.
    """
    path = Path(path)
    _check_regular(path)
    proto = _parse(path)
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(f"{one_line(path.name)} is not an ONNX model: it holds no graph")
    folder = anchor(proto, path)
    embedded = embed_small(proto, folder, skeleton.INLINE_LIMIT)
    return Model(path, proto, folder, embedded=embedded)


def _check_regular(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"cannot open {one_line(path)}: {reason}") from error
    if stat.S_ISDIR(mode):
        raise ModelError(f"{one_line(path)} is a folder; name the .onnx file in it")
    if not stat.S_ISREG(mode):
        raise ModelError(f"{one_line(path)} is not a regular file")


def _parse(path: Path) -> ModelProto:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    proto = ModelProto()
    try:
        proto.ParseFromString(skeleton.scan(path.resolve()))
        return proto
    except OSError as error:
        raise ModelError(f"cannot open {one_line(path)}: {error.strerror}") from error
    except (UnexpectedWireFormat, DecodeError, ValueError) as error:
        if path.stat().st_size > _PROTOBUF_LIMIT:
            raise ModelError(
                f"{one_line(path.name)} cannot be read: {one_line(error)}; it is too large to parse whole"
            ) from error
    try:
        proto.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelError(
            f"{one_line(path.name)} is not an ONNX model, or it was cut short: {one_line(error)}"
        ) from error
    return proto


def _concrete(tensor: Tensor) -> tuple[int, ...] | None:
    """Numbers for the free dimensions of a picture input, None where it has none or is no picture."""
    shape = tensor.shape
    if shape is None or len(shape) != 4 or all(fixed(size) for size in shape):
        return None
    assumed = {0: 1, 3 if guess_layout(shape) == "NHWC" else 1: 3}
    return tuple(fixed(size) or assumed.get(axis, _DEFAULT_SIDE) for axis, size in enumerate(shape))
