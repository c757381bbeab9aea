from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from PIL import Image

from onnxvis.errors import OutputError, UsageError
from onnxvis.measure.activations import Activations
from onnxvis.run.session import Execution
from onnxvis.show.colormap import COLORMAPS, palette
from onnxvis.show.export import ExportOptions, write_events, write_npz, write_pictures
from onnxvis.show.mosaic import Stretch
from onnxvis.show.tensorboard import EventFile
from tests.show.test_tensorboard import events
from tests.tiny import Array

PLACEMENT = Execution("CPUExecutionProvider", (), ())
HOSTILE = (
    "../../etc/passwd", "<script>alert(1)</script>", "a\nb", "x" * 60_000, "con", ".", "", "🐈", "/", "..", "NUL.png",
    "a\0b", "C:\\x", "-rf", "\u202egnp", "  ", "x" * 59_999 + "y",
)  # fmt: skip


def activations(values: Mapping[str, Array], layouts: Mapping[str, str] | None = None) -> Activations:
    return Activations(dict(values), layouts or {}, {}, PLACEMENT, {})


def maps(seed: int = 0, channels: int = 5, height: int = 6, width: int = 7) -> Array:
    values = np.random.default_rng(seed).normal(0.4, 0.5, (1, channels, height, width)).astype(np.float32)
    values[0, 2:3] = 0.25
    return values


def write(found: Activations, folder: Path, options: ExportOptions | None = None) -> list[str]:
    return write_pictures(found, "cat.png", {}, folder, options or ExportOptions(), lambda done, of: None)


def expected_indices(channel: Array, every: Array, stretch: str, symmetric: bool) -> Array:
    """One channel as palette indices, value by value."""
    low, high = {
        "channel": (channel.min(), channel.max()),
        "tensor": (every.min(), every.max()),
        "clip99": (np.percentile(channel.astype(float), 1), np.percentile(channel.astype(float), 99)),
        "none": (0.0, 1.0),
    }[stretch]
    if symmetric:
        high = max(abs(low), abs(high))
        low = -high
    result = np.zeros(channel.shape, np.uint8)
    for place in np.ndindex(channel.shape):
        share = (float(channel[place]) - float(low)) / (float(high) - float(low)) if high > low else 0.0
        result[place] = round(min(1.0, max(0.0, share)) * 255)
    return result


def decoded(path: Path) -> Array:
    """RGB pixels, on which Pillow and OpenCV agree."""
    by_pillow = np.asarray(Image.open(path).convert("RGB"))
    by_opencv = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert by_opencv is not None
    np.testing.assert_array_equal(by_pillow, by_opencv[:, :, ::-1])
    return by_pillow


@pytest.mark.parametrize("stretch", get_args(Stretch))
@pytest.mark.parametrize("colormap", COLORMAPS)
def test_pixels_are_what_numpy_says(stretch: Stretch, colormap: str, tmp_path: Path) -> None:
    values = maps()
    write(activations({"t": values}), tmp_path, ExportOptions(colormap, stretch))
    symmetric = colormap == "coolwarm"
    for channel, pixels in enumerate(values[0]):
        indices = expected_indices(pixels, values, stretch, symmetric)
        found = decoded(tmp_path / f"000-t/channel-{channel:04d}.png")
        np.testing.assert_array_equal(found, palette(colormap)[indices])


def test_none_is_the_value_times_255_clipped(tmp_path: Path) -> None:
    values = np.array([[[[-1.0, 0.0, 0.2, 0.5, 1.0, 3.0]]]], np.float32)
    write(activations({"t": values}), tmp_path, ExportOptions("gray", "none"))
    assert decoded(tmp_path / "000-t/channel-0000.png")[0, :, 0].tolist() == [0, 0, 51, 128, 255, 255]


