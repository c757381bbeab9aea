"""Projections of patches against the same backward pass written out in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from onnxvis.graph.load import Model, load
from onnxvis.measure.patch_projections import project_patches, telling_variant
from onnxvis.measure.patches import Patch
from onnxvis.rewrite.tape import Variant
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.session import RunOptions
from tests.tiny import Array, from_text, write

ONE = RunOptions("cpu", 1)
RNG = np.random.default_rng(3)


def network(folder: Path, body: str, **weights: Array) -> Model:
    proto = from_text(f"g (float[1, 3, 7, 9] x) => (float[1, C, h, w] y) {{ {body} }}")
    proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    return load(write(proto, folder))


def fed(values: Array) -> PreparedInput:
    picture = np.zeros((*values.shape[1:], 3), np.uint8)
    return PreparedInput("a.png", {"x": values[None].astype(np.float32)}, picture, None, None)


def test_a_linear_layer_gives_its_kernel_cut_to_the_window(tmp_path: Path) -> None:
    w = RNG.standard_normal((4, 3, 3, 5)).astype(np.float32)
    model = network(tmp_path, "y = Conv <pads = [1, 2, 1, 2], strides = [2, 2]> (x, w)", w=w)
    patches = [
        (2, Patch("a.png", 2.5, 1, 2, (1, 2, 4, 7))),
        (0, Patch("a.png", -1.5, 0, 0, (0, 0, 2, 3))),  # at a corner: a row and two columns lie in the padding
    ]
    inside, corner = project_patches(model, fed(RNG.standard_normal((3, 7, 9))), "y", patches, ONE)
    np.testing.assert_allclose(inside, 2.5 * w[2], rtol=1e-6)
    np.testing.assert_allclose(corner, -1.5 * w[0, :, 1:, 2:], rtol=1e-6)


@pytest.mark.parametrize("variant", ["deconvnet", "guided"])
def test_units_let_through_what_their_rule_says(variant: Variant, tmp_path: Path) -> None:
    first, second = (RNG.standard_normal(shape).astype(np.float32) for shape in ((6, 3), (5, 6)))
    body = "h = Conv (x, a)  r = Relu (h)  y = Conv (r, b)"
    model = network(tmp_path, body, a=first[..., None, None], b=second[..., None, None])
    x = RNG.standard_normal((3, 7, 9)).astype(np.float32)
    places = [(channel, Patch("a.png", 1.75, row, row + 2, (row, row + 2, row + 1, row + 3)))
              for channel, row in ((0, 0), (4, 3), (2, 6))]  # fmt: skip
    notes: list[str] = []
    found = list(project_patches(model, fed(x), "y", places, ONE, variant, notes))
    for (channel, patch), values in zip(places, found, strict=True):
        upstream = second[channel] * patch.value
        passed = upstream > 0
        if variant == "guided":
            passed &= first @ x[:, patch.row, patch.column] > 0
        np.testing.assert_allclose(values[:, 0, 0], first.T @ (upstream * passed), rtol=1e-5)
    assert notes == []


def test_a_deconvnet_is_chosen_behind_a_max_pool_alone(tmp_path: Path) -> None:
    body = "a = Relu (x)  b = MaxPool <kernel_shape = [2, 2]> (a)  c = Relu (b)  d = Sigmoid (a)  y = Relu (c)"
    model = network(tmp_path, body)
    chosen = {name: telling_variant(model, name) for name in "abcdy"}
    assert chosen == {"a": "guided", "b": "deconvnet", "c": "deconvnet", "d": "guided", "y": "deconvnet"}
