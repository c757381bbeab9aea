from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxvis.errors import UsageError
from onnxvis.graph.load import Model
from onnxvis.measure.boxes.flags import NO_FLAGS
from onnxvis.measure.target import TOP, Target, resolve_target
from onnxvis.rewrite.gradient import differentiate
from tests.measure.boxes.yolo import (
    FLAGS,
    columns,
    declared,
    logit,
    opened,
    outputs_of,
    picture,
    raw,
    rows,
    sigmoid,
    with_metadata,
)
from tests.rewrite.differences import run
from tests.tiny import Array, from_text

LOGITS = np.array([[0.5, -1, 3, 2]], np.float32)


def model(outputs: str = "y", body: str = "y = Identity (x)", shape: str = "1, 4") -> Model:
    declared = ", ".join(f'"{name}"' if ":" in name else name for name in outputs.split())
    return Model(Path("case.onnx"), from_text(f"g (float[{shape}] x) => ({declared}) {{ {body} }}"), Path.cwd())


def resolved(text: str, **outputs: Any) -> Target:
    return resolve_target(model(), text, outputs)


def test_top_is_the_class_with_the_highest_score() -> None:
    found = resolved(TOP, y=LOGITS)
    assert (found.output, found.index, found.tensor, found.shape, found.notes) == ("y", (2,), "y", (1, 4), ())
    assert found.value(LOGITS) == 3


def test_top_is_sought_in_the_first_output_with_class_scores() -> None:
    named = model("boxes y", "boxes = Relu (x)  y = Identity (x)")
    found = resolve_target(named, TOP, {"boxes": np.zeros((1, 3, 5), np.float32), "y": LOGITS})
    assert str(found) == "y:2"


def test_a_number_is_a_class_of_the_scores() -> None:
    named = model("boxes y", "boxes = Relu (x)  y = Identity (x)")
    found = resolve_target(named, "1", {"boxes": np.zeros((1, 3, 5), np.float32), "y": LOGITS})
    assert str(found) == "y:1"
    assert found.value(LOGITS) == -1


def test_without_scores_a_number_is_the_first_index_of_the_first_output() -> None:
    values = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    found = resolved("1", y=values)
    assert (found.output, found.index) == ("y", (1,))
    assert found.value(values) == values[0, 1].sum()
    assert found.notes == ("the target is the sum of 12 values",)


@pytest.mark.parametrize("text", ["y:1,2,0", "y:-1,-1,0", "y:1", "y:0,-3"])
def test_elements_and_sums_are_numpy_s(text: str) -> None:
    values = np.random.default_rng(0).standard_normal((2, 2, 3, 4)).astype(np.float32)
    found = resolved(text, y=values)
    index = tuple(map(int, text.split(":")[1].split(",")))
    wanted = values[0][index]
    assert found.value(values) == pytest.approx(float(wanted.sum()), rel=1e-6)
    assert all(place >= 0 for place in found.index)
    assert any(note == f"the target is the sum of {wanted.size} values" for note in found.notes) == (wanted.size > 1)
    seed = found.seed(values)
    assert seed.dtype == np.float32
    assert seed.sum() == wanted.size
    assert (seed * values.astype(np.float64)).sum() == pytest.approx(float(wanted.sum()), rel=1e-6)


def test_a_name_may_hold_colons() -> None:
    named = model("scores:0", 'scores_ = Relu (x)  "scores:0" = Identity (scores_)')
    outputs = {"scores:0": LOGITS}
    assert resolve_target(named, "scores:0:3", outputs).index == (3,)
    assert resolve_target(named, TOP, outputs).output == "scores:0"
    with pytest.raises(UsageError, match="has no output 'scores'; it has scores:0"):
        resolve_target(named, "scores:0", outputs)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("z:0", "has no output 'z'; it has y"),
        ("4", r"has no element 4: without the batch its shape is \[4\]"),
        ("y:-5", "has no element -5"),
        ("y:0,0", "has no element 0,0"),
        ("y:9999999999999999999", "is no target"),
        ("cat", "'cat' is no target; give a class, 'top', OUTPUT:index"),
        ("cat", r"of a detector box:K, K from 0, or class:CLASS@ROW,COLUMN\[@HEAD\] .*--list-targets"),
        ("box:-1", "'box:-1' is no target"),
        ("class:3", "'class:3' is no target"),
        ("-1", "is no target"),
        ("1" * 5000, "is no target"),
        ("", "is no target"),
        ("y:", "is no target"),
    ],
)
def test_what_is_not_there_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        resolved(text, y=LOGITS)


