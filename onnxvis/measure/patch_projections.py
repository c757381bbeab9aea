"""What in a patch excites its channel: the one response, sent back down to the pixels.

By the deconvnet's rule: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014
(arXiv:1311.2901), figure 2. By guided backpropagation: Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for
Simplicity", ICLR 2015 (arXiv:1412.6806), which shows that a deconvnet needs max-pools to tell pictures apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.graph.flow import Flow
from onnxvis.measure.projections import SeededProbe

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.patches import Patch
    from onnxvis.rewrite.tape import Variant
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.session import RunOptions

__all__ = ["project_patches", "telling_variant"]

Array = np.ndarray[Any, np.dtype[Any]]


def telling_variant(model: Model, tensor: str) -> Variant:
    """The variant whose projections to the picture tell pictures apart: deconvnet behind a max-pool, else guided.

    A deconvnet takes from the picture nothing but the places of the pools' maxima; without any it projects the same
    from every picture.
    """
    before = Flow(model.view, model.maps).ancestors([tensor])
    pooled = any(node.op == "MaxPool" and not before.isdisjoint(node.outputs) for node in model.view.nodes)
    return "deconvnet" if pooled else "guided"


def project_patches(
    model: Model,
    item: PreparedInput,
    tensor: str,
    patches: Sequence[tuple[int, Patch]],
    options: RunOptions,
    variant: Variant = "deconvnet",
    notes: list[str] | None = None,
) -> Iterator[Array]:
    """The projection of each (channel, patch) of the picture `item`, one by one, cut to the patch's window.

    Each is (C, y1 - y0, x1 - x0) float64, signed: the `variant`'s backward pass from the patch's value at its place in
    `tensor`, and 0 at all others. What a reader should know is added to `notes`. Raises as `SeededProbe` does.
    """
    probe = SeededProbe(model, item.feeds, tensor, options)
    source = probe.picture_source
    seeds = _seeds(probe.activation.shape, patches)
    runs = probe.backward(seeds, len(patches), [source], variant)
    for (_, patch), given in zip(patches, runs, strict=True):
        y0, x0, y1, x1 = patch.window
        yield given[source][:, y0:y1, x0:x1].astype(np.float64)
    if notes is not None:
        notes += probe.notes


def _seeds(shape: tuple[int, ...], patches: Sequence[tuple[int, Patch]]) -> Iterator[Array]:
    for channel, patch in patches:
        seed = np.zeros(shape)
        seed[channel, patch.row, patch.column] = patch.value
        yield seed
