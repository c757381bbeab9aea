from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxvis.api import read_input
from onnxvis.errors import UsageError
from onnxvis.graph.load import load
from onnxvis.measure.activations import run_deployed
from onnxvis.measure.faithfulness.score import Scorer
from onnxvis.measure.target import resolve_target
from onnxvis.run.session import RunOptions
from tests.tiny import Array, from_text, oracle, tiny, write


def softmax(logits: Array) -> Array:
    powers = np.exp(logits.astype(np.float64))
    return np.asarray(powers / powers.sum())


def pictures(count: int, shape: tuple[int, ...] = (32, 32, 3)) -> list[Array]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(shape).astype(np.float32) for _ in range(count)]


def scored(path: Path, feeds: dict[str, Array], target: str, given: list[Array]) -> tuple[list[float], float, str]:
    model = load(path)
    (outputs,), _ = run_deployed(model, [feeds], RunOptions())
    with Scorer(model, feeds, resolve_target(model, target, outputs, feeds=feeds)) as scorer:
        return scorer.scores(given), scorer.full, scorer.kind


@pytest.mark.parametrize("batch", [1, "batch"])
def test_a_class_is_scored_by_its_probability_one_by_one_or_in_batches(batch: int | str, tmp_path: Path) -> None:
    path = write(tiny(batch), tmp_path)
    shown = pictures(11)
    fed = [picture.transpose(2, 0, 1)[None] for picture in shown]
    found, full, kind = scored(path, {"image": fed[0]}, "7", shown)
    wanted = [softmax(oracle(path, [], {"image": one})["logits"][0])[7] for one in fed]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert full == pytest.approx(wanted[0], abs=1e-6)
    assert kind == "the class's probability, a softmax"


def test_several_pictures_are_run_at_once_where_the_batch_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = Scorer._run

    def counted(self: Scorer, feeds: dict[str, Array]) -> Array:
        sizes.append(len(feeds["image"]))
        return run(self, feeds)

    monkeypatch.setattr(Scorer, "_run", counted)
    scored(write(tiny("batch"), tmp_path), {"image": pictures(1)[0].transpose(2, 0, 1)[None]}, "7", pictures(11))
    assert sizes == [1, 8, 3]


def test_a_batch_that_is_declared_free_and_is_not(tmp_path: Path) -> None:
    """A Reshape to one row: a batch of eight cannot run, one by one it does."""
    path = write(
        from_text("""
        g (float[batch, 3, 4, 4] image) => (float[batch, 3] scores) <int64[2] shape = {1, 3}> {
            pooled = GlobalAveragePool (image)
            scores = Reshape (pooled, shape)
        }"""),
        tmp_path,
    )
    shown = pictures(9, (4, 4, 3))
    found, _, _ = scored(path, {"image": shown[0].transpose(2, 0, 1)[None]}, "1", shown)
    np.testing.assert_allclose(found, [softmax(one.mean(axis=(0, 1)))[1] for one in shown], atol=1e-6)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_final_softmax_is_the_probability_already(op: str, tmp_path: Path) -> None:
    proto = tiny()
    proto.graph.node.append(helper.make_node(op, ["logits"], ["last"], axis=1))
    proto.graph.output[0].name = "last"
    shown = pictures(3)
    found, _, _ = scored(write(proto, tmp_path), {"image": shown[0].transpose(2, 0, 1)[None]}, "2", shown)
    logits = [
        oracle(write(tiny(), tmp_path), [], {"image": one.transpose(2, 0, 1)[None]})["logits"][0] for one in shown
    ]
    np.testing.assert_allclose(found, [softmax(one)[2] for one in logits], atol=1e-6)


def test_logits_that_were_quantised_are_made_probabilities_too(tmp_path: Path) -> None:
    proto = tiny()
    proto.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(0.05, np.float32), "scale"),
            numpy_helper.from_array(np.array(0, np.int8), "zero"),
        ]
    )
    proto.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", ["logits", "scale", "zero"], ["codes"]),
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["last"]),
        ]
    )
    proto.graph.output[0].name = "last"
    path, shown = write(proto, tmp_path), pictures(2)
    found, _, _ = scored(path, {"image": shown[0].transpose(2, 0, 1)[None]}, "2", shown)
    for value, one in zip(found, shown, strict=True):
        logits = oracle(path, [], {"image": one.transpose(2, 0, 1)[None]})["last"][0]
        assert value == pytest.approx(softmax(logits)[2], abs=1e-6)


