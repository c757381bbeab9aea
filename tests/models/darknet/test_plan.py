"""Whole networks: size, classes, limits, and that no cfg, however spoilt, ends in anything but a clear error."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.errors import ModelError, OnnxvisError, UsageError
from onnxvis.models.darknet.build import build
from onnxvis.models.darknet.cfg import parse_cfg, read_cfg
from onnxvis.models.darknet.drawn import DrawnWeights
from onnxvis.models.darknet.plan import Plan, make_plan
from onnxvis.models.darknet.structures import yolov3, yolov3_tiny
from tests.models.darknet.cfgs import cfg, plan_of
from tests.models.darknet.networks import FAMILIES

TINY = parse_cfg(yolov3_tiny(), "tiny")


def test_yolov3_has_the_parameters_of_the_paper() -> None:
    plan = make_plan(parse_cfg(yolov3(), "x"))
    # yolov3.weights is 248,007,048 bytes, 20 of them the header.
    assert plan.parameters == (248_007_048 - 20) // 4
    assert [head.shape for head in plan.heads] == [(255, 13, 13), (255, 26, 26), (255, 52, 52)]


def test_size_and_classes_take_the_place_of_the_cfgs_own() -> None:
    plan = make_plan(TINY, (320, 416), 500)
    assert plan.picture == (3, 320, 416)
    assert [head.shape for head in plan.heads] == [(1515, 10, 13), (1515, 20, 26)]
    assert make_plan(TINY, None, 80) == make_plan(TINY)


def test_corpus_with_500_classes(corpus: Path) -> None:
    plan = make_plan(read_cfg(corpus / "darknet" / "yolov3.cfg"), classes=500)
    assert [head.shape for head in plan.heads] == [(1515, 13, 13), (1515, 26, 26), (1515, 52, 52)]


def test_producers_are_found_through_what_changes_nothing() -> None:
    plan = plan_of("dropout", "maxpool", "dropout", "route layers=-1", "route layers=1,3", "route layers=4 groups=3")
    assert [plan.producer(number) for number in range(-1, 6)] == [-1, -1, 1, 1, 1, 4, 5]


@pytest.mark.parametrize(
    ("size", "classes", "message"),
    [
        ((0, 416), None, "the input cannot be 0 x 416; sides go from 1 to 16384"),
        ((416, 20_000), None, "the input cannot be 416 x 20000"),
        (None, 0, "--classes is 0; it can be 1 to 65536"),
        (None, -5, "--classes is -5"),
    ],
)
def test_sizes_and_classes_that_cannot_be(size: tuple[int, int] | None, classes: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(TINY, size, classes)


def test_classes_need_heads_with_a_convolution_before_them() -> None:
    with pytest.raises(UsageError, match=r"--classes goes with networks that have \[yolo\] sections; x has none"):
        make_plan(parse_cfg(cfg("maxpool"), "x"), classes=3)
    with pytest.raises(ModelError, match=r"section 0 \[yolo\] has no convolution before it"):
        make_plan(parse_cfg(cfg("yolo classes=1 anchors=1,2", net="width=4 height=4 channels=6"), "x"), classes=3)
    with pytest.raises(ModelError, match="has filters=65541; it can be 1 to 65536"):
        make_plan(parse_cfg(cfg("convolutional filters=6", "yolo classes=1 anchors=1,2"), "x"), classes=65536)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[net]\nheight=16\nchannels=3\n[maxpool]", r"x, line 1: \[net\] lacks width"),
        ("[net]\nwidth=16\nheight=16\nchannels=3", r"x has no layers after \[net\]"),
        ("[net]\nwidth=16\nheight=99999\nchannels=3\n[cost]", r"\[net\] has height=99999; it can be 1 to 16384"),
        (cfg("connected output=60000", "connected output=60000"), r"x asks for 3,646,200,000 weights, 13.6 GiB"),
        (cfg("convolutional filters=65536 size=16384 pad=1"), "weights, .* GiB; an .onnx file holds less than 2 GiB"),
        (
            cfg(*["upsample stride=16"] * 5),
            r"section 2 \[upsample\] gives 3 x 65,536 x 65,536 values a picture, which is too many",
        ),
        (cfg(*["convolutional filters=60000 size=1"] * 3), "weights, 26.8 GiB"),
    ],
)
def test_networks_that_are_none_or_too_large(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make_plan(parse_cfg(text, "x"))


def attempt(text: str) -> Plan | None:
    """Plan and, where it is small, build a network: only our own errors may come out."""
    try:
        plan = make_plan(parse_cfg(text, "x"))
        if plan.parameters < 200_000:
            build(plan, DrawnWeights(plan, 0), decoded=bool(plan.heads))
    except OnnxvisError as error:
        said = str(error)
    else:
        return plan
    assert len(said) < 700
    assert said.isprintable()
    return None


LINES = sorted(
    {line for sections in FAMILIES.values() for line in cfg(*sections).splitlines() if line}
    | {line for line in yolov3_tiny().splitlines() if line}
    | {"[connected]", "output=5", "[reorg]", "[reorg3d]", "[local_avgpool]", "[sam]", "[scale_channels]", "[region]"}
    | {"[crnn]", "[gru]", "[batchnorm]", "[activation]", "temperature=0", "padding=3", "dilation=2", "scale=0.5"}
)
NUMBERS = st.sampled_from(
    [
        "0",
        "-1",
        "1",
        "2",
        "3",
        "-3",
        "7",
        "65536",
        "4294967296",
        "1e9",
        "nan",
        "",
        "-",
        "1,2",
        ",",
        "a",
        "\x00",
        "9" * 99,
    ]
)


@st.composite
def spoilt(draw: st.DrawFn) -> str:
    """A network that people have, with some lines lost, doubled, moved or with other values."""
    sections = FAMILIES[draw(st.sampled_from(sorted(FAMILIES)))]
    lines = cfg(*sections[: draw(st.integers(1, 30))], net="width=32 height=32 channels=3").splitlines()
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["drop", "value", "line", "text", "swap"]))
        if change == "drop" and len(lines) > 1:
            del lines[place]
        elif change == "value":
            lines[place] = lines[place].partition("=")[0] + "=" + draw(NUMBERS)
        elif change == "line":
            lines.insert(place, draw(st.sampled_from(LINES)))
        elif change == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[place], lines[other] = lines[other], lines[place]
        else:
            lines[place] = draw(st.text(max_size=20))
    return "\n".join(lines)


@settings(max_examples=150)
@given(spoilt())
def test_a_spoilt_cfg_gives_a_network_or_a_clear_error(text: str) -> None:
    attempt(text)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(LINES) | st.builds("{}={}".format, st.sampled_from(
    ["filters", "size", "stride", "from", "layers", "groups", "mask", "anchors", "classes", "padding"]), NUMBERS),
    max_size=30))  # fmt: skip
def test_lines_in_any_order_give_a_network_or_a_clear_error(lines: list[str]) -> None:
    attempt("\n".join(["[net]", "width=16", "height=16", "channels=4", *lines]))


@pytest.mark.slow
def test_many_spoilt_cfgs() -> None:
    """Ten thousand, of bytes of a whole cfg of YOLOv3-tiny changed at random; some must still be networks."""
    rng = random.Random(0)
    text = yolov3_tiny(64)
    good = 0
    for _ in range(10_000):
        characters = list(text)
        for _ in range(rng.randint(1, 8)):
            characters[rng.randrange(len(characters))] = rng.choice("0123456789,-=[]#\n\x00é.e")
        good += attempt("".join(characters)) is not None
    assert 500 < good < 9_500


def test_many_sections_are_planned_at_once() -> None:
    """Each reads all before it: a million reads in all."""
    sections = ["maxpool size=1"] * 1400
    plan = plan_of(*sections, "route layers=" + ",".join(map(str, range(1400))), net="width=1 height=1 channels=1")
    assert plan.layers[-1].shape == (1400, 1, 1)


def test_a_plan_is_plain_data() -> None:
    plan = make_plan(TINY)
    assert replace(plan, name="other").layers == plan.layers
    assert hash(plan) == hash(make_plan(TINY))
