"""torchvision's classifiers: which there are, their last layers and weights, and what is said of them in the file."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import onnxruntime
import pytest

from onnxvis.errors import InputError, ModelError, UsageError
from onnxvis.models import vision_zoo
from onnxvis.models.torch_export import export_module
from onnxvis.run.flags import override
from onnxvis.run.hints import from_our_metadata
from onnxvis.run.preprocess import apply, preset

NEEDS_TORCHVISION = "needs torchvision: pip install -e '.[test,make]'"


@pytest.fixture
def torch() -> Any:
    torch = pytest.importorskip("torch", reason=NEEDS_TORCHVISION)
    pytest.importorskip("torchvision", reason=NEEDS_TORCHVISION)
    torch.set_num_threads(1)
    return torch


@pytest.fixture
def models(torch: Any) -> Any:
    import torchvision

    return torchvision.models


def test_without_torchvision_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torch", sys.modules["json"])
    with pytest.raises(UsageError, match=r'torchvision is not installed: pip install "onnxvis\[make\]"'):
        vision_zoo.build("resnet18")


def test_the_names_are_those_of_classifiers_only(models: Any) -> None:
    names = vision_zoo.names()
    assert {"resnet18", "resnet34", "resnet101", "alexnet", "vgg16", "vit_b_16"} <= set(names)
    assert len(names) >= 70
    assert set(names) < set(models.list_models())
    assert not [name for name in names if "rcnn" in name or "deeplab" in name or "r3d" in name or name[:2] == "q_"]


def test_an_unknown_name_is_met_with_the_nearest(models: Any) -> None:
    with pytest.raises(UsageError, match=r"no classifier 'ResNet-18'; nearest: resnet18"):
        vision_zoo.build("ResNet-18")
    with pytest.raises(UsageError, match=r"no classifier '\?\?'; there are alexnet, "):
        vision_zoo.build("??")


@pytest.mark.parametrize("classes", [0, -3, 10**12])
def test_numbers_of_classes_that_cannot_be_are_refused(models: Any, classes: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 100,000"):
        vision_zoo.build("resnet18", classes)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("resnet18", "fc"),
        ("squeezenet1_1", "classifier.1"),
        ("mobilenet_v3_small", "classifier.3"),
        ("shufflenet_v2_x0_5", "fc"),
        ("googlenet", "fc"),
        ("densenet121", "classifier"),
    ],
)
def test_the_last_layer_is_found_and_replaced(torch: Any, models: Any, name: str, last: str) -> None:
    network = vision_zoo.build(name)
    assert vision_zoo.classes_of(network) == 1000
    before = {key: value.clone() for key, value in network.state_dict().items()}
    vision_zoo.replace_last(network, 5)
    after = network.state_dict()
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert changed == {f"{last}.weight", f"{last}.bias"}
    assert vision_zoo.classes_of(network) == 5
    assert vision_zoo.classes_of(vision_zoo.build(name, 5)) == 5
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, 3, 224, 224)).shape == (1, 5)


def test_random_weights_are_torchvisions_from_a_seed(torch: Any, models: Any) -> None:
    state = torch.random.get_rng_state()
    made = vision_zoo.build_random("resnet18", 7).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    other = vision_zoo.build_random("resnet18", 8).state_dict()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = models.resnet18().state_dict()
    assert all(torch.equal(value, made[name]) for name, value in expected.items())
    assert not torch.equal(made["conv1.weight"], other["conv1.weight"])


def test_resnet101_keeps_its_batch_norm_and_folded_computes_the_same(torch: Any, models: Any) -> None:
    """104 as in He et al., 2016: one after each convolution, 1 + 3 · (3 + 4 + 23 + 3) + 4 shortcuts."""
    network = vision_zoo.build_random("resnet101", 0)
    given = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = network(given).numpy()
    counts = {}
    for fold in (False, True):
        model = export_module(network, (1, 3, 64, 64), {}, fold=fold)
        counts[fold] = Counter(node.op_type for node in model.graph.node)["BatchNormalization"]
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"image": given.numpy()})
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    assert counts == {False: 104, True: 0}


def test_a_checkpoint_brings_its_number_of_classes(torch: Any, models: Any, tmp_path: Path) -> None:
    trained = models.mobilenet_v3_small(num_classes=5).eval()
    state = {f"module.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"model": state}, tmp_path / "five.pth")
    network = vision_zoo.build_from_checkpoint("mobilenet_v3_small", tmp_path / "five.pth")
    given = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(network(given), trained(given))
    with pytest.raises(ModelError, match=r"classifier\.3\.weight \(5x1024, the network has 7x1024\)"):
        vision_zoo.build_from_checkpoint("mobilenet_v3_small", tmp_path / "five.pth", 7)
    with pytest.raises(ModelError, match=r"five\.pth does not fit ResNet: it lacks conv1\.weight, .* it has besides"):
        vision_zoo.build_from_checkpoint("resnet18", tmp_path / "five.pth")
    torch.save({"classifier.3.weight": torch.zeros(1).expand(10**9, 1)}, tmp_path / "huge.pth")
    with pytest.raises(UsageError, match="1000000000 classes"):
        vision_zoo.build_from_checkpoint("mobilenet_v3_small", tmp_path / "huge.pth")


def test_auxiliary_heads_are_left_out_and_passed_over(torch: Any, models: Any, tmp_path: Path) -> None:
    trained = models.googlenet(init_weights=False, transform_input=True, num_classes=6).eval()
    torch.save(trained.state_dict(), tmp_path / "aux.pth")
    assert any(name.startswith("aux1.") for name in trained.state_dict())
    network = vision_zoo.build_from_checkpoint("googlenet", tmp_path / "aux.pth")
    given = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(network(given), trained(given))
    assert not any(name.startswith("aux") for name in network.state_dict())


def test_pretrained_weights_are_those_that_torchvision_offers(
    torch: Any, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = models.resnet18().eval()
    asked = {}

    def serve(url: str, **options: object) -> Any:
        asked[url] = options
        print("Downloading")
        return offered.state_dict()

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", serve)
    network = vision_zoo.build("resnet18", pretrained=True)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in offered.state_dict().items())
    ((url, options),) = asked.items()
    assert url == models.ResNet18_Weights.DEFAULT.url
    assert options == {"map_location": "cpu", "progress": False, "check_hash": True, "weights_only": True}
    assert vision_zoo.weights_megabytes("resnet18") == pytest.approx(44.7, abs=0.1)
    tuned = vision_zoo.build("resnet18", 3, pretrained=True)
    assert tuned.fc.weight.shape == (3, 512)
    assert torch.equal(tuned.conv1.weight, offered.conv1.weight)


@pytest.mark.parametrize(
    "error", [URLError("Name or service not known"), RuntimeError("invalid hash value"), OSError(28, "full")]
)
def test_weights_that_cannot_be_had_are_told_with_what_to_do(
    torch: Any, models: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    said = {"URLError": "Name or service not known", "RuntimeError": "invalid hash", "OSError": "full"}
    match = rf"weights of resnet18 could not be fetched \(.*{said[type(error).__name__]}.*\).*--checkpoint.*--random"
    with pytest.raises(InputError, match=match):
        vision_zoo.build("resnet18", pretrained=True)


def test_a_vision_transformer_is_made_for_its_size(torch: Any, models: Any) -> None:
    assert vision_zoo.default_size("vit_b_32") == 224
    with torch.no_grad():
        assert vision_zoo.build("vit_b_32", 4, size=64)(torch.zeros(1, 3, 64, 64)).shape == (1, 4)
    with pytest.raises(UsageError, match="vit_b_32 cannot be made"):
        vision_zoo.build("vit_b_32", size=100)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b3", "inception_v3", "alexnet"])
def test_the_file_prepares_a_picture_as_torchvision_does(torch: Any, models: Any, name: str) -> None:
    """On a smooth picture, where only geometry and colours count, not the filter."""
    from PIL import Image

    rows, columns = np.mgrid[:400, :533] / 60
    picture = np.stack([np.sin(rows), np.cos(columns), np.sin(rows + columns)], axis=-1) * 100 + 128
    picture = picture.round().astype(np.uint8)
    side = vision_zoo.default_size(name)
    flags = from_our_metadata(vision_zoo.describe(name, 1000, (side, side)))
    assert flags is not None
    found, _ = apply(picture, override(preset("raw"), flags))
    expected = models.get_model_weights(name).DEFAULT.transforms()(Image.fromarray(picture)).numpy()
    assert found.shape == (1, *expected.shape)
    assert np.abs(found[0] - expected).max() < 0.06


def test_what_is_said_of_another_size_and_other_classes(models: Any) -> None:
    said = vision_zoo.describe("resnet18", 1000, (448, 896))
    preprocess = json.loads(said["onnxvis.preprocess"])
    assert (preprocess["size"], preprocess["shorter"], preprocess["fit"]) == ([448, 896], 512, "crop")
    labels = json.loads(said["onnxvis.labels"])
    assert (len(labels), labels[0], labels[281]) == (1000, "tench", "tabby")
    assert "onnxvis.labels" not in vision_zoo.describe("resnet18", 5, (224, 224))
    named = vision_zoo.describe("resnet18", 2, (224, 224), ["cat", "dog"])
    assert json.loads(named["onnxvis.labels"]) == ["cat", "dog"]
