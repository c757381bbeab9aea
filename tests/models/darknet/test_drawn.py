"""Weights drawn by chance: repeatable, of the variance that is meant, and values that stay in bounds."""

from __future__ import annotations

import numpy as np

from onnxvis.models.darknet.build import build
from onnxvis.models.darknet.cfg import parse_cfg
from onnxvis.models.darknet.drawn import DrawnWeights
from onnxvis.models.darknet.plan import make_plan
from tests.models.darknet.cfgs import cfg, plan_of, run, with_outputs
from tests.models.darknet.networks import FAMILIES


def test_a_seed_gives_the_same_weights_and_another_others() -> None:
    plan = plan_of("convolutional filters=8 size=3", "convolutional filters=8 size=3")
    first, again, other = (DrawnWeights(plan, seed) for seed in (1, 1, 2))
    for layer in reversed(plan.layers):  # in any order
        np.testing.assert_array_equal(first.of(layer)["weight"], again.of(layer)["weight"])
        assert np.abs(first.of(layer)["weight"] - other.of(layer)["weight"]).max() > 0.01
    assert np.abs(first.of(plan.layers[0])["bias"] - first.of(plan.layers[1])["bias"]).max() > 0.01
    assert first.notes == ()


def test_kernels_have_hes_variance_and_batch_norm_is_nearly_the_identity() -> None:
    plan = plan_of(
        "convolutional batch_normalize=1 filters=400 size=3 activation=leaky",
        "convolutional batch_normalize=1 filters=400 activation=linear",
    )
    for layer, expected in zip(plan.layers, (2 / 1.01 / 27, 1 / 400), strict=True):
        drawn = DrawnWeights(plan, 0).of(layer)
        assert list(drawn) == ["bias", "scale", "mean", "variance", "weight"]
        assert abs(drawn["weight"].var() / expected - 1) < 0.05
        assert all(values.dtype == np.float32 for values in drawn.values())
        for name, centre in (("bias", 0), ("mean", 0), ("scale", 1), ("variance", 1)):
            assert abs(drawn[name].mean() - centre) < 0.03
            assert 0.07 < drawn[name].std() < 0.13
        assert drawn["variance"].min() > 0


def test_what_shortcuts_add_is_smaller() -> None:
    wide = "convolutional filters=300 activation=linear"
    plan = plan_of(wide, wide, "dropout", "shortcut from=0", wide, "shortcut from=-2")
    spreads = [float(DrawnWeights(plan, 0).of(plan.layers[index])["weight"].std()) for index in (0, 1, 4)]
    # Three inputs of the first, 300 of the others.
    np.testing.assert_allclose(spreads, [3**-0.5, 600**-0.5, 600**-0.5], rtol=0.06)


def test_values_neither_vanish_nor_explode() -> None:
    for name, sections in FAMILIES.items():
        plan = make_plan(parse_cfg(cfg(*sections, net="width=64 height=64 channels=3"), name))
        model = build(plan, DrawnWeights(plan, 0))
        tensors = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
        picture = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
        values = run(with_outputs(model, tensors), picture)
        spread = [float(values[tensor].std()) for tensor in tensors]
        assert 0.02 < min(spread) < max(spread) < 30, name


def test_heads_begin_with_few_boxes_where_that_is_asked_for() -> None:
    """Against the sigmoid of what the heads give: 1 % of the places hold something, where half of them would."""
    plan = make_plan(parse_cfg(cfg(*FAMILIES["yolov4-tiny"], net="width=64 height=64 channels=3"), "x.cfg"))
    picture = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    for few, low, high in ((True, 0.005, 0.02), (False, 0.2, 0.8)):
        heads = run(build(plan, DrawnWeights(plan, 0, few_boxes=few)), picture)
        raw = np.concatenate([head.reshape(3, 8, -1)[:, 4].ravel() for head in heads.values()])
        assert low < float(np.median(1 / (1 + np.exp(-raw)))) < high