def test_coolwarm_puts_zero_in_the_middle(tmp_path: Path) -> None:
    values = np.array([[[[-1.0, 0.0, 2.0]]]], np.float32)
    write(activations({"t": values}), tmp_path, ExportOptions("coolwarm"))
    colours = palette("coolwarm")
    np.testing.assert_array_equal(decoded(tmp_path / "000-t/channel-0000.png")[0], colours[[64, 128, 255]])
    entry = json.loads((tmp_path / "index.json").read_text())["tensors"][0]
    assert (entry["low"], entry["high"]) == ([-2.0], [2.0])


def test_the_range_in_the_index_gives_the_values_back(tmp_path: Path) -> None:
    values = maps()
    write(activations({"t": values}), tmp_path, ExportOptions("gray"))
    entry = json.loads((tmp_path / "index.json").read_text())["tensors"][0]
    for channel, pixels in enumerate(values[0]):
        indices = decoded(tmp_path / f"000-t/channel-{channel:04d}.png")[:, :, 0] / 255
        low, high = entry["low"][channel], entry["high"][channel]
        np.testing.assert_allclose(low + indices * (high - low), pixels, atol=(high - low) / 509 + 1e-7)


def test_the_mosaic_holds_each_channel(tmp_path: Path) -> None:
    values = maps(channels=6)
    write(activations({"t": values}), tmp_path, ExportOptions("gray"))
    mosaic = decoded(tmp_path / "000-t/mosaic.png")
    places = []
    for channel in range(6):
        single = decoded(tmp_path / f"000-t/channel-{channel:04d}.png")
        height, width = single.shape[:2]
        places += [
            (top, left)
            for top in range(mosaic.shape[0] - height + 1)
            for left in range(mosaic.shape[1] - width + 1)
            if (mosaic[top : top + height, left : left + width] == single).all() and single.any()
        ]
    assert len(places) == 5  # channel 2 is constant, and black like the gaps


@pytest.mark.parametrize("how", ["mean", "sum", "max", "blend"])
def test_merged_maps(how: str, tmp_path: Path) -> None:
    values = maps()
    write(activations({"t": values}), tmp_path, ExportOptions("gray", merge=how))  # type: ignore[arg-type]
    every = values[0].astype(np.float64)
    spans = np.ptp(every, axis=(1, 2), keepdims=True)
    unit = np.divide(every - every.min(axis=(1, 2), keepdims=True), spans, out=np.zeros_like(every), where=spans > 0)
    merged = {"mean": every.mean(0), "sum": every.sum(0), "max": every.max(0), "blend": unit.sum(0)}[how]
    wanted = np.rint((merged - merged.min()) / np.ptp(merged) * 255)
    np.testing.assert_allclose(decoded(tmp_path / "000-t/merged.png")[:, :, 0].astype(int), wanted, atol=1)


