"""Half-precision graphs computed in float32: the same ports, the same values up to half precision's rounding."""

from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxvis.graph.load import load
from onnxvis.rewrite.gradient import differentiate
from onnxvis.rewrite.widen import widened
from onnxvis.run.session import RunOptions, Session
from tests.rewrite.differences import run
from tests.rewrite.running import from_text
from tests.rewrite.slopes import as_model
from tests.tiny import Array, rename, tiny, write

X = np.array([[-1.5, 0.25, 2.125]], np.float16)
HALF = 2.0**-10  # twice the rounding of float16


def from_numbers(body: str, opset: int = 17) -> ModelProto:
    """A model from the text of its graph, in which half-precision numbers are given as numbers, not as bits."""

    def bits(found: re.Match[str]) -> str:
        kind = ml_dtypes.bfloat16 if found[1].startswith("b") else np.float16
        numbers = np.array(found[2].split(","), np.float32).astype(kind).view(np.uint16)
        return f"{found[1]}{{{', '.join(map(str, numbers))}}}"

    return from_text(re.sub(r"(\bb?float16(?:\[\d*\])?(?: \w+ =)? )\{([^}]*)\}", bits, body), opset)


def typed(values: object) -> list[tuple[str, int]]:
    return [(value.name, value.type.tensor_type.elem_type) for value in values]  # type: ignore[attr-defined]


def close(given: Array, expected: Array) -> None:
    assert given.dtype == expected.dtype
    scale = np.abs(expected.astype(np.float64)).max()
    np.testing.assert_allclose(given.astype(np.float64), expected.astype(np.float64), rtol=0, atol=2 * HALF * scale)


def same(proto: ModelProto, **feeds: Array) -> ModelProto:
    """Assert that the wide graph has the same ports and computes the same; returns it."""
    before = proto.SerializeToString()
    wide = widened(proto)
    assert wide.changed
    assert proto.SerializeToString() == before
    assert typed(wide.proto.graph.input) == typed(proto.graph.input)
    assert typed(wide.proto.graph.output) == typed(proto.graph.output)
    given = run(wide.proto, {"x": X, **feeds})
    for name, expected in run(proto, {"x": X, **feeds}).items():
        close(given[name], expected)
    return wide.proto


KINDS = """
g (float16[1, 3] x) => (float16[1, 3] y, float16[1, 3] middle, float[1, 3] full, int64[2] shape)
<float16[3] w = {1, 2, -0.5}, float16[1, 3] declared>
{
    c = Constant<value = float16[3] {0.25, -0.5, 3}>()
    a = Mul(x, w)
    declared = Add(a, c)
    middle = Sigmoid(declared)
    full = Cast<to = 1>(middle)
    narrow = Cast<to = 10>(full)
    shape = Shape(x)
    filled = ConstantOfShape<value = float16[1] {0.75}>(shape)
    like = EyeLike<dtype = 10>(x)
    sum = Sum(narrow, filled, like)
    y = Tanh(sum)
}
"""


