"""Everything that a file stores is found, in the order of the file."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxvis.graph.bodies import Bodies
from onnxvis.graph.stored import Fill, Numbers, Sparse, stored_items

TEXT = """<ir_version: 9, opset_import: ["" : 17, "here" : 1]>
g (float[2] x, bool flag) => (float[2] y) <float[2] first = {1, 2}, int64[2] size = {3, 4}> {
    number = Constant <value_float: float = 2.5> ()
    filled = ConstantOfShape <value = float[1] {7}> (size)
    chosen = If (flag) <
        then_branch = yes () => (float[2] t) <float[2] inner = {5, 6}> {
            again = ConstantOfShape (size)
            t = Identity (inner)
        },
        else_branch = no () => (float[2] e) { e = Constant <value = float[2] {8, 9}> () }>
    shape = Shape (x)
    open = ConstantOfShape <value = float[1] {7}> (shape)
    c = here.F (chosen)
    y = Add (c, first)
}
<domain: "here", opset_import: ["" : 17]>
F <alpha> (a) => (b) {
    given = Constant <value_float: float = @alpha> ()
    own = Constant <value = float {1}> ()
    b = Add (a, own)
}
"""


def test_names_places_and_forms_in_order() -> None:
    items = list(stored_items(Bodies(onnx.parser.parse_model(TEXT))))
    assert [(item.name, item.place) for item in items] == [
        ("first", ""),
        ("size", ""),
        ("number", "Constant number"),
        ("filled", "ConstantOfShape filled"),
        ("inner", "If chosen then_branch"),
        ("again", "If chosen then_branch / ConstantOfShape again"),
        ("e", "If chosen else_branch / Constant e"),
        ("open.value", "ConstantOfShape open"),
        ("own", "function F / Constant own"),
    ]
    by_name = {item.name: item for item in items}
    assert isinstance(by_name["number"].source, Numbers)
    filled, again = by_name["filled"].source, by_name["again"].source
    assert isinstance(filled, Fill)
    assert isinstance(again, Fill)
    assert (filled.shape, again.shape, again.value) == ((3, 4), (3, 4), None)
    assert by_name["open.value"].body is None


def test_sparse_tensors_in_attributes_of_any_operator() -> None:
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "v"), numpy_helper.from_array(np.zeros(1, np.int64)), [3]
    )
    nodes = [
        helper.make_node("Constant", [], ["k"], sparse_value=sparse),
        helper.make_node("Odd", ["x"], ["y"], domain="far", table=sparse, plain=sparse.values),
    ]
    x, y = (helper.make_tensor_value_info(name, 1, [1]) for name in "xy")
    items = list(stored_items(Bodies(helper.make_model(helper.make_graph(nodes, "g", [x], [y])))))
    assert [(item.name, isinstance(item.source, Sparse)) for item in items] == [
        ("k", True),
        ("y.plain", False),
        ("y.table", True),
    ]
