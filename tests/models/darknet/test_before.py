"""Which layers a section may name, and what is said where there are none."""

from __future__ import annotations

import pytest

from onnxvis.errors import ModelError
from onnxvis.models.darknet.before import Before
from onnxvis.models.darknet.cfg import Section
from onnxvis.models.darknet.layers import Layer, Region, Same

LAYERS = [Layer(0, "dropout", (-1,), (4, 8, 8), Same()), Layer(1, "region", (0,), (4, 8, 8), Region())]


def before(number: int = 2, options: dict[str, str] | None = None) -> Before:
    return Before(Section("x.cfg", number, "route", 7, options or {}), LAYERS, (3, 16, 16))


def test_numbers_count_from_the_start_or_back_from_here() -> None:
    assert before(options={"layers": "0,1,-1,-2"}).named("layers") == (0, 1, 1, 0)


@pytest.mark.parametrize("value", [2, 3, -3, 1 << 29, -(1 << 29)])
def test_a_layer_that_is_not_there(value: int) -> None:
    with pytest.raises(
        ModelError, match=rf"^x.cfg, line 7: section 2 \[route\] has layers={value}; the sections before"
    ):
        before(options={"layers": str(value)}).named("layers")


def test_the_first_section_has_none_before_it() -> None:
    with pytest.raises(ModelError, match="has layers=-1; there is no section before it"):
        before(0, {"layers": "-1"}).named("layers")


@pytest.mark.parametrize("options", [{}, {"layers": ""}])
def test_none_is_named(options: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="lacks layers"):
        before(options=options).named("layers")


def test_shapes() -> None:
    assert before().shape_of(0) == (4, 8, 8)
    assert before().shape_of(-1) == (3, 16, 16)
    assert before(0).shape == (3, 16, 16)
    assert before(1).shape == (4, 8, 8)


def test_a_head_cannot_be_read() -> None:
    with pytest.raises(
        ModelError, match=r"reads section 1 \[region\], an output of the network that no section can read"
    ):
        _ = before().shape


def test_an_activation_must_be_known() -> None:
    assert before().activation("logistic") == "logistic"
    assert before(options={"activation": "mish"}).activation("linear") == "mish"
    with pytest.raises(
        ModelError, match=r"has activation=normalize_channels, which is not supported; supported are .*leaky"
    ):
        before(options={"activation": "normalize_channels"}).activation("linear")
    with pytest.raises(ModelError, match="has activation=mish, which is not supported"):
        before(options={"activation": "mish"}).activation("linear", "mish")
