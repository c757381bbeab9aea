"""Gradients of whole networks by their input, against PyTorch's by autograd in float64: stored, and live with PyTorch.

Networks of ReLUs and max pools have kinks: a unit within rounding of zero may fall on the other side in float32, and
the gradient of every pixel that it sees is another. That is no error of either side, but it limits what can be asked
of a gradient without knowing the kinks: that a third of the inputs have none.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto

import onnxvis
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.references.networks import REFERENCES, SEEDS, SIZES, Array, Sample, make_network, sample, weights_checksum
from tests.zoo import build, save

LARGEST = 2e-6
MEDIAN = 1e-7
"""Limits for |difference| over the largest |gradient|: for the worst and for the median pixel."""

QUICK = ("efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0", "squeezenet1_1", "vit_tiny")
BENT = {"Clip", "LeakyRelu", "MaxPool", "Relu"}
BUILT_IN = 0.5

EXACT = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
FAST = ort.GraphOptimizationLevel.ORT_ENABLE_ALL


class Gradients:
    """Ours, in float32: of the outputs by the input."""

    def __init__(
        self, model: Model, level: Any = EXACT, values: Iterable[str] = (), folder: Path | None = None
    ) -> None:
        self.found = differentiate(
            model, [output.name for output in model.outputs], ["input"], values=values, only=True
        )
        settings = ort.SessionOptions()
        settings.graph_optimization_level = level
        settings.intra_op_num_threads = 2
        source: Any = self.found.proto.SerializeToString()
        if folder is not None:
            (folder / "gradient.onnx").write_bytes(source)
            source = folder / "gradient.onnx"
        self.session = ort.InferenceSession(source, settings, providers=["CPUExecutionProvider"])

    def run(self, drawn: Sample) -> dict[str, Array]:
        """The gradient as 'gradient', and the values asked for."""
        feeds = {"input": drawn.image, **{self.found.seeds[name]: seed for name, seed in drawn.seeds.items()}}
        outputs = {"gradient": self.found.gradients["input"], **self.found.values}
        return dict(zip(outputs, self.session.run(list(outputs.values()), feeds), strict=True))


def opened(model: ModelProto) -> Model:
    return Model(Path("network.onnx"), model, Path.cwd())


@cache
def stored() -> dict[str, Array]:
    with np.load(REFERENCES) as file:
        return dict(file)


def assert_redrawn(drawn: str, expected: object) -> None:
    assert drawn == expected, (
        f"NumPy {np.__version__} draws other random numbers than the references were made with; make them again: "
        "python -m tests.references.make_gradients"
    )


def assert_as_stored(name: str, model: ModelProto, ours: Gradients, seeds: Sequence[int]) -> None:
    assert_redrawn(weights_checksum(model), stored()[f"{name}/weights"].item())
    errors = []
    for seed in seeds:
        drawn = sample(model, seed)
        assert_redrawn(drawn.checksum, stored()[f"{name}/drawn"][seed])
        found = ours.run(drawn)["gradient"].reshape(-1)[drawn.positions]
        errors.append(np.abs(found - stored()[f"{name}/gradients"][seed]) / stored()[f"{name}/largest"][seed])
    assert 3 * sum(error.max() <= LARGEST for error in errors) >= len(errors), [error.max() for error in errors]
    assert np.median(errors) <= MEDIAN


@pytest.mark.parametrize("name", QUICK)
def test_gradients_are_pytorch_s(name: str) -> None:
    model = make_network(name)
    assert_as_stored(name, model, Gradients(opened(model)), SEEDS[:3])


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_gradients_are_pytorch_s_at_every_seed(name: str) -> None:
    model = make_network(name)
    assert_as_stored(name, model, Gradients(opened(model)), SEEDS)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "vit_tiny"])
def test_optimised_sessions_compute_the_same(name: str) -> None:
    """ONNX Runtime fuses convolutions with activations, layer norms and GELUs, and changes the layout."""
    model = make_network(name)
    assert_as_stored(name, model, Gradients(opened(model), FAST), SEEDS[:3])


def test_weights_stay_in_the_model_s_file(tmp_path: Path) -> None:
    model = make_network("resnet18")
    (tmp_path / "resnet18.onnx").write_bytes(model.SerializeToString())
    ours = Gradients(onnxvis.load(tmp_path / "resnet18.onnx"), folder=tmp_path)
    assert ours.found.proto.ByteSize() < model.ByteSize() / 100
    assert_as_stored("resnet18", model, ours, SEEDS[:3])


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_building_takes_no_more_than_half_a_second(name: str, tmp_path: Path) -> None:
    path = save(build(name), tmp_path)
    taken = []
    for _ in range(3):
        model = onnxvis.load(path)
        start = time.perf_counter()
        differentiate(model, [output.name for output in model.outputs], ["input"], only=True)
        taken.append(time.perf_counter() - start)
    assert min(taken) <= BUILT_IN


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_gradients_differ_from_pytorch_s_by_kinks_alone(name: str) -> None:
    """Where the limits are broken, PyTorch that is told which way every unit bends in float32 keeps them."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[test,torch]'")
    from tests.references.make_gradients import forward_gap, reference
    from tests.references.torch_graph import TorchGraph

    torch.set_num_threads(1)
    model = make_network(name)
    graph = TorchGraph(model)
    assert forward_gap(model, graph, sample(model, 0)) <= 1e-5
    bent = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in BENT}
    ours = Gradients(opened(model), values=dict.fromkeys(bent.values()))
    smooth = 0
    for seed in SEEDS:
        drawn = sample(model, seed)
        found = ours.run(drawn)
        if within_limits(found["gradient"], reference(graph, drawn)):
            smooth += 1
        else:
            decisions = {output: found[source] for output, source in bent.items()}
            assert within_limits(found["gradient"], reference(graph, drawn, decisions))
    assert smooth >= 3


def within_limits(found: Array, expected: Array) -> bool:
    error = np.abs(found - expected) / np.abs(expected).max()
    return bool(error.max() <= LARGEST and np.median(error) <= MEDIAN)
