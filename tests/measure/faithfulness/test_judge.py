from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxvis.graph.load import load
from onnxvis.measure.activations import run_deployed
from onnxvis.measure.faithfulness.controls import control_map
from onnxvis.measure.faithfulness.curves import STEPS, faithfulness_of
from onnxvis.measure.faithfulness.judge import Terms, Verdicts, judge
from onnxvis.measure.faithfulness.pointing import points_at
from onnxvis.measure.heatmaps.explain import explain
from onnxvis.measure.target import Target, resolve_target
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.session import RunOptions
from tests.tiny import Array, tiny, write

RNG = np.random.default_rng(0)
ITEM = PreparedInput("x", {"image": RNG.standard_normal((1, 3, 32, 32)).astype(np.float32)}, None, None, None)
REGION = np.arange(32) < np.full((32, 1), 16)


def judged(
    folder: Path, terms: Terms, region: Array | None, told: list[tuple[str, int, int]] | None = None
) -> tuple[Verdicts, Target]:
    model = load(write(tiny(), folder))
    (outputs,), _ = run_deployed(model, [ITEM.feeds], RunOptions())
    target = resolve_target(model, "6", outputs)

    def hear(what: str, done: int, of: int) -> None:
        if told is not None:
            told.append((what, done, of))

    return judge(model, ITEM, target, terms, lambda size: region, progress=hear), target


def test_every_method_and_control_is_judged_as_it_would_be_alone(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    terms = Terms(("gradcam", "saliency"), ("stage2.first/relu",), sigma=2.0, tolerance=1.0, random_seed=3)
    found, target = judged(tmp_path, terms, REGION, told)
    assert [(one.method, one.control) for one in found.judgements] == [
        ("gradcam", False), ("saliency", False), ("random", True), ("edges", True),
    ]  # fmt: skip
    model = load(tmp_path / "model.onnx")
    heatmaps = explain(model, ITEM.feeds, terms.methods, target=target, layers=terms.layers, random_seed=3)
    for one, alone in zip(found.judgements, heatmaps, strict=False):
        np.testing.assert_allclose(found.maps[one.method], alone.map, atol=1e-6)
        wanted = faithfulness_of(model, ITEM, alone, target, sigma=2.0, random_seed=3)
        assert one.curves.insertion.area == pytest.approx(wanted.insertion.area, abs=1e-5)
        assert one.curves.deletion.area == pytest.approx(wanted.deletion.area, abs=1e-5)
        assert one.pointing == points_at(alone.map, REGION, 1.0)
        assert one.seconds is not None
        assert one.seconds > 0
        assert one.survival is None
    picture = ITEM.feeds["image"][0].transpose(1, 2, 0)
    for name in ("random", "edges"):
        np.testing.assert_array_equal(found.maps[name], control_map(name, picture, 3))
    counted = [(done, of) for what, done, of in told if what == "inserting and deleting by saliency"]
    assert counted[-1] == (2 * (STEPS - 1), 2 * (STEPS - 1))


def test_weights_are_shuffled_where_that_is_asked_for(tmp_path: Path) -> None:
    found, _ = judged(tmp_path, Terms(("gradcam",), randomisation=True), None)
    by_name = {one.method: one for one in found.judgements}
    for name, steps in (("gradcam", 8), ("edges", 8)):
        survival = by_name[name].survival
        assert survival is not None
        assert len(survival.steps) == steps
    assert by_name["random"].survival is None
    assert by_name["gradcam"].pointing is None


def test_a_blur_that_takes_nothing_away_is_told(tmp_path: Path) -> None:
    found, _ = judged(tmp_path, Terms(("gradcam",), sigma=0.05), None)
    (note,) = found.notes
    assert "still scores" in note
    assert "--blur" in note
