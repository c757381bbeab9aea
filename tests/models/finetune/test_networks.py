"""The networks: their shapes, their heads against the parts that make them, and names as in torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

NEEDS = "needs PyTorch and torchvision: pip install -e '.[test,make]'"
torch = pytest.importorskip("torch", reason=NEEDS)
torchvision = pytest.importorskip("torchvision", reason=NEEDS)

from onnxvis.models.finetune.networks import AppendedResNet, PooledVGG, build_network  # noqa: E402
from onnxvis.models.torch_export import export_module  # noqa: E402


def picture(size: int = 32) -> Any:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, size, size)).astype(np.float32))


def test_a_replaced_head_gives_the_classes_and_keeps_the_names() -> None:
    network = build_network("resnet18", "replace", 7, 0).eval()
    theirs = torchvision.models.resnet18(num_classes=7).state_dict()
    found = network.state_dict()
    assert {name: weight.shape for name, weight in found.items()} == {name: w.shape for name, w in theirs.items()}
    assert tuple(network.fc.weight.shape) == (7, 512)


def test_an_appended_head_comes_after_the_thousand_classes() -> None:
    network = build_network("resnet18", "append", 7, 0).eval()
    assert isinstance(network, AppendedResNet)
    plain = torchvision.models.resnet18()
    absent, unknown = plain.load_state_dict(network.state_dict(), strict=False)
    assert (absent, sorted(unknown)) == ([], ["head.bias", "head.weight"])
    images = picture()
    with torch.no_grad():
        expected = plain.eval()(images) @ network.head.weight.T + network.head.bias
        torch.testing.assert_close(network(images), expected)
    assert tuple(expected.shape) == (2, 7)


@pytest.mark.parametrize(("name", "count"), [("vgg16", 13), ("vgg16_bn", 26)])
def test_vgg_averages_its_maps_where_its_large_layers_were(name: str, count: int) -> None:
    network = build_network(name, "replace", 5, 0).eval()
    assert isinstance(network, PooledVGG)
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)().state_dict()
    features = {key: weight.shape for key, weight in network.state_dict().items() if key.startswith("features.")}
    assert features == {key: weight.shape for key, weight in theirs.items() if key.startswith("features.")}
    assert sum(type(module).__name__ in ("Conv2d", "BatchNorm2d") for module in network.features) == count
    images = picture(64)
    with torch.no_grad():
        maps = network.features(images)
        assert tuple(maps.shape) == (2, 512, 2, 2)
        expected = maps.mean(dim=(2, 3)) @ network.classifier.weight.T + network.classifier.bias
        torch.testing.assert_close(network(images), expected)


def test_vgg_begins_at_torchvisions_spread() -> None:
    kernel = build_network("vgg16", "replace", 5, 0).features[28].weight
    assert kernel.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build_network("resnet18", "append", 3, 5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = (build_network("resnet18", "append", 3, seed) for seed in (5, 6))
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize("head", ["replace", "append"])
def test_pretrained_weights_fill_all_but_the_new_layer(monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    """torchvision's file is stood in for by random weights: nothing is fetched in tests."""
    from onnxvis.models.finetune import networks

    stand_in = torchvision.models.resnet18()
    expected = {name: weight.clone() for name, weight in stand_in.state_dict().items()}
    asked = []

    def build(name: str, classes: int | None = None, pretrained: bool = False) -> Any:
        asked.append((name, pretrained))
        return stand_in

    monkeypatch.setattr(networks, "build", build)
    found = build_network("resnet18", head, 1000, 0, True).state_dict()
    assert asked == [("resnet18", True)]
    new = {name for name in found if name not in expected or not torch.equal(found[name], expected[name])}
    assert new == ({"fc.weight", "fc.bias"} if head == "replace" else {"head.weight", "head.bias"})


def test_a_checkpoint_fills_all_but_the_new_layer(tmp_path: Path) -> None:
    theirs = torchvision.models.resnet18(num_classes=20).state_dict()
    torch.save(theirs, tmp_path / "a.pth")
    replaced = build_network("resnet18", "replace", 20, 0, tmp_path / "a.pth").state_dict()
    assert {name for name in theirs if not torch.equal(replaced[name], theirs[name])} == {"fc.weight", "fc.bias"}
    appended = build_network("resnet18", "append", 3, 0, tmp_path / "a.pth")
    assert all(torch.equal(appended.state_dict()[name], theirs[name]) for name in theirs)
    assert tuple(appended.head.weight.shape) == (3, 20)


@pytest.mark.parametrize(
    ("name", "head", "tensors"),
    [
        ("resnet18", "append", {"/layer1/layer1.0/conv1/Conv_output_0", "/fc/Gemm_output_0"}),
        ("vgg16_bn", "replace", {"/features/features.0/Conv_output_0", "/avgpool/GlobalAveragePool_output_0"}),
    ],
)
def test_exported_tensors_are_named_as_torchvision_names_them(name: str, head: str, tensors: set[str]) -> None:
    network = build_network(name, head, 3, 0).eval()
    model = export_module(network, (1, 3, 32, 32), {})
    assert tensors <= {output for node in model.graph.node for output in node.output}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = picture()
    with torch.no_grad():
        expected = network(images).numpy()
    (found,) = session.run(None, {"image": images.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
