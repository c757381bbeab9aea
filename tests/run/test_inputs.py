from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxvis.errors import InputError
from onnxvis.graph.view import Tensor
from onnxvis.run.inputs import PreparedInput, Skipped, read_inputs
from onnxvis.run.preprocess import Preprocessing, apply, preset

PHOTO = np.random.default_rng(11).integers(0, 256, (70, 50, 3), dtype=np.uint8)
RAW = preset("raw", None)
NCHW = Tensor("x", ("N", 3, "H", "W"), "float32")


def photo(path: Path, pixels: np.ndarray = PHOTO) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def one(argument: Path, *inputs: Tensor, preprocessing: Preprocessing | None = RAW, **options: Any) -> PreparedInput:
    (prepared,) = read_inputs([argument], inputs or (NCHW,), preprocessing, **options)
    return prepared


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        (("N", 3, "H", "W"), "float32"), ((1, 70, 50, 3), "float32"), ((1, 3, 70, 50), "float16"),
        ((1, 3, 70, 50), "uint8"), ((1, 70, 50, 3), "uint8"), ((1, 3, 70, 50), "float64"), ((3, 70, 50), "float32"),
        ((70, 50, 3), "uint8"),
    ],
)  # fmt: skip
def test_a_picture_goes_where_the_model_wants_it(tmp_path: Path, shape: tuple[Any, ...], dtype: str) -> None:
    prepared = one(photo(tmp_path / "a.png"), Tensor("x", shape, dtype))
    fed = prepared.feeds["x"]
    assert fed.dtype == dtype
    assert fed.ndim == len(shape)
    assert all(side == have for side, have in zip(shape, fed.shape, strict=True) if isinstance(side, int))
    picture = fed.reshape(fed.shape[-3:])
    np.testing.assert_array_equal(picture if shape[-1] == 3 else picture.transpose(1, 2, 0), PHOTO)
    assert prepared.picture is not None
    np.testing.assert_array_equal(prepared.picture, PHOTO)
    assert prepared.original_size == (70, 50)
    assert prepared.path == str(tmp_path / "a.png")
    assert prepared.preprocessing is RAW
    assert prepared.notes == ()


