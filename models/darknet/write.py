"""Models as bytes, written weight by weight: a large model is never held twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import onnx

__all__ = ["write_model"]


def write_model(model: onnx.ModelProto, stream: BinaryIO) -> None:
    """Write a model so that it is read as the same model again.

    Protobuf lets the fields of a message come in any order: the graph is written last, and its initializers at its end.
    """
    import onnx

    shell, graph = onnx.ModelProto(), onnx.GraphProto()
    for source, target, without in ((model, shell, "graph"), (model.graph, graph, "initializer")):
        for field, value in source.ListFields():
            if field.name != without:
                _copy(target, field.name, value)
    weights = model.graph.initializer
    start = graph.SerializeToString()
    sizes = [weight.ByteSize() for weight in weights]
    length = len(start) + sum(1 + len(_varint(size)) + size for size in sizes)
    stream.write(shell.SerializeToString() + _field(onnx.ModelProto, "graph") + _varint(length) + start)
    tag = _field(onnx.GraphProto, "initializer")
    for weight, size in zip(weights, sizes, strict=True):
        stream.write(tag + _varint(size))
        stream.write(weight.SerializeToString())


def _copy(target: Any, name: str, value: Any) -> None:
    if isinstance(value, str | int | float | bytes):
        setattr(target, name, value)
    else:
        getattr(target, name).MergeFrom(value)


def _field(message: Any, name: str) -> bytes:
    """The tag of a field whose length follows it."""
    return _varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | 2)


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first, the eighth set where more follow."""
    groups = [value >> shift & 127 for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])
