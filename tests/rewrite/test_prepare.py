"""What differentiation starts from computes what the model does, in ONNX Runtime, on models old and new."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model, load
from onnxvis.graph.protos import copied
from onnxvis.rewrite.prepare import LEAST_OPSET, Prepared, prepare
from onnxvis.run.session import RunOptions, Session
from tests.rewrite.differences import run
from tests.rewrite.running import corpus, feeds_for, from_text, write
from tests.rewrite.slopes import agree, as_model, model_from
from tests.tiny import Array, oracle, tiny
from tests.zoo import NAMES, build, materialize

X = np.array([[-1.5, 0.25, 2]], np.float32)


def computed(prepared: Prepared, model: Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
    with Session(prepared.proto, model.folder, RunOptions("cpu", 1)) as session:
        return dict(session.run(dict(feeds)))


def opset(proto: ModelProto) -> int:
    return max(item.version for item in proto.opset_import if not item.domain)


OLD = """
g (float[1, 3, 4, 4] x) => (float[1, 24] y) <float[3] k = {1, 2, 0.5}>
{
    d = Dropout<ratio = 0.5>(x)
    c = Clip<min = -1.0, max = 1.0>(d)
    p = Pad<pads = [0, 0, 1, 1, 0, 0, 1, 1]>(c)
    n = BatchNormalization(p, k, k, k, k)
    s = Slice<axes = [2, 3], starts = [0, 2], ends = [4, 6]>(n)
    u = Unsqueeze<axes = [0]>(s)
    r = ReduceSum<axes = [0], keepdims = 0>(u)
    a, b = Split<axis = 3, split = [2, 2]>(r)
    m = Mul(a, b)
    f = Flatten(m)
    y = Softmax(f)
}
"""


@pytest.mark.parametrize("version", range(7, 13))
def test_old_operator_sets_are_raised_as_far_as_needed(version: int) -> None:
    body = OLD if version < 10 else OLD.replace("d = Dropout<ratio = 0.5>(x)", "d = Identity(x)")
    body = body.replace("s = Slice<axes = [2, 3], starts = [0, 2], ends = [4, 6]>(n)", TEN) if version >= 10 else body
    body = body.replace("c = Clip<min = -1.0, max = 1.0>(d)", ELEVEN).replace(PAD, PADDED) if version >= 11 else body
    model = model_from(body, version)
    prepared = prepare(model)
    assert (opset(prepared.proto), LEAST_OPSET) == (16, 16)
    assert (prepared.names, prepared.notes) == ({}, ())
    onnx.checker.check_model(prepared.proto, full_check=True)
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)
    tensors = ["c", "n", "s", "r", "a", "b", "f", "y"]
    shown = [ModelProto.FromString(proto.SerializeToString()) for proto in (model.proto, prepared.proto)]
    for proto in shown:
        del proto.graph.output[:]
        proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in tensors)
    expected, given = (run(proto, {"x": x}) for proto in shown)
    for name in tensors:
        np.testing.assert_allclose(given[name], expected[name], rtol=1e-6, atol=1e-7, strict=True)


TEN = """
    zero = Constant<value = int64[2] {0, 2}>() four = Constant<value = int64[2] {4, 6}>()
    axes = Constant<value = int64[2] {2, 3}>() s = Slice(n, zero, four, axes)
