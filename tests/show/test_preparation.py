"""The formula on the page is the arithmetic that was done."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.run.inputs import PreparedInput
from onnxvis.run.preprocess import Preprocessing
from onnxvis.show.preparation import guess, preparation, value_formula
from tests.tiny import Array

SETTINGS = Preprocessing(
    size=(4, 6), fit="stretch", shorter=None, interpolation="linear", bgr=False, divide=255.0,
    mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), source="flags", guessed=False,
)  # fmt: skip

numbers = st.sampled_from([0.0, 0.5, 0.485, 0.25, 127.0])
scales = st.sampled_from([1.0, 0.5, 0.229, 128.0])
triples = st.tuples(numbers, numbers, numbers) | numbers.map(lambda value: (value,) * 3)
scale_triples = st.tuples(scales, scales, scales) | scales.map(lambda value: (value,) * 3)


@given(triples, scale_triples, st.sampled_from([1.0, 255.0, 127.5]))
def test_the_formula_gives_the_value(mean: tuple[float, ...], std: tuple[float, ...], divide: float) -> None:
    text = value_formula(replace(SETTINGS, mean=mean, std=std, divide=divide))
    assert re.fullmatch(r"[pixel0-9./()−, ]+", text)
    pixel = np.array([10.0, 200.0, 255.0])
    code = re.sub(r"\(([^()]*,[^()]*)\)", r"np.array([\1])", text.replace("−", "-"))
    found = eval(code, {"np": np, "pixel": pixel})
    np.testing.assert_allclose(found, (pixel / divide - np.array(mean)) / np.array(std), rtol=1e-12)


@pytest.mark.parametrize(("divide", "mean", "std", "wanted"), [
    (1.0, (0.0,) * 3, (1.0,) * 3, "pixel"),
    (255.0, (0.0,) * 3, (1.0,) * 3, "pixel / 255"),
    (255.0, (0.5,) * 3, (0.25,) * 3, "(pixel / 255 − 0.5) / 0.25"),
    (1.0, (104.0, 117.0, 123.0), (1.0,) * 3, "pixel − (104, 117, 123)"),
])  # fmt: skip
def test_steps_that_change_nothing_are_left_out(
    divide: float, mean: tuple[float, ...], std: tuple[float, ...], wanted: str
) -> None:
    assert value_formula(replace(SETTINGS, divide=divide, mean=mean, std=std)) == wanted


def test_every_step_is_told_in_order() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    feeds: dict[str, Array] = {"x": np.zeros((1, 3, 4, 6), np.float32), "k": np.zeros((), np.int64)}
    item = PreparedInput("a.png", feeds, picture, replace(SETTINGS, bgr=True), (40, 60), ())
    facts = [(fact.label, fact.value) for fact in preparation(item)]
    assert facts[:3] == [
        ("Original", "60 × 40 pixels"),
        ("Fed as", "6 × 4 pixels, BGR, fit stretch, linear interpolation"),
        ("Values", "pixel / 255"),
    ]
    assert facts[-2:] == [("Input x", "float32 1 × 3 × 4 × 6"), ("Input k", "int64 scalar")]
    assert [label for label, _ in facts[3:5]] == ["Settings from", "As flags"]


def test_arrays_are_fed_as_they_are() -> None:
    item = PreparedInput("a.npy", {"x": np.zeros(3, np.float32)}, None, None, None, ())
    assert [fact.label for fact in preparation(item)] == ["Input x"]


def test_a_guess_names_its_flags() -> None:
    assert guess(None) is None
    assert guess(SETTINGS) is None
    made = guess(replace(SETTINGS, guessed=True))
    assert made is not None
    assert made.what == "RGB, pixel / 255, fit stretch"
    assert "--" in made.flags
