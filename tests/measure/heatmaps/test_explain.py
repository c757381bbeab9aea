from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from onnxvis.errors import InputError, RewriteError, TensorNotFound, UsageError
from onnxvis.graph.load import Model
from onnxvis.measure.heatmaps.explain import METHOD_NAMES, Heatmap, explain, find_methods
from onnxvis.measure.heatmaps.finish import unit, upsample
from onnxvis.measure.heatmaps.masked import RISE, Occlusion
from onnxvis.measure.heatmaps.method import METHODS, Needs
from onnxvis.measure.target import Target
from tests.measure.boxes.yolo import FLAGS, columns, raw, rows
from tests.measure.boxes.yolo import picture as scene
from tests.rewrite.differences import model_of, run
from tests.tiny import Array, from_text, tiny
from tests.zoo import build

LAST = "stage2.y/relu"


def opened(proto: Any) -> Model:
    return Model(Path("case.onnx"), proto, Path.cwd())


def picture(batch: int = 1, side: int = 32) -> Array:
    return np.random.default_rng(0).standard_normal((batch, 3, side, side)).astype(np.float32)


def explained(method: str = "gradcam", proto: Any = None, x: Array | None = None, **asked: Any) -> Heatmap:
    return explain(opened(proto or tiny()), {"image": picture() if x is None else x}, [method], **asked)[0]


def layer(name: str = LAST) -> Array:
    proto = tiny()
    proto.graph.output.append(helper.make_empty_tensor_value_info(name))
    return np.asarray(run(proto, {"image": picture()})[name][0], np.float64)


def head() -> Array:
    """The weights of the top class, which are its gradient by the last layer times the number of positions."""
    weights = next(numpy_helper.to_array(item) for item in tiny().graph.initializer if item.name == "fc.weight")
    top = int(run(tiny(), {"image": picture()})["logits"].argmax())
    return np.asarray(weights[top], np.float64)


def test_all_methods_are_listed() -> None:
    assert set(METHOD_NAMES) == set(METHODS)
    assert len(METHOD_NAMES) == len(METHODS)


def test_methods_are_found_once_each() -> None:
    assert [item.name for item in find_methods(["layercam", "gradcam", "layercam"])] == ["layercam", "gradcam"]
    with pytest.raises(UsageError, match="no heatmap method is called 'gradcem'; there are: gradcam, gradcam"):
        find_methods(["gradcam", "gradcem"])


def test_a_method_with_settings_of_its_own_is_taken_as_it_is() -> None:
    many = RISE(masks=30)
    assert find_methods(["rise", many, "rise"]) == [METHODS["rise"], many]
    found = explain(opened(tiny()), {"image": picture()}, [many, Occlusion((16, 16), (16, 16))])
    assert [item.method for item in found] == ["rise", "occlusion"]
    for item, count in zip(found, (30, 5), strict=True):
        assert any(note.startswith(f"{count} runs of the model") for note in item.notes)


def test_methods_that_run_the_model_hundreds_of_times_say_so() -> None:
    slow = {name for name, item in METHODS.items() if item.slow}
    assert slow == {"scorecam", "ablationcam", "reciprocam", "rise", "occlusion"}
    assert slow == {name for name, item in METHODS.items() if Needs.RUNS & item.needs}


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_every_method_gives_a_map_of_the_picture(method: str) -> None:
    found = explained(method)
    top = int(run(tiny(), {"image": picture()})["logits"].argmax())
    assert (found.method, found.definition, found.target.index) == (method, METHODS[method].definition, (top,))
    assert found.map.dtype == np.float32
    assert found.map.shape == (32, 32)
    assert found.map.min() == 0
    assert found.map.max() == pytest.approx(1, abs=1e-6)
    of_layer = bool(Needs.LAYER & METHODS[method].needs)
    assert found.layers == ((LAST,) if of_layer else ())
    assert any("the deepest feature map before the head" in note for note in found.notes) == (
        of_layer and method != "cam"
    )


def test_together_they_are_what_they_are_alone() -> None:
    whole = explain(opened(tiny()), {"image": picture()}, METHOD_NAMES)
    for found in whole:
        alone = explained(found.method)
        np.testing.assert_allclose(found.raw, alone.raw, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.map, alone.map, atol=1e-5)
        assert found.notes == alone.notes
        assert found.provider == alone.provider


