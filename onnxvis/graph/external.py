"""Where a tensor's bytes lie outside the model, and whether they may be read from there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from onnxvis.errors import ModelError
from onnxvis.files import one_line

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

__all__ = [
    "PlacedTensor",
    "Reference",
    "anchor",
    "embed",
    "embed_small",
    "refer",
    "reference",
    "references",
    "stored_bytes",
    "tensors_of",
]

# Bits an element, by TensorProto.DataType: float, uint8, int8, uint16, int16, int32, int64, bool, float16, double,
# uint32, uint64, complex64, complex128, bfloat16, four 8-bit floats, uint4, int4, float4e2m1, float8e8m0, uint2, int2,
# two 6-bit floats.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16}
_BITS |= {17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2, 27: 6, 28: 6}


class PlacedTensor(NamedTuple):
    """A stored tensor and where in the model it stands: '' for a graph's initializer, else the node that holds it."""

    tensor: TensorProto
    name: str
    place: str


class Reference(NamedTuple):
    """The bytes [offset, offset + length) of a file; length None: to its end."""

    location: str
    offset: int
    length: int | None


def tensors_of(model: ModelProto) -> Iterator[PlacedTensor]:
    """Every tensor stored in a model: initializers, Constant nodes, attributes; in subgraphs and functions too."""
    yield from _graph_tensors(model.graph, "")
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node, f"function {function.name}")


def reference(tensor: TensorProto) -> Reference | None:
    """Where an external tensor's bytes are, or None for a tensor whose bytes are in the message.

    Raises ModelError for entries that are no numbers.
    """
    if tensor.data_location != tensor.EXTERNAL:
        return None
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if any(isinstance(text, bytes) for text in entries.values()):  # protobuf hands out what it cannot decode as bytes
        raise ModelError(f"tensor '{one_line(tensor.name)}' refers to external data by a name that is not UTF-8")
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries["length"]) if entries.get("length") else None
    except ValueError as error:
        raise ModelError(f"tensor '{one_line(tensor.name)}' refers to external data at no number: {error}") from error
    return Reference(entries.get("location", ""), offset, length)


def references(model: ModelProto) -> Iterator[tuple[PlacedTensor, Reference]]:
    """Every tensor of a model that lies outside the message, with where it lies. Raises ModelError as `reference`."""
    return ((item, found) for item in tensors_of(model) if (found := reference(item.tensor)) is not None)


def refer(tensor: TensorProto, to: Reference) -> None:
    """Make `tensor` an external reference, whatever held its bytes before."""
    for field in ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data"):
        tensor.ClearField(field)
    del tensor.external_data[:]
    tensor.data_location = tensor.EXTERNAL
    for key, value in (("location", to.location), ("offset", str(to.offset)), ("length", str(to.length))):
        tensor.external_data.add(key=key, value=value)


def embed(tensor: TensorProto, found: Reference, folder: Path) -> None:
    """Put the bytes that an external tensor refers to into the tensor itself. Raises ModelError where it cannot."""
    try:
        with open(folder / found.location, "rb") as stream:
            stream.seek(found.offset)
            tensor.raw_data = stream.read(found.length or 0)
    except OSError as error:
        raise ModelError(f"cannot read the weights in {one_line(folder / found.location)}: {error.strerror}") from error
    del tensor.external_data[:]
    tensor.ClearField("data_location")


def embed_small(model: ModelProto, folder: Path, limit: int) -> frozenset[tuple[str, str]]:
    """Embed the external tensors of at most `limit` bytes: whoever infers shapes or optimises needs their values.

    Returns the (place, name) of each: the model no longer says that they lie elsewhere.
    """
    embedded = set()
    for item, found in references(model):
        if (found.length or 0) <= limit:
            embed(item.tensor, found, folder)
            embedded.add((item.place, item.name))
    return frozenset(embedded)


