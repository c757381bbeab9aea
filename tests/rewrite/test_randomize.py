from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxvis.errors import RewriteError, TensorNotFound
from onnxvis.graph.load import Model, load
from onnxvis.rewrite.randomize import WeightLayer, randomize, weight_layers
from onnxvis.run.session import RunOptions, Session
from tests.tiny import Array, from_text, oracle, tiny, write

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)


def check(model: Model, shuffled: Model, names: set[str]) -> None:
    """Only the tensors of these names are changed, and those hold the same values at other places."""
    for stored in model.weights.all():
        before, after = np.asarray(model.read(stored.name)), np.asarray(shuffled.read(stored.name))
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        same = before.tobytes() == after.tobytes()
        assert same == (stored.name not in names), stored.name
        wide = np.float32 if before.dtype.kind not in "iub" else np.int64
        np.testing.assert_array_equal(np.sort(before.astype(wide), axis=None), np.sort(after.astype(wide), axis=None))


def run(model: Model, feeds: dict[str, Array]) -> Array:
    with Session(model.skeleton, model.folder, RunOptions("cpu", 1)) as session:
        return np.asarray(next(iter(session.run(feeds).values())))


def test_only_the_weights_that_are_named_are_shuffled(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    before, model = hashlib.sha256(path.read_bytes()).digest(), load(path)
    serialized = model.skeleton.SerializeToString()
    shuffled = randomize(model, ["fc.weight", "stage2.y.b.weight"])
    check(model, shuffled, {"fc.weight", "stage2.y.b.weight"})
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert model.skeleton.SerializeToString() == serialized
    # The runtime sees the shuffled weights: the same as when they are written into a file by onnx alone.
    whole = onnx.load(path)
    for tensor in whole.graph.initializer:
        if tensor.name in ("fc.weight", "stage2.y.b.weight"):
            tensor.CopyFrom(numpy_helper.from_array(np.array(shuffled.read(tensor.name)), tensor.name))
    wanted = oracle(write(whole, tmp_path, "other.onnx"), [], {"image": IMAGE})["logits"]
    np.testing.assert_allclose(run(shuffled, {"image": IMAGE}), wanted, rtol=1e-5)
    assert np.abs(wanted - oracle(path, [], {"image": IMAGE})["logits"]).max() > 0.1


def test_the_seed_decides_and_a_tensor_is_shuffled_alike_whatever_else_is(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    alone = randomize(model, ["fc.weight"], 3).read("fc.weight")
    np.testing.assert_array_equal(alone, randomize(model, ["stage1.x.a.weight", "fc.weight"], 3).read("fc.weight"))
    assert (alone != randomize(model, ["fc.weight"], 4).read("fc.weight")).mean() > 0.9


def test_external_weights_are_shuffled_and_their_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "external.onnx"
    onnx.save_model(tiny(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    before, model = (tmp_path / "weights.bin").read_bytes(), load(path)
    shuffled = randomize(model, ["fc.weight", "stage2.first.weight"])
    check(model, shuffled, {"fc.weight", "stage2.first.weight"})
    assert np.isfinite(run(shuffled, {"image": IMAGE})).all()
    assert (tmp_path / "weights.bin").read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["external.onnx", "weights.bin"]


def test_float16_weights(tmp_path: Path) -> None:
    model = load(write(tiny(dtype="float16"), tmp_path))
    shuffled = randomize(model, ["fc.weight"])
    check(model, shuffled, {"fc.weight"})
    assert np.isfinite(run(shuffled, {"image": IMAGE.astype(np.float16)})).all()


def quantised() -> onnx.ModelProto:
    """`tiny` with the last kernel as int8 codes, a scale for each filter."""
    proto = tiny()
    kept = [tensor for tensor in proto.graph.initializer if tensor.name != "stage2.y.b.weight"]
    del proto.graph.initializer[:]
    codes = np.random.default_rng(0).integers(-127, 128, (16, 16, 3, 3), np.int8)
    proto.graph.initializer.extend(
        [
            *kept,
            numpy_helper.from_array(codes, "codes"),
            numpy_helper.from_array(np.linspace(0.001, 0.002, 16, dtype=np.float32), "scale"),
            numpy_helper.from_array(np.zeros(16, np.int8), "zero"),
        ]
    )
    made = helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["stage2.y.b.weight"], axis=0)
    proto.graph.node.insert(0, made)
    return proto


def test_quantised_weights_are_shuffled_as_codes(tmp_path: Path) -> None:
    model = load(write(quantised(), tmp_path))
    layers = weight_layers(model, "logits")
    assert layers[1] == WeightLayer("stage2.y.b/Conv", "stage2.y.b/conv", ("codes", "stage2.y.b.bias"))
    shuffled = randomize(model, ["codes"])
    check(model, shuffled, {"codes"})
    assert np.isfinite(run(shuffled, {"image": IMAGE})).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "int4", "uint4"])
def test_weights_of_types_that_numpy_lacks(dtype: str, tmp_path: Path) -> None:
    """An odd number of them, as 4-bit numbers are packed by twos."""
    import ml_dtypes

    values = np.arange(-8 if dtype == "int4" else 0, 7 if dtype == "int4" else 15).reshape(3, 5)
    codes = values.astype(getattr(ml_dtypes, dtype))
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["w"], ["floats"], to=onnx.TensorProto.FLOAT),
            helper.make_node("MatMul", ["x", "floats"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(codes, "w")],
    )
    model = load(write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), tmp_path))
    assert [layer.weights for layer in weight_layers(model, "y")] == [("w",)]
    check(model, randomize(model, ["w"]), {"w"})


