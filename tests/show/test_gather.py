from __future__ import annotations

import hashlib
import io
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import external_data_helper, numpy_helper
from PIL import Image

from onnxvis.graph.load import load
from onnxvis.measure.weights import WeightNumbers, measure_weights
from onnxvis.run.installation import packages
from onnxvis.show.gather import (
    FILTERS_SHOWN,
    kernel_cards,
    layer_rows,
    model_card,
    versions,
    weight_cards,
    weights_over_depth,
)
from onnxvis.show.page import Fact
from tests.tiny import Array, from_text, tiny, write


def nothing(done: int, of: int) -> None:
    """Progress that nobody is told of."""


def arrays(path: Path) -> dict[str, Array]:
    """Every initializer as onnx itself reads it."""
    return {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}


def check(item: WeightNumbers, values: Array) -> None:
    finite = values[np.isfinite(values)].astype(np.float64)
    found = item.statistics
    np.testing.assert_allclose(
        (found.mean, found.std, found.min, found.max, found.zero_fraction),
        (finite.mean(), finite.std(ddof=1), finite.min(), finite.max(), (values == 0).mean()),
        rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    assert (found.nan, found.inf) == (np.isnan(values).sum(), np.isinf(values).sum())
    assert found.counts.sum() == finite.size
    assert (item.shape, item.dtype) == (values.shape, str(values.dtype))


def test_the_model_in_facts(tmp_path: Path) -> None:
    proto = tiny()
    proto.metadata_props.add(key="task", value="x" * 1000)
    path = write(proto, tmp_path)
    card = model_card(load(path))
    assert (card.file, card.size_bytes) == ("model.onnx", path.stat().st_size)
    assert card.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (card.producer, card.opset, card.nodes) == ("tests 1", "17", len(proto.graph.node))
    assert card.parameters == sum(value.size for value in arrays(path).values())
    at_16, at_8 = 16 * 16, 8 * 8
    products = 9 * at_16 * (3 * 8 + 4 * 8 * 8) + 9 * at_8 * (8 * 16 + 4 * 16 * 16) + 160
    assert card.macs == products
    assert [(port.name, port.shape, port.dtype, port.note) for port in (*card.inputs, *card.outputs)] == [
        ("image", (1, 3, 32, 32), "float32", ""), ("logits", (1, 10), "float32", ""),
    ]  # fmt: skip
    assert card.metadata == (Fact("task", "x" * 299 + "…"),)
    assert card.external_bytes == 0


def test_free_sizes_are_said(tmp_path: Path) -> None:
    card = model_card(load(write(tiny(batch="N", side="S"), tmp_path)))
    assert card.inputs[0].shape == ("N", 3, "S", "S")
    assert card.inputs[0].note == "seen here at 1 × 3 × 224 × 224"


def test_external_data_is_counted(tmp_path: Path) -> None:
    proto = tiny()
    external_data_helper.convert_model_to_external_data(proto, location="w.bin", size_threshold=0)
    onnx.save_model(proto, tmp_path / "model.onnx")
    assert model_card(load(tmp_path / "model.onnx")).external_bytes == (tmp_path / "w.bin").stat().st_size


def test_every_layer_is_listed(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    rows = layer_rows(load(path))
    whole = onnx.shape_inference.infer_shapes(onnx.load(path))
    assert [(row.name, row.op) for row in rows] == [
        (name, node.op_type) for node in whole.graph.node for name in node.output
    ]
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in whole.graph.value_info}
    assert all(row.shape == shapes[row.name] for row in rows if row.name in shapes)
    assert {row.stage for row in rows if row.name.startswith("stage1")} == {"stage1"}
    assert {row.part for row in rows if row.name.startswith("stage2")} == {"backbone"}


def test_weights_are_what_numpy_says(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    told: list[tuple[int, int]] = []
    cards, note = weight_cards(load(path), bins=7, threads=2, progress=lambda done, of: told.append((done, of)))
    wanted = arrays(path)
    assert [card.name for card in cards] == list(wanted)
    for card in cards:
        check(card, wanted[card.name])
        assert (card.storage, card.place, card.statistics.counts.size) == ("raw_data", "", 7)
    assert cards[0].role == "conv kernel"
    assert note == ""
    assert told == [(done, len(wanted)) for done in range(1, len(wanted) + 1)]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint8])
def test_weights_of_other_types(dtype: type, tmp_path: Path) -> None:
    values: Array = np.random.default_rng(0).integers(-3 if dtype is np.int8 else 0, 9, (4, 5)).astype(dtype)
    model = from_text("g (float[2] x) => (float[2] y) { y = Identity(x) }")
    model.graph.initializer.append(numpy_helper.from_array(values, "w"))
    (card,), _ = weight_cards(load(write(model, tmp_path)), progress=nothing)
    check(card, values)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 0, 1, 2], np.float32)
    model = from_text("g (float[6] x) => (float[6] y) { y = Add(x, w) }")
    model.graph.initializer.append(numpy_helper.from_array(values, "w"))
    (card,), _ = weight_cards(load(write(model, tmp_path)), progress=nothing)
    check(card, values)


