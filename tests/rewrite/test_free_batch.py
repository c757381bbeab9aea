"""A graph for one picture, freed, gives for three pictures what it gives for each; what cannot be freed is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from onnxvis.errors import RewriteError
from onnxvis.rewrite.free_batch import free_batch
from tests.references.networks import make_network
from tests.rewrite.differences import run
from tests.tiny import Array, from_text, tiny


def freed(proto: ModelProto, feeds: dict[str, Array], *batched: str) -> ModelProto:
    shapes = {name: value.shape for name, value in feeds.items()}
    return free_batch(proto, Path.cwd(), shapes, batched or tuple(feeds))


def assert_freed(proto: ModelProto, shape: tuple[int, ...], tolerance: float = 1e-5) -> ModelProto:
    name = proto.graph.input[0].name
    pictures = [np.random.default_rng(seed).standard_normal(shape).astype(np.float32) for seed in range(3)]
    before = proto.SerializeToString()
    made = freed(proto, {name: pictures[0]})
    assert proto.SerializeToString() == before
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    together = run(made, {name: np.concatenate(pictures)})
    for output, value in together.items():
        alone = np.concatenate([run(proto, {name: one})[output] for one in pictures])
        np.testing.assert_allclose(value, alone, rtol=0, atol=tolerance * np.abs(alone).max())
    return made


def target_of(proto: ModelProto, made: str) -> list[int]:
    """The shape that is stored for the Reshape that makes a tensor."""
    node = next(node for node in proto.graph.node if made in node.output)
    stored = next(item for item in proto.graph.initializer if item.name == node.input[1])
    return [int(size) for size in numpy_helper.to_array(stored)]


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2",
        "vit_tiny",
        pytest.param("shufflenet_v2_x1_0", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", marks=pytest.mark.slow),
        pytest.param("densenet121", marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", marks=pytest.mark.slow),
        pytest.param("unet_mixed", marks=pytest.mark.slow),
    ],
)
def test_networks_are_freed(name: str) -> None:
    proto = make_network(name)
    sizes = tuple(dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim)
    assert_freed(proto, sizes, 2e-5)


def test_a_graph_without_stored_shapes_only_declares_its_batch_free() -> None:
    made = assert_freed(tiny(), (1, 3, 32, 32))
    assert [node.SerializeToString() for node in made.graph.node] == [
        node.SerializeToString() for node in tiny().graph.node
    ]


def test_a_batch_in_front_is_freed_there() -> None:
    proto = from_text(
        "g (float[1, 3, 4, 4] image) => (float[1, 48] y) <int64[2] flat = {1, -1}> { y = Reshape (image, flat) }"
    )
    assert target_of(assert_freed(proto, (1, 3, 4, 4)), "y") == [-1, 48]


def test_a_batch_elsewhere_is_freed_where_it_is() -> None:
    """As attention that has its sequence first: (T, N, E) to (T, N heads, E / heads), and back."""
    proto = from_text(
        "g (float[1, 5, 6] image) => (float[1, 5, 6] y) <int64[3] split = {5, 2, 3}, int64[3] back = {5, 1, 6}> {"
        "  t = Transpose <perm = [1, 0, 2]> (image)  a = Reshape (t, split)  b = Transpose <perm = [1, 0, 2]> (a)"
        "  c = Softmax <axis = 1> (b)  d = Transpose <perm = [1, 0, 2]> (c)  e = Reshape (d, back)"
        "  y = Transpose <perm = [1, 0, 2]> (e) }"
    )
    made = assert_freed(proto, (1, 5, 6))
    assert target_of(made, "a") == [5, -1, 3]
    assert target_of(made, "e") == [5, -1, 6]


def test_windows_that_take_the_batch_in_are_freed() -> None:
    """As Swin transformers cut maps into windows: (N, H, W, C) to (N windows, side², C)."""
    proto = from_text(
        "g (float[1, 4, 4, 2] image) => (float[1, 4, 4, 2] y) <int64[6] cut = {1, 2, 2, 2, 2, 2},"
        " int64[3] windows = {4, 4, 2}, int64[6] again = {1, 2, 2, 2, 2, 2}, int64[4] whole = {1, 4, 4, 2}> {"
        "  a = Reshape (image, cut)  b = Transpose <perm = [0, 1, 3, 2, 4, 5]> (a)  c = Reshape (b, windows)"
        "  d = Softmax <axis = 1> (c)  e = Reshape (d, again)  f = Transpose <perm = [0, 1, 3, 2, 4, 5]> (e)"
        "  y = Reshape (f, whole) }"
    )
    made = assert_freed(proto, (1, 4, 4, 2))
    assert target_of(made, "c") == [-1, 4, 2]


def test_a_reshape_of_weights_stays() -> None:
    proto = from_text(
        "g (float[1, 3, 2, 2] image) => (float[1, 3, 2, 2] y) <float[3] w = {1, 2, 3}, int64[4] shape = {1, 3, 1, 1}>"
        " { s = Reshape (w, shape)  y = Mul (image, s) }"
    )
    assert target_of(assert_freed(proto, (1, 3, 2, 2)), "s") == [1, 3, 1, 1]


def test_stored_sizes_follow_the_batch() -> None:
    proto = from_text(
        "g (float[1, 3, 4, 4] image) => (float[1, 3, 8, 8] y) <int64[4] sizes = {1, 3, 8, 8}> "
        '{ y = Resize <mode = "nearest"> (image, , , sizes) }'
    )
    assert_freed(proto, (1, 3, 4, 4))


def test_what_is_stored_once_is_joined_to_every_picture() -> None:
    proto = from_text(
        "g (float[1, 2, 3] image) => (float[1, 3, 3] y) <float[1, 1, 3] token = {7, 8, 9}> "
        "{ y = Concat <axis = 1> (token, image) }"
    )
    assert_freed(proto, (1, 2, 3))


def test_other_inputs_keep_their_shape() -> None:
    proto = from_text(
        "g (float[1, 3, 4, 4] image, float[1, 2] size, float[1] bias) => (float[1, 50] y) <int64[2] flat = {1, 48}> "
        "{ a = Add (image, bias)  f = Reshape (a, flat)  y = Concat <axis = 1> (f, size) }"
    )
    feeds = {"image": np.ones((1, 3, 4, 4), np.float32), "size": np.ones((1, 2), np.float32)}
    feeds["bias"] = np.ones(1, np.float32)
    made = freed(proto, feeds, "image", "size")
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in made.graph.input] == ["batch", "batch", ""]
    given = {"image": np.zeros((2, 3, 4, 4), np.float32), "size": np.array([[1, 2], [3, 4]], np.float32)}
    found = run(made, {**given, "bias": np.ones(1, np.float32)})["y"]
    np.testing.assert_array_equal(found[:, -2:], given["size"])


def test_a_model_of_three_pictures_takes_any_number() -> None:
    proto = from_text(
        "g (float[3, 2, 2] image) => (float[3, 4] y) <int64[2] flat = {3, 4}> { y = Reshape (image, flat) }"
    )
    made = freed(proto, {"image": np.zeros((3, 2, 2), np.float32)})
    x = np.arange(20, dtype=np.float32).reshape(5, 2, 2)
    np.testing.assert_array_equal(run(made, {"image": x})["y"], x.reshape(5, 4))


def test_a_batch_that_a_reshape_takes_apart_is_refused() -> None:
    """(2, N, 3) to (3, 2): no axis of the result begins where the batch does."""
    proto = from_text(
        "g (float[1, 2, 3] image) => (y) <int64[2] mixed = {3, 2}> "
        "{ t = Transpose <perm = [1, 0, 2]> (image)  y = Reshape (t, mixed) }"
    )
    with pytest.raises(RewriteError, match="the batch of 't' is no axis of its own in 'y'"):
        freed(proto, {"image": np.zeros((1, 2, 3), np.float32)})
