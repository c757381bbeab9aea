"""Methods that change a layer, against slow loops over the whole model with the layer's channels cut out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.measure.heatmaps.changed import AblationCAM, ReciproCAM
from onnxvis.measure.heatmaps.explain import Heatmap, explain
from onnxvis.run.session import RunOptions
from tests.rewrite.differences import run
from tests.rewrite.outputs import with_outputs
from tests.tiny import Array, tiny

LAYER, READER = "stage2.x/relu", "stage2.y.a/Conv"


def picture() -> Array:
    return np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)


def explained(method: str) -> Heatmap:
    model, feeds = Model(Path("case.onnx"), tiny(), Path.cwd()), {"image": picture()}
    return explain(model, feeds, [method], target="3", layers=[LAYER], options=RunOptions("cpu", 1))[0]


def layer() -> Array:
    return np.asarray(run(with_outputs(tiny(), LAYER), {"image": picture()})[LAYER])


def score(mask: Array) -> float:
    """The target of the whole model, in which all that reads the layer reads it times `mask`."""
    proto = tiny()
    for node in proto.graph.node:
        node.input[:] = ["masked" if name == LAYER else name for name in node.input]
    place = next(at for at, node in enumerate(proto.graph.node) if LAYER in node.output)
    proto.graph.node.insert(place + 1, helper.make_node("Mul", [LAYER, "mask"], ["masked"]))
    proto.graph.initializer.append(numpy_helper.from_array(mask.astype(np.float32), "mask"))
    return float(run(proto, {"image": picture()})["logits"][0, 3])


def test_ablation_cam_is_what_a_slow_loop_gives() -> None:
    """The layer is read by a convolution and by the skip connection around it."""
    whole = score(np.ones((1, 16, 1, 1)))
    expected = np.zeros((8, 8))
    for channel in range(16):
        mask = np.ones((1, 16, 1, 1))
        mask[0, channel] = 0
        expected += (whole - score(mask)) / whole * layer()[0, channel]
    found = explained("ablationcam")
    np.testing.assert_allclose(found.raw, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert any(note.startswith(f"17 runs of what comes after '{LAYER}', 17 at a time") for note in found.notes)


def test_recipro_cam_is_what_a_slow_loop_gives() -> None:
    expected = np.zeros((8, 8))
    for row, column in np.ndindex(8, 8):
        mask = np.zeros((1, 1, 8, 8))
        mask[..., row, column] = 1
        expected[row, column] = score(mask)
    found = explained("reciprocam")
    np.testing.assert_allclose(found.raw, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert any(note.startswith(f"64 runs of what comes after '{LAYER}', 64 at a time") for note in found.notes)


def test_maps_are_made_of_what_channels_or_positions_are_worth() -> None:
    rng = np.random.default_rng(0)
    activation, channels, positions = (rng.standard_normal(shape) for shape in ((4, 3, 5), (4, 1, 1), (1, 3, 5)))
    expected = [[sum(channels[k, 0, 0] * activation[k, y, x] for k in range(4)) for x in range(5)] for y in range(3)]
    np.testing.assert_allclose(AblationCAM().combine(activation, channels), expected)
    np.testing.assert_array_equal(ReciproCAM().combine(activation, positions), positions[0])


def test_a_layer_behind_the_target_is_refused() -> None:
    model = Model(Path("case.onnx"), with_outputs(tiny(), "stage1.y/relu"), Path.cwd())
    with pytest.raises(RewriteError, match=f"'stage1.y/relu' does not depend on '{LAYER}'"):
        explain(model, {"image": picture()}, ["ablationcam"], target="stage1.y/relu:0,1,2", layers=[LAYER])
