"""Gradients on a CUDA device: what the CPU gives, with no operator of the backward pass left to the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxvis.graph.load import load
from onnxvis.measure.activations import Probe
from onnxvis.rewrite.gradient import differentiate
from onnxvis.rewrite.tape import Choices
from onnxvis.run.session import RunOptions, Session, cuda_devices
from tests.zoo import build, materialize

NETWORKS = ("squeezenet1_1", "resnet18", "alexnet", "vgg16", "darknet53")


@pytest.mark.cuda
@pytest.mark.skipif(not cuda_devices(), reason="no CUDA device")
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_the_cpu_and_stay_on_the_device(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(materialize(build(name)).SerializeToString())
    model = load(path)
    source, outputs = model.inputs[0].name, [tensor.name for tensor in model.outputs]
    shape = (1, 3, 224, 224)
    rng = np.random.default_rng(0)
    picture = {source: rng.standard_normal(shape).astype(np.float32)}
    gradients = {}
    for provider, flip in (("cpu", True), ("cuda", False)):
        found = differentiate(
            model, outputs, [source], only=True, shapes={source: shape}, choices=Choices(flip_convolutions=flip)
        )
        with Probe(model, outputs, RunOptions("cpu"), only=True) as probe:
            values = probe.run(picture).values
        seeds = {found.seeds[name]: np.ones_like(values[name]) for name in outputs}
        with Session(found.proto, model.folder, RunOptions(provider, exact=True)) as session:
            assert not [node for node in session.placement.cpu_nodes if node.startswith("gradient")]
            gradients[provider] = session.run({**picture, **seeds})[found.gradients[source]]
    scale = np.abs(gradients["cpu"]).max()
    # The median: a few activations within rounding of zero fall on the other side of a Relu.
    assert np.median(np.abs(gradients["cuda"] - gradients["cpu"])) <= 1e-5 * scale