@pytest.mark.parametrize(
    "value", [np.zeros((1, 4), np.int64), np.array(["a"]), [{"cat": 1.0}], np.float32(3), np.zeros((1, 0), np.float32)]
)
def test_an_output_without_numbers_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="holds no numbers that could be explained"):
        resolved("y:0", y=value)


def test_no_scores_no_top() -> None:
    with pytest.raises(UsageError, match=r"no output of case\.onnx looks like class scores.*--target 'y:0'"):
        resolved(TOP, y=np.zeros((1, 3, 5), np.float32))
    with pytest.raises(UsageError, match=r"no output of case\.onnx looks like class scores"):
        resolved(TOP)
    with pytest.raises(UsageError, match="none that could be explained"):
        resolved("3")


def test_scores_that_are_nan_have_no_top() -> None:
    with pytest.raises(UsageError, match=r"output 'y' of case\.onnx holds NaN or infinite values, so there is no top"):
        resolved(TOP, y=np.full((1, 4), np.nan, np.float32))


@pytest.mark.parametrize(
    ("body", "op"),
    [
        ("z = Relu (x)  y = Softmax (z)", "Softmax"),
        ("z = Relu (x)  p = LogSoftmax (z)  y = Cast <to = 1> (p)", "LogSoftmax"),
        ("z = Relu (x)  y = Sigmoid (z)", ""),
    ],
)
def test_a_final_softmax_is_left_out(body: str, op: str) -> None:
    found = resolve_target(model(body=body), "2", {"y": np.array([[0.1, 0.2, 0.4, 0.3]], np.float32)})
    assert found.tensor == ("z" if op else "y")
    assert any(f"what the final {op} reads" in note for note in found.notes) == bool(op)


def test_before_the_softmax_the_shape_may_differ() -> None:
    """(2, 6) codes for (2, 3, 2): the gradient starts from the element that the output's index means."""
    proto = from_text(
        "g (float[2, 6] x) => (float[2, 3, 2] y) <int64[2] flat = {6, 2}, int64[3] back = {2, 3, 2}> "
        "{ z = Reshape (x, flat)  p = Softmax (z)  y = Reshape (p, back) }"
    )
    x = np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)
    seen = Model(Path("case.onnx"), proto, Path.cwd())
    found = resolve_target(seen, "y:2,1", {"y": run(proto, {"x": x})["y"]})
    z = x.reshape(6, 2)
    assert found.value(z) == x[0, 5]
    expected = np.zeros((6, 2), np.float32)
    expected[2, 1] = 1
    np.testing.assert_array_equal(found.seed(z), expected)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_gradient_of_the_target_is_of_the_first_picture(batch: int) -> None:
    """y = x², so d y[0, 1, :] / dx = 2 x there and nothing elsewhere."""
    seen = model(body="y = Mul (x, x)", shape=f"{batch}, 2, 3")
    x = np.random.default_rng(0).standard_normal((batch, 2, 3)).astype(np.float32)
    target = resolve_target(seen, "y:1", {"y": x**2})
    found = differentiate(seen, [target.tensor], ["x"])
    feeds: dict[str, Array] = {"x": x, found.seeds["y"]: target.seed(x)}
    expected = np.zeros_like(x)
    expected[0, 1] = 2 * x[0, 1]
    np.testing.assert_allclose(run(found.proto, feeds)[found.gradients["x"]], expected, rtol=1e-6)


def test_a_whole_output_is_called_by_its_name() -> None:
    assert str(Target("y", (), "y", (1, 4))) == "y"
    assert Target("y", (), "y", (2, 4)).value(np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)) == 10


FEEDS = picture()
NEW_COORDINATES = [head | {"new_coords": True, "scale_xy": 2.0} for head in declared()["heads"]]
DETECTORS = {
    "raw": raw(),
    "activated": with_metadata(raw("Sigmoid"), onnxvis__detector=json.dumps(declared(heads=NEW_COORDINATES))),
    "rows": rows(),
    "columns": columns(),
}