"""
ELEVEN = "low = Constant<value = float {-1}>() high = Constant<value = float {1}>() c = Clip(d, low, high)"
PAD = "p = Pad<pads = [0, 0, 1, 1, 0, 0, 1, 1]>(c)"
PADDED = "pads = Constant<value = int64[8] {0, 0, 1, 1, 0, 0, 1, 1}>() p = Pad(c, pads)"


@pytest.mark.parametrize("version", [16, 17, 21])
def test_a_recent_operator_set_stays(version: int) -> None:
    model = model_from("g (float[1, 3] x) => (float[1, 3] y) { y = Exp(x) }", version)
    prepared = prepare(model)
    assert opset(prepared.proto) == version
    assert prepared.proto == model.proto  # no dimension is free
    assert prepared.proto is not model.proto


def test_the_model_given_is_not_changed() -> None:
    model = model_from(OLD, 9)
    before = model.proto.SerializeToString()
    prepare(model, {"x": (1, 3, 4, 4)})
    assert model.proto.SerializeToString() == before


@pytest.mark.parametrize("version", [7, 9])
def test_weights_that_old_files_list_among_their_inputs_are_no_inputs(version: int) -> None:
    proto = from_text(
        "g (float[1, 3] x) => (float[1, 3] y) <float[3] w = {1, 2, 3}> { h = Mul(x, w) y = Relu(h) }", version
    )
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]))
    prepared = prepare(as_model(proto))
    assert [value.name for value in prepared.proto.graph.input] == ["x"]
    assert prepared.proto.ir_version >= 8
    np.testing.assert_array_equal(run(prepared.proto, {"x": X})["y"], np.maximum(X * [1, 2, 3], 0).astype(np.float32))


def test_large_weights_stay_references(tmp_path: Path) -> None:
    proto = tiny(side=16)
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("", 11))
    path = write(proto, tmp_path)
    model = load(path)
    outside = {t.name for t in model.proto.graph.initializer if t.data_location == TensorProto.EXTERNAL}
    prepared = prepare(model)
    kept = {t.name for t in prepared.proto.graph.initializer if t.data_location == TensorProto.EXTERNAL}
    assert kept == outside != set()
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)
    given = computed(prepared, model, {"image": x})["logits"]
    np.testing.assert_allclose(given, run(onnx.load(path), {"image": x})["logits"], rtol=1e-5, atol=1e-6)


def test_local_functions_are_inlined_before_the_operator_set_is_raised() -> None:
    proto = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["": 9, "here": 1]>
    calling (float[1, 3] x) => (float[1, 3] y) { a = here.Bounded(x) y = here.Bounded(a) }
    <domain: "here", opset_import: ["": 9]>
    Bounded (given) => (bounded) { hidden = Clip<min = -1.0, max = 0.5>(given) bounded = Neg(hidden) }
    """)
    prepared = prepare(as_model(proto))
    assert not prepared.proto.functions
    expected = -np.clip(-np.clip(X, -1, 0.5), -1, 0.5)
    np.testing.assert_array_equal(run(prepared.proto, {"x": X})["y"], expected)


def test_half_precision_of_an_old_operator_set() -> None:
    body = """
    g (float16[1, 3] x) => (float16[1, 3] y)
    { c = Clip<min = -1.0, max = 1.0>(x) p = Pad<pads = [0, 0, 0, 0], value = 1.5>(c) y = Neg(p) }
    """
    prepared = prepare(model_from(body, 9))
    assert prepared.names == {"x": "x.float32", "y": "y.float32"}
    assert prepared.notes == ("half-precision numbers are computed in float32: their gradients would underflow",)
    x = X.astype(np.float16)
    np.testing.assert_array_equal(run(prepared.proto, {"x": x})["y"], -np.clip(x, -1, 1), strict=True)


def test_a_constant_if_goes_where_the_shapes_given_decide_it() -> None:
    body = """
    g (float[n] x) => (float[n] y)
    {
        shape = Shape(x)
        three = Constant<value = int64[1] {3}>()
        same = Equal(shape, three)
        y = If(same) <
            then_branch = one () => (float[n] t) { t = Exp(x) },
            else_branch = two () => (float[n] e) { e = Neg(x) }>
    }
    """
    for size, op in ((3, "Exp"), (2, "Neg")):
        prepared = prepare(model_from(body), {"x": (size,)})
        assert {"If", "Exp", "Neg"} & {node.op_type for node in prepared.proto.graph.node} == {op}
    assert "If" in {node.op_type for node in prepare(model_from(body)).proto.graph.node}


def test_shapes_are_declared_for_inputs() -> None:
    prepared = prepare(model_from("g (float[n, 3] x) => (float[n, 3] y) { y = Exp(x) }"), {"x": (5, 3)})
    assert [dim.dim_value for dim in prepared.proto.graph.input[0].type.tensor_type.shape.dim] == [5, 3]


def test_one_name_for_sizes_that_differ_is_not_believed() -> None:
    """a is one wide and b three, and the file calls both d."""
    body = """
    g (float[n, 3] x, int64[1] one) => (float[n, d] a, float[n, d] b, float[n, d] y) <float[n, d] c>
    {
        zero = Constant<value = int64[1] {0}>()
        three = Constant<value = int64[1] {3}>()
        axis = Constant<value = int64[1] {1}>()
        c = Exp(x)
        a = Slice(c, zero, one, axis)
        b = Slice(x, zero, three, axis)
        y = Mul(a, b)
    }
    """
    model = model_from(body)
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    agree(model, {"x": x, "one": np.array([1])}, ["y"], ["x", "a", "b"])
    declared = prepare(model).proto.graph
    assert [dim.dim_param for value in declared.input[:1] for dim in value.type.tensor_type.shape.dim] == ["n", ""]
    others = [*declared.output, *declared.value_info]
    assert not any(dim.dim_param for value in others for dim in value.type.tensor_type.shape.dim)


def test_axes_that_are_computed_of_constants_are_known() -> None:
    """As PyTorch exports x[:, 1:] where nothing folds constants for it."""
    body = """
    g (float[n, 3] x) => (float[n, m] y, int64[1] axis)
    {
        zero = Constant<value = int64[1] {0}>()
        one = Constant<value = int64 {1}>()
        axis = Unsqueeze(one, zero)
        last = Constant<value = int64[1] {9223372036854775807}>()
        y = Slice(x, axis, last, axis)
    }
    """
    prepared = prepare(model_from(body))
    assert [value.name for value in prepared.proto.graph.output] == ["y", "axis"]
    given = run(prepared.proto, {"x": X})
    np.testing.assert_array_equal(given["y"], X[:, 1:])
    np.testing.assert_array_equal(given["axis"], [1], strict=True)
    agree(model_from(body), {"x": X}, ["y"], ["x"])


