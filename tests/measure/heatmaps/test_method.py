from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from onnxvis.measure.heatmaps.method import METHODS, LayerMethod, Needs, PixelMethod, Raw, method
from onnxvis.measure.heatmaps.probe import GradientProbe
from tests.tiny import Array


class Plain(PixelMethod):
    def explain(self, probe: GradientProbe) -> Raw:
        return Raw(probe.by_input())


class Sum(LayerMethod):
    def combine(self, activation: Array, gradient: Array) -> Array:
        return np.asarray(activation.sum(axis=0))


def test_a_method_is_found_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxvis.measure.heatmaps.method.METHODS", {})
    from onnxvis.measure.heatmaps import method as module

    assert method("plain")(Plain) is Plain
    assert Plain.name == "plain"
    assert isinstance(module.METHODS["plain"], Plain)


def test_a_name_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxvis.measure.heatmaps.method.METHODS", {"sum": Sum()})
    with pytest.raises(ValueError, match="a heatmap method is called 'sum' already"):
        method("sum")(Plain)


def test_the_map_of_signed_values_is_the_largest_magnitude_over_colours() -> None:
    values = np.random.default_rng(0).standard_normal((3, 4, 5))
    flat = Plain().flatten(values)
    for row in range(4):
        for column in range(5):
            assert flat[row, column] == max(abs(values[colour, row, column]) for colour in range(3))
    np.testing.assert_array_equal(Plain().flatten(flat), flat)


def test_a_layer_is_worth_its_gradient_unless_a_method_says_otherwise() -> None:
    values = np.ones((2, 3, 3)), np.full((2, 3, 3), 7.0)
    probe = SimpleNamespace(layers={"layer": values})
    assert Sum().worth(cast("GradientProbe", probe), "layer") is values[1]


def test_every_method_says_what_it_is_and_where_it_is_from() -> None:
    import onnxvis.measure.heatmaps.explain  # noqa: F401

    for name, item in METHODS.items():
        assert item.name == name
        assert len(item.definition) > 20
        assert type(item).__doc__
        assert isinstance(item, LayerMethod) == bool(Needs.INPUT & ~item.needs & Needs.INPUT)
        assert bool(Needs.INPUT & item.needs) == isinstance(item, PixelMethod)