def boxed(name: str, text: str = "box:0") -> Target:
    flags = FLAGS if name == "raw" else NO_FLAGS
    return resolve_target(opened(DETECTORS[name]), text, outputs_of(DETECTORS[name], FEEDS), feeds=FEEDS, flags=flags)


def test_top_of_a_detector_is_its_strongest_box() -> None:
    for name in DETECTORS:
        top, first = boxed(name, TOP), boxed(name)
        assert top == first
        assert first.box is not None
        assert str(first) == f"box:0 ({first.output}:{','.join(map(str, first.index))})"


def test_without_feeds_the_model_s_own_size_is_taken() -> None:
    outputs = outputs_of(DETECTORS["raw"], FEEDS)
    assert resolve_target(opened(DETECTORS["raw"]), "box:0", outputs, flags=FLAGS) == boxed("raw")


@pytest.mark.parametrize(
    ("name", "tensor"), [("raw", "r3"), ("activated", "r3"), ("rows", "a3"), ("columns", "class4")]
)
def test_a_box_is_explained_where_its_numbers_are_made(name: str, tensor: str) -> None:
    """Before the Sigmoid, and before grids and branches were put together."""
    found = boxed(name, "class:2@1,3@16" if tensor == "class4" else "class:2@1,3@8")
    assert found.tensor == tensor
    assert found.box is not None
    assert found.grid == (64 // found.box.stride,) * 2
    proto = DETECTORS[name]
    named = onnx.ModelProto()
    named.CopyFrom(proto)
    named.graph.output.append(onnx.ValueInfoProto(name=tensor))
    values = run(named, FEEDS)
    value = float(values[found.output][0][found.index])
    score = sigmoid(value) if name == "raw" else value
    objectness = [] if name == "columns" else [logit(found.box.score / score)]
    assert found.value(values[tensor]) == pytest.approx(logit(score) + sum(objectness), rel=1e-3, abs=1e-4)
    seed = found.seed(values[tensor])
    assert (seed.shape, seed.sum()) == (values[tensor].shape, 1 + len(objectness))
    assert (seed * values[tensor]).sum() == pytest.approx(found.value(values[tensor]), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("raw", "the logit of the objectness plus the logit of the class of that box, before their sigmoids, which"),
        ("rows", "the logit of the objectness plus the logit of the class of that box, before their sigmoids, which"),
        ("columns", "the class logit of that box, before its sigmoid, which saturates"),
    ],
)
def test_what_is_added_up_is_said(name: str, note: str) -> None:
    assert any(note in said for said in boxed(name).notes)


def test_scores_that_lead_to_no_sigmoid_are_explained_themselves() -> None:
    """Of objectness and class only one goes through a Sigmoid, or both through something else."""
    proto = columns()
    for node in proto.graph.node:
        if node.op_type == "Sigmoid":
            node.op_type = "HardSigmoid"
    outputs = outputs_of(proto, FEEDS)
    found = resolve_target(opened(proto), "box:0", outputs, feeds=FEEDS)
    assert found.box is not None
    assert found.tensor == "scores"
    assert found.notes == ("the target is the class score of that box",)
    proto = rows()
    (last,) = (node for node in proto.graph.node if node.op_type == "Concat" and node.output[0] == "output")
    last.output[0] = "before"
    proto.graph.node.append(onnx.helper.make_node("Abs", ["before"], ["output"]))
    found = resolve_target(opened(proto), "box:0", outputs_of(proto, FEEDS), feeds=FEEDS)
    assert (found.tensor, len(found.elements)) == ("output", 2)
    assert found.notes == ("the target is the score of the objectness plus the score of the class of that box",)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_gradient_of_a_box_is_that_of_its_logits(name: str) -> None:
    """By central differences through ONNX Runtime, along some directions, of the logits of the outputs' scores."""
    proto, rng = DETECTORS[name], np.random.default_rng(0)
    target = boxed(name, "box:1")
    seen = opened(proto)
    found = differentiate(seen, [target.tensor], ["image"], values=[target.tensor], only=True)
    shape = tuple(size for size in seen.view.shape(target.tensor) or () if isinstance(size, int))
    like = np.zeros(shape, np.float32)
    given = {**FEEDS, found.seeds[target.tensor]: target.seed(like)}
    gradient = np.asarray(run(found.proto, given)[found.gradients["image"]], np.float64)

    def explained(image: Array) -> float:
        values = run(proto, {"image": image.astype(np.float32)})[target.output][0].astype(np.float64)
        if name == "raw":
            return float(sum(values[number] for number in numbers))
        return sum(logit(float(values[number])) for number in numbers)

    # the objectness stands as many channels, or columns, before its class as the class counts, and one
    assert target.box is not None
    axis = {"rows": 1}.get(name, 0)
    objectness = list(target.index)
    objectness[axis] -= target.box.label + 1
    numbers = [target.index] if name == "columns" else [target.index, tuple(objectness)]
    assert np.abs(gradient).max() > 1e-3
    for _ in range(5):
        direction = rng.standard_normal(FEEDS["image"].shape)
        step = 2e-3
        slope = (explained(FEEDS["image"] + step * direction) - explained(FEEDS["image"] - step * direction)) / 2 / step
        assert (gradient * direction).sum() == pytest.approx(slope, rel=0.02, abs=0.02)