def test_enlarged_copies_have_square_pixels(tmp_path: Path) -> None:
    write(activations({"t": maps()}), tmp_path, ExportOptions(upscale=256))
    small, large = (decoded(tmp_path / f"000-t/channel-0000{end}.png") for end in ("", "-256px"))
    factor = 256 // 7
    assert large.shape == (6 * factor, 7 * factor, 3)
    for y, x in np.ndindex(large.shape[:2]):
        assert (large[y, x] == small[y // factor, x // factor]).all()


def test_first_channels_on_one_titled_page(tmp_path: Path) -> None:
    values = maps(channels=20, height=8, width=8)
    write(activations({"t": values}), tmp_path, ExportOptions("gray", first=12, columns=4))
    names = sorted(path.name for path in (tmp_path / "000-t").iterdir())
    assert names == ["merged.png", "mosaic.png", "page.png"]
    page = np.asarray(Image.open(tmp_path / "000-t/page.png"))[:, :, 0]
    for channel in range(12):
        indices = expected_indices(values[0, channel], values, "channel", False)
        large = indices.repeat(16, axis=0).repeat(16, axis=1)
        assert _contains(page, large)
    assert not _contains(page, expected_indices(values[0, 12], values, "channel", False).repeat(16, 0).repeat(16, 1))


def _contains(page: Array, part: Array) -> bool:
    height, width = part.shape
    first = np.argwhere(page[: page.shape[0] - height + 1, : page.shape[1] - width + 1] == part[0, 0])
    return any((page[top : top + height, left : left + width] == part).all() for top, left in first)


def test_nhwc_vectors_and_other_types(tmp_path: Path) -> None:
    nchw = maps()
    values = {
        "nhwc": nchw.transpose(0, 2, 3, 1), "nchw": nchw, "half": nchw.astype(np.float16), "vector": nchw[:, :, 0, 0],
        "bytes": (nchw * 40 + 100).astype(np.uint8), "truth": nchw > 0.4, "tokens": nchw[0], "empty": nchw[:, :, :0],
    }  # fmt: skip
    skipped = write(activations(values, {"nhwc": "NHWC"}), tmp_path)
    assert skipped == ["'tokens' is float32 of shape [5, 6, 7]", "'empty' is float32 of shape [1, 5, 0, 7]"]
    for channel in range(5):
        one, other = (decoded(tmp_path / f"{name}/channel-{channel:04d}.png") for name in ("000-nhwc", "001-nchw"))
        np.testing.assert_array_equal(one, other)
    assert decoded(tmp_path / "003-vector/channel-0004.png").shape == (1, 1, 3)
    shapes = [entry["shape"] for entry in json.loads((tmp_path / "index.json").read_text())["tensors"]]
    assert shapes == [[5, 6, 7]] * 3 + [[5, 1, 1]] + [[5, 6, 7]] * 2


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    values = maps()
    values[0, 0, 0, 0], values[0, 1] = np.nan, np.inf
    for stretch in get_args(Stretch):
        write(activations({"t": values}), tmp_path / stretch, ExportOptions("gray", stretch))
        assert not decoded(tmp_path / stretch / "000-t/channel-0001.png").any()
        text = (tmp_path / stretch / "index.json").read_text()
        json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_nothing_to_show_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'t' is float32 of shape \[2, 3, 4\]. Write them with --npz FILE"):
        write(activations({"t": np.zeros((2, 3, 4), np.float32)}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_are_safe_and_mapped_back(tmp_path: Path) -> None:
    inside = tmp_path / "a/b/c"
    values = {name: maps(seed, 1, 2, 2) for seed, name in enumerate(HOSTILE)}
    write(activations(values), inside)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    folders = sorted(path.name for path in inside.iterdir() if path.is_dir())
    assert len(folders) == len(HOSTILE)
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") for name in folders
    )
    assert all(len(name) <= 90 and not name.startswith(".") for name in folders)
    entries = json.loads((inside / "index.json").read_text())["tensors"]
    assert [entry["tensor"] for entry in entries] == list(HOSTILE)
    for number, entry in enumerate(entries):
        assert entry["folder"].startswith(f"{number:03d}-")
        single = decoded(inside / entry["folder"] / "channel-0000.png")
        wanted = expected_indices(values[entry["tensor"]][0, 0], values[entry["tensor"]], "channel", False)
        np.testing.assert_array_equal(single, palette("viridis")[wanted])


def test_folders_are_called_after_blocks(tmp_path: Path) -> None:
    found = activations({f"t{i}": maps() for i in range(8)})
    write_pictures(found, "cat.png", {"t7": "stage3.block2"}, tmp_path, ExportOptions(), lambda done, of: None)
    assert (tmp_path / "007-stage3.block2/mosaic.png").exists()
    assert (tmp_path / "000-t0/merged.png").exists()


def test_mosaics_alone(tmp_path: Path) -> None:
    values = maps()
    write(activations({"t": values}), tmp_path / "all")
    write(activations({"t": values}), tmp_path / "few", ExportOptions(channels=False, upscale=64))
    assert sorted(path.name for path in (tmp_path / "few/000-t").iterdir()) == ["merged.png", "mosaic.png"]
    for name in ("000-t/merged.png", "000-t/mosaic.png", "index.json"):
        assert (tmp_path / "few" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()


def test_events_hold_the_same_pictures_and_every_histogram(tmp_path: Path) -> None:
    values = {"t": maps(), "tokens": maps()[0], "u": maps(2), "labels": np.array(["cat"], dtype=object)}
    options = ExportOptions("jet", "tensor", "max")
    labels = {"u": "stage1"}
    write_pictures(activations(values), "cat.png", labels, tmp_path / "out", options, lambda done, of: None)
    with EventFile(tmp_path / "board") as file:
        write_events(file, activations(values), labels, options, 4)
    found = {value.tag: value for step, value in events(file.path) if step == 4}
    pictures = {f"{kind}/{name}" for kind in ("mosaic", "merged") for name in ("t", "stage1_u")}
    assert set(found) == pictures | {"activations/t", "activations/tokens", "activations/stage1_u"}
    for name, folder in (("t", "000-t"), ("stage1_u", "001-stage1")):
        for kind in ("mosaic", "merged"):
            data = (tmp_path / "out" / folder / f"{kind}.png").read_bytes()
            assert found[f"{kind}/{name}"].image.encoded_image_string == data
    counts, edges = np.histogram(values["tokens"].astype(np.float64), 50)
    assert list(found["activations/tokens"].histo.bucket) == counts.tolist()
    np.testing.assert_allclose(list(found["activations/tokens"].histo.bucket_limit), edges[1:], rtol=1e-12)


def test_written_again_other_files_stay(tmp_path: Path) -> None:
    write(activations({"t": maps(0)}), tmp_path)
    (tmp_path / "000-t/notes.txt").write_text("mine")
    write(activations({"t": maps(1)}), tmp_path)
    wanted = expected_indices(maps(1)[0, 0], maps(1), "channel", False)
    np.testing.assert_array_equal(decoded(tmp_path / "000-t/channel-0000.png"), palette("viridis")[wanted])
    assert (tmp_path / "000-t/notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000-t", "index.json"]


def test_progress_counts_tensors(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = activations({"a": maps(), "b": maps()})
    write_pictures(found, "cat.png", {}, tmp_path, ExportOptions(), lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


def test_npz_has_every_array_under_its_own_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ("file", "a/b", "/x", "..", "self", "args", "a b", "x" * 60_000, "🐈", "a.npy", "<script>", "a\nb", "arr_0")
    arrays: dict[str, Array] = {name: rng.standard_normal((2, 3)).astype(np.float32) for name in names}
    arrays |= {
        "scalar": np.array(3, np.int64), "empty": np.zeros((0, 4), np.uint8), "half": np.array([np.nan, 1], np.float16),
        "truth": np.array([True, False]), "fortran": np.asfortranarray(rng.standard_normal((3, 4))),
    }  # fmt: skip
    path = tmp_path / "maps.npz"
    write_npz(path, arrays)
    with np.load(path) as found:
        assert found.files == list(arrays)
        for name, value in arrays.items():
            np.testing.assert_array_equal(found[name], value)
            assert found[name].dtype == value.dtype


def test_npz_writes_text_as_text(tmp_path: Path) -> None:
    write_npz(tmp_path / "t.npz", {"labels": np.array([["cat", "dog 🐕"]], dtype=object)})
    with np.load(tmp_path / "t.npz") as found:
        assert found["labels"].tolist() == [["cat", "dog 🐕"]]


@pytest.mark.parametrize("name", ["a\0b", "🐈" * 20_000])
def test_npz_refuses_names_it_cannot_hold(name: str, tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"maps.npz: an .npz cannot hold") as error:
        write_npz(path, {"a": np.zeros(1), name: np.zeros(1)})
    assert len(str(error.value)) < 400
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["maps.npz"]


def test_an_error_midway_leaves_the_old_npz(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="Object arrays"):
        write_npz(path, {"a": np.zeros(1000), "b": np.array([(1, None)], dtype=[("x", "i4"), ("y", object)])})
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["maps.npz"]
