"""A graph under construction: nodes, weights and names as PyTorch exports them, in one of three layouts.

Feature maps are spoken of as (channels, height, width) everywhere; only this file and `builder.py` know how the layout
stores them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tests.zoo.names import rename

__all__ = ["INLINE_BYTES", "WEIGHTS_FILE", "BatchNorm", "Graph", "Layout", "Names", "Value"]

BatchNorm = Literal["kept", "folded"]
Names = Literal["scopes", "numbers"]
Layout = Literal["nchw", "nhwc", "nhwc_everywhere"]

INLINE_BYTES = 4096
WEIGHTS_FILE = "weights.bin"
OPSET = 17
IR_VERSION = 8

TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class Value:
    """A tensor of the graph; `shape` leaves out the batch, and is (C, H, W) for feature maps in every layout."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.shape[0]


class Graph:
    """Collects nodes and initializers under a stack of module names."""

    def __init__(self, layout: Layout, batchnorm: BatchNorm, batch: int | str) -> None:
        self.layout: Layout = layout
        self.batchnorm: BatchNorm = batchnorm
        self.batch = batch
        self.modules: list[str] = []
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[tuple[str, Value]] = []
        self.foldable: dict[str, NodeProto] = {}
        self._uses: Counter[str] = Counter()
        self._offset = 0

    @property
    def everywhere(self) -> bool:
        """Whether feature maps between operators are stored as NHWC."""
        return self.layout == "nhwc_everywhere"

    @property
    def channel_axis(self) -> int:
        return 3 if self.everywhere else 1

    @property
    def batch_dim(self) -> int:
        """The batch as a number for Reshape: 0 ("copy") where it is symbolic."""
        return self.batch if isinstance(self.batch, int) else 0

    @contextmanager
    def scope(self, path: str, *, split: bool = True) -> Iterator[None]:
        """Enter the submodule `path` (dotted, '' for none), as `self.path` inside a PyTorch `forward`.

        Without `split` it is one step, as for the items of a ModuleList, which is not called itself.
        """
        added = (path.split(".") if split else [path]) if path else []
        self.modules += added
        try:
            yield
        finally:
            del self.modules[len(self.modules) - len(added) :]

    @contextmanager
    def call(self, path: str) -> Iterator[None]:
        """Enter a submodule that may be called several times; the exporter numbers the calls relu, relu_1, ..."""
        key = "call " + ".".join([*self.modules, path])
        again = self._uses[key] if path else 0
        self._uses[key] += 1
        with self.scope(f"{path}_{again}" if again else path):
            yield

    def label(self, op: str) -> str:
        """The exporter's node name: a numbered module repeats its parent's name, as in /layer1/layer1.0/conv1/Conv."""
        parts: list[str] = []
        for module in self.modules:
            parts.append(f"{parts[-1]}.{module}" if module.isdigit() and parts else module)
        name = "/" + "/".join([*parts, op])
        again = self._uses[name]
        self._uses[name] += 1
        return f"{name}_{again}" if again else name

    def node(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """Append a node named after the scope and return the names of its outputs."""
        name = self.label(op)
        results = [f"{name}_output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), results, name=name, **attributes))
        return results

    def constant(self, value: npt.ArrayLike, dtype: type[np.generic]) -> str:
        """A Constant node in the current scope."""
        return self.node("Constant", [], value=numpy_helper.from_array(np.asarray(value, dtype)))[0]

    def weight(self, name: str, shape: Sequence[int], fill: float = 0.0, *, scoped: bool = True) -> str:
        """An initializer `module.path.name`: `fill` in place up to 4 kB, beyond that a reference to absent data."""
        full = ".".join([*self.modules, name]) if scoped else name
        tensor = TensorProto(name=full, data_type=TensorProto.FLOAT, dims=list(shape))
        size = 4 * prod(shape)
        if size <= INLINE_BYTES:
            tensor.raw_data = np.full(shape, fill, np.float32).tobytes()
        else:
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", WEIGHTS_FILE), ("offset", self._offset), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))
            self._offset += size
        self.initializers[full] = tensor
        return full

    def anonymous(self, op: str) -> str:
        """A name such as onnx::Conv_17, which the exporter gives to weights that it computed itself."""
        self._uses["anonymous"] += 1
        return f"onnx::{op}_{self._uses['anonymous']}"

    def transpose(self, name: str, permutation: Sequence[int]) -> str:
        return self.node("Transpose", [name], perm=list(permutation))[0]

    def spatial(
        self, op: str, x: Value, shape: tuple[int, ...], more: Sequence[str] = (), **attributes: Any
    ) -> tuple[Value, NodeProto]:
        """A node that works on NCHW only: between two Transposes where the maps are stored as NHWC."""
        entry = self.transpose(x.name, TO_NCHW) if self.everywhere else x.name
        (result,) = self.node(op, [entry, *more], **attributes)
        node = self.nodes[-1]
        return Value(self.transpose(result, TO_NHWC) if self.everywhere else result, shape), node

    def as_nchw(self, x: Value) -> str:
        """The name of a tensor that holds the feature maps `x` as NCHW."""
        return self.transpose(x.name, TO_NCHW) if self.everywhere else x.name

    def image(self, size: int, name: str = "input", channels: int = 3) -> Value:
        """The graph's input, of (channels, size, size)."""
        shape = [channels, size, size] if self.layout == "nchw" else [size, size, channels]
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [self.batch, *shape]))
        entry = self.transpose(name, TO_NCHW) if self.layout == "nhwc" else name
        return Value(entry, (channels, size, size))

    def output(self, x: Value, name: str = "output") -> None:
        """Make `x` an output of the graph, called `name`."""
        spatial = len(x.shape) == 3
        if spatial and self.layout == "nhwc":
            x = Value(self.transpose(x.name, TO_NHWC), x.shape)
        self.outputs.append((name, x))

    def model(self, name: str) -> ModelProto:
        """The finished model, with its outputs renamed."""
        infos = []
        for _, x in self.outputs:
            nhwc = len(x.shape) == 3 and self.layout != "nchw"
            shape = [*x.shape[1:], x.shape[0]] if nhwc else list(x.shape)
            infos.append(helper.make_tensor_value_info(x.name, TensorProto.FLOAT, [self.batch, *shape]))
        graph = helper.make_graph(self.nodes, name, self.inputs, infos, list(self.initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="zoo")
        rename(model, {x.name: output for output, x in self.outputs})
        return model