def test_an_output_called_box_is_an_output() -> None:
    named = model("box", "box = Identity (x)")
    assert str(resolve_target(named, "box:2", {"box": LOGITS})) == "box:2"
    with pytest.raises(UsageError, match=r"no boxes in the outputs of case\.onnx"):
        resolved("box:2", y=LOGITS)


def test_raw_heads_without_anchors_say_what_is_missing() -> None:
    outputs = {"head8": np.zeros((1, 24, 8, 8), np.float32), "head16": np.zeros((1, 24, 4, 4), np.float32)}
    for text in (TOP, "box:0"):
        with pytest.raises(UsageError, match="look like raw heads of the YOLOv3 family; give --anchors"):
            resolve_target(opened(DETECTORS["raw"]), text, outputs)


def test_a_class_of_a_detector_stands_in_a_cell() -> None:
    for name, output in (("raw", "head8"), ("rows", "output"), ("columns", "output0")):
        with pytest.raises(UsageError, match=rf"is a detector.*class:2@ROW,COLUMN.*box:0.*{output}:2 means a raw"):
            boxed(name, "2")
    assert boxed("raw", "head8:2").index == (2,)


def test_class_scores_beside_heads_keep_their_numbers() -> None:
    outputs = {**outputs_of(DETECTORS["raw"], FEEDS), "y": LOGITS}
    assert str(resolve_target(opened(DETECTORS["raw"]), "1", outputs, feeds=FEEDS, flags=FLAGS)) == "y:1"


NAMES = {"onnxvis__labels": json.dumps(["cat", "crane", "star: red", "crane"])}


def test_a_class_goes_by_the_name_that_the_model_s_labels_have_once() -> None:
    named = opened(with_metadata(model().proto, **NAMES))
    assert resolve_target(named, "cat", {"y": LOGITS}).index == (0,)
    assert resolve_target(named, "star: red", {"y": LOGITS}).index == (2,)
    for text in ("crane", "Cat", "class:cat@x"):
        with pytest.raises(UsageError, match="is no target"):
            resolve_target(named, text, {"y": LOGITS})
    broken = opened(with_metadata(model().proto, onnxvis__labels="["))
    with pytest.raises(UsageError, match="'cat' is no target"):
        resolve_target(broken, "cat", {"y": LOGITS})


def test_a_named_class_in_a_cell_is_its_number_s() -> None:
    names = json.dumps(["cat", "dog", "star"])
    proto = with_metadata(raw(), onnxvis__labels=names, onnxvis__detector=json.dumps(declared()))
    outputs = outputs_of(proto, FEEDS)
    for name, number in (("class:star@1,3@8", "class:2@1,3@8"), ("class:cat@0,1", "class:0@0,1")):
        found, wanted = (resolve_target(opened(proto), text, outputs, feeds=FEEDS) for text in (name, number))
        assert found == wanted
    with pytest.raises(UsageError, match="give class:2@ROW,COLUMN"):
        resolve_target(opened(proto), "star", outputs, feeds=FEEDS)


def test_a_second_picture_is_not_explained() -> None:
    target = Target("y", (1,), "y", (2, 4), elements=((0, 1), (0, 3)))
    values = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    assert target.value(values) == 6
    np.testing.assert_array_equal(target.seed(values), [[0, 1, 0, 1], [0, 0, 0, 0]])
