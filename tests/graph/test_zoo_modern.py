"""The zoo's networks whose stages no table gives: held against published figures and against themselves."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.zoo import build, materialize, save

if TYPE_CHECKING:
    from tests.zoo.core import Layout

LAYOUTS = ("nchw", "nhwc", "nhwc_everywhere")


def test_convnext_has_the_parameters_that_torchvision_s_documentation_states() -> None:
    assert sum(prod(tensor.dims) for tensor in build("convnext_tiny").graph.initializer) == 28_589_128


def test_the_mixed_u_net_goes_up_in_both_ways() -> None:
    ops = [node.op_type for node in build("unet_mixed").graph.node]
    assert (ops.count("ConvTranspose"), ops.count("Resize")) == (2, 2)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["convnext_tiny", "unet_mixed"])
def test_valid_at_its_own_size(name: str, layout: str, tmp_path: Path) -> None:
    path = save(build(name, layout=cast("Layout", layout)), tmp_path)
    onnx.checker.check_model(str(path), full_check=True)


@pytest.mark.parametrize("name", ["convnext_tiny", "unet_mixed"])
def test_layouts_compute_the_same(name: str) -> None:
    x = np.random.default_rng(1).random((1, 3, 32, 32), np.float32)
    found = []
    for layout in LAYOUTS:
        model = materialize(build(name, layout=cast("Layout", layout), size=32), seed=3)
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        fed = x if layout == "nchw" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        (result,) = session.run(None, {"input": fed})
        spatial = layout != "nchw" and result.ndim == 4
        found.append(result.transpose(0, 3, 1, 2) if spatial else result)
    assert found[0].std() > 1e-3
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-4 * float(np.abs(found[0]).max()))


def test_another_size_leaves_the_weights_of_convolutions_as_they_are() -> None:
    own, small = ({t.name: list(t.dims) for t in build("alexnet", size=size).graph.initializer} for size in (224, 96))
    assert own == {t.name: list(t.dims) for t in build("alexnet").graph.initializer}
    assert {name for name in own if own[name] != small[name]} == {"classifier.1.weight"}