def test_operator_sets_before_7_are_raised_by_onnx_where_it_can() -> None:
    model = model_from("g (float[1, 3] x) => (float[1, 3] y) { d = Dropout<is_test = 1>(x) y = Relu(d) }", 6)
    prepared = prepare(model)
    assert opset(prepared.proto) == 16
    np.testing.assert_array_equal(run(prepared.proto, {"x": X})["y"], np.maximum(X, 0))


def test_an_operator_set_that_onnx_cannot_raise_is_refused_in_one_sentence() -> None:
    model = model_from("g (float[1, 3] x) => (float[1, 3] y) { y = Odd(x) }", 6)
    with pytest.raises(RewriteError) as caught:
        prepare(model)
    text = str(caught.value)
    assert text.startswith("model.onnx uses operator set 6; gradients need 16 or later, and ONNX cannot convert it: ")
    assert text.endswith(". Export the model again with a later operator set")
    assert "\n" not in text


AS_ATTRIBUTES = {"Slice": (10, ("starts", "ends", "axes")), "Split": (13, ("split",)), "Clip": (11, ("min", "max"))}
RESIZE = ("coordinate_transformation_mode", "nearest_mode")
ADDED = {"MaxPool": (10, ("ceil_mode", "dilations")), "AveragePool": (10, ("ceil_mode",)), "Resize": (11, RESIZE)}
FIRST = {"LayerNormalization": 17, "HardSwish": 14}


def older(proto: ModelProto, version: int) -> ModelProto | None:
    """A network of the zoo in the forms of an older operator set; None where that has no form of one of its nodes."""
    old = ModelProto.FromString(proto.SerializeToString())
    old.opset_import[0].version = version
    stored = {tensor.name: tensor for tensor in old.graph.initializer}
    stored |= {node.output[0]: node.attribute[0].t for node in old.graph.node if node.op_type == "Constant"}
    for node in old.graph.node:
        until, names = AS_ATTRIBUTES.get(node.op_type, (0, ()))
        if version < until:
            if not all(name in stored for name in node.input[1:]):
                return None
            for name, value in zip(names, node.input[1:], strict=False):
                node.attribute.append(helper.make_attribute(name, numpy_helper.to_array(stored[value]).tolist()))
            del node.input[1:]
        until, names = ADDED.get(node.op_type, (0, ()))
        if version < until:
            kept = [copied(item) for item in node.attribute if item.name not in names]
            del node.attribute[:]
            node.attribute.extend(kept)
        if node.op_type == "Resize" and version < 11:
            node.op_type = "Upsample" if version < 10 else "Resize"
            node.input[:] = [node.input[0], node.input[2]]
        elif node.op_type == "Resize" and version < 13:
            node.input[1] = "roi"
            if "roi" not in stored:
                stored["roi"] = old.graph.initializer.add(name="roi", data_type=TensorProto.FLOAT, dims=[0])
    return None if any(version < FIRST.get(node.op_type, 0) for node in old.graph.node) else old


@pytest.mark.parametrize(
    ("name", "version"),
    [
        *(("squeezenet1_1", version) for version in (9, 10, 12)),
        *(("shufflenet_v2_x1_0_split", version) for version in (9, 11, 13)),
        ("mobilenet_v3_small", 15),
    ],
)
def test_networks_of_older_operator_sets_compute_the_same(name: str, version: int) -> None:
    check(name, version)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [9, 10, 11, 12, 13, 15])
def test_all_networks_of_older_operator_sets_compute_the_same(name: str, version: int) -> None:
    check(name, version)


def check(name: str, version: int) -> None:
    old = older(materialize(build(name)), version)
    if old is None:
        pytest.skip(f"operator set {version} lacks a form of an operator of {name}")
    feeds = feeds_for(as_model(old))
    given = run(prepare(as_model(old)).proto, feeds)
    for key, expected in run(old, feeds).items():
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(given[key], expected, rtol=0, atol=1e-5 * scale, strict=True)


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.stem)
def test_real_models_compute_the_same(path: Path) -> None:
    model = load(path)
    feeds = feeds_for(model)
    prepared = prepare(model)
    given = computed(prepared, model, feeds)
    half = bool(prepared.names)
    for key, expected in oracle(path, [], feeds).items():
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(
            given[key].astype(np.float64), expected.astype(np.float64), rtol=0, atol=(2e-3 if half else 1e-5) * scale
        )
