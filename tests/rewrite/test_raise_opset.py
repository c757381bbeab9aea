"""Graphs of operator sets 7 to 15 compute after the change what they did before: ONNX Runtime says so, on both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxvis.errors import RewriteError
from onnxvis.rewrite.raise_opset import FIRST, RAISED, raised
from tests.rewrite.differences import run
from tests.rewrite.running import from_text
from tests.tiny import Array, rename


@dataclass(frozen=True)
class Old:
    """One node as an older operator set has it. Weights follow x, or stand where `inputs` says."""

    op: str
    opsets: tuple[int, ...]
    shape: tuple[int | str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    note: str = ""

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value}" for key, value in self.attributes.items())
        return " ".join(filter(None, (self.op, str(list(self.shape)), given, self.note)))


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def proto_of(
    nodes: Sequence[Any], opset: int, shape: Sequence[int | str], weights: Mapping[str, Any], last: Sequence[str]
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info(name) for name in last],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def scales(*values: float) -> dict[str, Any]:
    return {"s": np.array(values, np.float32)}


PICTURE = {name: np.abs(floats(3, seed=place)) for place, name in enumerate("abmv")}
WHOLE = {name: np.abs(floats(3, 2, 4, seed=place)) + 0.1 for place, name in enumerate("abmv")}
BACKWARDS = {"start": 3, "end": 0, "axis": 0, "step": -2}
MODES = ("nearest", "linear")
TO_9, TO_10, TO_12 = (7, 9), (7, 10), (7, 10, 11, 12)
CASES = [
    *(
        Old(op, TO_12, shape, {} if axis is None else {"axis": axis})
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for shape in ((2, 3, 4), ("n", 3, 4), ("n", "m"))
        for axis in (None, 0, 1, len(shape) - 1)
    ),
    Old("Softmax", (11, 12), (2, 3, 4), {"axis": -1}),
    Old("Softmax", (11, 12), (2, 3, 4), {"axis": -2}),
    Old("BatchNormalization", (7, 9, 13), (2, 3, 4, 4), {"epsilon": 0.1}, PICTURE),
    Old("BatchNormalization", (7, 8), (2, 3, 2, 4), {"spatial": 0, "epsilon": 0.1}, WHOLE),
    Old("BatchNormalization", (7, 8), (2, 3, 2, 4), {"spatial": 0}, WHOLE, note="usual epsilon"),
    Old("BatchNormalization", (7, 8), (2, 3, 4, 4), {"spatial": 1}, PICTURE),
    Old("Clip", TO_10, (2, 3), {"min": -0.5, "max": 0.5}),
    Old("Clip", TO_10, (2, 3), {"min": 0.0}),
    Old("Clip", TO_10, (2, 3), {"max": 0.1}),
    Old("Clip", TO_10, (2, 3)),
    Old("Clip", (11, 12), (2, 3), {}, {"low": np.float32(0)}),
    Old("Dropout", (7, 10, 11), (2, 3), {"ratio": 0.3}),
    Old("Dropout", (12, 13), (2, 3), {}, {"ratio": np.float32(0.3)}),
    Old("Pad", TO_10, (2, 3), {"pads": [0, 1, 2, 0]}),
    Old("Pad", TO_10, (2, 3), {"pads": [0, 1, 1, 0], "value": 2.5}),
    Old("Pad", TO_10, (2, 3), {"pads": [0, 1, 1, 0], "mode": "reflect", "value": 2.5}),
    Old("Pad", TO_10, (2, 3), {"pads": [0, -1, 1, 2], "mode": "edge"}),
    Old("Slice", TO_9, (4, 5), {"starts": [1, 0], "ends": [3, 9]}),
    Old("Slice", TO_9, (4, 5), {"axes": [1], "starts": [-2], "ends": [2**31 - 1]}),
    Old("Slice", (10, 12), (4, 5), {}, {key: np.array([place]) for key, place in BACKWARDS.items()}),
    Old("Split", TO_12, (2, 6), {"axis": 1, "split": [2, 4]}, outputs=2),
    Old("Split", TO_12, (2, 6), {"axis": 1}, outputs=3),
    Old("Squeeze", TO_12, (2, 1, 3), {"axes": [1]}),
    Old("Squeeze", TO_12, (2, 1, 3)),
    Old("Unsqueeze", TO_12, (2, 3), {"axes": [0, 2]}),
    Old("ReduceSum", TO_12, (2, 3, 4), {"axes": [0, 2], "keepdims": 0}),
    Old("ReduceSum", TO_12, (2, 3, 4)),
    Old("TopK", TO_9, (2, 5), {"k": 2}, outputs=2),
    Old("TopK", TO_9, (5, 2), {"k": 3, "axis": 0}, outputs=2),
    Old("TopK", (10, 11), (2, 5), {}, {"k": np.array([2])}, outputs=2),
    *(Old("Upsample", (7, 8), (1, 2, 3, 3), {"scales": [1.0, 1, 2, 3], "mode": mode}) for mode in MODES),
    *(Old("Upsample", (9,), (1, 2, 3, "w"), {"mode": mode}, scales(1, 1, 2, 3)) for mode in MODES),
    *(
        Old("Resize", (10,), (1, 2, 5, 4), {"mode": mode}, scales(1, 1, *sides), note=str(sides))
        for mode in MODES
        for sides in ((2, 3), (1.3, 1), (0.6, 0.5), (0.7, 1.6), (2.5, 0.4))
    ),
    Old("Resize", (11, 12), (1, 2, 4, 4), {"mode": "linear"}, {"r": floats(0), **scales(1, 1, 2, 0.5)}),
    Old("Scatter", (9, 10), (3, 3), {"axis": 1}, {"i": np.array([[0, 2, 1]]), "u": floats(1, 3)}),
    Old("RoiAlign", (10, 15), (1, 2, 6, 6), {"output_height": 2, "output_width": 2},
        {"r": np.array([[0.3, 0.8, 4.1, 3.9]], np.float32), "i": np.array([0])}),
    Old("LSTM", (7, 13), (2, 1, 3), {"hidden_size": 2}, {"w": floats(1, 8, 3), "r": floats(1, 8, 2)}),
    Old("MaxPool", (7, 8, 11), (1, 2, 6, 6), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    Old("DepthToSpace", (7, 11), (1, 8, 2, 2), {"blocksize": 2}),
    Old("Flatten", (7, 9), (2, 3, 4)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "opset"), [pytest.param(old, opset, id=f"{old}, {opset}") for old in CASES for opset in old.opsets]
)
def test_a_node_computes_what_it_did(old: Old, opset: int) -> None:
    names = ["y", *(f"y{number}" for number in range(1, old.outputs))]
    node = helper.make_node(old.op, ["x", *old.weights], names, "node", **old.attributes)
    proto = proto_of([node], opset, old.shape, old.weights, names)
    changed = raised(proto)
    assert [item.version for item in changed.opset_import] == [RAISED]
    x = floats(*(size if isinstance(size, int) else 3 for size in old.shape), seed=5)
    given = run(changed, {"x": x})
    for name, expected in run(proto, {"x": x}).items():
        np.testing.assert_allclose(given[name], expected, rtol=1e-5, atol=1e-6, strict=True)


def test_every_operator_whose_form_changed_is_known() -> None:
    """Against ONNX's own definitions: attributes that went or changed their default, operators that went."""
    history = defaultdict(list)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= RAISED:
            history[schema.name].append(schema)
    changed = set()
    for op, schemas in history.items():
        forms = sorted(schemas, key=lambda schema: schema.since_version)
        start = max((place for place, form in enumerate(forms) if form.since_version <= FIRST), default=0)
        for before, after in zip(forms[start:], forms[start + 1 :], strict=False):
            kept = before.attributes.keys() & after.attributes.keys()
            went = before.attributes.keys() - after.attributes.keys()
            other = any(str(before.attributes[k].default_value) != str(after.attributes[k].default_value) for k in kept)
            if went or other or after.deprecated:
                changed.add(op)
    added = {"Resize", "RoiAlign"}  # whose new attributes have defaults that older forms did not follow
    moved = {"TopK"}
    assert changed | added | moved == set(_known())


