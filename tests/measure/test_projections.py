"""Against PyTorch's autograd and Captum in float64, see `tests.references.make_projections`, and loops on paper."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxvis.errors import InputError, RewriteError, TensorNotFound, UsageError
from onnxvis.graph.load import Model, load
from onnxvis.measure.projections import POSITIONS, Position, Projection, project, seed_of, strongest_channels
from onnxvis.rewrite.tape import Variant
from onnxvis.run.session import RunOptions
from tests.references.heatmaps import FOLDER, fed, kept
from tests.references.projections import KEPT, LAYERS, VARIANTS
from tests.tiny import Array, from_text, oracle, photo, tiny, write

ONE = RunOptions("cpu", threads=1)
RNG = np.random.default_rng(0)


@cache
def references() -> dict[str, Any]:
    with np.load(FOLDER / "projections.npz") as stored:
        return dict(stored)


@cache
def opened(network: str) -> tuple[Model, dict[str, Array]]:
    return load(FOLDER / f"{network}.onnx"), {"image": fed(references()[f"{network}/picture"])}


def opened_text(folder: Path, body: str) -> Model:
    return load(write(from_text(body), folder, "text.onnx"))


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("network", "layer"), [(name, layer) for name, layers in LAYERS.items() for layer in layers])
def test_projections_are_autograd_s(network: str, layer: str, variant: Variant, position: Position) -> None:
    model, feeds = opened(network)
    stored = references()
    tensor, channel = str(stored[f"{network}/{layer}/tensor"]), int(stored[f"{network}/{layer}/channel"])
    (one,) = project(model, feeds, tensor, [channel], variant=variant, position=position, options=ONE)
    (whole,) = project(model, feeds, tensor, None, variant=variant, position=position, options=ONE)
    for name, found in {"channel": one, "whole": whole}.items():
        expected = stored[f"{network}/{layer}/{variant}/{name}/{position}"]
        given = kept(found.values, KEPT)
        assert np.abs(expected).max() > 0
        assert np.abs(given - expected).max() <= 1e-5 * np.abs(expected).max()
        assert np.corrcoef(given, expected)[0, 1] >= 0.99999


def test_activation_and_peak_are_the_layer_s(tmp_path: Path) -> None:
    path, tensor = write(tiny(), tmp_path), "stage1.y/relu"
    feeds = {"image": RNG.standard_normal((1, 3, 32, 32)).astype(np.float32)}
    (layer,) = oracle(path, [tensor], feeds, exact=True)[tensor]
    one, whole = (project(load(path), feeds, tensor, channels, options=ONE)[0] for channels in ([6], None))
    np.testing.assert_allclose(one.activation, layer[6], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole.activation, layer.mean(axis=0), rtol=1e-5, atol=1e-6)
    for found, values in ((one, layer[6]), (whole, layer.max(axis=0))):
        row, column, value = found.peak
        assert (row, column) == np.unravel_index(values.argmax(), values.shape)
        assert value == pytest.approx(values.max(), rel=1e-5)


OVERLAPPING = """
agraph (float[1, 2, 7, 6] x) => (float[1, 2, 3, 3] y)
{ y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 0, 1]> (x) }
"""


@pytest.mark.parametrize("variant", VARIANTS)
def test_overlapping_max_pools_follow_their_switches_and_add_up(variant: Variant, tmp_path: Path) -> None:
    x = RNG.permutation(84).reshape(1, 2, 7, 6).astype(np.float32) + 1
    (found,) = project(opened_text(tmp_path, OVERLAPPING), {"x": x}, "y", [1], variant=variant, options=ONE)
    expected, hits = np.zeros((2, 7, 6)), np.zeros((7, 6), int)
    for row in range(3):
        for column in range(3):
            window = x[0, 1, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            i, j = np.unravel_index(window.argmax(), window.shape)
            expected[1, 2 * row + i, 2 * column + j] += window.max()
            hits[2 * row + i, 2 * column + j] += 1
    assert hits.max() > 1, "some maximum is that of two windows"
    np.testing.assert_array_equal(found.values, expected)


def test_a_rule_that_was_extended_is_noted(tmp_path: Path) -> None:
    body = "agraph (float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y) { h = LeakyRelu <alpha = 0.1> (x)  y = Neg (h) }"
    x = np.array([[[[1, -2], [3, -4]]]], np.float32)
    (found,) = project(opened_text(tmp_path, body), {"x": x}, "y", [0], variant="guided", options=ONE)
    # The seed is y = −LeakyRelu(x); what reaches the unit is −y, positive where x is.
    np.testing.assert_allclose(found.values, [[[1, 0], [3, 0]]])
    assert "guided rule extended to LeakyRelu" in found.notes
    assert "channel 0 holds negative values too, which are projected with their sign" in found.notes


def test_a_layer_of_channels_last_and_whole_numbers(tmp_path: Path) -> None:
    """y[n, h, w, k] = sum over c of W[k, c] x[n, h, w, c]: its projection is Wᵀ seed at each pixel."""
    body = """
    agraph (uint8[1, 8, 9, 3] x) => (float[1, 8, 9, 2] y)
    <float[2, 3, 1, 1] w = {1, -2, 3, 0.5, 4, -1}>
    { f = Cast <to = 1> (x)  t = Transpose <perm = [0, 3, 1, 2]> (f)  c = Conv (t, w)
      y = Transpose <perm = [0, 2, 3, 1]> (c) }
    """
    x = RNG.integers(0, 255, (1, 8, 9, 3)).astype(np.uint8)
    kernel = np.array([[1, -2, 3], [0.5, 4, -1]])
    (found,) = project(opened_text(tmp_path, body), {"x": x}, "y", [1], options=ONE)
    values = x[0] @ kernel[1]
    np.testing.assert_allclose(found.activation, values, rtol=1e-6)
    np.testing.assert_allclose(found.values, kernel[1][:, None, None] * values, rtol=1e-6)


def test_only_the_first_picture_of_a_batch_is_projected(tmp_path: Path) -> None:
    path, tensor = write(tiny(batch="n"), tmp_path), "stage2.y/relu"
    pictures = RNG.standard_normal((2, 3, 32, 32)).astype(np.float32)
    alone, both = (
        project(load(path), {"image": fed_pictures}, tensor, [3], options=ONE)[0]
        for fed_pictures in (pictures[:1], pictures)
    )
    np.testing.assert_allclose(both.values, alone.values, atol=1e-5 * np.abs(alone.values).max())


def test_elements_of_a_vector_are_channels(tmp_path: Path) -> None:
    """A logit's projection is its gradient times the logit, as the whole logit's value is the seed."""
    path = write(tiny(), tmp_path)
    feeds = {"image": RNG.standard_normal((1, 3, 32, 32)).astype(np.float32)}
    (found,) = project(load(path), feeds, "logits", [4], variant="plain", options=ONE)
    logit = oracle(path, ["logits"], feeds)["logits"][0, 4]
    assert found.activation.shape == (1, 1)
    assert found.peak[:2] == (0, 0)
    assert found.peak[2] == pytest.approx(logit, rel=1e-5)
    step = 1e-2 * found.values / np.linalg.norm(found.values)
    moved = [
        float(oracle(path, ["logits"], {"image": (feeds["image"] + sign * step).astype(np.float32)})["logits"][0, 4])
        for sign in (1, -1)
    ]
    assert (moved[0] - moved[1]) / 2 * logit == pytest.approx((step * found.values).sum(), rel=1e-2)


def test_a_dead_channel_says_that_there_is_nothing(tmp_path: Path) -> None:
    feeds = {"image": RNG.standard_normal((1, 3, 32, 32)).astype(np.float32)}
    model = load(write(tiny(), tmp_path))
    (found,) = project(model, feeds, "stage1.first/relu", [5], options=ONE)
    assert not found.values.any()
    assert found.notes[0] == "channel 5 is 0 everywhere on this picture, so there is nothing to project"


def test_what_is_not_finite_or_does_not_get_through_is_said(tmp_path: Path) -> None:
    x = np.full((1, 3, 8, 8), 4, np.float32)
    x[0, 1, 2, 3] = -1
    port = "agraph (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y)"
    root = opened_text(tmp_path, f"{port} {{ y = Sqrt (x) }}")
    fine, broken, whole = (project(root, {"x": x}, "y", channels, options=ONE)[0] for channels in ([0], [1], None))
    assert "holds NaN" not in " ".join(fine.notes)
    assert broken.notes[0] == "channel 1 holds NaN or infinite values"
    assert whole.notes[0] == "the layer holds NaN or infinite values"
    assert whole.peak == (0, 0, 2)
    clipped = opened_text(tmp_path, f"{port} <float low = {{0}}, float high = {{1}}> {{ y = Clip (x, low, high) }}")
    (found,) = project(clipped, {"x": x}, "y", [0], variant="plain", options=ONE)
    assert found.notes[0] == "the projection of channel 0 is blank: no gradient gets through to the picture"


def test_models_of_float64_keep_their_digits(tmp_path: Path) -> None:
    """y = x²: the projection is 2 x · x²."""
    body = "agraph (double[1, 3, 8, 8] x) => (double[1, 3, 8, 8] y) { y = Mul (x, x) }"
    x = RNG.standard_normal((1, 3, 8, 8))
    (found,) = project(opened_text(tmp_path, body), {"x": x}, "y", None, options=ONE)
    np.testing.assert_allclose(found.values, 2 * x[0] ** 3, rtol=1e-14)


def test_the_picture_itself_without_a_batch(tmp_path: Path) -> None:
    body = "agraph (float[3, 9, 8] x) => (float[3, 9, 8] y) { y = Relu (x) }"
    x = RNG.standard_normal((3, 9, 8)).astype(np.float32)
    (found,) = project(opened_text(tmp_path, body), {"x": x}, "x", [2], options=ONE)
    np.testing.assert_array_equal(found.values, [0 * x[0], 0 * x[1], x[2]])


def test_channels_are_projected_in_the_order_asked_for_and_told(tmp_path: Path) -> None:
    feeds = {"image": RNG.standard_normal((1, 3, 32, 32)).astype(np.float32)}
    told: list[tuple[int, int]] = []
    model = load(write(tiny(), tmp_path))
    found = project(
        model, feeds, "stage1.y/relu", [7, 2, 3], options=ONE, progress=lambda _, done, of: told.append((done, of))
    )
    assert [one.channel for one in found] == [7, 2, 3]
    assert told == [(1, 3), (2, 3), (3, 3)]
    for one in found:
        (alone,) = project(model, feeds, "stage1.y/relu", [one.channel or 0], options=ONE)
        np.testing.assert_allclose(one.values, alone.values, atol=1e-6 * np.abs(alone.values).max())


def test_the_strongest_channels_have_the_largest_maxima() -> None:
    maps = RNG.standard_normal((9, 4, 3))
    maps[4, 0, 0], maps[2] = np.nan, -np.inf
    maps[7] = maps[1]
    ranked = sorted(range(9), key=lambda channel: (-max(np.nan_to_num(maps[channel], nan=-99).flat), channel))
    assert strongest_channels(maps, 20) == tuple(ranked)
    assert strongest_channels(maps, 3) == tuple(ranked[:3])


def test_seeds_hold_what_they_should_and_zeros() -> None:
    maps = RNG.standard_normal((3, 4, 5))
    for channel in (None, 0, 2):
        chosen = range(3) if channel is None else [channel]
        everything, peak = seed_of(maps, channel), seed_of(maps, channel, "strongest")
        largest = max(maps[k].max() for k in chosen)
        for k in range(3):
            np.testing.assert_array_equal(everything[k], maps[k] if k in chosen else np.zeros((4, 5)))
        assert np.argwhere(peak).tolist() == np.argwhere(maps == largest).tolist()
        assert peak.sum() == largest


def test_what_is_refused(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    feeds = {"image": np.zeros((1, 3, 32, 32), np.float32)}

    def tried(tensor: str, channels: list[int], **words: Any) -> tuple[Projection, ...]:
        return project(model, feeds, tensor, channels, options=ONE, **words)

    with pytest.raises(UsageError, match="has 8 channels, 0 to 7; there is no channel 8"):
        tried("stage1.y/relu", [0, 8])
    with pytest.raises(UsageError, match="there is no channel -1"):
        tried("stage1.y/relu", [-1])
    with pytest.raises(TensorNotFound, match="no tensor 'nothing'"):
        tried("nothing", [0])
    with pytest.raises(UsageError, match="no position is called 'middle'; choose one of: all, strongest"):
        tried("stage1.y/relu", [0], position="middle")
    with pytest.raises(InputError, match=r"'fc\.bias' is no feature map"):
        tried("fc.bias", [0])
    whole = "agraph (float[1, 3, 8, 8] x) => (int32[1, 3, 8, 8] y) { y = Cast <to = 6> (x) }"
    with pytest.raises(RewriteError, match="holds int32, which has no gradient"):
        project(opened_text(tmp_path, whole), {"x": np.ones((1, 3, 8, 8), np.float32)}, "y", None, options=ONE)
    no_picture = "agraph (float[2, 5] x) => (float[2, 5] y) { y = Relu (x) }"
    with pytest.raises(UsageError, match="takes no picture, so 'y' cannot be projected"):
        project(opened_text(tmp_path, no_picture), {"x": np.ones((2, 5), np.float32)}, "y", None, options=ONE)


def test_a_quantised_model_and_one_of_float16(corpus: Path) -> None:
    """The strongest channel's projection, added to the picture, makes that channel stronger; taken away, weaker."""
    from onnxvis.measure.activations import Probe
    from onnxvis.run.flags import PreprocessFlags
    from onnxvis.run.reading import Reading

    for name in ("efficientnet_lite0_ort_qdq_int8", "winml_squeezenet_fp16"):
        model = load(corpus / "models" / f"{name}.onnx")
        tensor = model.stages()[1].output
        item = next(
            Reading.of(model, PreprocessFlags.parse(preset="imagenet")).read([corpus / "photos" / "coffee.png"])
        )
        (entry,) = item.feeds
        with Probe(model, [tensor], ONE, only=True) as probe:
            layer = probe.run(item.feeds).maps(tensor).astype(np.float64)
            (best,) = strongest_channels(layer, 1)
            (found,) = project(model, item.feeds, tensor, [best], variant="plain", options=ONE)
            step = 0.5 * found.values / np.abs(found.values).max()
            norms = [
                np.linalg.norm(
                    probe.run({entry: (item.feeds[entry] + sign * step).astype(item.feeds[entry].dtype)})
                    .maps(tensor)[best]
                    .astype(np.float64)
                )
                for sign in (1, -1)
            ]
        assert norms[0] > 1.001 * np.linalg.norm(layer[best]) > 1.002 * norms[1]
        assert found.values.shape == (3, 224, 224)


def test_a_photo_of_the_picture_s_size_is_needed_by_nobody(tmp_path: Path, classifier: Path) -> None:
    """The picture's size is what is fed, whatever the file's: projections lie over `PreparedInput.picture`."""
    from onnxvis.run.flags import PreprocessFlags
    from onnxvis.run.reading import Reading

    model = load(classifier)
    item = next(Reading.of(model, PreprocessFlags.parse()).read([photo(tmp_path, height=61, width=200)]))
    assert item.picture is not None
    (found,) = project(model, item.feeds, model.stages()[0].output, [0], options=ONE)
    assert found.values.shape[1:] == item.picture.shape[:2]
