"""Writing a rewritten model as a file of its own, or as one that refers to the original's weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnxvis.errors import OutputError
from onnxvis.files import atomic_writer, one_line, refuse_overwriting, write_atomic
from onnxvis.graph.external import Reference, refer, references
from onnxvis.graph.load import Model
from onnxvis.graph.protos import copied
from onnxvis.rewrite import splice

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["SINGLE_FILE_LIMIT", "save_linked", "save_self_contained"]

SINGLE_FILE_LIMIT = 2_000_000_000
"""Above this many bytes protobuf cannot read a model in one message: the weights go to a file beside it."""

_PAGE = 4096


def save_self_contained(proto: ModelProto, origin: Model, target: Path) -> list[Path]:
    """Write `proto`, a rewrite of `origin`, with all its weights; returns the files written.

    One file, or, above 2 GB, also `<target>.data` beside it, which the model refers to. Weights are copied in pieces of
    1 MiB. Both files appear only once both are written. Raises OutputError where one of them is a file of `origin`.
    """
    _refuse_files_of(origin, target)
    pieces = splice.spliced(proto)
    if splice.length_of(pieces) > SINGLE_FILE_LIMIT:
        return _save_with_data(proto, origin, target)
    with atomic_writer(target) as output:
        splice.write(pieces, origin.folder, output)
    return [target]


def save_linked(proto: ModelProto, origin: Model, target: Path) -> list[Path]:
    """Write `proto`, a rewrite of `origin`, with its large weights left where they are and referred to from there.

    Raises OutputError where `target` is a file of `origin`, or where the weights do not lie in the target's folder or
    below: ONNX allows no '..' there.
    """
    _refuse_files_of(origin, target)
    linked = copied(proto)
    home = target.parent.resolve()
    for item, found in references(linked):
        source = origin.folder / found.location
        if not source.is_relative_to(home):
            raise OutputError(
                f"cannot link from {one_line(target)} to the weights in {one_line(source)}: ONNX only allows "
                "references to the same folder or below. Write the file beside the original, or leave out --link"
            )
        refer(item.tensor, Reference(source.relative_to(home).as_posix(), found.offset, found.length))
    write_atomic(target, linked.SerializeToString())
    return [target]


def _save_with_data(proto: ModelProto, origin: Model, target: Path) -> list[Path]:
    data = target.with_name(f"{target.name}.data")
    _refuse_files_of(origin, data)
    model = copied(proto)
    with atomic_writer(target) as model_output, atomic_writer(data) as data_output:
        for item, found in references(model):
            start = _aligned(data_output)
            splice.copy_range(origin.folder, found, data_output)
            refer(item.tensor, Reference(data.name, start, found.length))
        data_output.truncate()
        model_output.write(model.SerializeToString())
        model_output.flush()
    return [target, data]


def _aligned(output: BinaryIO) -> int:
    """Start each tensor on a page, so that runtimes can map it."""
    start = (output.tell() + _PAGE - 1) // _PAGE * _PAGE
    output.seek(start)
    return start


def _refuse_files_of(origin: Model, target: Path) -> None:
    """Refuse a folder, and to write over the model or its weights."""
    if target.is_dir():
        raise OutputError(f"{one_line(target)} is a folder; name a file in it")
    refuse_overwriting(target, origin.files, instead="another -o")
