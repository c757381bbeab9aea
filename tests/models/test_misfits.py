"""Advice for modules that do not run, by the errors that PyTorch itself raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onnxvis.models.misfits import advice, takes_one_input, unmoved

NEEDS_TORCH = "needs PyTorch: pip install -e '.[test,torch]'"


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason=NEEDS_TORCH)


@pytest.fixture
def module(torch: Any) -> Callable[[Any], Any]:
    def make(function: Any) -> Any:
        return type("Own", (torch.nn.Module,), {"forward": function})()

    return make


def advised(torch: Any, network: Any) -> str:
    try:
        network.eval()(torch.zeros(1, 3, 8, 8))
    except Exception as error:
        return str(advice(network, error))
    pytest.fail("it runs")


def test_channels_are_named_where_they_do_not_fit(torch: Any) -> None:
    networks = (torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(5), torch.nn.GroupNorm(2, 6))
    for network in networks:
        assert "--channels and --size" in advised(torch, network)


def test_a_size_is_advised_only_where_one_can_be_wrong(torch: Any, module: Callable[[Any], Any]) -> None:
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2))
    assert advised(torch, linear) == "; give a size that it takes with --size"
    assert advised(torch, module(lambda _, x: x.absent)) == ""
    assert advised(torch, torch.nn.Module()) == "", "it has no forward at all"


def test_more_inputs_than_one_are_not_supported(torch: Any, module: Callable[[Any], Any]) -> None:
    several = [module(lambda _, x, y: x + y), module(lambda _, x, *, y: x + y), module(lambda _: None)]
    for network in several:
        assert not takes_one_input(network)
        assert "more than one input, or none, is not supported here" in advised(torch, network)
    for network in (module(lambda _, x, y=1: x + y), module(lambda _, *x: x[0]), torch.nn.Conv2d(3, 4, 3)):
        assert takes_one_input(network)


def test_outputs_that_the_input_does_not_move(torch: Any, module: Callable[[Any], Any]) -> None:
    shape = (1, 3, 8, 8)
    assert unmoved(module(lambda _, x: (torch.ones(3), torch.zeros_like(x))), shape)
    assert not unmoved(module(lambda _, x: (torch.ones(3), x + 1)), shape)
    assert not unmoved(module(lambda _, x: x.absent), shape)
