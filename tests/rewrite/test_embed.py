from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnxvis
from onnxvis.errors import RewriteError, UsageError
from onnxvis.measure.heatmaps.explain import explain
from onnxvis.rewrite.embed import EMBEDDABLE, Embedded, embed
from onnxvis.rewrite.save import save_self_contained
from tests.tiny import Array, oracle, tiny, write

LAYER = "stage2.y/relu"


def pictures(count: int, side: int = 32, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 3, side, side)).astype(np.float32)


def run(
    found: Embedded, model: onnxvis.Model, folder: Path, feeds: Mapping[str, Array], *, exact: bool = False
) -> dict[str, Array]:
    """What plain ONNX Runtime gives for the file as it is written; `exact`: without optimisations."""
    (path,) = save_self_contained(found.proto, model, folder / "embedded.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    settings = ort.SessionOptions()
    if exact:
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


@pytest.fixture
def model(tmp_path: Path) -> onnxvis.Model:
    return onnxvis.load(write(tiny(batch="N"), tmp_path))


@pytest.mark.parametrize("method", EMBEDDABLE)
def test_the_map_is_that_of_the_heatmap(method: str, model: onnxvis.Model, tmp_path: Path) -> None:
    found = onnxvis.embed(model, method)
    brightest = 0.0
    for target in (-1, 0, 4, 7):
        image = pictures(1, seed=target + 1)
        given = run(found, model, tmp_path, {"image": image, found.target: np.array([target])})
        text = "top" if target < 0 else str(target)
        (wanted,) = explain(model, {"image": image}, [method], target=text)
        np.testing.assert_allclose(given[found.heatmap][0], wanted.map, atol=1e-5)
        assert given[found.heatmap].dtype == np.float32
        brightest = max(brightest, float(wanted.map.max()))
    assert brightest > 0.99, "maps that are all blank compare nothing"


@pytest.mark.parametrize("method", EMBEDDABLE)
def test_pictures_of_a_batch_do_not_meet(method: str, model: onnxvis.Model, tmp_path: Path) -> None:
    found = onnxvis.embed(model, method)
    image = pictures(3)
    targets = np.array([4, -1, 9])
    together = run(found, model, tmp_path, {"image": image, found.target: targets})[found.heatmap]
    for place in range(3):
        feeds = {"image": image[place : place + 1], found.target: targets[place : place + 1]}
        alone = run(found, model, tmp_path, feeds)[found.heatmap]
        np.testing.assert_allclose(together[place], alone[0], atol=1e-5)
    one_for_all = run(found, model, tmp_path, {"image": image, found.target: np.array([4])})[found.heatmap]
    np.testing.assert_allclose(one_for_all[0], together[0], atol=1e-6)
    assert np.abs(one_for_all[2] - together[2]).max() > 0.01


def test_the_models_own_outputs_stay_first_and_the_same(model: onnxvis.Model, tmp_path: Path) -> None:
    before = model.proto.SerializeToString()
    found = onnxvis.embed(model)
    image = pictures(2)
    given = run(found, model, tmp_path, {"image": image, found.target: np.array([-1])})
    assert list(given) == ["logits", "heatmap"]
    np.testing.assert_allclose(
        given["logits"], oracle(model.path, [], {"image": image})["logits"], rtol=1e-5, atol=1e-5
    )
    assert model.proto.SerializeToString() == before
    assert {node.domain for node in found.proto.graph.node} == {""}


def test_free_sizes_stay_free(tmp_path: Path) -> None:
    model = onnxvis.load(write(tiny(batch="N", side="side"), tmp_path))
    found = onnxvis.embed(model)
    for side in (32, 48):
        image = pictures(2, side)
        given = run(found, model, tmp_path, {"image": image, found.target: np.array([1])})[found.heatmap]
        assert given.shape == (2, side, side)
        (wanted,) = explain(model, {"image": image[:1]}, ["gradcam"], target="1")
        np.testing.assert_allclose(given[0], wanted.map, atol=1e-5)


def test_names_that_are_taken_get_a_number(tmp_path: Path) -> None:
    taken = tiny()
    taken.graph.node.add(op_type="Identity", input=["logits"], output=["heatmap"])
    taken.graph.output.add(name="heatmap")
    found = onnxvis.embed(write(taken, tmp_path))
    assert found.heatmap == "heatmap.2"
    assert [value.name for value in found.proto.graph.output] == ["logits", "heatmap", "heatmap.2"]


def test_a_layer_may_be_named(model: onnxvis.Model, tmp_path: Path) -> None:
    found = onnxvis.embed(model, "layercam", layer="stage1")
    image = pictures(1)
    given = run(found, model, tmp_path, {"image": image, found.target: np.array([2])})[found.heatmap]
    (wanted,) = explain(model, {"image": image}, ["layercam"], target="2", layers=["stage1"])
    np.testing.assert_allclose(given[0], wanted.map, atol=1e-5)


def test_what_cannot_be_embedded(model: onnxvis.Model) -> None:
    with pytest.raises(RewriteError, match="no map by 'eigencam' can be embedded; there are: gradcam"):
        embed(model, "eigencam", "logits", LAYER, "image")
    with pytest.raises(RewriteError, match="'vector' is no feature map: a heatmap needs rows and columns"):
        onnxvis.embed(model, layer="vector")
    with pytest.raises(UsageError, match=r"cam is defined for 'stage2\.y/relu' alone"):
        onnxvis.embed(model, "cam", layer="stage1")
    assert onnxvis.embed(model, "cam", layer="stage2").heatmap == "heatmap"


def test_half_precision_and_quantised_models_explain_themselves(corpus: Path, tmp_path: Path) -> None:
    cases = {"winml_squeezenet_fp16.onnx": "chelsea.png", "efficientnet_lite0_ort_qdq_int8.onnx": "chelsea.png"}
    for name, picture in cases.items():
        model = onnxvis.load(corpus / "models" / name)
        feeds = onnxvis.read_input(model, corpus / "photos" / picture).feeds
        found = onnxvis.embed(model)
        (wanted,) = explain(model, feeds, ["gradcam"])
        assert wanted.map.max() > 0.99
        fed = {**feeds, found.target: np.array([-1])}
        exact = run(found, model, tmp_path, fed, exact=True)[found.heatmap][0]
        np.testing.assert_allclose(exact, wanted.map, atol=1e-5)
        # Optimised, the quantised one computes in integers, which round otherwise.
        np.testing.assert_allclose(run(found, model, tmp_path, fed)[found.heatmap][0], wanted.map, atol=0.05)
