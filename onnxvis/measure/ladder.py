"""From a deep feature map down to the picture, convolution by convolution: what a projection is made of on its way.

Zeiler and Fergus (2014, arXiv:1311.2901) rebuild the input of each layer from the activity of the one above it, until
pixel space is reached; here every one of these reconstructions is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.graph.flow import Flow
from onnxvis.graph.ops import CONVOLUTIONS
from onnxvis.measure.projections import Position, SeededProbe, Tell, seed_of
from onnxvis.rewrite.tape import Variant

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.run.session import RunOptions

__all__ = ["Ladder", "Step", "ladder", "ladder_tensors"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Step:
    """One reconstruction on the way down.

    `tensor`: what was rebuilt, the input of `convolution`, which is that node's name, or what it makes where it has
    none; '' for the picture where no convolution reads it. `values`: (C, h, w) float64, signed.
    """

    tensor: str
    convolution: str
    values: Array


@dataclass(frozen=True, eq=False)
class Ladder:
    """The reconstructions from `channel` of `tensor` (None: all of it) down, deepest first; the last is the picture's.

    `notes` and `provider` as of a projection.
    """

    tensor: str
    channel: int | None
    variant: Variant
    position: Position
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    provider: str


def ladder(
    model: Model,
    feeds: Mapping[str, Array],
    tensor: str,
    channel: int | None = None,
    *,
    variant: Variant = "deconvnet",
    position: Position = "all",
    options: RunOptions | None = None,
    progress: Tell | None = None,
) -> Ladder:
    """Seed `tensor` as `project` does, and keep the gradient by the input of each convolution below it, in one run.

    A VGG-16 gives 13 steps from its last feature map: the inputs of its convolutions, the first one's the picture.
    Where convolutions read the same tensor, that is one step; inputs of a single position, as in a block of squeeze and
    excitation, are none. Where no convolution reads the picture itself, it is a step of its own, in place of a tensor
    of its shape that the first convolution reads.
    Raises as `project`, and UsageError where no convolution lies between the picture and `tensor`.
    """
    probe = SeededProbe(model, feeds, tensor, options)
    seed = seed_of(probe.activation, channel, position, tensor)
    named = ladder_tensors(probe.model, probe.picture_source, tensor)
    if progress is not None:
        progress("projecting down to every convolution", 0, 0)
    (found,) = probe.backward([seed], 1, list(named), variant)
    steps = tuple(Step(name, convolution, found[name]) for name, convolution in named.items())
    return Ladder(tensor, channel, variant, position, steps, tuple(probe.notes), probe.provider)


def ladder_tensors(model: Model, picture: str, tensor: str) -> dict[str, str]:
    """{what is rebuilt on the way from `tensor` down to `picture`: the convolution that reads it}, deepest first."""
    view, flow = model.view, Flow(model.view, model.maps)
    between = flow.ancestors([tensor]) & flow.descendants([picture])
    found: dict[str, str] = {}
    for node in view.nodes:
        source = node.inputs[0] if node.op in CONVOLUTIONS else ""
        if source in between and node.outputs[0] in between and _is_map_of_floats(model, source):
            found.setdefault(source, one_line(node.name or node.outputs[0]))
    if not found:
        raise UsageError(
            f"no convolution lies between the picture and '{one_line(tensor)}', so there are no steps to show; project "
            "the tensor itself, or name a deeper one"
        )
    names = sorted(found, key=flow.position.__getitem__)
    if names[0] != picture:
        label = ""
        if model.maps.chw(names[0]) == model.maps.chw(picture):
            label = found[names.pop(0)]
        found[picture] = label
        names.insert(0, picture)
    return {name: found[name] for name in reversed(names)}


def _is_map_of_floats(model: Model, name: str) -> bool:
    size = model.maps.chw(name)
    floats = model.view.tensor(name).dtype in ("", "float16", "bfloat16", "float32", "float64")
    return floats and name in model.maps and size is not None and size[1:] != (1, 1)
