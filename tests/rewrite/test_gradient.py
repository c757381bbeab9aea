"""The model that `differentiate` returns: what comes first, what it is called, what is left out, what stays free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from onnxvis.errors import RewriteError, TensorNotFound
from onnxvis.graph.load import load
from onnxvis.rewrite.gradient import Gradient, check_gradient, differentiate
from onnxvis.rewrite.tape import Choices
from tests.rewrite.differences import run
from tests.rewrite.slopes import agree, as_model, gradients, model_from, oracle, seeds_for
from tests.tiny import Array, rename, tiny, write

FORKED = """
forked (float[1, 3] x, float[1, 3] z, float[1, 3] q) => (float[1, 3] y, float[1, 3] v)
<float[3] w = {1, 2, 3}, float[3] other = {4, 5, 6}>
{
    a = Sigmoid(x)
    b = Mul(a, w)
    c = Mul(b, z)
    y = Tanh(c)
    u = Mul(q, other)
    v = Exp(u)
}
"""
FEEDS = {
    "x": np.array([[-1, 2, 0.3]], np.float32),
    "z": np.array([[0.4, -0.2, 1.1]], np.float32),
    "q": np.array([[0.1, 0.2, -0.3]], np.float32),
}
ONES = np.ones((1, 3), np.float32)


def names(values: object) -> list[str]:
    return [value.name for value in values]  # type: ignore[attr-defined]


def ops(found: Gradient) -> list[str]:
    return [node.op_type for node in found.proto.graph.node]


def test_what_the_model_has_comes_first_and_in_order_then_seeds_and_gradients() -> None:
    found = differentiate(model_from(FORKED), ["y", "b"], ["z", "x", "a"], values=["c", "y"])
    assert names(found.proto.graph.input) == ["x", "z", "q", "seed.y", "seed.b"]
    assert names(found.proto.graph.output) == ["y", "v", "c", "grad.z", "grad.x", "grad.a"]
    assert found.seeds == {"y": "seed.y", "b": "seed.b"}
    assert found.gradients == {"z": "grad.z", "x": "grad.x", "a": "grad.a"}
    assert found.values == {"c": "c", "y": "y"}
    assert found.notes == ()
    onnx.checker.check_model(found.proto, full_check=True)


def test_the_models_own_outputs_are_the_same_to_the_bit() -> None:
    model = model_from(FORKED)
    found = differentiate(model, ["y", "v"], ["x", "q"], values=["a"])
    given = run(found.proto, {**FEEDS, "seed.y": ONES, "seed.v": ONES})
    for name, expected in run(model.proto, FEEDS).items():
        np.testing.assert_array_equal(given[name], expected, strict=True)
    np.testing.assert_allclose(given["a"], 1 / (1 + np.exp(-FEEDS["x"])), rtol=1e-6)


@pytest.mark.parametrize("only", [False, True])
def test_the_model_given_is_not_changed(tmp_path: Path, only: bool) -> None:
    proto = tiny()
    model = load(write(proto, tmp_path))
    before = model.proto.SerializeToString(), model.skeleton.SerializeToString(), model.path.read_bytes()
    differentiate(model, ["stage1.y/add"], ["stage1.first/relu"], only=only)
    check_gradient(model, ["stage1.y/add"], ["stage1.first/relu"])
    assert (model.proto.SerializeToString(), model.skeleton.SerializeToString(), model.path.read_bytes()) == before


def test_only_leaves_out_nodes_weights_and_inputs_that_are_not_needed() -> None:
    found = differentiate(model_from(FORKED), ["b"], ["x"], only=True)
    assert names(found.proto.graph.input) == ["x", "seed.b"]
    assert names(found.proto.graph.output) == ["grad.x"]
    assert {"w", "other"} & set(names(found.proto.graph.initializer)) == {"w"}
    assert not {"Tanh", "Exp"} & set(ops(found))
    made = {name for node in found.proto.graph.node for name in node.output}
    assert not {"b", "c", "y", "u", "v"} & made
    onnx.checker.check_model(found.proto, full_check=True)


def test_only_returns_values_first_and_computes_the_same() -> None:
    model = model_from(FORKED)
    seeds = seeds_for(model, FEEDS, ["y"])
    found = differentiate(model, ["y"], ["a", "x"], values=["z", "b"], only=True)
    assert names(found.proto.graph.output) == ["z", "b", "grad.a", "grad.x"]
    given = run(found.proto, {"x": FEEDS["x"], "z": FEEDS["z"], "seed.y": seeds["y"]})
    expected = oracle(model, FEEDS, ["a", "x"], seeds)
    np.testing.assert_allclose(given["grad.a"], expected["a"], atol=1e-5)
    np.testing.assert_allclose(given["grad.x"], expected["x"], atol=1e-5)
    np.testing.assert_array_equal(given["z"], FEEDS["z"])


def test_seeds_stay_inputs_where_nothing_reads_them() -> None:
    found = differentiate(model_from(FORKED), ["v", "c"], ["x"], only=True)
    assert names(found.proto.graph.input) == ["x", "z", "seed.v", "seed.c"]
    feeds = {"x": FEEDS["x"], "z": FEEDS["z"], "seed.c": ONES}
    given = run(found.proto, {**feeds, "seed.v": ONES})["grad.x"]
    np.testing.assert_array_equal(given, run(found.proto, {**feeds, "seed.v": 9 * ONES})["grad.x"])
    np.testing.assert_allclose(given, oracle(model_from(FORKED), FEEDS, ["x"], {"c": ONES})["x"], atol=1e-5)


def test_names_that_are_taken_get_a_number() -> None:
    taken = {"a": "seed.y", "b": "grad.x", "c": "gradient"}
    model = as_model(rename(model_from(FORKED).proto, taken))
    found = differentiate(model, ["y"], ["x"])
    assert found.seeds == {"y": "seed.y.2"}
    assert found.gradients == {"x": "grad.x.2"}
    onnx.checker.check_model(found.proto, full_check=True)
    given = run(found.proto, {**FEEDS, "seed.y.2": ONES})
    expected = oracle(model_from(FORKED), FEEDS, ["x"], {"y": ONES})["x"]
    np.testing.assert_allclose(given["grad.x.2"], expected, atol=1e-5)


def test_asked_for_twice_is_given_once() -> None:
    found = differentiate(model_from(FORKED), ["y", "y"], ["x", "x"], values=["a", "a"])
    assert names(found.proto.graph.input) == ["x", "z", "q", "seed.y"]
    assert names(found.proto.graph.output) == ["y", "v", "a", "grad.x"]


FREE = """
free (float[n, 3, h, w] x) => (float[n, 3, h, w] y, float[n, 3] s)
<float[3, 1, 1] k = {1, -2, 0.5}>
{ a = Mul(x, k) b = Add(a, x) y = Sigmoid(b)
axes = Constant<value = int64[2] {2, 3}>() s = ReduceSum<keepdims = 0>(y, axes) }
"""


@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (4, 3, 1, 5)])
def test_free_dimensions_stay_free(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    agree(model_from(FREE), {"x": x}, ["s", "y"], ["x", "a"])
    found = differentiate(model_from(FREE), ["s"], ["x"])
    declared = {value.name: value for value in (*found.proto.graph.input, *found.proto.graph.output)}
    assert [dim.dim_param for dim in declared["grad.x"].type.tensor_type.shape.dim] == ["n", "", "h", "w"]
    assert declared["seed.s"].type.tensor_type.shape.dim[0].dim_param == "n"


def test_each_picture_of_a_batch_has_its_own_gradient() -> None:
    x = np.random.default_rng(0).standard_normal((3, 3, 2, 2)).astype(np.float32)
    seed = np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32)
    together = gradients(model_from(FREE), {"x": x}, ["x"], {"s": seed})["x"]
    for place in range(3):
        one = slice(place, place + 1)
        alone = gradients(model_from(FREE), {"x": x[one]}, ["x"], {"s": seed[one]})["x"]
        np.testing.assert_allclose(together[one], alone, rtol=1e-6, atol=1e-7)


def test_shapes_fix_the_shapes_of_all_that_follows() -> None:
    found = differentiate(model_from(FREE), ["s"], ["a"], shapes={"x": (2, 3, 4, 5)})
    declared = {value.name: value for value in (*found.proto.graph.input, *found.proto.graph.output)}
    for name, shape in {"x": [2, 3, 4, 5], "grad.a": [2, 3, 4, 5], "seed.s": [2, 3]}.items():
        assert [dim.dim_value for dim in declared[name].type.tensor_type.shape.dim] == shape
    assert "Shape" not in ops(found)


def test_doubles_are_differentiated_in_double() -> None:
    body = "g (double[2] x) => (double[2] y) { a = Sigmoid(x) y = Mul(a, x) }"
    model = model_from(body)
    x, seed = np.array([0.3, -1.2]), np.array([1.5, -0.5])
    found = differentiate(model, ["y"], ["x"])
    given = run(found.proto, {"x": x, "seed.y": seed})["grad.x"]
    gate = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(given, seed * (gate + x * gate * (1 - gate)), rtol=1e-12, strict=True)


def test_half_precision_is_said_and_comes_out_in_float32() -> None:
    body = "g (float16[1, 3] x) => (float16[1, 3] y) { a = Sigmoid(x) y = Mul(a, x) }"
    half, full = model_from(body), model_from(body.replace("float16", "float"))
    x = np.array([[0.5, -1.25, 3]], np.float16)
    seed = np.array([[1e-7, 1, -2]], np.float32)  # the first would be nothing in half precision
    found = differentiate(half, ["y"], ["x"], values=["a", "x", "y"])
    assert found.notes == ("half-precision numbers are computed in float32: their gradients would underflow",)
    given = run(found.proto, {"x": x, "seed.y": seed})
    assert given["y"].dtype == np.float16
    expected = gradients(full, {"x": x.astype(np.float32)}, ["x"], {"y": seed})["x"]
    np.testing.assert_array_equal(given["grad.x"], expected, strict=True)
    np.testing.assert_array_equal(given[found.values["x"]], x.astype(np.float32), strict=True)
    np.testing.assert_array_equal(given[found.values["y"]].astype(np.float16), given["y"], strict=True)


def test_a_value_of_unknown_type_is_left_to_the_runtime() -> None:
    body = "g (float[1, 4] x) => (float[1, 4] y) { h = com.microsoft.Trilu(x) y = Neg(x) }"
    found = differentiate(model_from(body, header=', "com.microsoft": 1'), ["y"], ["x"], values=["h"])
    assert not next(value for value in found.proto.graph.output if value.name == "h").HasField("type")
    x = np.arange(4, dtype=np.float32).reshape(1, 4)
    given = run(found.proto, {"x": x, "seed.y": np.ones_like(x)})
    np.testing.assert_array_equal(given["h"], x)
    np.testing.assert_array_equal(given["grad.x"], -np.ones_like(x))


def test_names_that_are_not_in_the_model_are_refused_with_the_nearest() -> None:
    model = model_from(FORKED)
    for of, wrt, values in ((["yy"], ["x"], []), (["y"], ["yy"], []), (["y"], ["x"], ["yy"])):
        with pytest.raises(TensorNotFound, match=r"model\.onnx has no tensor 'yy'; nearest: 'y'"):
            differentiate(model, of, wrt, values=values)
    with pytest.raises(TensorNotFound, match=r"model\.onnx has no tensor 'yy'; nearest: 'y'"):
        check_gradient(model, ["yy"], ["x"])
    with pytest.raises(TensorNotFound, match=r"has no tensor '\?', only 6 tensors by pattern; name a tensor itself"):
        differentiate(model, ["?"], ["x"])


def test_nothing_by_something_and_something_by_nothing_are_refused() -> None:
    for of, wrt in (([], ["x"]), (["y"], [])):
        with pytest.raises(RewriteError, match="a gradient is of a tensor by a tensor; name one of each"):
            differentiate(model_from(FORKED), of, wrt)
        with pytest.raises(RewriteError, match="name one of each"):
            check_gradient(model_from(FORKED), of, wrt)


def test_choices_change_the_way_and_not_the_gradient() -> None:
    model = as_model(tiny())
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    seed = np.random.default_rng(1).standard_normal((1, 10)).astype(np.float32)
    found = [
        gradients(model, {"image": x}, ["image"], {"logits": seed}, choices=Choices(flip_convolutions=flip))["image"]
        for flip in (True, False)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=2e-5 * np.abs(found[1]).max())


def test_a_function_is_differentiated_inside_by_the_names_of_what_it_made() -> None:
    proto = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["": 17, "here": 1]>
    calling (float[1, 3] x) => (float[1, 3] y) { a = here.Gate(x) y = here.Gate(a) }
    <domain: "here", opset_import: ["": 17]>
    Gate (given) => (gated) { hidden = Sigmoid(given) gated = Mul(hidden, given) }
    """)
    model = as_model(proto)
    hidden = next(name for name, was in model.function_names.items() if was == "Gate[call 1]/hidden")
    agree(model, {"x": FEEDS["x"]}, ["y"], ["x", "a", hidden])


