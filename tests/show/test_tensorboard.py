from __future__ import annotations

import io
import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from onnxvis.errors import OutputError, UsageError
from onnxvis.graph.load import load
from onnxvis.measure.statistics import summarise
from onnxvis.measure.weights import measure_weights
from onnxvis.show.colormap import palette
from onnxvis.show.png import encode_indexed
from onnxvis.show.tensorboard import EventFile, write_weight_events
from tests.show.hostile import HOSTILE
from tests.tiny import from_text, tiny, write


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) bit by bit, from its reversed polynomial."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file, their checksums held."""
    assert crc32c(b"123456789") == 0xE3069283
    with open(path, "rb") as stream:
        while length := stream.read(8):
            assert struct.unpack("<I", stream.read(4)) == (masked(length),)
            data = stream.read(struct.unpack("<Q", length)[0])
            assert struct.unpack("<I", stream.read(4)) == (masked(data),)
            yield data


def events(path: Path) -> list[Any]:
    """The events after the first, which names the format."""
    first, *rest = [Event.FromString(data) for data in records(path)]
    assert first.file_version == "brain.Event:2"
    assert all(abs(event.wall_time - path.stat().st_mtime) < 600 for event in (first, *rest))
    return [(event.step, event.summary.value[0]) for event in rest]


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e6])
def test_histograms_hold_the_counts_edges_and_sums(scale: float, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(3, 2, 1000) * scale
    values[:10] = 0
    with EventFile(tmp_path) as file:
        assert file.histogram("weights", "a/b", summarise(values, 20), step=7)
        assert not file.path.exists()
    ((step, value),) = events(file.path)
    counts, edges = np.histogram(values, 20)
    assert (step, value.tag, value.metadata.summary_description) == (7, "weights/a/b", "")
    assert list(value.histo.bucket) == counts.tolist()
    np.testing.assert_allclose(value.histo.bucket_limit, edges[1:], rtol=1e-12, atol=1e-15 * scale)
    assert (value.histo.min, value.histo.max, value.histo.num) == (values.min(), values.max(), 1000)
    assert value.histo.sum == pytest.approx(math.fsum(values), rel=1e-12)
    assert value.histo.sum_squares == pytest.approx(math.fsum(values * values), rel=1e-12)
    assert [item.name for item in tmp_path.iterdir()] == [file.path.name]


def test_odd_values(tmp_path: Path) -> None:
    with EventFile(tmp_path) as file:
        assert file.histogram("g", "one", summarise(np.array([2.5])))
        assert file.histogram("g", "same", summarise(np.full(9, -3.0)))
        assert file.histogram("g", "odd", summarise(np.array([1.0, np.nan, 2.0, np.inf]), 2))
        assert file.histogram("g", "huge", summarise(np.array([-1e308, 1e308])))
        assert not file.histogram("g", "none", summarise(np.array([np.nan, np.inf])))
        assert not file.histogram("g", "empty", summarise(np.zeros(0)))
    one, same, odd, huge = (value.histo for _, value in events(file.path))
    assert (list(one.bucket), list(one.bucket_limit), one.sum, one.sum_squares) == ([1], [2.5], 2.5, 6.25)
    assert (list(same.bucket), list(same.bucket_limit), same.sum, same.sum_squares) == ([9], [-3], -27, 81)
    assert (list(odd.bucket), list(odd.bucket_limit), odd.sum, odd.sum_squares) == ([1, 1], [1.5, 2], 3, 5)
    assert (sum(huge.bucket), huge.min, huge.max, huge.sum) == (2, -1e308, 1e308, 0)


def test_pictures_are_the_bytes_that_were_given(tmp_path: Path) -> None:
    indices = np.arange(35, dtype=np.uint8).reshape(5, 7)
    png = encode_indexed(indices, palette("jet"))
    with EventFile(tmp_path / "new" / "folder") as file:
        file.picture("kernels", "conv", png)
        file.picture("kernels", "conv", png, 3)
    for wanted, (step, value) in zip((0, 3), events(file.path), strict=True):
        assert (step, value.tag) == (wanted, "kernels/conv")
        assert (value.image.width, value.image.height, value.image.colorspace) == (7, 5, 3)
        picture = Image.open(io.BytesIO(value.image.encoded_image_string))
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), palette("jet")[indices])


