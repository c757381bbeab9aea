from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.errors import UsageError
from onnxvis.graph.view import Tensor
from onnxvis.run.flags import PreprocessFlags, flags_text, override, parse_size
from onnxvis.run.preprocess import PRESETS, Preprocessing, preset
from onnxvis.run.settings import resolve_preprocessing
from tests.run.metadata import our_metadata


def parse(text: str) -> PreprocessFlags:
    """What a command line does with these flags."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    for name in ("size", "fit", "shorter", "interpolation", "divide", "mean", "std"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--preprocess", dest="preset")
    parser.add_argument("--bgr", action="store_true", default=None)
    parser.add_argument("--rgb", dest="bgr", action="store_false")
    return PreprocessFlags.parse(**vars(parser.parse_args(shlex.split(text))))


NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000).map(float) | st.floats(-1, 1)
NOT_ZERO = NUMBERS.filter(bool)


def per_channel(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(numbers) | st.tuples(numbers, numbers, numbers)


@st.composite
def preprocessings(draw: st.DrawFn) -> Preprocessing:
    side = st.integers(1, 2000)
    start = draw(st.sampled_from(list(PRESETS)))
    size = draw(st.none() | st.tuples(side, side))
    base = preset(start, size)
    fit = draw(st.sampled_from(["stretch", "crop", "letterbox"]))
    shorter = draw(st.none() | side) if fit == "crop" else None
    changed: dict[str, Any] = {
        "fit": fit, "shorter": shorter, "interpolation": draw(st.sampled_from(["nearest", "linear", "cubic", "area"])),
        "bgr": draw(st.booleans()), "divide": draw(NOT_ZERO), "mean": draw(per_channel(NUMBERS)),
        "std": draw(per_channel(NOT_ZERO)),
    }  # fmt: skip
    kept = draw(st.sets(st.sampled_from([*changed, "geometry"])))
    values: dict[str, Any] = {name: getattr(base, name) if name in kept else value for name, value in changed.items()}
    if "geometry" in kept or values["fit"] != "crop":
        values |= {"fit": base.fit, "shorter": base.shorter}
    return Preprocessing(size=size, **values)


def same(one: Preprocessing, other: Preprocessing) -> bool:
    names = ("size", "fit", "shorter", "interpolation", "bgr", "divide", "mean", "std")
    return all(getattr(one, name) == getattr(other, name) for name in names)


@settings(max_examples=400, deadline=None)
@given(preprocessings(), st.sampled_from(["classifier", "detector", "metadata"]))
def test_flags_give_exactly_the_same_settings(wanted: Preprocessing, below: str) -> None:
    free, fixed = ("N", 3, None, None), (1, 3, *(wanted.size or (None, None)))
    outputs = [Tensor("y", (1, 10) if below == "classifier" else (1, 84, 8400), "float32")]
    metadata = {"onnxvis.preprocess": our_metadata(preset("caffe", (99, 77)))} if below == "metadata" else {}
    for shape in (free, fixed):
        flags = parse(flags_text(wanted))
        result = resolve_preprocessing(Path("m.onnx"), metadata, Tensor("x", shape, "float32"), outputs, "NCHW", flags)
        assert same(result, wanted)
        assert result.source == "flags"
        assert not result.guessed


def test_flags_are_short() -> None:
    assert flags_text(preset("imagenet")) == "--preprocess imagenet --size 224x224 --rgb"
    assert flags_text(preset("imagenet", (384, 384))) == "--preprocess imagenet --size 384x384 --rgb"
    assert flags_text(preset("unit", None)) == "--preprocess unit --size native --rgb"
    negative = override(preset("raw"), PreprocessFlags(mean=(-16.0,), bgr=True))
    assert flags_text(negative) == "--preprocess raw --size 224x224 --mean=-16 --bgr"
    grey = preset("imagenet").for_channels(1)
    assert "--preprocess imagenet" in flags_text(grey)


@pytest.mark.parametrize(
    ("text", "size"),
    [("224", (224, 224)), ("224x320", (224, 320)), ("224X320", (224, 320)), ("native", "native")],
)
def test_sizes(text: str, size: object) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "x", "1x2x3", "-5", "12.5", "9" * 5000, "20000", "224x", "Native "])
def test_sizes_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="give HEIGHTxWIDTH"):
        parse_size(text)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"preset": "vgg"}, "no preset 'vgg'"),
        ({"mean": "a,b"}, "'a,b' is not one number"),
        ({"divide": "1,2"}, "--divide takes one number"),
        ({"shorter": "native"}, "--shorter takes a number"),
    ],
)
def test_texts_that_are_refused(texts: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PreprocessFlags.parse(**texts)


def test_bgr_alone_turns_the_means_round() -> None:
    turned = override(preset("imagenet"), PreprocessFlags(bgr=True))
    assert turned.mean == (0.406, 0.456, 0.485)
    assert turned.std == (0.225, 0.224, 0.229)
    told = override(preset("imagenet"), PreprocessFlags(bgr=True, mean=(1.0, 2.0, 3.0)))
    assert told.mean == (1.0, 2.0, 3.0)
    assert override(preset("caffe"), PreprocessFlags(bgr=False)).mean == (123.68, 116.779, 103.939)


def test_a_size_alone_takes_the_shorter_side_with_it() -> None:
    assert override(preset("imagenet"), PreprocessFlags(size=(448, 448))).shorter == 512
    assert override(preset("imagenet"), PreprocessFlags(size="native")).shorter is None
    assert override(preset("imagenet"), PreprocessFlags(fit="stretch")).shorter is None
    with pytest.raises(UsageError, match="goes with fit crop"):
        override(preset("unit"), PreprocessFlags(shorter=256))