def test_a_residual_network_has_the_gradients_that_differences_have() -> None:
    """Along random directions: a difference of one pixel is lost in the noise of float32."""
    model = as_model(tiny(side=16))
    rng = np.random.default_rng(3)
    x = rng.standard_normal((1, 3, 16, 16)).astype(np.float32)
    seed = rng.standard_normal((1, 10)).astype(np.float32)
    found = gradients(model, {"image": x}, ["image"], {"logits": seed})["image"]
    double = _double(tiny(side=16))
    for number in range(3):
        way = np.random.default_rng(number).standard_normal(x.shape)
        ends = [run_double(double, x + sign * 1e-6 * way) for sign in (1, -1)]
        slope = float((seed * (ends[0] - ends[1])).sum()) / 2e-6
        assert abs(float((found * way).sum()) - slope) <= 1e-4 * abs(slope)


def _double(proto: ModelProto) -> ModelProto:
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float64), tensor.name)
        )
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return proto


def run_double(proto: ModelProto, x: Array) -> Array:
    from onnx.reference import ReferenceEvaluator

    return np.asarray(next(iter(ReferenceEvaluator(proto).run(["logits"], {"image": x}))))


def test_weights_stay_references_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Sigmoid", ["h"], ["y"])]
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [2, 64])],
        [helper.make_tensor_value_info("y", 1, [2, 64])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    found = differentiate(load(path), ["y"], ["x"])
    kept = next(tensor for tensor in found.proto.graph.initializer if tensor.name == "w")
    assert kept.data_location == TensorProto.EXTERNAL
    assert found.proto.ByteSize() < 4096