def test_weights_hidden_in_constants_and_branches(tmp_path: Path) -> None:
    body = """g (float[1,2] x, bool flag) => (float[1,2] y) {
        w = Constant<value = float[2,2] {1, 2, 3, 4}>()
        m = MatMul(x, w)
        y = If(flag) <
            then_branch = yes () => (float[1,2] t) <float[1,2] inner = {5, 6}> { t = Add(m, inner) },
            else_branch = no () => (float[1,2] e) { k = Constant<value = float[1,2] {7, 8}>() e = Mul(m, k) }>
    }"""
    cards, _ = weight_cards(load(write(from_text(body), tmp_path)), progress=nothing)
    found = {card.name: card for card in cards}
    assert {name: card.statistics.max for name, card in found.items()} == {"w": 4, "inner": 6, "k": 8}
    assert (found["w"].role, found["w"].op) == ("fully connected weight", "MatMul")
    assert found["w"].place.startswith("Constant")
    assert "If" in found["inner"].place
    assert "If" in found["k"].place


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    model = from_text("g (float[4] x) => (float[2,2] y) <int64[2] shape = {2, 2}> { y = Reshape(x, shape) }")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((0, 3), np.float32), "empty"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(["a"], dtype=object), "text"))
    cards, note = weight_cards(load(write(model, tmp_path)), progress=nothing)
    assert cards == ()
    assert note == "Left out: 2 tensors that carry shapes, axes, indices, settings or text."


def test_a_model_without_weights(tmp_path: Path) -> None:
    model = load(write(from_text("g (float[2] x) => (float[2] y) { y = Relu(x) }"), tmp_path))
    assert weight_cards(model, progress=nothing) == ((), "")
    assert model_card(model).parameters == 0


def test_versions_are_those_installed() -> None:
    found = {fact.label: fact.value for fact in versions()}
    assert found["numpy"] == version("numpy")
    assert found["onnx"] == version("onnx")
    assert list(found) == ["Python", *list(packages())[1:]]


def test_every_convolution_has_its_kernels(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    told: list[tuple[int, int]] = []
    cards, note = kernel_cards(load(path), threads=2, progress=lambda done, of: told.append((done, of)))
    convolutions = [node.input[1] for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    assert [card.kernel.weight for card in cards] == convolutions
    assert note == ""
    assert told == [(done, len(convolutions)) for done in range(1, len(convolutions) + 1)]
    wanted = arrays(path)
    assert [card.kernel.reads_picture for card in cards] == [True] + [False] * (len(cards) - 1)
    assert np.isnan(cards[0].drawn.high)
    for card in cards[1:]:
        assert card.drawn.high == np.abs(wanted[card.kernel.weight][:, 0]).max()


def pixels(png: bytes) -> Array:
    """(H, W, 3) RGB."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_blue_first_is_drawn_red_first(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    (rgb, *_), _ = kernel_cards(model, progress=nothing)
    (bgr, *_), _ = kernel_cards(model, bgr=True, progress=nothing)
    np.testing.assert_array_equal(pixels(rgb.drawn.png)[:, :, ::-1], pixels(bgr.drawn.png))
    assert rgb.drawn.png != bgr.drawn.png


def test_the_first_filters_alone_are_shown_and_the_note_says_how_to_see_all(tmp_path: Path) -> None:
    model = from_text("g (float[1,3,8,8] x) => (float[1,300,8,8] y) { y = Conv(x, w) }")
    values = np.random.default_rng(0).standard_normal((300, 3, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "w"))
    (card,), note = kernel_cards(load(write(model, tmp_path)), progress=nothing)
    assert (card.drawn.shown, card.drawn.filters) == (FILTERS_SHOWN, 300)
    assert note == "At most 256 filters of a layer are shown; all: onnxvis weights model.onnx -o DIR."


def test_kernels_that_cannot_be_drawn_are_named(tmp_path: Path) -> None:
    model = from_text("g (float[1,3,8,8] x) => (float[1,2,8,8] y) { y = Conv(x, w) }")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((2, 3, 1, 1), np.float32), "w"))
    model.graph.initializer[0].raw_data = b"short"
    cards, note = kernel_cards(load(write(model, tmp_path)), progress=nothing)
    assert cards == ()
    assert note.startswith("1 could not be drawn: w: ")


def test_charts_stand_in_the_order_of_the_graph(tmp_path: Path) -> None:
    proto = tiny()
    shuffled = list(reversed(proto.graph.initializer))
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(shuffled)
    path = write(proto, tmp_path)
    model = load(path)
    kernels, *others = weights_over_depth(model, measure_weights(model).weights)
    assert kernels.title == "conv kernel"
    convolutions = [node.input[1] for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    assert [point.name for point in kernels.points] == convolutions
    wanted = arrays(path)
    for point in kernels.points:
        assert point.max == wanted[point.name].max()
    # A single fully connected weight and its bias make no chart over depth.
    assert all(len(chart.points) > 1 for chart in others)
    assert "fully connected weight" not in [chart.title for chart in others]


def test_zero_points_make_no_chart(tmp_path: Path) -> None:
    body = """g (float[4] x) => (float[4] y) <float a = {0.5}, uint8 b = {3}, float c = {0.25}, uint8 d = {4}> {
        p = QuantizeLinear(x, a, b)
        q = DequantizeLinear(p, a, b)
        r = QuantizeLinear(q, c, d)
        y = DequantizeLinear(r, c, d)
    }"""
    model = load(write(from_text(body), tmp_path))
    weights = measure_weights(model).weights
    assert {item.role for item in weights} == {"scale", "zero point"}
    assert [chart.title for chart in weights_over_depth(model, weights)] == ["scale"]