def test_grad_cam_of_a_linear_head_is_known() -> None:
    maps = layer()
    expected = sum(float(head()[k]) / 64 * maps[k] for k in range(16))
    found = explained()
    np.testing.assert_allclose(found.raw, expected, rtol=1e-4, atol=1e-5)
    large = upsample(unit(np.maximum(expected, 0)), (32, 32))
    np.testing.assert_allclose(found.map, unit(large), atol=1e-5)


def test_the_response_map_is_the_picture_where_the_layer_responds() -> None:
    upsampled = upsample(layer().sum(axis=0), (32, 32))
    expected = picture()[0].astype(np.float64).mean(axis=0) * upsampled
    np.testing.assert_allclose(explained("response").map, unit(expected), atol=1e-5)


def test_several_layers_become_one_map() -> None:
    names = ("stage1.y/relu", "stage2.x/relu", LAST)
    whole = explained("layercam", layers=names)
    large = []
    for name in names:
        alone = explained("layercam", layers=[name])
        assert alone.layers == (name,)
        assert alone.raw.shape == layer(name).shape[1:]
        large.append((upsample(alone.raw, (32, 32)), upsample(unit(np.maximum(alone.raw, 0)), (32, 32))))
    assert whole.layers == names
    np.testing.assert_allclose(whole.raw, np.mean([raw for raw, _ in large], axis=0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(whole.map, unit(np.mean([shown for _, shown in large], axis=0)), atol=1e-5)


def test_guided_grad_cam_takes_the_deepest_layer() -> None:
    found = explained("guided-gradcam", layers=[LAST, "stage1.y/relu"])
    assert found.layers == (LAST,)
    cam, guided = explained("gradcam", layers=[LAST]).raw, explained("guidedbackprop").raw
    np.testing.assert_allclose(found.raw, guided * upsample(np.maximum(cam, 0), (32, 32)), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("wanted", ["stage2.y/relu", "stage2.y/r*", "stage2"])
def test_layers_are_named_as_everywhere(wanted: str) -> None:
    assert LAST in explained("eigencam", layers=[wanted]).layers


def test_the_target_decides() -> None:
    first, second = (explained(target=str(index)) for index in (0, 1))
    assert [item.target.index for item in (first, second)] == [(0,), (1,)]
    assert np.abs(first.raw - second.raw).max() > 1e-3
    given = explained(target=Target("logits", (1,), "logits", (1, 10)))
    np.testing.assert_array_equal(given.raw, second.raw)


def test_the_first_of_several_pictures_is_explained() -> None:
    x = picture(3)
    for method in ("gradcam", "saliency", "smoothgrad"):
        whole, alone = explained(method, tiny(batch=3), x), explained(method, tiny(), x[:1])
        np.testing.assert_allclose(whole.raw, alone.raw, rtol=1e-3, atol=1e-5)


def test_the_random_seed_is_that_of_smoothgrad() -> None:
    first, again, other = (explained("smoothgrad", random_seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.map, again.map)
    assert np.abs(first.map - other.map).max() > 1e-3


def test_methods_without_a_gradient_need_no_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RewriteError("no gradient passes")

    monkeypatch.setattr("onnxvis.measure.heatmaps.probe.differentiate", refuse)
    assert explained("eigencam").map.max() > 0.99
    assert explained("response").map.max() > 0.99
    with pytest.raises(RewriteError):
        explain(opened(tiny()), {"image": picture()}, ["eigencam", "gradcam"])


def detector() -> Any:
    nodes = from_text(
        "g () => () { a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (image, w)  b = Relu (a)"
        "  c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (b, v)  d = Relu (c)  boxes = Reshape (d, flat) }"
    ).graph.node
    rng = np.random.default_rng(0)
    weights = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in (("w", (4, 3, 3, 3)), ("v", (8, 4, 3, 3)))
    }
    return model_of(list(nodes), {"image": (1, 3, 16, 16)}, {**weights, "flat": np.array([1, 8, 16])}, ["boxes"], 17)


def test_methods_without_a_target_need_no_class_scores() -> None:
    found = explained("eigencam", detector(), picture(side=16))
    assert (str(found.target), found.layers) == ("boxes", ("d",))
    assert "the method has no target" in found.notes
    for method in ("gradcam", "scorecam", "ablationcam", "occlusion"):
        with pytest.raises(UsageError, match="looks like class scores, so there is no top class"):
            explained(method, detector(), picture(side=16))
    assert str(explained("gradcam", detector(), picture(side=16), target="boxes:3").target) == "boxes:3"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("n = Neg (r)  p = GlobalAveragePool (n)  y = Flatten (p)", "every value was negative before the relu"),
        ("z = Mul (r, none)  p = GlobalAveragePool (z)  y = Flatten (p)", "the gradient is zero"),
        ("p = GlobalAveragePool (r)  f = Flatten (p)  g = Mul (f, huge)  y = Sigmoid (g)", "the gradient is zero"),
        ("z = Mul (r, nan)  p = GlobalAveragePool (z)  y = Flatten (p)", "the gradient holds NaN or infinite values"),
    ],
)
def test_a_blank_map_says_why(body: str, reason: str) -> None:
    """r = relu(x) + 1 is above 0 everywhere, and y its mean, or something that the gradient does not get through."""
    proto = from_text(
        "g (float[1, 3, 8, 8] image) => (y) <float one = {1}, float none = {0}, float huge = {1000}> "
        f"{{ a = Relu (image)  r = Add (a, one)  {body} }}"
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.array(np.nan, np.float32), "nan"))
    found = explained("gradcam", proto, picture(side=8), target="y:1", layers=["r"])
    assert not found.map.any()
    assert found.map.shape == (8, 8)
    assert any(reason in note for note in found.notes)