def test_tags_are_plain_and_each_name_keeps_its_own(tmp_path: Path) -> None:
    names = [
        "a b",
        "a_b",
        "/a_b",
        "a/b",
        "..",
        "",
        "/",
        HOSTILE,
        HOSTILE * 900 + "1",
        HOSTILE * 900 + "2",
        "\ud800",
        "🐈",
    ]
    found = summarise(np.arange(5.0))
    with EventFile(tmp_path) as file:
        for step in range(2):
            for name in names:
                file.histogram("weights/conv kernel", name, found, step)
    written = [(step, value.tag) for step, value in events(file.path)]
    tags = [tag for step, tag in written if step == 0]
    assert [tag for step, tag in written if step == 1] == tags
    assert len(set(tags)) == len(names)
    assert all(set(tag) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") for tag in tags)
    assert all(tag.startswith("weights/conv_kernel/") and len(tag) <= 210 for tag in tags)
    assert tags[:4] == [f"weights/conv_kernel/{end}" for end in ("a_b", "a_b-2", "a_b-3", "a/b")]
    described = [value.metadata.summary_description for _, value in events(file.path)][: len(names)]
    assert described[0] == "a b"
    assert all(text.isprintable() for text in described)


def test_weights_and_their_kernels(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    table = measure_weights(model)
    told: list[tuple[int, int]] = []
    with EventFile(tmp_path / "board") as file:
        skipped = write_weight_events(file, table, model, None, False, lambda done, of: told.append((done, of)))
    values = {value.tag: value for _, value in events(file.path)}
    assert (skipped, told) == ([], [(place, 10) for place in range(1, 11)])
    assert len(values) == len(table.weights) + 10
    for item in table.weights:
        found = values[f"weights/{item.role.replace(' ', '_')}/{item.name}"].histo
        constant = item.statistics.min == item.statistics.max
        assert list(found.bucket) == ([item.statistics.count] if constant else item.statistics.counts.tolist())
        assert constant or list(found.bucket_limit) == item.statistics.edges[1:].tolist()
    kernels = numpy_helper.to_array(onnx.load(model.path).graph.initializer[0]).astype(np.float64)
    picture = Image.open(io.BytesIO(values["kernels/stage1.first.weight"].image.encoded_image_string))
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    first = kernels[0].transpose(1, 2, 0)
    wanted = np.rint((first - first.min()) / np.ptp(first) * 255)
    side = next(count for count in range(1, 600) if (pixels[0, count] == 255).all()) // 3
    middles = pixels[side // 2 : 3 * side : side, side // 2 : 3 * side : side]
    np.testing.assert_allclose(middles, wanted, atol=1)


def test_kernels_that_cannot_be_drawn_are_named(tmp_path: Path) -> None:
    body = """g (float[1,1,3,3,3,3] x, float[1,1,4,4] z) => (float[1,1,2,2,2,2] y, float[1,1,3,3] u)
        <float[1,1,2,2] v = {1, 2, 3, 4}> {
        y = Conv(x, w)
        u = Conv(z, v)
    }"""
    proto = from_text(body)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((1, 1, 2, 2, 2, 2), np.float32), "w"))
    model = load(write(proto, tmp_path))
    with EventFile(tmp_path / "board") as file:
        (reason,) = write_weight_events(file, measure_weights(model), model, 5, False, lambda done, of: None)
    assert reason.startswith("the kernels of 'w' are not drawn: ")
    tags = {value.tag for _, value in events(file.path)}
    assert tags == {"kernels/v", "weights/conv_kernel/v", "weights/conv_kernel/w"}


def test_two_files_at_once_do_not_meet(tmp_path: Path) -> None:
    for step in range(3):
        with EventFile(tmp_path) as file:
            file.histogram("g", "a", summarise(np.arange(3.0)), step)
    steps = sorted(events(path)[0][0] for path in tmp_path.iterdir())
    assert steps == [0, 1, 2]
    assert all("tfevents" in path.name for path in tmp_path.iterdir())


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with EventFile(tmp_path) as file:
            file.histogram("g", "a", summarise(np.arange(3.0)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is not a folder"):
        EventFile(tmp_path / "file").__enter__()


def test_without_the_writer_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("tensorboardX")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UsageError, match=r"pip install 'onnxvis\[tensorboard\]'"):
        EventFile(tmp_path)
