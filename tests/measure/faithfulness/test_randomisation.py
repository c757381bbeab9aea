from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.graph.load import load
from onnxvis.measure.faithfulness.controls import edge_map
from onnxvis.measure.faithfulness.randomisation import (
    DEPENDS_BELOW,
    Similarity,
    Survival,
    cascade,
    check_randomisation,
)
from onnxvis.measure.faithfulness.spearman import spearman
from onnxvis.measure.heatmaps.explain import explain
from onnxvis.models.classifier import FRESH_SEEDS, batch_of
from onnxvis.rewrite.randomize import randomize, weight_layers
from onnxvis.run.inputs import PreparedInput
from tests.tiny import from_text, tiny, write

SCENE = FRESH_SEEDS + 30_000_000


def survivals(classifier: Path, methods: Sequence[str], seed: int, most: int) -> dict[str, Survival]:
    pictures, _ = batch_of([seed])
    model, item = load(classifier), PreparedInput("scene", {"image": pictures}, None, None, None)
    found = check_randomisation(
        model, item, explain(model, item.feeds, methods), picture=pictures[0].transpose(1, 2, 0), most_steps=most
    )
    return {one.method: one for one in found}


def test_gradcam_depends_on_the_weights_and_edges_do_not(classifier: Path) -> None:
    found = survivals(classifier, ["gradcam"], SCENE, 3)
    assert found["gradcam"].depends
    assert found["gradcam"].mean < 0.5
    assert min(step.value for step in found["edges"].steps) >= 0.99
    assert not found["edges"].depends


@pytest.mark.slow
def test_it_separates_them_on_every_scene(classifier: Path) -> None:
    for seed in range(SCENE, SCENE + 8):
        found = survivals(classifier, ["gradcam", "saliency"], seed, 5)
        assert found["gradcam"].mean < 0.5 > found["saliency"].steps[-1].value
        assert min(step.value for step in found["edges"].steps) >= 0.99


def test_each_step_is_the_map_of_the_model_with_so_many_layers_shuffled(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = load(write(tiny(), tmp_path))
    item = PreparedInput("x", {"image": rng.standard_normal((1, 3, 32, 32)).astype(np.float32)}, None, None, None)
    heatmaps = explain(model, item.feeds, ["gradcam", "saliency"], target="3", layers=["stage2.first/relu"])
    told: list[tuple[int, int]] = []
    found = check_randomisation(
        model, item, heatmaps, most_steps=3, random_seed=5, progress=lambda done, of: told.append((done, of))
    )
    assert [one.method for one in found] == ["gradcam", "saliency"]
    assert told == [(1, 3), (2, 3), (3, 3)]
    layers = weight_layers(model, "logits")
    for survival, before in zip(found, heatmaps, strict=True):
        assert [step.layers for step in survival.steps] == [1, 6, 11]
        assert [step.down_to for step in survival.steps] == ["fc", "stage2.first/Conv", "stage1.first/Conv"]
        for step in survival.steps:
            weights = [name for layer in layers[: step.layers] for name in layer.weights]
            (after,) = explain(
                randomize(model, weights, 5), item.feeds, [before.method], target="3", layers=["stage2.first/relu"]
            )
            assert step.value == pytest.approx(spearman(before.map, after.map), abs=1e-6)


def test_the_control_is_the_picture_s_edges(classifier: Path) -> None:
    pictures, _ = batch_of([SCENE])
    edges = edge_map(pictures[0].transpose(1, 2, 0))
    assert spearman(edges, edges) == pytest.approx(1)


def test_steps_go_from_the_last_layer_to_all() -> None:
    assert cascade(21, 8) == (1, 4, 7, 10, 12, 15, 18, 21)
    assert cascade(3, 8) == (1, 2, 3)
    assert cascade(1) == (1,)
    assert cascade(50, 1) == (1,)


def test_the_verdict_is_of_the_mean() -> None:
    steps = tuple(Similarity(layers, "x", value) for layers, value in ((1, 1.0), (2, 2 * DEPENDS_BELOW - 1.02)))
    assert Survival("m", steps).mean == pytest.approx(DEPENDS_BELOW - 0.01)
    assert Survival("m", steps).depends
    assert not Survival("m", steps[:1]).depends


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    proto = from_text("g (float[1, 3, 8, 8] image) => (float[1, 3, 8, 8] map) { map = Relu (image) }")
    model = load(write(proto, tmp_path))
    item = PreparedInput("x", {"image": np.ones((1, 3, 8, 8), np.float32)}, None, None, None)
    heatmaps = explain(model, item.feeds, ["saliency"], target="map:0,1,1")
    with pytest.raises(UsageError, match="stores no weights on the way to map:0,1,1"):
        check_randomisation(model, item, heatmaps)
