from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxvis.errors import TensorNotFound, UsageError
from onnxvis.graph.load import Model
from onnxvis.measure.maximize.objective import Aim, Objective, resolve, short_label
from tests.tiny import from_text, tiny

Array = np.ndarray[Any, np.dtype[Any]]

SHAPES = {"stage1.y/relu": (1, 8, 16, 16), "logits": (1, 10), "wide": (1, 6, 5, 4)}


def aim(objective: Objective, proto: Any = None) -> Aim:
    model = Model(Path("case.onnx"), proto or tiny(), Path.cwd())

    def values(name: str) -> Array:
        return np.zeros(SHAPES[name], np.float32)

    return resolve(model, objective, {}, lambda: {"logits": values("logits")}, values)


def drawn(name: str) -> Array:
    return np.random.default_rng(0).standard_normal(SHAPES[name]).astype(np.float32)


def test_a_channel_is_its_mean_over_positions() -> None:
    found = aim(Objective("stage1.y/relu", 3))
    values = drawn("stage1.y/relu")
    assert found.value(values) == pytest.approx(values[0, 3].astype(float).mean())
    assert (found.tensor, found.label, found.index) == ("stage1.y/relu", "stage1.y/relu:3", None)


def test_a_position_is_one_unit() -> None:
    found = aim(Objective("stage1.y/relu", 7, (4, 9)))
    values = drawn("stage1.y/relu")
    assert found.value(values) == values[0, 7, 4, 9]
    assert found.label == "stage1.y/relu:7@4,9"


def test_channels_last_are_found_where_they_lie() -> None:
    proto = from_text(
        "g (float[1,6,5,3] x) => (float[1,6,5,4] wide) "
        "{ t = Transpose<perm=[0,3,1,2]>(x) w = Constant<value=float[4,3,1,1] {1,2,3,4,5,6,7,8,9,10,11,12}>() "
        "c = Conv(t, w) wide = Transpose<perm=[0,2,3,1]>(c) }"
    )
    values = drawn("wide")
    assert aim(Objective("wide", 2, (5, 1)), proto).value(values) == values[0, 5, 1, 2]
    mean = values[0, :, :, 3].astype(float).mean()
    assert aim(Objective("wide", 3), proto).value(values) == pytest.approx(mean)


def test_an_element_of_a_vector_is_a_channel_of_its_own() -> None:
    assert aim(Objective("logits", 6)).value(drawn("logits")) == drawn("logits")[0, 6]


def test_a_class_is_its_logit() -> None:
    found = aim(Objective(target="4"))
    assert found.value(drawn("logits")) == drawn("logits")[0, 4]
    assert (found.index, found.label, found.tensor) == (4, "logits:4", "logits")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "say what to excite"),
        ({"tensor": "a", "target": "1"}, "not both"),
        ({"tensor": "a"}, "add --channel K"),
        ({"target": "1", "channel": 3}, "are of a --tensor"),
        ({"target": "1", "position": (1, 1)}, "are of a --tensor"),
        ({"target": "top"}, "no top class"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Objective(**given)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (Objective("stage1.y/relu", 8), "has 8 channels; 8 is not one of 0 to 7"),
        (Objective("stage1.y/relu", -1), "has 8 channels; -1 is not one of 0 to 7"),
        (Objective("stage1.y/relu", 1, (16, 0)), "has 16 × 16 positions; row 16, column 0"),
        (Objective("logits", 1, (0, 0)), "has no positions"),
        (Objective("*relu", 1), "means 5 tensors|means 10 tensors"),
        (Objective(target="77"), "no element 77"),
        (Objective(target="box:0"), "no box before there is a picture; name a class in a cell"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(objective: Objective, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        aim(objective)


def test_an_unknown_tensor_is_refused_with_the_nearest() -> None:
    with pytest.raises(TensorNotFound, match=r"nearest: 'stage1\.y/relu'"):
        aim(Objective("stage1.y/rel", 1))


@pytest.mark.parametrize(("shape", "index"), [((1, 10, 1, 1), 4), ((1, 10, 3, 3), None), ((1, 10, 7), None)])
def test_only_class_scores_have_classes(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], index: int | None
) -> None:
    monkeypatch.setitem(SHAPES, "logits", shape)
    assert aim(Objective(target="logits:4")).index == index


def test_a_label_loses_its_tensor_s_middle_never_its_channel() -> None:
    assert short_label("layer1:7@2,3") == "layer1:7@2,3"
    assert short_label("a" * 200 + "z:1023@11,12", 30) == "a" * 9 + "…" + "a" * 8 + "z:1023@11,12"
    assert short_label("one\n:3") == "one\\x0a:3"
    assert len(short_label("no channel " * 30)) == 120
    assert len(short_label("a:" + "long " * 60)) == 120


def test_what_has_no_channels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "logits", (10,))
    with pytest.raises(UsageError, match=r"shape \[10\] .* has no channels"):
        aim(Objective("logits", 1))