def test_weights_constants_and_casts_of_every_kind() -> None:
    wide = same(from_numbers(KINDS))
    onnx.checker.check_model(wide, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(wide, strict_mode=True)
    half = {
        value.name for value in inferred.graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    assert not half


def test_it_says_which_tensor_stands_for_which() -> None:
    wide = widened(from_numbers(KINDS))
    assert wide.names == {"x": "x.float32", "y": "y.float32", "middle": "middle.float32"}


def test_bfloat16() -> None:
    proto = from_numbers(
        """
        g (bfloat16[1, 3] x) => (bfloat16[1, 3] y) <bfloat16[1] w = {0.5}>
        { a = Mul(x, w) c = Constant<value = bfloat16[1] {2}>() b = Add(a, c) y = Cast<to = 16>(b) }
        """,
        opset=20,
    )
    for value in (*proto.graph.input, *proto.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.BFLOAT16
    wide = widened(proto).proto
    assert typed(wide.graph.input) == typed(proto.graph.input)
    assert typed(wide.graph.output) == typed(proto.graph.output)
    x = np.array([[-1.5, 0.25, 3]], np.float32)
    wide.graph.output.append(helper.make_tensor_value_info("y.float32", TensorProto.FLOAT, [1, 3]))
    # ONNX Runtime takes no bfloat16 from NumPy: what feeds it is cast inside.
    wide.graph.input[0].name = "fed"
    wide.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    wide.graph.node.insert(0, helper.make_node("Cast", ["fed"], ["x"], to=TensorProto.BFLOAT16))
    np.testing.assert_array_equal(run(wide, {"fed": x}, ["y.float32"])["y.float32"], x / 2 + 2)


def test_a_graph_without_half_precision_is_left_as_it_is() -> None:
    proto = tiny()
    wide = widened(proto)
    assert (wide.proto is proto, wide.names, wide.changed) == (True, {}, False)


def test_half_precision_between_ports_of_float32_is_computed_in_float32() -> None:
    body = "g (float[1, 3] x) => (float[1, 3] y) { h = Cast<to = 10>(x) s = Exp(h) y = Cast<to = 1>(s) }"
    wide = widened(from_numbers(body))
    assert (wide.names, wide.changed) == ({}, True)
    x = np.array([[0.1, 12, -3]], np.float32)  # exp(12) is beyond half precision
    np.testing.assert_allclose(run(wide.proto, {"x": x})["y"], np.exp(x), rtol=1e-6)
    found = differentiate(as_model(from_numbers(body)), ["y"], ["x"])
    given = run(found.proto, {"x": x, "seed.y": np.ones_like(x)})["grad.x"]
    np.testing.assert_allclose(given, np.exp(x), rtol=1e-6)
    assert found.notes


BRANCHES = """
g (float16[1, 3] x, bool flag) => (float16[1, 3] y) <float16[3] w = {1, 2, -0.5}>
{
    h = Mul(x, w)
    p = If(flag) <
        then_branch = one () => (float16[1, 3] t) <float16[3] k = {2, 0.5, 4}>
        { c = Constant<value = float16[1] {0.25}>() a = Add(h, c) b = Mul(a, k) t = Mul(b, w) },
        else_branch = two () => (float16[1, 3] e) { e = Identity(h) }>
    y = Tanh(p)
}
"""


@pytest.mark.parametrize("flag", [True, False])
def test_branches_and_what_they_capture(flag: bool) -> None:
    same(from_numbers(BRANCHES), flag=np.array(flag))


def test_a_loop_with_a_state_of_half_precision() -> None:
    body = """
    g (float16[1, 3] x, int64 count) => (float16[1, 3] y)
    {
        go = Constant<value = bool {1}>()
        y = Loop(count, go, x) <
            body = turn (int64 i, bool on, float16[1, 3] before) => (bool still, float16[1, 3] after)
            { still = Identity(on) half = Constant<value = float16 {0.5}>() a = Mul(before, half) after = Add(a, x) }>
    }
    """
    same(from_numbers(body), count=np.array(4))


def test_an_input_and_a_weight_may_be_outputs_too() -> None:
    body = """
    g (float16[1, 3] x) => (float16[1, 3] x, float16[3] w, float16[1, 3] y) <float16[3] w = {1, 2, 3}> { y = Mul(x, w) }
    """
    same(from_numbers(body))


def test_outputs_whose_type_the_file_does_not_say_keep_theirs() -> None:
    proto = from_numbers(KINDS)
    for value in proto.graph.output:
        value.ClearField("type")
    same(proto)


def test_names_that_are_taken_are_left_alone() -> None:
    taken = {"a": "x.float32", "narrow": "y.float32", "c": "x.float32.2"}
    proto = rename(from_numbers(KINDS), taken)
    wide = widened(proto)
    assert wide.names["x"] == "x.float32.3"
    assert wide.names["y"] == "y.float32.2"
    same(proto)


def test_sparse_weights() -> None:
    proto = from_numbers("g (float16[1, 3] x) => (float16[1, 3] y) { y = Add(x, s) }")
    values = numpy_helper.from_array(np.array([5], np.float16), "s")
    proto.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1])), [3])
    )
    given = run(widened(proto).proto, {"x": X})["y"]
    np.testing.assert_array_equal(given, X + np.array([[0, 5, 0]], np.float16), strict=True)


