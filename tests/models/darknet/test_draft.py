"""A graph while it is written: names, constants, and the skeleton that is checked in its place."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxvis.models.darknet.draft import OPSET, Draft
from tests.models.darknet.cfgs import run


@pytest.fixture
def draft() -> Draft:
    made = Draft("net")
    made.port("image", (3, 4, 4), is_input=True)
    weight = made.weight("w", np.random.default_rng(0).standard_normal((200, 3, 1, 1), np.float32))
    made.node("Conv", ["image", weight], "y")
    shape = made.integers("shape", [0, -1])
    made.node("Reshape", ["y", shape], "out")
    made.port("out", (3200,))
    return made


def test_the_model_runs(draft: Draft) -> None:
    model = draft.model
    onnx.checker.check_model(model, full_check=True)
    picture = np.random.default_rng(1).random((2, 3, 4, 4), np.float32)
    expected = np.einsum("fc,nchw->nfhw", numpy_helper.to_array(model.graph.initializer[0])[:, :, 0, 0], picture)
    np.testing.assert_allclose(run(model, picture)["out"], expected.reshape(2, -1), rtol=1e-5, atol=1e-5)
    assert (model.producer_name, model.opset_import[0].version, model.graph.name) == ("onnxvis", OPSET, "net")


@pytest.mark.parametrize("name", ["image", "w", "y", "shape", "out"])
def test_no_name_is_given_twice(draft: Draft, name: str) -> None:
    with pytest.raises(ValueError, match=f"two tensors would be called '{name}'"):
        draft.node("Relu", ["y"], name)
    with pytest.raises(ValueError, match="two tensors would be called"):
        draft.integers(name, [1])


def test_a_number_is_kept_once(draft: Draft) -> None:
    assert draft.number(0.5) == draft.number(0.5) != draft.number(2)
    assert numpy_helper.to_array(draft.model.graph.initializer[-2]).tolist() == 0.5


def test_a_split_has_the_name_of_its_first_part(draft: Draft) -> None:
    draft.split("image", draft.integers("lengths", [1, 2]), ["first", "second"], axis=1)
    node = draft.model.graph.node[-1]
    assert (node.name, list(node.output)) == ("first", ["first", "second"])


def test_the_skeleton_has_small_constants_and_no_large_weights(draft: Draft) -> None:
    skeleton = draft.skeleton()
    assert [tensor.name for tensor in skeleton.graph.initializer] == ["shape"]
    assert [port.name for port in skeleton.graph.input] == ["image", "w"]
    assert [dim.dim_value for dim in skeleton.graph.input[1].type.tensor_type.shape.dim] == [200, 3, 1, 1]
    onnx.checker.check_model(skeleton, full_check=True)
    assert len(draft.model.graph.input) == 1


def test_a_mistake_is_found_in_the_skeleton(draft: Draft) -> None:
    draft.node("Conv", ["out", "w"], "wrong")
    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
        onnx.checker.check_model(draft.skeleton(), full_check=True)
