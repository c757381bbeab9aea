"""Learning rates by name: against a table written out by hand, and against what a step then changes."""

from __future__ import annotations

import pytest

from onnxvis.errors import UsageError
from onnxvis.models.finetune.rates import Rates, parameter_groups, parse_rates, set_modes

NEEDS_TORCH = "needs PyTorch: pip install -e '.[test,torch]'"
NAMES = (
    "conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer1.1.conv1.weight", "layer10.conv1.weight", "fc.bias",
)  # fmt: skip


def test_the_longest_name_decides_the_rate() -> None:
    rates = parse_rates(["0.01", "layer1=0.001", "layer1.1=0.002", "layer1.1.conv1.weight=0.003", "conv1=0"], 1.0)
    assert {name: rates.rate(name) for name in (*NAMES, "layer1.1.bn1.weight")} == {
        "conv1.weight": 0.0,
        "bn1.weight": 0.01,
        "layer1.0.conv1.weight": 0.001,
        "layer1.1.conv1.weight": 0.003,
        "layer1.1.bn1.weight": 0.002,
        "layer10.conv1.weight": 0.01,
        "fc.bias": 0.01,
    }


def test_the_default_holds_where_no_rate_comes_without_a_name() -> None:
    assert parse_rates([], 0.05) == Rates(0.05)
    assert parse_rates(["fc=1e-2"], 0.05) == Rates(0.05, (("fc", 0.01),))


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["fast"], "'fast' is no number"),
        (["fc="], "'' is no number"),
        (["=0.1"], "NAME=RATE"),
        (["-1"], "0 (frozen) to 100"),
        (["fc=nan"], "--lr fc=nan is no learning rate"),
        (["inf"], "no learning rate"),
        (["fc=1", "fc=2"], "fc a rate twice"),
        (["0.1", "0.2"], "the rate of all layers twice"),
        ([f"{'x' * 500}=1"], "name of a layer"),
    ],
)
def test_a_rate_that_cannot_be_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rates(texts, 0.1)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_name_that_matches_nothing_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"--lr layer2=… names no layer .* nearest: layer1.*begins with conv1, bn1"):
        parse_rates(["layer2=0.1"], 0.1).check(NAMES)
    with pytest.raises(UsageError, match="names no layer"):
        parse_rates(["layer1.0.conv=0.1"], 0.1).check(NAMES)
    parse_rates(["layer1.0.conv1=0.1"], 0.1).check(NAMES)


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing would train"):
        parse_rates(["0"], 0.1).check(NAMES)
    parse_rates(["0", "fc=0.1"], 0.1).check(NAMES)


def test_groups_hold_each_trained_parameter_once_at_its_rate() -> None:
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    nn = torch.nn
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    groups = parameter_groups(network, parse_rates(["0.1", "0=0", "1=0", "3=0.2", "3.bias=0.3"], 1.0))
    found = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    rates = {"2.weight": 0.1, "2.bias": 0.1, "3.weight": 0.2, "3.bias": 0.3}
    named = dict(network.named_parameters())
    assert found == {id(named[name]): rate for name, rate in rates.items()}
    assert {name for name, parameter in named.items() if not parameter.requires_grad} == named.keys() - rates.keys()


def test_batch_norm_that_is_frozen_stays_in_evaluation_mode() -> None:
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    nn = torch.nn
    network = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, affine=False))
    parameter_groups(network, parse_rates(["0.1", "0=0", "2=0"], 1.0))
    set_modes(network)
    assert [module.training for module in network] == [False, True, True, True]
    before = network[0].running_mean.clone(), network[1].running_mean.clone()
    network(torch.ones(2, 3, 4, 4))
    assert torch.equal(network[0].running_mean, before[0])
    assert not torch.equal(network[1].running_mean, before[1])