def large(folder: Path, constant: bool) -> Path:
    """A product with a weight that stays in the file when it is opened: as an initializer, or held by a Constant."""
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float16), "w")
    proto = from_numbers("g (float16[2, 64] x) => (float16[2, 64] y) { h = MatMul(x, w) y = Sigmoid(h) }")
    if constant:
        proto.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=weight))
    else:
        proto.graph.initializer.append(weight)
    return write(proto, folder)


@pytest.mark.parametrize("constant", [False, True])
def test_a_large_weight_stays_a_reference_and_is_cast_when_read(tmp_path: Path, constant: bool) -> None:
    path = large(tmp_path, constant)
    model = load(path)
    x = np.random.default_rng(1).standard_normal((2, 64)).astype(np.float16)
    wide = widened(model.proto)
    assert wide.proto.ByteSize() < 2048
    with Session(wide.proto, model.folder, RunOptions("cpu", 1)) as session:
        given = session.run({"x": x})["y"]
    close(given, run(onnx.load(path), {"x": x})["y"])


def test_a_large_weight_of_a_branch_may_have_the_name_of_an_output_made_later(tmp_path: Path) -> None:
    body = """
    g (float16[1, 4096] x, bool flag) => (float16[1, 4096] late)
    {
        h = If(flag) <
            then_branch = one () => (float16[1, 4096] t) { t = Mul(x, late) },
            else_branch = two () => (float16[1, 4096] e) { e = Neg(x) }>
        late = Relu(h)
    }
    """
    proto = from_numbers(body)
    branch = next(item.g for item in proto.graph.node[0].attribute if item.name == "then_branch")
    branch.initializer.append(numpy_helper.from_array(np.full(4096, 2, np.float16), "late"))
    model = load(write(proto, tmp_path))
    wide = widened(model.proto)
    assert wide.proto.ByteSize() < 4096
    x = np.random.default_rng(0).standard_normal((1, 4096)).astype(np.float16)
    with Session(wide.proto, model.folder, RunOptions("cpu", 1)) as session:
        for flag, factor in ((True, 2), (False, -1)):
            given = session.run({"x": x, "flag": np.array(flag)})["late"]
            np.testing.assert_array_equal(given, np.maximum(x * np.float16(factor), 0), strict=True)


def test_small_weights_stay_values_that_rules_can_read() -> None:
    wide = widened(from_numbers(KINDS)).proto
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in wide.graph.initializer}
    np.testing.assert_array_equal(stored["w"], np.array([1, 2, -0.5], np.float32), strict=True)


def test_a_network_of_half_precision_has_the_gradients_of_its_float32_form() -> None:
    half, full = tiny(dtype="float16"), tiny()
    for narrow, wide in zip(half.graph.initializer, full.graph.initializer, strict=True):
        values = numpy_helper.to_array(narrow).astype(np.float32)
        wide.CopyFrom(numpy_helper.from_array(values, wide.name))
    x = np.random.default_rng(1).standard_normal((1, 3, 32, 32)).astype(np.float16)
    seed = np.random.default_rng(2).standard_normal((1, 10)).astype(np.float32) * np.float32(1e-6)
    asked = ["image", "stage1.y/relu"]
    found = [differentiate(as_model(proto), ["logits"], asked) for proto in (half, full)]
    given = run(found[0].proto, {"image": x, "seed.logits": seed})
    expected = run(found[1].proto, {"image": x.astype(np.float32), "seed.logits": seed})
    for name in ("grad.image", "grad.stage1.y/relu"):
        np.testing.assert_array_equal(given[name], expected[name], strict=True)
    close(given["logits"], run(half, {"image": x})["logits"])


def test_rounding_is_that_of_bfloat16_at_the_ports() -> None:
    proto = from_numbers("g (float[1, 3] x) => (float[1, 3] y) { h = Cast<to = 16>(x) y = Cast<to = 1>(h) }", opset=20)
    x = np.array([[1.00390625, 3.14159, -7]], np.float32)
    assert (x != x.astype(ml_dtypes.bfloat16).astype(np.float32)).any()
    np.testing.assert_array_equal(run(widened(proto).proto, {"x": x})["y"], x)
