"""The strongest patches against brute force: every position of every picture, by a plain ONNX Runtime session."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from PIL import Image

from onnxvis.errors import InputError, TensorNotFound, UsageError
from onnxvis.graph.load import Model, load
from onnxvis.graph.receptive import receptive_field
from onnxvis.measure.patches import ChannelPatches, TensorPatches, find_patches, locate_patches, read_pixels
from onnxvis.models.scenes import make_scene
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.inputs import PreparedInput, Skipped
from onnxvis.run.reading import Reading
from onnxvis.run.session import RunOptions
from tests.tiny import Array, from_text, tiny, write

ONE = RunOptions("cpu", 1)
RAW = PreprocessFlags.parse(preset="raw")
SCENES = 200

Run = Callable[[Mapping[str, Array]], Array]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many scenes of 112 × 112 as files."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(SCENES):
        Image.fromarray(make_scene(seed).picture).save(folder / f"{seed:03d}.png", compress_level=1)
    return folder


def plain_session(path: Path, tensor: str) -> Run:
    """One tensor's maps (K, H, W) of one picture, the tensor made an output by onnx alone."""
    whole = onnx.load(path)
    whole.graph.output.append(onnx.ValueInfoProto(name=tensor))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda feeds: np.asarray(session.run([tensor], dict(feeds))[0])[0]


def check(model: Model, items: Iterable[PreparedInput], one: TensorPatches, run: Run, top: int, rtol: float) -> None:
    """Compare with all positions of all pictures; places may differ where values are equal but for rounding."""
    seen: dict[str, Array] = {}
    pictures: dict[str, Array] = {}
    for item in items:
        assert item.picture is not None
        seen[item.path], pictures[item.path] = run(item.feeds).astype(np.float64), item.picture
    field = receptive_field(model, one.tensor)
    assert one.pictures == len(seen)
    close = rtol * max(np.abs(maps).max() for maps in seen.values())
    for channel in one.channels:
        k = channel.channel
        least = min(maps[k].min() for maps in seen.values())
        best = sorted((maps[k].max() for maps in seen.values() if maps[k].max() > least), reverse=True)[:top]
        np.testing.assert_allclose([patch.value for patch in channel.patches], best, atol=close)
        assert len({patch.path for patch in channel.patches}) == len(best), "one a picture"
        for patch in channel.patches:
            assert seen[patch.path][k, patch.row, patch.column] == pytest.approx(patch.value, abs=close)
            y0, x0, y1, x1 = patch.window
            assert (y0, y1, x0, x1) == field.at(patch.row, patch.column)
            np.testing.assert_array_equal(patch.pixels, pictures[patch.path][y0:y1, x0:x1])