def _known() -> dict[str, Any]:
    from onnxvis.rewrite import raise_opset

    return raise_opset._CHANGES


def test_computed_scales_may_grow_and_shrink() -> None:
    nodes = [
        helper.make_node("Cast", ["k"], ["s"], to=TensorProto.FLOAT),
        helper.make_node("Resize", ["x", "s"], ["y"]),
    ]
    proto = proto_of(nodes, 10, (1, 1, 4, 5), {"k": np.array([1, 1, 0.7, 1.6], np.float64)}, ["y"])
    x = floats(1, 1, 4, 5)
    np.testing.assert_array_equal(run(raised(proto), {"x": x})["y"], run(proto, {"x": x})["y"], strict=True)


BRANCHES = """
g (float[2, 3, 4] x, bool flag) => (float[2, 3, 4] y)
{
    h = Clip<min = -1.0, max = 1.0>(x)
    p = Softmax(h)
    y = If(flag) <
        then_branch = one () => (float[2, 3, 4] t) { u = Clip<min = -0.4, max = 0.5>(h) t = Softmax<axis = 1>(u) },
        else_branch = two () => (float[2, 3, 4] e) { u = Clip<min = -0.2>(p) e = Dropout<ratio = 0.5>(u) }>
}
"""


@pytest.mark.parametrize("flag", [True, False])
def test_branches_are_changed_too_and_every_tensor_keeps_its_name(flag: bool) -> None:
    proto = from_text(BRANCHES, opset=9)
    before = proto.SerializeToString()
    changed = raised(proto)
    assert proto.SerializeToString() == before
    feeds = {"x": floats(2, 3, 4), "flag": np.array(flag)}
    np.testing.assert_allclose(run(changed, feeds)["y"], run(proto, feeds)["y"], rtol=1e-6, strict=True)
    made = {name for node in changed.graph.node for name in node.output}
    assert {"h", "p", "y"} <= made
    inner = [attribute.g for node in changed.graph.node for attribute in node.attribute if attribute.HasField("g")]
    assert all("u" in {name for node in graph.node for name in node.output} for graph in inner)