def test_real_models(corpus: Path) -> None:
    for name in ("winml_squeezenet_fp16.onnx", "efficientnet_lite0_ort_qdq_int8.onnx"):
        model = load(corpus / "models" / name)
        layers = weight_layers(model, model.outputs[0].name)
        assert len(layers) > 20
        check(model, randomize(model, layers[0].weights), {*layers[0].weights})


def test_layers_come_last_first_with_their_biases(tmp_path: Path) -> None:
    found = weight_layers(load(write(tiny(), tmp_path)), "logits")
    names = [
        *(f"stage{stage}.{block}" for stage in (1,) for block in ("first", "x.a", "x.b", "y.a", "y.b")),
        *(f"stage2.{block}" for block in ("first", "x.a", "x.b", "y.a", "y.b")),
    ]
    assert found[0] == WeightLayer("fc", "logits", ("fc.weight", "fc.bias"))
    assert [layer.weights for layer in found[1:]] == [(f"{name}.weight", f"{name}.bias") for name in names[::-1]]


def test_what_the_target_does_not_need_is_no_layer_of_it(tmp_path: Path) -> None:
    """A branch beside it, a scale, and a weight that two layers share: it belongs to the later one."""
    model = load(
        write(
            from_text("""
            g (float[1, 4] x) => (float[1, 4] y, float[1, 4] beside) <
                float[4, 4] first = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16},
                float[4, 4] shared = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16},
                float[4, 4] other = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16},
                float[4] scale = {1,2,3,4}
            > {
                a = MatMul (x, first)
                b = MatMul (a, shared)
                turned = Transpose <perm = [1, 0]> (shared)
                c = MatMul (b, turned)
                y = Mul (c, scale)
                beside = MatMul (a, other)
            }"""),
            tmp_path,
        )
    )
    assert [(layer.output, layer.weights) for layer in weight_layers(model, "y")] == [
        ("c", ("shared",)), ("a", ("first",)),
    ]  # fmt: skip
    assert weight_layers(model, "x") == ()


def test_weights_in_constants_and_functions(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17, "own": 1]>
        g (float[1, 2] x) => (float[1, 2] y) {
            w = Constant <value = float[2, 2] {1, 2, 3, 4}> ()
            a = MatMul (x, w)
            y = own.Layer (a)
        }
        <domain: "own", opset_import: ["": 17]>
        Layer (a) => (b) {
            inner = Constant <value = float[2, 2] {5, 6, 7, 8}> ()
            b = MatMul (a, inner)
        }
    """)
    model = load(write(proto, tmp_path))
    layers = weight_layers(model, "y")
    assert [len(layer.weights) for layer in layers] == [1, 1]
    changed = {layers[0].weights[0]}
    for seed in range(9):  # four values may come back in their order
        shuffled = randomize(model, changed, seed)
        if (shuffled.read(layers[0].weights[0]) != model.read(layers[0].weights[0])).any():
            check(model, shuffled, changed)
            one = np.ones((1, 2), np.float32)
            first, last = np.array([[1, 2], [3, 4]], np.float32), np.asarray(shuffled.read(layers[0].weights[0]))
            np.testing.assert_allclose(run(shuffled, {"x": one}), one @ first @ last)
            return
    pytest.fail("nothing was shuffled")


def test_what_cannot_be_shuffled_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(write(tiny(), tmp_path))
    with pytest.raises(TensorNotFound, match="no tensor 'nothing'"):
        randomize(model, ["nothing"])
    filled = load(
        write(
            from_text("""
            g (float[1, 2] x) => (float[1, 2] y) <int64[2] shape = {2, 2}> {
                w = ConstantOfShape (shape)
                y = MatMul (x, w)
            }"""),
            tmp_path,
            "filled.onnx",
        )
    )
    with pytest.raises(RewriteError, match="'w' is stored as no array"):
        randomize(filled, ["w"])
    monkeypatch.setattr("onnxvis.rewrite.randomize._MOST_BYTES", 639)
    with pytest.raises(RewriteError, match="640 bytes, and up to 639"):
        randomize(model, ["fc.weight"])