def test_grey_and_rgba_models(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", PHOTO[..., 0])
    np.testing.assert_array_equal(one(path, Tensor("x", (1, 1, 70, 50), "uint8")).feeds["x"][0, 0], PHOTO[..., 0])
    rgba = np.concatenate([PHOTO, PHOTO[..., :1]], axis=2)
    fed = one(photo(tmp_path / "b.png", rgba), Tensor("x", (1, 70, 50, 4), "uint8")).feeds["x"]
    np.testing.assert_array_equal(fed[0], rgba)


def test_preprocessing_is_applied(tmp_path: Path) -> None:
    settings = preset("imagenet", (32, 32))
    prepared = one(photo(tmp_path / "a.png"), preprocessing=settings)
    tensor, seen = apply(PHOTO, settings)
    np.testing.assert_array_equal(prepared.feeds["x"], tensor)
    np.testing.assert_array_equal(prepared.picture, seen)


def test_a_fixed_batch_is_filled_with_copies(tmp_path: Path) -> None:
    mask = Tensor("pixel_mask", ("N", "H", "W"), "int64")
    prepared = one(photo(tmp_path / "a.png"), Tensor("x", (3, 3, 70, 50), "uint8"))
    assert prepared.feeds["x"].shape == (3, 3, 70, 50)
    for copy in prepared.feeds["x"]:
        np.testing.assert_array_equal(copy.transpose(1, 2, 0), PHOTO)
    assert prepared.notes == ("the model takes 3 pictures at once: the same one was fed 3 times",)
    prepared = one(photo(tmp_path / "a.png"), NCHW, mask, given={"pixel_mask": np.ones((2, 70, 50), np.int64)})
    assert prepared.feeds["x"].shape == (2, 3, 70, 50)


def test_further_inputs(tmp_path: Path) -> None:
    extra = [Tensor("im_shape", (1, 2), "float32"), Tensor("scale_factor", (1, 2), "float32")]
    prepared = one(photo(tmp_path / "a.png"), NCHW, *extra, given={"scale_factor": np.array([[2, 2]], np.float32)})
    np.testing.assert_array_equal(prepared.feeds["im_shape"], [[70, 50]])
    np.testing.assert_array_equal(prepared.feeds["scale_factor"], [[2, 2]])
    assert len(prepared.notes) == 1
    assert "'im_shape'" in prepared.notes[0]


def test_of_two_picture_inputs_one_may_be_given(tmp_path: Path) -> None:
    left, right = Tensor("left", (1, 3, 70, 50), "uint8"), Tensor("right", (1, 3, 70, 50), "uint8")
    black = np.zeros((1, 3, 70, 50), np.uint8)
    prepared = one(photo(tmp_path / "a.png"), left, right, given={"left": black})
    assert prepared.feeds["left"] is black
    np.testing.assert_array_equal(prepared.feeds["right"][0].transpose(1, 2, 0), PHOTO)


def test_native_sizes_and_multiples(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    assert one(path).feeds["x"].shape == (1, 3, 70, 50)
    prepared = one(path, multiple=32)
    assert prepared.feeds["x"].shape == (1, 3, 64, 32)
    assert prepared.notes == ("70x50 was resized to 64x32, as the model asks for multiples of 32",)
    assert one(path, multiple=64).feeds["x"].shape == (1, 3, 64, 64)
    assert one(path, multiple=10).notes == ()
    assert one(path, preprocessing=preset("raw", (40, 40)), multiple=32).feeds["x"].shape == (1, 3, 40, 40)


def test_folders(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "c.PNG"):
        photo(tmp_path / name)
    photo(tmp_path / ".hidden.png")
    (tmp_path / "deeper").mkdir()
    photo(tmp_path / "deeper" / "z.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "b.png").read_bytes()[:500])
    os.mkfifo(tmp_path / "pipe.png")
    skipped: list[Skipped] = []
    found = list(read_inputs([tmp_path], [NCHW], RAW, skipped=skipped))
    assert [Path(prepared.path).name for prepared in found] == ["a.jpg", "b.png", "c.PNG"]
    assert [Path(file.path).name for file in skipped] == ["cut.png", "notes.txt", "pipe.png"]
    assert "damaged" in skipped[0].reason
    assert "not a picture" in skipped[1].reason
    assert "not a regular file" in skipped[2].reason


def test_folders_with_nothing_in_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing in .* can be read \(0 files\)"):
        one(tmp_path)
    (tmp_path / "cats").mkdir()
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"\(1 files and 1 folders, which are not entered\); the first: .*a\.txt"):
        one(tmp_path)


def test_several_arguments_come_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    photo(folder / "inside.png")
    np.save(tmp_path / "a.npy", np.zeros((1, 3, 4, 4), np.float32))
    arguments = [photo(tmp_path / "z.png"), folder, tmp_path / "a.npy"]
    names = [Path(prepared.path).name for prepared in read_inputs(arguments, [NCHW], RAW)]
    assert names == ["z.png", "inside.png", "a.npy"]


def test_arrays_are_fed_as_they_are(tmp_path: Path) -> None:
    array = np.random.default_rng(2).normal(size=(1, 3, 8, 6)).astype(np.float32)
    size = Tensor("im_shape", (1, 2), "int64")
    np.save(tmp_path / "a.npy", array)
    prepared = one(tmp_path / "a.npy", size, NCHW, preprocessing=None)
    np.testing.assert_array_equal(prepared.feeds["x"], array)
    np.testing.assert_array_equal(prepared.feeds["im_shape"], [[8, 6]])
    assert (prepared.picture, prepared.preprocessing, prepared.original_size) == (None, None, None)
    np.savez(tmp_path / "a.npz", x=array, im_shape=np.array([[1, 2]]), more=array)
    prepared = one(tmp_path / "a.npz", size, NCHW)
    np.testing.assert_array_equal(prepared.feeds["im_shape"], [[1, 2]])
    assert prepared.notes == ("not inputs of the model, and left out: more",)
    np.save(tmp_path / "b.npy", array[0])
    with pytest.raises(InputError, match=r"b\.npy holds \(3, 8, 6\): add the batch dimension"):
        one(tmp_path / "b.npy")


def test_a_model_without_a_picture_input(tmp_path: Path) -> None:
    audio = [Tensor("sound", ("batch", "sequence"), "float32"), Tensor("state", (2, "batch", 128), "float32")]
    with pytest.raises(InputError, match=r"no input of this model takes pictures \(sound float32 .*feed arrays"):
        one(photo(tmp_path / "a.png"), *audio)
    np.save(tmp_path / "a.npy", np.zeros((4, 512), np.float32))
    prepared = one(tmp_path / "a.npy", *audio)
    assert prepared.feeds["state"].shape == (2, 4, 128)
    with pytest.raises(InputError, match="the model has no inputs"):
        list(read_inputs([tmp_path / "a.npy"], [], None))


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none\.png: No such file"):
        one(tmp_path / "none.png")
    with pytest.raises(InputError, match="nothing says how to prepare it"):
        one(photo(tmp_path / "a.png"), preprocessing=None)