def test_a_box_is_scored_as_the_detector_scores_it(data: Path) -> None:
    for name in ("detector.onnx", "detector_decoded.onnx"):
        model = load(data / name)
        item = read_input(model, data / "crowds" / "dusk.png")
        (outputs,), _ = run_deployed(model, [item.feeds], RunOptions())
        target = resolve_target(model, "box:1", outputs, feeds=item.feeds)
        assert target.box is not None
        with Scorer(model, item.feeds, target) as scorer:
            assert scorer.kind == "the box's score"
            assert scorer.full == pytest.approx(target.box.score, rel=0.02)
            assert scorer.scores([scorer.picture]) == pytest.approx([target.box.score], rel=0.02)
            (blank,) = scorer.scores([np.zeros_like(scorer.picture)])
            assert blank < 0.1


def test_any_other_target_counts_relative_to_the_full_picture(tmp_path: Path) -> None:
    path = write(
        from_text("""
        g (float[1, 3, 4, 4] image) => (float[1, 3, 4, 4] map) <float one = {1.0}> {
            map = Add (image, one)
        }"""),
        tmp_path,
    )
    shown = [np.abs(one) for one in pictures(3, (4, 4, 3))]
    feeds = {"image": shown[0].transpose(2, 0, 1)[None]}
    found, full, kind = scored(path, feeds, "map:1,2,3", shown)
    np.testing.assert_allclose(found, [(one[2, 3, 1] + 1) / (shown[0][2, 3, 1] + 1) for one in shown], rtol=1e-6)
    assert (full, kind) == (1.0, "the target's value over that of the full picture")
    summed, _, _ = scored(path, feeds, "map:1", shown)
    np.testing.assert_allclose(
        summed, [(one[..., 1] + 1).sum() / (shown[0][..., 1] + 1).sum() for one in shown], rtol=1e-6
    )


def test_a_value_that_is_not_above_zero_stays_as_it_is(tmp_path: Path) -> None:
    path = write(from_text("g (float[1, 3, 4, 4] image) => (float[1, 3, 4, 4] map) { map = Neg (image) }"), tmp_path)
    shown = [np.abs(one) for one in pictures(2, (4, 4, 3))]
    found, _, kind = scored(path, {"image": shown[0].transpose(2, 0, 1)[None]}, "map:0,0,0", shown)
    np.testing.assert_allclose(found, [-one[0, 0, 0] for one in shown], rtol=1e-6)
    assert kind == "the target's value"


NHWC = """
    g (uint8[1, 4, 4, 3] image) => (float[1, 3] scores) <int64[2] shape = {1, 3}> {
        floats = Cast <to = 1> (image)
        turned = Transpose <perm = [0, 3, 1, 2]> (floats)
        pooled = GlobalAveragePool (turned)
        scores = Reshape (pooled, shape)
    }"""


def test_pictures_of_whole_numbers_with_colours_last(tmp_path: Path) -> None:
    path = write(from_text(NHWC), tmp_path)
    rng = np.random.default_rng(0)
    shown = [rng.integers(0, 9, (4, 4, 3), np.uint8) for _ in range(3)]
    model = load(path)
    feeds = {"image": shown[0][None]}
    (outputs,), _ = run_deployed(model, [feeds], RunOptions())
    with Scorer(model, feeds, resolve_target(model, "2", outputs)) as scorer:
        np.testing.assert_array_equal(scorer.picture, shown[0])
        found = scorer.scores(shown)
    np.testing.assert_allclose(found, [softmax(one.mean(axis=(0, 1)))[2] for one in shown], atol=1e-6)


def refused(proto: onnx.ModelProto, folder: Path, feeds: dict[str, Array], target: str) -> Callable[[], object]:
    return lambda: scored(write(proto, folder), feeds, target, [])


def test_what_cannot_be_scored_is_refused(tmp_path: Path) -> None:
    vector = from_text("g (float[1, 5] x) => (float[1, 5] y) { y = Relu (x) }")
    with pytest.raises(UsageError, match="takes no picture"):
        refused(vector, tmp_path, {"x": np.ones((1, 5), np.float32)}, "y:0")()
    logarithm = from_text("g (float[1, 3, 4, 4] image) => (float[1, 3, 4, 4] map) { map = Log (image) }")
    shown = np.full((1, 3, 4, 4), 2, np.float32)
    model = load(write(logarithm, tmp_path))
    (outputs,), _ = run_deployed(model, [{"image": shown}], RunOptions())
    with (
        Scorer(model, {"image": shown}, resolve_target(model, "map:0,0,0", outputs)) as scorer,
        pytest.raises(UsageError, match=r"'map' .* NaN or infinite"),
    ):
        scorer.scores([np.zeros((4, 4, 3), np.float32)])
