from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxvis.errors import InputError, UsageError
from onnxvis.graph.view import Tensor
from onnxvis.run.feeds import bind, complete_feeds, parse_feeds

IMAGE = Tensor("image", ("batch", 3, "height", "width"), "float32")
SCALE = Tensor("scale_factor", ("batch", 2), "float32")
FED = {"image": np.zeros((2, 3, 32, 48), np.float32)}


def test_values_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[3, 4]], np.float32))
    inputs = [SCALE, Tensor("a=b", (), "int64"), Tensor("a", (2, 2), "float16"), Tensor("ok", (1,), "bool")]
    feeds = parse_feeds([f"scale_factor={tmp_path}/a.npy", "a=b=7", "a=1.5", "ok=true"], inputs)
    np.testing.assert_array_equal(feeds["scale_factor"], [[3, 4]])
    np.testing.assert_array_equal(feeds["a=b"], 7)
    np.testing.assert_array_equal(feeds["a"], [[1.5, 1.5], [1.5, 1.5]])
    np.testing.assert_array_equal(feeds["ok"], [True])
    assert {name: array.dtype.name for name, array in feeds.items()} == {
        "scale_factor": "float32", "a=b": "int64", "a": "float16", "ok": "bool",
    }  # fmt: skip
    np.testing.assert_array_equal(parse_feeds(["scale_factor=[1,2]"], inputs)["scale_factor"], [[1, 2]])
    np.testing.assert_array_equal(parse_feeds(["scale_factor=5"], inputs)["scale_factor"], [[5, 5]])


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("nobody=1", UsageError, "'nobody=1' names no input; write NAME=VALUE, NAME one of: scale_factor, n"),
        ("scale_factor", UsageError, "names no input"),
        ("scale_factor=", UsageError, "not a number, a list of numbers or an .npy"),
        ("scale_factor=x.txt", UsageError, "not a number"),
        ("scale_factor=[[1],[2,3]]", UsageError, "not a number"),
        ('scale_factor="a"', UsageError, "float32 is needed"),
        ("scale_factor={}", UsageError, "float32 is needed"),
        ("scale_factor=" + "[" * 100_000, UsageError, "not a number"),
        ("n=1.5", UsageError, "uint8 is needed"),
        ("n=300", UsageError, "outside the range of uint8"),
        ("n=" + "9" * 400, UsageError, "not a number"),
        ("scale_factor=[1,2,3]", InputError, r"takes shape \(any, 2\); the list given with --feed holds \(1, 3\)"),
        ("scale_factor=none.npy", InputError, "cannot read none.npy"),
    ],
)
def test_values_that_are_refused(text: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        parse_feeds([text], [SCALE, Tensor("n", (1,), "uint8")])


def test_defaults_are_said() -> None:
    inputs = [
        Tensor("im_shape", (1, 2), "float32"), IMAGE, SCALE,
        Tensor("pixel_mask", ("batch", "height", "width"), "int64"),
        Tensor("state", (2, "batch", None, -1, "else"), "float16"), Tensor("flag", (), "bool"),
        Tensor("text", (1,), "string"), Tensor("im_info", ("batch", 3), "float32"), Tensor("unknown", None, "int32"),
    ]  # fmt: skip
    feeds, notes = complete_feeds(inputs, FED, (32, 48))
    assert list(feeds) == [tensor.name for tensor in inputs]
    assert feeds["image"] is FED["image"]
    np.testing.assert_array_equal(feeds["im_shape"], [[32, 48]])
    np.testing.assert_array_equal(feeds["scale_factor"], np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(feeds["pixel_mask"], np.ones((2, 32, 48), np.int64))
    np.testing.assert_array_equal(feeds["state"], np.zeros((2, 2, 1, 1, 1), np.float16))
    np.testing.assert_array_equal(feeds["im_info"], [[32, 48, 1]] * 2)
    assert feeds["flag"].shape == ()
    assert not feeds["flag"]
    assert feeds["text"].tolist() == [""]
    assert feeds["unknown"].shape == ()
    for tensor in inputs:
        if tensor.dtype != "string":
            assert feeds[tensor.name].dtype == tensor.dtype
    assert len(notes) == len(inputs) - 1
    assert notes[0] == (
        "input 'im_shape' (float32, 1x2) was filled with [[32.0, 48.0]]; --feed im_shape=… gives it another value"
    )
    assert notes[1].startswith("input 'scale_factor' (float32, 2x2) was filled with 1;")


def test_nothing_to_fill() -> None:
    assert complete_feeds([IMAGE], FED) == (FED, ())
    assert bind([IMAGE], FED) == {"batch": 2, "height": 32, "width": 48}


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("w", (1,), "float8e9"), "takes float8e9, which cannot be given or filled here"),
        (Tensor("w", (100_000, 100_000), "float32"), r"'w' of shape \(100000, 100000\) is too large to fill"),
    ],
)
def test_what_cannot_be_filled(tensor: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        complete_feeds([tensor], {})