def anchor(model: ModelProto, path: Path) -> Path:
    """Check every external reference of a model that was read from `path`, and rewrite it to the file's real place.

    Returns the folder that the rewritten locations are relative to. A location must be relative and without '..'; with
    symbolic links followed it must end inside the model's own folder, or inside the folder of the file that the model
    itself is a link to (as in a Hugging Face cache). The bytes must lie within a regular file and be as many as the
    tensor's type and shape need. Raises ModelError naming the tensor otherwise.
    """
    homes = [path.parent.resolve(), path.resolve().parent]
    files: dict[str, Path] = {}
    placed = list(references(model))
    for item, found in placed:
        if found.location not in files:
            files[found.location] = _contained(found.location, path, homes, item.name)
        _check_range(item, found, files[found.location])
    folder = Path(os.path.commonpath([homes[1], *(file.parent for file in files.values())]))
    for item, found in placed:
        file = files[found.location]
        length = file.stat().st_size - found.offset if found.length is None else found.length
        refer(item.tensor, Reference(file.relative_to(folder).as_posix(), found.offset, length))
    return folder


def _contained(location: str, path: Path, homes: list[Path], tensor: str) -> Path:
    complaint = f"{one_line(path.name)}: tensor '{one_line(tensor)}' has external data at '{one_line(location)}', which"
    pure = PurePosixPath(location.replace("\\", "/"))
    if not location or "\0" in location or pure.is_absolute() or ".." in pure.parts or ":" in str(pure):
        raise ModelError(f"{complaint} is not a relative path inside the model's folder; it is not read")
    if location == path.resolve().name:
        return path.resolve()
    try:
        real = (path.parent / pure).resolve()
    except (OSError, RuntimeError) as error:  # a circle of links is a RuntimeError before Python 3.13
        raise ModelError(f"{complaint} cannot be read ({one_line(error)}); it is not read") from error
    if not any(real.is_relative_to(home) for home in homes):
        raise ModelError(f"{complaint} leads outside the model's folder; it is not read")
    try:
        mode = real.stat().st_mode
    except OSError as error:
        raise ModelError(f"{complaint} cannot be read ({error.strerror}); copy it beside the model") from error
    if not stat.S_ISREG(mode):
        raise ModelError(f"{complaint} is not a regular file; it is not read")
    return real


def _check_range(item: PlacedTensor, found: Reference, file: Path) -> None:
    size, needed = file.stat().st_size, stored_bytes(item.tensor)
    length = size - found.offset if found.length is None else found.length
    tensor = f"tensor '{one_line(item.name)}' of shape {list(item.tensor.dims)}"
    if found.offset < 0 or length < 0 or found.offset + length > size:
        raise ModelError(
            f"{one_line(file.name)} is cut short: {tensor} refers to bytes {found.offset} to {found.offset + length}, "
            f"the file has {size}; fetch it again"
        )
    if needed is not None and length != needed:
        raise ModelError(f"{one_line(file.name)}: {tensor} needs {needed} bytes and refers to {length}")


def stored_bytes(tensor: TensorProto) -> int | None:
    """How many bytes a tensor's raw data has by its type and shape; None for a type without a fixed size."""
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        return None
    count = 1
    for dim in tensor.dims:
        if dim < 0:
            raise ModelError(f"tensor '{one_line(tensor.name)}' has the impossible shape {list(tensor.dims)}")
        count *= dim
    return (count * bits + 7) // 8


def _graph_tensors(graph: GraphProto, place: str) -> Iterator[PlacedTensor]:
    for tensor in graph.initializer:
        yield PlacedTensor(tensor, tensor.name, place)
    for sparse in graph.sparse_initializer:
        yield PlacedTensor(sparse.values, sparse.values.name, place)
        yield PlacedTensor(sparse.indices, f"{sparse.values.name} (indices)", place)
    for node in graph.node:
        yield from _node_tensors(node, place)


def _node_tensors(node: NodeProto, place: str) -> Iterator[PlacedTensor]:
    here = f"{place}{' / ' if place else ''}{node.op_type} {node.name or (node.output[0] if node.output else '')}"
    for attribute in node.attribute:
        for tensor in [attribute.t] if attribute.HasField("t") else attribute.tensors:
            yield PlacedTensor(tensor, node.output[0] if node.output else tensor.name, here)
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield from _graph_tensors(graph, f"{here} {attribute.name}")