def test_weights_that_are_nan_are_told() -> None:
    proto = tiny()
    for tensor in proto.graph.initializer:
        if tensor.name == "stage2.first.weight":
            values = numpy_helper.to_array(tensor).copy()
            values[0, 0, 0, 0] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(UsageError, match="holds NaN or infinite values, so there is no top class"):
        explained("gradcam", proto)
    for method in [name for name in METHOD_NAMES if name not in ("cam", "layercam", "hirescam")]:
        found = explained(method, proto, target="1")
        assert not found.map.any(), method
        assert any("NaN or infinite values" in note for note in found.notes), method


def test_a_blank_layer_is_left_out_of_several() -> None:
    """The target falls with r, so that r's map is nowhere positive; s = 9 - r is above 0, and the target its mean."""
    proto = from_text(
        "g (float[1, 3, 8, 8] image) => (y) <float nine = {9}> "
        "{ r = Relu (image)  s = Sub (nine, r)  p = GlobalAveragePool (s)  y = Flatten (p) }"
    )
    both, one = (
        explained("gradcam", proto, picture(side=8), target="y:1", layers=names) for names in (["r", "s"], ["s"])
    )
    left_out = [note for note in both.notes if "left out" in note]
    assert len(left_out) == 1
    assert left_out[0].startswith("layer 'r' is left out: the map is blank: no value was positive")
    assert one.map.max() > 0.99
    np.testing.assert_array_equal(both.map, one.map)


def test_a_picture_of_zeros_is_not_blamed_on_the_gradient() -> None:
    found = explained("inputxgradient", x=np.zeros((1, 3, 32, 32), np.float32))
    assert not found.map.any()
    assert any("the same value everywhere" in note for note in found.notes)
    assert not any("gradient is zero" in note for note in found.notes)


def test_small_gradients_do_not_fade() -> None:
    """Behind a sigmoid that is all but saturated the gradient is 1e-12 of what it was before."""
    proto = from_text(
        "g (float[1, 3, 8, 8] image) => (y, z) <float small = {1e-12}> "
        "{ r = Relu (image)  q = Mul (r, r)  p = GlobalAveragePool (q)  y = Flatten (p)  z = Mul (y, small) }"
    )
    for method in ("gradcam", "saliency", "smoothgrad", "guided-gradcam"):
        large, small = (
            explained(method, proto, picture(side=8), target=f"{name}:1", layers=["r"]) for name in ("y", "z")
        )
        np.testing.assert_allclose(small.map, large.map, atol=1e-5)


