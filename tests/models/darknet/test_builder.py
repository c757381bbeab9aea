"""What the graph under construction remembers: tensors by layer, their shape, the names of outputs."""

from __future__ import annotations

import numpy as np
import pytest

from onnxvis.models.darknet.builder import EPSILON, Builder, Value
from onnxvis.models.darknet.draft import Draft
from onnxvis.models.darknet.drawn import DrawnWeights
from onnxvis.models.darknet.names import outputs
from onnxvis.models.darknet.plan import Plan
from tests.models.darknet.cfgs import plan_of, run


@pytest.fixture
def plan() -> Plan:
    return plan_of("convolutional filters=6 activation=relu", "connected output=12 activation=linear", "dropout")


def begun(plan: Plan) -> Builder:
    draft = Draft("x")
    draft.port("image", plan.picture, is_input=True)
    return Builder(draft, plan, DrawnWeights(plan, 0), outputs(plan))


def test_only_the_last_step_of_what_feeds_an_output_has_its_name(plan: Plan) -> None:
    builder = begun(plan)
    first, second, _ = plan.layers
    assert builder.name(first, "conv") == "darknet/stem/conv"
    assert builder.name(second, "fc", last=False) == "classifier/fc/fc"
    assert builder.name(second, "fc") == "logits"


def test_a_flat_value_is_made_a_map_once(plan: Plan) -> None:
    builder = begun(plan)
    builder.keep(plan.layers[1], Value("flat", flat=True))
    assert builder.map(1) == builder.map(1) == "flat/map"
    assert [node.op_type for node in builder.draft.model.graph.node] == ["Reshape"]
    assert builder.map(-1) == "image"


def test_a_map_is_flattened_for_what_reads_it_flat(plan: Plan) -> None:
    builder = begun(plan)
    builder.keep(plan.layers[0], Value("map"))
    assert builder.flat(plan.layers[1]) == "classifier/fc/flat"
    builder.keep(plan.layers[1], Value("flat", flat=True))
    assert builder.flat(plan.layers[2]) == "flat"


def test_batch_norm_divides_by_the_root_of_variance_and_epsilon() -> None:
    plan = plan_of("batchnorm", net="width=2 height=2 channels=1")
    builder = begun(plan)
    arrays = {name: np.array([value], np.float32) for name, value in
              {"scale": 3, "bias": 0.5, "mean": 2, "variance": 3 * EPSILON}.items()}  # fmt: skip
    builder.normalise(plan.layers[0], "image", arrays, "y")
    builder.draft.port("y", (1, 2, 2))
    found = run(builder.draft.model, np.full((1, 1, 2, 2), 2.001, np.float32))["y"]
    np.testing.assert_allclose(found, 3 * 0.001 / 0.002 + 0.5, rtol=1e-3)


def test_outputs_that_nothing_is_called_yet_are_named(plan: Plan) -> None:
    builder = begun(plan)
    builder.keep(plan.layers[1], Value("other", flat=True))
    builder.name_outputs()
    (node,) = builder.draft.model.graph.node
    assert (node.op_type, list(node.input), list(node.output)) == ("Identity", ["other"], ["logits"])
