"""What a rewritten graph holds: its outputs and their order, what a cut leaves out, casts, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxvis.errors import RewriteError, TensorNotFound
from onnxvis.graph.load import Model, load
from onnxvis.graph.select import select
from onnxvis.rewrite.expose import Exposed, expose
from onnxvis.run.session import RunOptions, Session
from tests.rewrite.running import Array, from_text, write

FORKED = """
forked (float[1, 3] x, float[1, 3] z) => (float[1, 3] y, float[1, 3] v)
<float[3] w = {1, 2, 3}, float[3] unused = {4, 5, 6}>
{
    a = Relu(x)
    b = Add(a, w)
    c = Mul(z, b)
    y = Neg(c)
    v = Mul(z, w)
}
"""


@pytest.fixture
def forked(tmp_path: Path) -> Model:
    return load(write(from_text(FORKED), tmp_path))


def names(values: Any) -> list[str]:
    return [value.name for value in values]


def ops(proto: ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def run(exposed: Exposed, model: Model, **feeds: Array) -> dict[str, Any]:
    onnx.checker.check_model(exposed.proto)
    with Session(exposed.proto, model.folder, RunOptions("cpu", 1)) as session:
        return session.run(feeds)


ROW = np.array([[-1, 2, 3]], np.float32)


def test_the_models_own_outputs_come_first_then_those_asked_for_in_order(forked: Model) -> None:
    exposed = expose(forked, ["c", "y", "a", "x", "w", "c"])
    assert names(exposed.proto.graph.output) == ["y", "v", "c", "a", "x", "w"]
    assert exposed.outputs == {name: name for name in ("c", "y", "a", "x", "w")}
    assert exposed.casts == {}
    found = run(exposed, forked, x=ROW, z=ROW)
    np.testing.assert_array_equal(found["x"], ROW)
    np.testing.assert_array_equal(found["w"], [1, 2, 3])
    np.testing.assert_array_equal(found["c"], [[-1, 8, 18]])


def test_only_keeps_exactly_the_ancestors(forked: Model) -> None:
    cut = expose(forked, ["b"], only=True).proto
    assert ops(cut) == ["Relu", "Add"]
    assert names(cut.graph.input) == ["x"]
    assert names(cut.graph.initializer) == ["w"]
    assert names(cut.graph.output) == ["b"]
    assert set(names(cut.graph.value_info)) <= {"a", "b"}


def test_only_returns_what_was_asked_for_in_the_order_asked(forked: Model) -> None:
    exposed = expose(forked, ["v", "a"], only=True)
    assert names(exposed.proto.graph.output) == ["v", "a"]
    assert list(run(exposed, forked, x=ROW, z=ROW)) == ["v", "a"]


@pytest.mark.parametrize(("tensor", "expected"), [("x", ROW), ("w", [1, 2, 3]), ("unused", [4, 5, 6])])
def test_only_with_an_input_or_an_initializer_needs_no_node(forked: Model, tensor: str, expected: Any) -> None:
    exposed = expose(forked, [tensor], only=True)
    assert ops(exposed.proto) == []
    np.testing.assert_array_equal(run(exposed, forked, x=ROW, z=ROW)[tensor], expected)


@pytest.mark.parametrize("only", [False, True])
def test_the_model_given_is_not_changed(forked: Model, only: bool) -> None:
    before = forked.proto.SerializeToString(), forked.skeleton.SerializeToString(), forked.path.read_bytes()
    expose(forked, ["a", "c", "w"], only=only)
    assert (forked.proto.SerializeToString(), forked.skeleton.SerializeToString(), forked.path.read_bytes()) == before


def test_unknown_names_and_nothing_at_all_are_refused(forked: Model) -> None:
    with pytest.raises(TensorNotFound, match="no tensor 'nowhere'"):
        expose(forked, ["a", "nowhere"])
    with pytest.raises(RewriteError, match="nothing would be left"):
        expose(forked, [], only=True)
    assert names(expose(forked, []).proto.graph.output) == ["y", "v"]


BRANCHES = """
branching (float[3] x, bool flag) => (float[3] y)
<float[3] w = {1, 2, 3}>
{
    kept = Relu(x)
    other = Neg(x)
    unused = Abs(x)
    picked = If(flag) <
        then_branch = one () => (float[3] t) { inner = Add(kept, w) t = Identity(inner) },
        else_branch = two () => (float[3] e) { e = Identity(other) }
    >
    y = Exp(picked)
}
"""


def test_what_a_branch_captures_is_kept(tmp_path: Path) -> None:
    model = load(write(from_text(BRANCHES), tmp_path))
    exposed = expose(model, ["picked"], only=True)
    assert ops(exposed.proto) == ["Relu", "Neg", "If"]
    assert names(exposed.proto.graph.initializer) == ["w"]
    x = np.array([-1, 0, 2], np.float32)
    np.testing.assert_array_equal(run(exposed, model, x=x, flag=np.array(True))["picked"], [1, 2, 5])
    np.testing.assert_array_equal(run(exposed, model, x=x, flag=np.array(False))["picked"], [1, 0, -2])


def test_a_tensor_inside_a_branch_is_refused_with_the_reason(tmp_path: Path) -> None:
    model = load(write(from_text(BRANCHES), tmp_path))
    with pytest.raises(TensorNotFound, match=r"'inner' lives inside a branch or body of If.*no value outside"):
        select(model, ["inner"])
    with pytest.raises(TensorNotFound):
        expose(model, ["inner"])


FUNCTIONS = """
calling (float[1, 3] x) => (float[1, 3] y)
{
    a = here.Twice(x)
    y = here.Twice(a)
}
<domain: "here", opset_import: ["": 17]>
Twice (given) => (doubled) { hidden = Add(given, given) doubled = Identity(hidden) }
"""


def test_a_tensor_inside_a_function_is_exposed_by_its_inlined_name(tmp_path: Path) -> None:
    model = load(write(from_text(FUNCTIONS, header=', "here": 1'), tmp_path))
    where = {old: new for new, old in model.function_names.items()}
    first, second = (next(where[key] for key in where if key == f"Twice[call {i}]/hidden") for i in (0, 1))
    found = run(expose(model, [first, second], only=True), model, x=ROW)
    np.testing.assert_array_equal(found[first], 2 * ROW)
    np.testing.assert_array_equal(found[second], 4 * ROW)


def typed(code: int, opset: int, folder: Path, taken: str) -> Model:
    """x is cast to the type and back; another tensor already has the name that the exposed one would get."""
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=code),
        helper.make_node("Cast", ["narrow"], [taken], to=TensorProto.FLOAT),
        helper.make_node("Neg", [taken], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "typed", values[:1], values[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=11)
    return load(write(proto, folder))


NARROW = {
    "bfloat16": (TensorProto.BFLOAT16, 17, np.float32, ml_dtypes.bfloat16),
    "float8e4m3fn": (TensorProto.FLOAT8E4M3FN, 19, np.float32, ml_dtypes.float8_e4m3fn),
    "float8e4m3fnuz": (TensorProto.FLOAT8E4M3FNUZ, 19, np.float32, ml_dtypes.float8_e4m3fnuz),
    "float8e5m2": (TensorProto.FLOAT8E5M2, 19, np.float32, ml_dtypes.float8_e5m2),
    "float8e5m2fnuz": (TensorProto.FLOAT8E5M2FNUZ, 19, np.float32, ml_dtypes.float8_e5m2fnuz),
    "int4": (TensorProto.INT4, 21, np.int8, ml_dtypes.int4),
    "uint4": (TensorProto.UINT4, 21, np.uint8, ml_dtypes.uint4),
}


@pytest.mark.parametrize("only", [False, True])
@pytest.mark.parametrize("dtype", NARROW)
def test_types_that_numpy_lacks_are_cast_to_one_that_holds_them_exactly(dtype: str, only: bool, tmp_path: Path) -> None:
    code, opset, wider, narrow = NARROW[dtype]
    holder = np.dtype(wider).name
    model = typed(code, opset, tmp_path, f"narrow.{holder}")
    exposed = expose(model, ["narrow", "y"], only=only)
    assert exposed.outputs == {"narrow": f"narrow.{holder}.2", "y": "y"}
    assert exposed.casts == {"narrow": (dtype, holder)}
    x = np.array([[0.25, 1.25, 2.75, 5]], np.float32)
    found = run(exposed, model, x=x)
    value = found[exposed.outputs["narrow"]]
    rounded = x.round() if "int" in dtype else x
    np.testing.assert_array_equal(value, rounded.astype(narrow).astype(wider), strict=True)
    np.testing.assert_array_equal(found["y"], -value.astype(np.float32))


def test_every_bfloat16_survives_the_cast(tmp_path: Path) -> None:
    bits = np.arange(0, 65536, 7, dtype=np.uint16)
    tensor = TensorProto(name="narrow", data_type=TensorProto.BFLOAT16, dims=[len(bits)], raw_data=bits.tobytes())
    proto = from_text("g (bfloat16[n] x) => (bfloat16[n] y) { y = Add(x, narrow) }")
    proto.graph.initializer.append(tensor)
    model = load(write(proto, tmp_path))
    exposed = expose(model, ["narrow"], only=True)
    with Session(exposed.proto, model.folder, RunOptions("cpu", 1)) as session:
        (value,) = session.run({}).values()
    np.testing.assert_array_equal(value, (bits.astype(np.uint32) << 16).view(np.float32))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("g (float[4] x) => (float[4] y) { s = SplitToSequence(x) y = ConcatFromSequence<axis = 0>(s) }", "a sequence"),
        ("g (float[4] x) => (float[4] y) { s = Optional(x) y = OptionalGetElement(s) }", "an optional"),
    ],
)
def test_what_is_no_tensor_is_refused(body: str, kind: str, tmp_path: Path) -> None:
    model = load(write(from_text(body, opset=18), tmp_path))
    with pytest.raises(RewriteError, match=f"'s' is {kind}, not a tensor"):
        expose(model, ["s"])


def test_maps_are_refused(tmp_path: Path) -> None:
    body = "g (float[1, 2] x) => (float[1, 2] y) { y = Relu(x) s = ai.onnx.ml.ZipMap<classlabels_int64s = [0, 1]>(y) }"
    model = load(write(from_text(body, header=', "ai.onnx.ml": 3'), tmp_path))
    with pytest.raises(RewriteError, match="'s' is a sequence, not a tensor"):
        expose(model, ["s"])


def test_a_tensor_of_unknown_type_is_left_to_the_runtime(tmp_path: Path) -> None:
    body = "g (float[1, 4] x) => (float[1, 4] y) { h = com.microsoft.Trilu(x) y = Neg(h) }"
    model = load(write(from_text(body, header=', "com.microsoft": 1'), tmp_path))
    assert model.view.tensor("h").dtype == ""
    exposed = expose(model, ["h"])
    assert not exposed.proto.graph.output[1].HasField("type")
    with Session(exposed.proto, model.folder, RunOptions("cpu", 1)) as session:
        found = session.run({"x": np.ones((1, 4), np.float32)})
    np.testing.assert_array_equal(found["h"], -found["y"])


def test_shapes_are_declared_only_where_every_input_would_give_them(tmp_path: Path) -> None:
    body = "g (float[{0}, 3, {1}, {1}] x) => (float[{0}, 3, {1}, {1}] y) {{ h = Relu(x) y = Neg(h) }}"
    fixed = expose(load(write(from_text(body.format(1, 8)), tmp_path)), ["h"]).proto.graph.output[1]
    free = expose(load(write(from_text(body.format("n", "side")), tmp_path)), ["h"]).proto.graph.output[1]
    assert [dim.dim_value for dim in fixed.type.tensor_type.shape.dim] == [1, 3, 8, 8]
    assert [dim.WhichOneof("value") for dim in free.type.tensor_type.shape.dim] == [None] * 4


def test_an_old_files_initializers_stay_listed_as_inputs(tmp_path: Path) -> None:
    proto = from_text(FORKED, opset=8)
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]))
    model = load(write(proto, tmp_path))
    cut = expose(model, ["b"], only=True)
    assert names(cut.proto.graph.input) == ["x", "w"]
    np.testing.assert_array_equal(run(cut, model, x=ROW)["b"], [[1, 4, 6]])


def test_sparse_weights_are_kept_with_what_reads_them(tmp_path: Path) -> None:
    proto = from_text("g (float[1, 3] x) => (float[1, 3] y) { h = Add(x, s) y = Neg(h) }")
    values = numpy_helper.from_array(np.array([5], np.float32), "s")
    indices = numpy_helper.from_array(np.array([1], np.int64))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))
    model = load(write(proto, tmp_path))
    assert len(expose(model, ["h"], only=True).proto.graph.sparse_initializer) == 1
    assert not expose(model, ["x"], only=True).proto.graph.sparse_initializer


def test_nodes_in_any_order_are_cut_alike(tmp_path: Path) -> None:
    proto = from_text(FORKED)
    nodes = list(reversed(proto.graph.node))
    shuffled = ModelProto.FromString(proto.SerializeToString())
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(nodes)
    model = load(write(shuffled, tmp_path))
    exposed = expose(model, ["b"], only=True)
    assert ops(exposed.proto) == ["Add", "Relu"]
    with Session(exposed.proto, model.folder, RunOptions("cpu", 1)) as session:
        np.testing.assert_array_equal(session.run({"x": ROW})["b"], [[1, 4, 6]])
