from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto
from PIL import Image

from onnxvis.errors import InputError, UsageError
from onnxvis.graph.load import Model, load
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.inputs import Skipped
from onnxvis.run.reading import Reading
from tests.tiny import Array, from_text, photo, tiny, write

UNIT = PreprocessFlags.parse(preset="unit", fit="stretch")


def opened(proto: ModelProto, folder: Path) -> Model:
    return load(write(proto, folder))


def pixels_of(path: Path) -> Array:
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_picture_of_the_right_size_goes_in_as_it_is(tmp_path: Path) -> None:
    path = photo(tmp_path, height=32, width=32)
    (found,) = Reading.of(opened(tiny(), tmp_path), UNIT).read([path])
    np.testing.assert_allclose(found.feeds["image"][0], pixels_of(path).transpose(2, 0, 1) / 255, rtol=1e-6)
    np.testing.assert_array_equal(found.picture, pixels_of(path))
    assert found.original_size == (32, 32)


def test_the_layout_is_the_graphs(tmp_path: Path) -> None:
    """By shape alone (1, 3, 16, 3) could be either; the Transpose tells."""
    body = """g (float[1,16,3,3] x) => (float[1,2,16,3] y) <float[2,3,1,1] w = {1,1,1,1,1,1}> {
        t = Transpose<perm = [0, 3, 1, 2]>(x)
        y = Conv<kernel_shape = [1, 1]>(t, w)
    }"""
    reading = Reading.of(opened(from_text(body), tmp_path), UNIT)
    assert reading.layout == "NHWC"
    path = photo(tmp_path, height=16, width=3)
    (found,) = reading.read([path])
    np.testing.assert_allclose(found.feeds["x"][0], pixels_of(path) / 255, rtol=1e-6)


def test_nothing_named_is_nothing_read(tmp_path: Path) -> None:
    assert list(Reading.of(opened(tiny(), tmp_path)).read([])) == []


def test_a_model_without_pictures_takes_arrays(tmp_path: Path) -> None:
    model = opened(from_text("g (float[1,7] x, int64[1] n) => (float[1,7] y) { y = Identity(x) }"), tmp_path)
    reading = Reading.of(model)
    assert (reading.preprocessing, reading.layout) == (None, None)
    np.save(tmp_path / "x.npy", np.arange(7, dtype=np.float32)[None])
    (found,) = reading.read([tmp_path / "x.npy"])
    np.testing.assert_array_equal(found.feeds["x"], [range(7)])
    np.testing.assert_array_equal(found.feeds["n"], [0])
    assert len(found.notes) == 1
    with pytest.raises(InputError, match="no input of this model takes pictures"):
        next(reading.read([photo(tmp_path)]))


def test_given_inputs_are_fed_and_free_the_picture_for_another(tmp_path: Path) -> None:
    body = "g (float[1,3,8,8] a, float[1,3,8,8] b) => (float[1,3,8,8] y) { y = Add(a, b) }"
    np.save(tmp_path / "a.npy", np.full((1, 3, 8, 8), 2, np.float32))
    model = opened(from_text(body), tmp_path)
    path = photo(tmp_path, height=8, width=8)
    (found,) = Reading.of(model, UNIT, [f"a={tmp_path}/a.npy"]).read([path])
    assert (found.feeds["a"] == 2).all()
    np.testing.assert_allclose(found.feeds["b"][0], pixels_of(path).transpose(2, 0, 1) / 255, rtol=1e-6)
    with pytest.raises(UsageError, match="names no input"):
        Reading.of(model, UNIT, ["c=1"])


def test_the_stride_of_the_metadata_holds_at_the_pictures_own_size(tmp_path: Path) -> None:
    proto = tiny(batch="N", side="S")
    for key, value in (("stride", "32"), ("task", "classify"), ("imgsz", "[64, 64]")):
        proto.metadata_props.add(key=key, value=value)
    reading = Reading.of(opened(proto, tmp_path), PreprocessFlags.parse(size="native"))
    (found,) = reading.read([photo(tmp_path, height=70, width=100)])
    assert reading.multiple == 32
    assert found.feeds["image"].shape == (1, 3, 64, 96)


def test_files_beside_the_model_are_read(tmp_path: Path) -> None:
    config = {"do_resize": True, "size": {"height": 32, "width": 32}, "do_rescale": True, "do_normalize": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    reading = Reading.of(opened(tiny(), tmp_path))
    assert reading.preprocessing is not None
    assert reading.preprocessing.source.startswith("preprocessor_config.json")
    assert not reading.preprocessing.guessed


def test_folders_and_limits(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    photo(folder, "b.png", 20, 20)
    photo(folder, "a.jpg", 10, 10)
    (folder / "c.png").write_bytes(b"no")
    skipped: list[Skipped] = []
    reading = Reading.of(opened(tiny(), tmp_path), UNIT)
    found = list(reading.read([folder], skipped, max_pixels=100))
    assert [Path(item.path).name for item in found] == ["a.jpg"]
    assert [Path(item.path).name for item in skipped] == ["b.png", "c.png"]
