"""An ONNX graph while it is being written: nodes named after what they give, weights, small constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSET", "Draft"]

OPSET = 17


class Draft:
    """`model` is the model so far. Each tensor has one name that nothing else has."""

    def __init__(self, name: str) -> None:
        import onnx

        self.model = onnx.ModelProto(ir_version=8, producer_name="onnxvis")
        self.model.opset_import.add(domain="", version=OPSET)
        self.model.graph.name = name
        self._taken: set[str] = set()
        self._numbers: dict[float, str] = {}

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node with one output, which is also its name; returns that name."""
        from onnx import helper

        self._take(output)
        self.model.graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def split(self, x: str, lengths: str, outputs: Sequence[str], axis: int) -> None:
        """Add a Split, whose name is that of its first output."""
        from onnx import helper

        for output in outputs:
            self._take(output)
        self.model.graph.node.append(helper.make_node("Split", [x, lengths], outputs, name=outputs[0], axis=axis))

    def weight(self, name: str, values: np.ndarray) -> str:
        """Add an initializer, float32 or int64; returns its name."""
        self._take(name)
        kind = "<i8" if values.dtype.kind in "iu" else "<f4"
        tensor = self.model.graph.initializer.add(name=name, dims=values.shape, data_type=7 if kind == "<i8" else 1)
        tensor.raw_data = np.ascontiguousarray(values, kind).tobytes()
        return name

    def integers(self, name: str, values: Sequence[int]) -> str:
        """Add a list of whole numbers, as shapes and axes are given."""
        return self.weight(name, np.array(values, np.int64))

    def number(self, value: float) -> str:
        """A float32 number, kept once however often it is asked for."""
        if value not in self._numbers:
            self._numbers[value] = self.weight(f"constants/{float(value)!r}", np.array(value, np.float32))
        return self._numbers[value]

    def port(self, name: str, shape: tuple[int, ...], *, is_input: bool = False) -> None:
        """Declare an input or output of the model: (batch, *shape), the batch free."""
        from onnx import TensorProto, helper

        if is_input:
            self._take(name)
        ports = self.model.graph.input if is_input else self.model.graph.output
        ports.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape]))

    def skeleton(self) -> onnx.ModelProto:
        """The same model with its large weights as inputs: whatever is checked in it is checked in the model."""
        import onnx

        copy = onnx.ModelProto(ir_version=self.model.ir_version, opset_import=self.model.opset_import)
        graph, own = copy.graph, self.model.graph
        graph.name = own.name
        for field in ("node", "input", "output"):
            getattr(graph, field).extend(getattr(own, field))
        for tensor in own.initializer:
            if len(tensor.raw_data) <= 1024:
                graph.initializer.append(tensor)
            else:
                graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        return copy

    def _take(self, name: str) -> None:
        if name in self._taken:
            raise ValueError(f"two tensors would be called '{name}'")
        self._taken.add(name)