def test_names_that_are_taken_are_left_alone() -> None:
    proto = from_text("g (float[2, 3] x) => (float[2, 3] y) { h = Neg(x) y = Clip<min = -0.5, max = 0.5>(h) }", 9)
    proto = rename(proto, {"h": "y/min"})
    x = floats(2, 3)
    np.testing.assert_array_equal(run(raised(proto), {"x": x})["y"], np.clip(-x, -0.5, 0.5))


def test_bounds_have_the_type_of_what_they_bound() -> None:
    body = "g (float16[2, 3] x) => (float16[2, 3] y) { h = Clip<min = -0.5, max = 0.5>(x) y = Neg(h) }"
    x = floats(2, 3).astype(np.float16)
    np.testing.assert_array_equal(run(raised(from_text(body, 9)), {"x": x})["y"], -np.clip(x, -0.5, 0.5), strict=True)


def test_operators_of_other_domains_and_unknown_ones_stay_as_they_are() -> None:
    body = """
    g (float[2, 3] x) => (float[2, 3] y)
    { h = com.microsoft.Gelu(x) k = ImageScaler<scale = 2.0>(h) y = here.Clip<min = 3.0>(k) }
    """
    proto = from_text(body, 9, header=', "com.microsoft": 1, "here": 1')
    changed = raised(proto)
    assert [node.SerializeToString() for node in changed.graph.node] == [
        node.SerializeToString() for node in proto.graph.node
    ]
    assert {item.domain: item.version for item in changed.opset_import} == {"": RAISED, "com.microsoft": 1, "here": 1}


def test_an_unread_mask_of_a_dropout_goes_and_a_read_one_stays() -> None:
    nodes = [helper.make_node("Dropout", ["x"], ["y", "mask"])]
    unread, read = (proto_of(nodes, 10, (2, 3), {}, last) for last in (["y"], ["y", "mask"]))
    assert [list(node.output) for node in raised(unread).graph.node] == [["y"]]
    assert [list(node.output) for node in raised(read).graph.node] == [["y", "mask"]]


def test_what_only_the_training_of_a_batch_norm_makes_goes() -> None:
    node = helper.make_node("BatchNormalization", ["x", *PICTURE], ["y", "mean", "var", "saved_mean", "saved_var"])
    changed = raised(proto_of([node], 9, (2, 3, 4, 4), PICTURE, ["y"]))
    assert [list(node.output) for node in changed.graph.node] == [["y"]]
    alone = helper.make_node("BatchNormalization", ["x", *PICTURE], ["y"])
    x = floats(2, 3, 4, 4)
    expected = run(proto_of([alone], 9, (2, 3, 4, 4), PICTURE, ["y"]), {"x": x})["y"]
    np.testing.assert_array_equal(run(changed, {"x": x})["y"], expected)


def test_a_scan_of_operator_set_8_is_refused() -> None:
    proto = proto_of([helper.make_node("Scan", ["", "x"], ["y"], "turn", num_scan_inputs=1)], 8, (1, 2), {}, ["y"])
    with pytest.raises(RewriteError, match="node turn is a Scan of operator set 8, which has no later form"):
        raised(proto)