def test_what_cannot_be_explained_is_refused() -> None:
    vector = from_text("g (float[1, 8] image) => (y) { y = Softmax (image) }")
    with pytest.raises(UsageError, match=r"case.onnx takes no picture"):
        explained("gradcam", vector, np.ones((1, 8), np.float32))
    flat = from_text(
        "g (float[1, 3, 8, 8] image) => (y) <int64[2] flat = {1, 192}> { f = Reshape (image, flat)  y = Softmax (f) }"
    )
    with pytest.raises(UsageError, match="no feature map with rows and columns before 'y'; name a layer with --layer"):
        explained("gradcam", flat, picture(side=8))
    assert explained("saliency", flat, picture(side=8)).map.max() > 0.99
    with pytest.raises(InputError, match="'vector' is no feature map"):
        explained(layers=["vector"])
    with pytest.raises(TensorNotFound, match="has no tensor 'stage9'"):
        explained(layers=["stage9"])
    with pytest.raises(UsageError, match="no heatmap method is called 'gradcem'"):
        explained("gradcem")


def test_a_layer_behind_the_target_is_refused() -> None:
    proto = tiny()
    proto.graph.output.append(helper.make_empty_tensor_value_info("stage1.y/relu"))
    with pytest.raises(RewriteError, match=f"'stage1.y/relu' does not depend on '{LAST}'"):
        explained(proto=proto, target="stage1.y/relu:0,1,2", layers=[LAST])


def test_a_transformer_is_told_to_name_a_layer_or_another_method() -> None:
    model = opened(build("vit_tiny"))
    target = Target("output", (1,), "output", (1, 1000))
    with pytest.raises(UsageError, match="or use a method of the picture alone, such as saliency"):
        explain(model, {"input": np.zeros((1, 3, 224, 224), np.float32)}, ["gradcam"], target=target)


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    explain(
        opened(tiny()), {"image": picture()}, ["gradcam", "integratedgradients"],
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    assert told[:2] == [("running the model", 0, 0), ("gradients for gradcam", 0, 0)]
    assert told[-50:] == [("gradients", number, 50) for number in range(1, 51)]
    explain(opened(tiny()), {"image": picture()}, ["ablationcam"], progress=lambda *step: told.append(step))
    assert told[-18:] == [("runs for ablationcam", number, 17 if number else 0) for number in range(18)]


@pytest.mark.parametrize(
    ("proto", "stride", "layer"),
    [
        (raw(), 8, "q3"),
        (raw(), 16, "q4"),
        (rows(), 16, "q4"),
        (rows(), 32, "q5"),
        (columns(), 8, "t3"),
        (columns(), 32, "t5"),
    ],
)
def test_the_layer_of_a_box_is_at_its_own_scale(proto: Any, stride: int, layer: str) -> None:
    found, named = (
        explain(opened(proto), scene(), ["gradcam"], target=f"class:1@1,1@{stride}", flags=FLAGS, layers=layers)[0]
        for layers in ((), (layer,))
    )
    assert found.layers == (layer,)
    side = 64 // stride
    assert (
        f"the layer, as none was named, is the last feature map at the box's own scale, {side} × {side}" in found.notes
    )
    assert found.map.shape == (64, 64)
    np.testing.assert_array_equal(found.raw, named.raw)


def test_a_box_is_explained_by_the_picture_where_it_looks() -> None:
    """The windows of this network do not overlap: the gradient of a box of the finest grid stays in its cell."""
    found = explain(opened(raw()), scene(), ["saliency"], target="class:1@2,5@8", flags=FLAGS)[0]
    assert found.target.box is not None
    inside = found.raw[:, 16:24, 40:48]
    assert np.abs(inside).max() > 0
    assert np.abs(found.raw).sum() == pytest.approx(np.abs(inside).sum())


def test_top_is_the_strongest_box() -> None:
    top, first = (explain(opened(rows()), scene(), ["layercam"], target=text)[0] for text in ("top", "box:0"))
    assert str(top.target) == str(first.target)
    np.testing.assert_array_equal(top.raw, first.raw)