@pytest.mark.parametrize(
    ("name", "tensor"), [("classifier", "/layer3/layer3.1/relu_1/Relu_output_0"), ("detector", "stage4")]
)
def test_equals_brute_force_on_real_networks(name: str, tensor: str, data: Path, scenes: Path) -> None:
    model = load(data / f"{name}.onnx")
    tensor = next((stage.output for stage in model.stages() if stage.name == tensor), tensor)
    reading = Reading.of(model)
    told: list[tuple[str, int, int]] = []
    (one,) = find_patches(
        model, lambda: reading.read([scenes]), [tensor], options=ONE, total=SCENES,
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    size = model.maps.chw(tensor)
    assert size is not None
    assert [channel.channel for channel in one.channels] == list(range(size[0]))
    assert one.receptive == receptive_field(model, tensor).size
    check(model, reading.read([scenes]), one, plain_session(model.path, tensor), 9, 1e-5)
    assert told == [("pictures", number, SCENES) for number in range(1, SCENES + 1)]


@pytest.mark.parametrize(
    ("name", "tensor", "rtol"),
    [
        ("winml_squeezenet_fp16", "fire5/concat_1", 5e-3),
        ("efficientnet_lite0_ort_qdq_int8", "getitem_141_DequantizeLinear_Output", 1e-6),
    ],
)
def test_equals_brute_force_in_half_precision_and_in_integers(
    name: str, tensor: str, rtol: float, corpus: Path
) -> None:
    model = load(corpus / "models" / f"{name}.onnx")
    reading = Reading.of(model)
    (one,) = find_patches(model, lambda: reading.read([corpus / "photos"]), [tensor], top=3, options=ONE)
    check(model, reading.read([corpus / "photos"]), one, plain_session(model.path, tensor), 3, rtol)


def test_a_window_holds_all_that_the_value_depends_on_and_no_more(classifier: Path, scenes: Path) -> None:
    model = load(classifier)
    tensor = model.stages()[0].output
    reading, run = Reading.of(model), plain_session(classifier, tensor)
    items = {item.path: item for item in reading.read(sorted(scenes.iterdir())[:40])}
    (one,) = find_patches(model, items.values, [tensor], top=2, options=ONE)
    assert any(0 in patch.window for channel in one.channels for patch in channel.patches), "some at the edge"
    rng = np.random.default_rng(0)
    for channel, patch in ((each.channel, patch) for each in one.channels for patch in each.patches):
        feed = items[patch.path].feeds["image"]
        y0, x0, y1, x1 = patch.window

        def changed(
            part: tuple[slice, slice],
            feed: Array = feed,
            place: tuple[int, int, int] = (channel, patch.row, patch.column),
            keep: bool = False,
        ) -> bool:
            """Whether the value moves with the pixels of `part`, or with all but them."""
            noise = (3 * rng.standard_normal(feed.shape)).astype(np.float32)
            other = noise if keep else feed.copy()
            other[(..., *part)] = (feed if keep else noise)[(..., *part)]
            return bool(run({"image": other})[place] != run({"image": feed})[place])

        rows, columns = slice(y0, y1), slice(x0, x1)
        assert not changed((rows, columns), keep=True)
        for edge in (
            (slice(y0, y0 + 1), columns), (slice(y1 - 1, y1), columns),
            (rows, slice(x0, x0 + 1)), (rows, slice(x1 - 1, x1)),
        ):  # fmt: skip
            assert any(changed(edge) for _ in range(20))


def picture(pixels: Array, path: str) -> PreparedInput:
    """A picture (H, W, 3) fed as it is, as (1, 3, H, W)."""
    feed = pixels.transpose(2, 0, 1)[None].astype(np.float32)
    return PreparedInput(path, {"x": feed}, pixels.astype(np.uint8), None, None)


def pictures(*values: float) -> list[PreparedInput]:
    """Pictures of 4 × 4 that are 1 but for one pixel (2, 1)."""
    found = []
    for number, value in enumerate(values):
        pixels = np.ones((4, 4, 3), np.float32)
        pixels[2, 1] = value
        found.append(picture(pixels, f"{number}.png"))
    return found


def graph(folder: Path, body: str) -> Model:
    text = f"g (float[1, 3, H, W] x) => (float[1, C, h, w] y) {{ {body} }}"
    return load(write(from_text(text), folder))


def places(channel: ChannelPatches) -> list[tuple[str, float, int, int]]:
    return [(patch.path, patch.value, patch.row, patch.column) for patch in channel.patches]


def test_equal_values_come_in_the_order_of_the_pictures_and_of_the_positions(tmp_path: Path) -> None:
    model = graph(tmp_path, "y = MaxPool <kernel_shape = [2, 2]> (x)")
    items = pictures(5, 7, 5, 7, 5)
    (one,) = find_patches(model, lambda: items, ["y"], top=4, options=ONE)
    # The four windows around the pixel hold it; the first is that of row 1, column 0.
    assert places(one.channels[0]) == [(f"{number}.png", value, 1, 0) for number, value in
                                       ((1, 7.0), (3, 7.0), (0, 5.0), (2, 5.0))]  # fmt: skip
    assert one.channels[0].patches[0].window == (1, 0, 3, 2)
    assert one.receptive == (2, 2)
    assert one.notes == ()


def test_pictures_may_differ_in_size(tmp_path: Path) -> None:
    model = graph(tmp_path, "y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x)")
    wide = np.zeros((5, 9, 3))
    wide[4, 8] = 9
    high = np.zeros((11, 3, 3))
    high[10, 0] = 8
    items = [picture(wide, "wide"), picture(high, "high")]
    (one,) = find_patches(model, lambda: items, ["y"], channels=[1], options=ONE)
    assert places(one.channels[0]) == [("wide", 9.0, 2, 4), ("high", 8.0, 5, 0)]
    assert [patch.window for patch in one.channels[0].patches] == [(3, 7, 5, 9), (9, 0, 11, 2)]
    np.testing.assert_array_equal(one.channels[0].patches[1].pixels[..., 1], [[0, 0], [8, 0]])


def test_maps_whose_channels_come_last(tmp_path: Path) -> None:
    body = """g (float[1, 6, 5, 3] x) => (float[1, 6, 5, 3] z) {
        a = Transpose <perm = [0, 3, 1, 2]> (x)
        b = MaxPool <kernel_shape = [1, 1]> (a)
        y = Transpose <perm = [0, 2, 3, 1]> (b)
        z = Relu (y)
    }"""
    model = load(write(from_text(body), tmp_path))
    rng = np.random.default_rng(0)
    items = []
    for number in range(3):
        pixels = rng.permutation(90).reshape(6, 5, 3)
        feeds = {"x": pixels[None].astype(np.float32)}
        items.append(PreparedInput(str(number), feeds, pixels.astype(np.uint8), None, None))
    (one,) = find_patches(model, lambda: items, ["z"], options=ONE)
    assert len(one.channels) == 3
    for channel in one.channels:
        for patch in channel.patches:
            seen = items[int(patch.path)].picture
            assert seen is not None
            flat = seen[..., channel.channel].reshape(-1).tolist()
            assert (patch.value, patch.row * 5 + patch.column) == (max(flat), flat.index(max(flat)))
            assert patch.window == (patch.row, patch.column, patch.row + 1, patch.column + 1)
            np.testing.assert_array_equal(patch.pixels[0, 0], seen[patch.row, patch.column])


def test_channels_that_nothing_excites_are_said(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.asarray([1, 0, -1, -1], np.float32).reshape(4, 1, 1, 1).repeat(3, 1), "w")
    bias = numpy_helper.from_array(np.asarray([0, 4, 0, 15], np.float32), "b")
    model = from_text("g (float[1, 3, 4, 4] x) => (float[1, 4, 4, 4] y) { y = Conv (x, w, b) }")
    model.graph.initializer.extend([weights, bias])
    items = pictures(2, 1, 4)
    (one,) = find_patches(load(write(model, tmp_path)), lambda: items, ["y"], options=ONE)
    # Values: 3 (6, 12 in the middle); 4 everywhere; −3 (−6, −12); 12 (9, 3). A map that is nowhere above the least
    # value of its channel has nothing to show.
    assert places(one.channels[0]) == [("2.png", 12.0, 2, 1), ("0.png", 6.0, 2, 1)]
    assert places(one.channels[1]) == []
    assert places(one.channels[2]) == [(f"{number}.png", -3.0, 0, 0) for number in range(3)]
    assert one.notes == (
        "channel 1 never responds: it is the same everywhere",
        "channel 2 is nowhere above 0",
    )


def test_values_that_are_not_finite_are_left_out_and_said(tmp_path: Path) -> None:
    model = graph(tmp_path, "y = Log (x)")
    items = pictures(3, -1, 2, 0)
    (one,) = find_patches(model, lambda: items, ["y"], channels=[2], options=ONE)
    assert [patch.path for patch in one.channels[0].patches] == ["0.png", "2.png"]
    assert one.channels[0].patches[0].value == pytest.approx(np.log(3))
    assert one.notes == ("NaN or infinite values in 2 of 4 pictures were left out",)


def test_a_vector_has_one_position_and_shows_whole_pictures(tmp_path: Path) -> None:
    model = graph(tmp_path, "p = GlobalAveragePool (x)  f = Flatten (p)  y = Identity (p)")
    items = pictures(17, 33, 1)
    (one,) = find_patches(model, lambda: items, ["f"], channels=[0], options=ONE)
    assert places(one.channels[0]) == [("1.png", 3.0, 0, 0), ("0.png", 2.0, 0, 0), ("2.png", 1.0, 0, 0)]
    assert {patch.window for patch in one.channels[0].patches} == {(0, 0, 4, 4)}


def test_an_unknown_receptive_field_shows_whole_pictures_and_says_why(tmp_path: Path) -> None:
    model = graph(tmp_path, "f = Flatten (x)  s = Shape (x)  c = CumSum (f, k)  r = Reshape (c, s)  y = Relu (r)")
    model.proto.graph.initializer.append(numpy_helper.from_array(np.asarray(1, np.int64), "k"))
    model = load(write(model.proto, tmp_path))
    items = pictures(3)
    (one,) = find_patches(model, lambda: items, ["y"], channels=[0], options=ONE)
    assert one.channels[0].patches[0].window == (0, 0, 4, 4)
    assert one.receptive is None
    assert len(one.notes) == 1
    assert "is not known" in one.notes[0]
    assert one.notes[0].endswith("whole pictures are shown")


def test_several_tensors_in_one_pass_equal_each_alone(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    reading = Reading.of(model, RAW)
    for seed in range(12):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{seed:02d}.png")
    paths = sorted(tmp_path.glob("*.png"))
    passes = 0

    def inputs() -> Iterator[PreparedInput]:
        nonlocal passes
        passes += 1
        return reading.read(paths)

    def again(path: str) -> PreparedInput:
        return next(reading.read([path]))

    names = ["stage2.y/relu", "stage1.first/relu"]
    both = find_patches(model, inputs, names, top=3, options=ONE, again=again)
    assert passes == 1
    assert [one.tensor for one in both] == names
    for one in both:
        (alone,) = find_patches(model, inputs, [one.tensor], top=3, options=ONE)
        assert list(map(places, alone.channels)) == list(map(places, one.channels))
        for channel, other in zip(one.channels, alone.channels, strict=True):
            for patch, same in zip(channel.patches, other.patches, strict=True):
                assert patch.window == same.window
                np.testing.assert_array_equal(patch.pixels, same.pixels)
        check(model, reading.read(paths), one, plain_session(model.path, one.tensor), 3, 1e-5)
    assert not both[1].channels[5].patches


def test_only_pictures_that_are_still_ranked_are_remembered(tmp_path: Path) -> None:
    model = graph(tmp_path, "y = Relu (x)")
    values = [*range(2, 400), *range(400, 1, -1)]
    items = pictures(*values)
    (one,) = locate_patches(model, iter(items), ["y"], top=2, channels=[1], options=ONE)
    assert [(patch.path, patch.value) for patch in one.channels[0].patches] == [("398.png", 400), ("397.png", 399)]
    assert one.channels[0].patches[0].pixels.size == 0


def test_wrong_use_is_refused_with_what_there_is(tmp_path: Path) -> None:
    model = graph(tmp_path, "y = Relu (x)  s = Shape (x)  r = Identity (s)")
    items = pictures(2)
    with pytest.raises(UsageError, match=r"'y' has no channel 7; choose from 0 to 2"):
        find_patches(model, lambda: items, ["y"], channels=[7], options=ONE)
    with pytest.raises(UsageError, match=r"has no channel -1"):
        find_patches(model, lambda: items, ["y"], channels=[-1], options=ONE)
    for top in (0, 101):
        with pytest.raises(UsageError, match=f"{top} is no number of patches a channel; choose one from 1 to 100"):
            find_patches(model, lambda: items, ["y"], top=top, options=ONE)
    with pytest.raises(TensorNotFound, match="no tensor 'yy'"):
        find_patches(model, lambda: items, ["yy"], options=ONE)
    with pytest.raises(UsageError, match="'r' is the same whatever is fed"):
        find_patches(model, lambda: items, ["r"], options=ONE)
    with pytest.raises(InputError, match="no picture was given"):
        find_patches(model, list, ["y"], options=ONE)
    array = replace(items[0], picture=None, path="a.npy")
    with pytest.raises(InputError, match="one array was passed over"):
        find_patches(model, lambda: [array], ["y"], options=ONE)
    (one,) = find_patches(model, lambda: [array, items[0]], ["y"], options=ONE)
    assert (one.pictures, one.notes) == (1, ("one array was passed over: patches are cut from pictures",))


def test_a_tensor_without_rows_and_columns_is_refused(tmp_path: Path) -> None:
    model = load(write(from_text("g (float[1, 3, 4, 4] x) => (float[1, 3, 16] y) { y = Reshape (x, s) }"), tmp_path))
    model.proto.graph.initializer.append(numpy_helper.from_array(np.asarray([1, 3, 16]), "s"))
    with pytest.raises(InputError, match=r"'y' of shape .* is no feature map"):
        find_patches(load(write(model.proto, tmp_path)), lambda: pictures(2), ["y"], options=ONE)


def test_a_picture_that_went_or_changed_is_an_error(tmp_path: Path) -> None:
    model = graph(tmp_path, "y = Relu (x)")
    found = locate_patches(model, pictures(2, 3), ["y"], options=ONE)
    with pytest.raises(InputError, match=r"0\.png is no longer there"):
        read_pixels(found, pictures(2, 3)[1:])
    smaller = picture(np.ones((2, 2, 3)), "0.png")
    with pytest.raises(InputError, match=r"0\.png changed while its patches were cut"):
        read_pixels(found, [smaller])


def test_pictures_that_cannot_be_read_are_passed_over_and_named(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    folder = tmp_path / "pictures"
    folder.mkdir()
    hostile = "a\x1b[31m\n<b>.png"
    for seed, name in enumerate((hostile, "ordinary.png")):
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "notes.txt").write_text("no picture")
    reading, skipped = Reading.of(model, RAW), list[Skipped]()
    (one,) = find_patches(model, lambda: reading.read([folder], skipped), ["stage1.x/relu"], options=ONE)
    assert one.pictures == 2
    assert {Path(item.path).name for item in skipped} == {"broken.png", "notes.txt"}
    paths = {patch.path for channel in one.channels for patch in channel.patches}
    assert paths == {str(folder / hostile), str(folder / "ordinary.png")}
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"nothing in .* can be read"):
        find_patches(model, lambda: reading.read([tmp_path / "empty"]), ["stage1.x/relu"], options=ONE)


PEAK = """
import resource, sys
from pathlib import Path
from onnxvis.cli.main import main
assert main(["patches", sys.argv[1], sys.argv[2], "--tensor", "layer4", "-o", sys.argv[3], "--quiet"]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="units of the peak differ")
def test_memory_does_not_grow_with_the_pictures(classifier: Path, scenes: Path, tmp_path: Path) -> None:
    peaks = []
    for count in (200, 2000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:04d}.png").hardlink_to(scenes / f"{number % 100:03d}.png")
        command = [sys.executable, "-c", PEAK, *map(str, (classifier, folder, tmp_path / "out"))]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        peaks.append(int(said.stdout.split()[-1]))
    assert peaks[1] / peaks[0] == pytest.approx(1, abs=0.05)
