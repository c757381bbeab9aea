"""Which weights a layer keeps, in the order of Darknet's files."""

from __future__ import annotations

from onnxvis.models.darknet.layers import tensors
from tests.models.darknet.cfgs import plan_of


def test_weights_in_darknets_order() -> None:
    plan = plan_of(
        "convolutional filters=6 size=5 groups=3 batch_normalize=1", "convolutional filters=2 size=3", "batchnorm",
        "connected output=7", "connected output=4 batch_normalize=1", "softmax",
    )  # fmt: skip
    assert [list(tensors(layer.what).items()) for layer in plan.layers] == [
        [("bias", (6,)), ("scale", (6,)), ("mean", (6,)), ("variance", (6,)), ("weight", (6, 1, 5, 5))],
        [("bias", (2,)), ("weight", (2, 6, 3, 3))],
        [("bias", (2,)), ("scale", (2,)), ("mean", (2,)), ("variance", (2,))],
        [("bias", (7,)), ("weight", (7, 2 * 10 * 10))],
        [("bias", (4,)), ("weight", (4, 7)), ("scale", (4,)), ("mean", (4,)), ("variance", (4,))],
        [],
    ]


def test_a_layer_has_a_title() -> None:
    assert plan_of("maxpool", "conv filters=2").layers[1].title == "section 1 [convolutional]"
