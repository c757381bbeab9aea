"""Receptive fields: the stretch of the input picture that each position of a feature map depends on, exactly.

Rows and columns are followed separately from the input to the tensor. Each operator says which of its input's
positions an output position reads; the field is the union of theirs. Where that is the same at every position, size,
stride and offset follow Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
Distill 2019 (doi:10.23915/distill.00021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.graph import receptive_moves, receptive_rules  # noqa: F401  importing them registers their rules
from onnxvis.graph.receptive_step import propagate
from onnxvis.graph.tracks import Axis, Track, Unknown

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import GraphView

__all__ = ["ReceptiveField", "receptive_field"]


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """What each position of `tensor` depends on in the picture input `source`, all channels of both taken together.

    A value depends on pixels within `at`, and on those at its edges. `size`, `stride` and `offset` are (vertical,
    horizontal) and hold away from the borders, None where they are not the same everywhere.
    """

    tensor: str
    source: str
    rows: Axis
    columns: Axis

    @property
    def size(self) -> tuple[int | None, int | None]:
        """How many input rows and columns one position depends on, padding counted."""
        return self._interior("size")

    @property
    def stride(self) -> tuple[int | None, int | None]:
        """How many input pixels lie between neighbouring positions; 0 where all positions see the same."""
        return self._interior("stride")

    @property
    def offset(self) -> tuple[int | None, int | None]:
        """Where the field of position 0 begins in the input; negative where it begins in the padding."""
        return self._interior("offset")

    def at(self, y: int, x: int) -> tuple[int, int, int, int]:
        """(y0, y1, x0, x1): position (y, x) depends on `picture[y0:y1, x0:x1]`, half-open, within the input.

        Empty (0, 0, 0, 0) where it depends on no pixel. Raises UsageError for a position outside the tensor.
        """
        if not (0 <= y < len(self.rows) and 0 <= x < len(self.columns)):
            size = f"{len(self.rows)} × {len(self.columns)}"
            raise UsageError(f"tensor '{one_line(self.tensor)}' has {size} positions; ({y}, {x}) is not one")
        y0, y1 = int(self.rows.first[y]), int(self.rows.last[y]) + 1
        x0, x1 = int(self.columns.first[x]), int(self.columns.last[x]) + 1
        return (y0, y1, x0, x1) if y0 < y1 and x0 < x1 else (0, 0, 0, 0)

    def _interior(self, what: str) -> tuple[int | None, int | None]:
        vertical, horizontal = (
            getattr(axis.interior, what) if axis.interior is not None else None for axis in (self.rows, self.columns)
        )
        return vertical, horizontal


def receptive_field(model: Model, tensor: str, source: str | None = None) -> ReceptiveField:
    """The receptive field of every position of `tensor` in the picture input `source`.

    `source` defaults to the first picture input that the tensor depends on. Sizes are those of `model.view`: use
    `model.at({input: shape})` for others. Time is proportional to the positions times the kernels before the tensor.
    Raises TensorNotFound; UsageError, with the reason, for a tensor that depends on no picture input, for one reached
    through an operator that has no rule, and for one of unknown size.
    """
    view = model.view
    view.tensor(tensor)
    pictures = [item.name for item in view.inputs if item.name in model.maps]
    if source is not None and source not in pictures:
        raise UsageError(f"'{one_line(source)}' is no picture input of {model.name}; these are: {', '.join(pictures)}")
    for name in [source] if source is not None else pictures:
        found = _follow(model, view, name, tensor)
        if found is not None:
            return ReceptiveField(tensor, name, found.rows, found.columns)
    raise UsageError(f"tensor '{one_line(tensor)}' has no receptive field: it depends on no picture input")


def _follow(model: Model, view: GraphView, source: str, tensor: str) -> Track | None:
    size = model.maps.chw(source)
    if size is None:
        raise UsageError(f"input '{one_line(source)}' has no known size; give one with model.at({{name: shape}})")
    places = (-3, -2) if model.maps.layouts[source] == "NHWC" else (-2, -1)
    tracks: dict[str, Track] = {source: Track(Axis.of_input(size[1]), Axis.of_input(size[2]), places)}
    needed = _ancestors(view, tensor)
    for node in view.nodes:
        if needed.isdisjoint(node.outputs):
            continue
        try:
            tracks.update(propagate(model, node, tracks))
        except Unknown as reason:
            raise UsageError(
                f"the receptive field of '{one_line(tensor)}' is not known: {node.op} node {node.label}: {reason}"
            ) from reason
    return tracks.get(tensor)


def _ancestors(view: GraphView, tensor: str) -> set[str]:
    found, waiting = {tensor}, [tensor]
    while waiting:
        node = view.producer(waiting.pop())
        for name in (*node.inputs, *node.captures) if node else ():
            if name and name not in found:
                found.add(name)
                waiting.append(name)
    return found
