from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnxvis.errors import InputError, RewriteError, UsageError
from onnxvis.graph.load import Model
from onnxvis.measure.heatmaps.probe import GradientProbe
from onnxvis.measure.target import Target
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.differences import run
from tests.tiny import Array, from_text, tiny

TARGET = Target("logits", (3,), "logits", (1, 10))
LAYERS = ("stage1.y/relu", "stage2.y/relu")


def opened(proto: Any) -> Model:
    return Model(Path("case.onnx"), proto, Path.cwd())


def picture(batch: int = 1, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((batch, 3, 32, 32)).astype(np.float32)


def probe(proto: Any = None, x: Array | None = None, target: Target = TARGET) -> GradientProbe:
    return GradientProbe(opened(proto or tiny()), {"image": picture() if x is None else x}, "image", target)


def values_of(x: Array, *names: str, proto: Any = None) -> dict[str, Array]:
    exposed = proto or tiny()
    exposed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return run(exposed, {"image": x})


def test_layers_hold_what_the_model_computes() -> None:
    seen = probe().at(LAYERS)
    expected = values_of(picture(), *LAYERS)
    assert list(seen.layers) == list(LAYERS)
    for name in LAYERS:
        np.testing.assert_allclose(seen.layers[name][0], expected[name][0], rtol=1e-5, atol=1e-6)


def test_gradients_are_the_change_of_the_target() -> None:
    """By central differences of the logit, along random directions in which no unit changes sides."""
    x, seen = picture(), probe()
    gradient = seen.by_input()
    for seed in range(3):
        direction = picture(seed=seed + 1)[0].astype(np.float64)
        step = 1e-3
        ends = [
            run(tiny(), {"image": (x + sign * step * direction).astype(np.float32)})["logits"][0, 3] for sign in (1, -1)
        ]
        slope = (float(ends[0]) - float(ends[1])) / (2 * step)
        assert (gradient * direction).sum() == pytest.approx(slope, rel=0.02, abs=0.02)


def test_a_gradient_by_the_last_layer_is_the_head_s_weights() -> None:
    weights = next(item for item in tiny().graph.initializer if item.name == "fc.weight")
    from onnx import numpy_helper

    expected = numpy_helper.to_array(weights)[3] / 64
    gradient = probe().at(LAYERS[1:]).layers[LAYERS[1]][1]
    np.testing.assert_allclose(gradient, np.broadcast_to(expected[:, None, None], (16, 8, 8)), rtol=1e-5)


def test_without_gradients_nothing_is_differentiated(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("differentiated")

    monkeypatch.setattr("onnxvis.measure.heatmaps.probe.differentiate", refuse)
    activation, gradient = probe().at(LAYERS[1:], gradients=False).layers[LAYERS[1]]
    np.testing.assert_allclose(activation, values_of(picture(), LAYERS[1])[LAYERS[1]][0], rtol=1e-5, atol=1e-6)
    assert not gradient.any()


def test_a_layer_is_run_once_for_all_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*given: Any, **asked: Any) -> Any:
        calls.append(given)
        return differentiate(*given, **asked)

    monkeypatch.setattr("onnxvis.measure.heatmaps.probe.differentiate", counted)
    whole = probe()
    first, again, other = (whole.at(layers) for layers in (LAYERS, LAYERS, LAYERS[:1]))
    assert len(calls) == 2
    np.testing.assert_array_equal(first.layers[LAYERS[0]][1], again.layers[LAYERS[0]][1])
    np.testing.assert_allclose(first.layers[LAYERS[0]][1], other.layers[LAYERS[0]][1], rtol=1e-5)
    whole.at().by_input()
    whole.at().by_input()
    whole.at().by_input("guided")
    assert len(calls) == 4


def test_notes_are_those_of_what_a_method_used() -> None:
    proto = from_text(
        "g (float[1, 3, 8, 8] image) => (logits) { a = LeakyRelu (image)  p = GlobalAveragePool (a)  "
        "logits = Flatten (p) }"
    )
    whole = probe(proto, picture()[:, :, :8, :8], Target("logits", (1,), "logits", (1, 3)))
    guided, plain, again = whole.at(), whole.at(), whole.at()
    guided.by_input("guided")
    plain.by_input()
    again.by_input("guided")
    assert [any("extended to LeakyRelu" in note for note in item.notes) for item in (guided, plain, again)] == [
        True, False, True,
    ]  # fmt: skip
    assert guided.provider


def test_several_pictures_give_values_and_gradients() -> None:
    others = [picture(seed=seed)[0].astype(np.float64) for seed in range(4)]
    seen = []
    whole = GradientProbe(
        opened(tiny()), {"image": picture()}, "image", TARGET, progress=lambda done, of: seen.append((done, of))
    )
    found = list(whole.by_inputs(iter(others), 4))
    for x, (value, gradient) in zip(others, found, strict=True):
        alone = probe(x=x[None].astype(np.float32))
        assert value == pytest.approx(
            float(run(tiny(), {"image": x[None].astype(np.float32)})["logits"][0, 3]), rel=1e-4
        )
        np.testing.assert_allclose(gradient, alone.by_input(), rtol=1e-3, atol=1e-5)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_first_picture_of_a_batch_is_explained() -> None:
    x = picture(3)
    target = Target("logits", (3,), "logits", (3, 10))
    whole, alone = probe(tiny(batch=3), x, target), probe(x=x[:1])
    np.testing.assert_allclose(whole.by_input(), alone.by_input(), rtol=1e-4, atol=1e-6)
    for seen, wanted in zip(whole.at(LAYERS).layers.values(), alone.at(LAYERS).layers.values(), strict=True):
        np.testing.assert_allclose(seen[0], wanted[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(seen[1], wanted[1], rtol=1e-4, atol=1e-6)
    both = zip(whole.by_inputs([x[1], x[2]], 2), alone.by_inputs([x[1], x[2]], 2), strict=True)
    for (value, gradient), (expected, other) in both:
        assert value == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(gradient, other, rtol=1e-3, atol=1e-5)


def with_input(shape: str, body: str, dtype: str = "float") -> Any:
    """`tiny` behind an input of another layout or type, which `body` makes 'image.nchw' of."""
    proto = tiny()
    front = from_text(f"g ({dtype}[{shape}] image) => (nchw) <int64[1] first = {{0}}> {{ {body} }}")
    for node in proto.graph.node:
        node.input[:] = ["nchw" if name == "image" else name for name in node.input]
    nodes = [*front.graph.node, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(front.graph.initializer)
    proto.graph.input[0].CopyFrom(front.graph.input[0])
    return proto


FORMS = {
    "NHWC": ("1, 32, 32, 3", "nchw = Transpose <perm = [0, 3, 1, 2]> (image)", (0, 2, 3, 1)),
    "HWC": ("32, 32, 3", "t = Transpose <perm = [2, 0, 1]> (image)  nchw = Unsqueeze (t, first)", (1, 2, 0)),
    "CHW": ("3, 32, 32", "nchw = Unsqueeze (image, first)", (0, 1, 2)),
}


@pytest.mark.parametrize("form", FORMS)
def test_however_the_axes_lie_the_result_is_channels_first(form: str) -> None:
    shape, body, order = FORMS[form]
    x = picture()
    given = x.transpose(order) if form == "NHWC" else x[0].transpose(order)
    seen, alone = probe(with_input(shape, body), np.ascontiguousarray(given)), probe(x=x)
    np.testing.assert_array_equal(seen.picture, x[0])
    np.testing.assert_allclose(seen.by_input(), alone.by_input(), rtol=1e-4, atol=1e-6)
    other = picture(seed=5)[0].astype(np.float64)
    (value, gradient), (wanted, expected) = (next(item.by_inputs([other], 1)) for item in (seen, alone))
    assert value == pytest.approx(wanted, rel=1e-4)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)


WHOLE = {
    "Cast": ("1, 3, 32, 32", "nchw = Cast <to = 1> (image)", (0, 1, 2, 3)),
    "Cast, Transpose": (
        "1, 32, 32, 3", "f = Cast <to = 1> (image)  nchw = Transpose <perm = [0, 3, 1, 2]> (f)", (0, 2, 3, 1),
    ),
    "Transpose, Cast": (
        "1, 32, 32, 3", "t = Transpose <perm = [0, 3, 1, 2]> (image)  nchw = Cast <to = 1> (t)", (0, 2, 3, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", WHOLE)
def test_whole_numbers_are_explained_as_the_floats_that_they_become(form: str) -> None:
    shape, body, order = WHOLE[form]
    codes = np.random.default_rng(0).integers(0, 5, (1, 3, 32, 32)).astype(np.uint8)
    seen = probe(with_input(shape, body, "uint8"), np.ascontiguousarray(codes.transpose(order)))
    alone = probe(x=codes.astype(np.float32))
    np.testing.assert_array_equal(seen.picture, codes[0])
    np.testing.assert_array_equal(seen.floats(), codes[0])
    np.testing.assert_allclose(seen.by_input(), alone.by_input(), rtol=1e-4, atol=1e-6)
    with pytest.raises(UsageError, match="takes whole numbers"):
        next(seen.by_inputs([codes[0]], 1))


def test_codes_stand_for_floats() -> None:
    proto = with_input("1, 3, 32, 32", "nchw = DequantizeLinear (image, step, zero)", "uint8")
    proto.graph.initializer.append(helper.make_tensor("step", TensorProto.FLOAT, [], [0.25]))
    proto.graph.initializer.append(helper.make_tensor("zero", TensorProto.UINT8, [], [3]))
    codes = np.random.default_rng(0).integers(0, 9, (1, 3, 32, 32)).astype(np.uint8)
    floats = ((codes.astype(np.float32) - 3) * 0.25).astype(np.float32)
    seen, alone = probe(proto, codes), probe(x=floats)
    np.testing.assert_array_equal(seen.floats(), floats[0])
    np.testing.assert_allclose(seen.by_input(), alone.by_input(), rtol=1e-4, atol=1e-6)


def test_whole_numbers_that_are_computed_with_have_no_gradient() -> None:
    proto = with_input("1, 3, 32, 32", "d = Add (image, image)  nchw = Cast <to = 1> (d)", "uint8")
    with pytest.raises(UsageError, match="input 'image' takes uint8, which has no gradient; use a layer method"):
        probe(proto, np.zeros((1, 3, 32, 32), np.uint8)).by_input()


def test_half_precision_is_computed_in_float32_and_said() -> None:
    seen, alone = probe(tiny(dtype="float16"), picture().astype(np.float16)), probe(x=picture())
    found, expected = seen.by_input(), alone.by_input()
    assert np.corrcoef(found.reshape(-1), expected.reshape(-1))[0, 1] > 0.99
    assert any("computed in float32" in note for note in seen.notes)


def test_free_dimensions_take_the_size_of_what_is_fed() -> None:
    free, fixed = probe(tiny("N", "S"), picture()), probe()
    np.testing.assert_allclose(free.by_input(), fixed.by_input(), rtol=1e-5, atol=1e-7)


def test_what_is_no_map_is_refused() -> None:
    for name in ("vector", "logits", "fc.weight"):
        with pytest.raises(InputError, match=f"'{name}' is no feature map.*onnxvis layers case.onnx"):
            probe().at([name])


def test_a_layer_behind_the_target_is_refused() -> None:
    late = Target("stage1.y/relu", (0, 1, 2), "stage1.y/relu", (1, 8, 16, 16))
    with pytest.raises(RewriteError, match=r"'stage1\.y/relu' does not depend on 'stage2\.y/relu'"):
        probe(target=late).at(LAYERS[1:])
