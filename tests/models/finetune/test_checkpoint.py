"""Going on from a checkpoint equals never having stopped; the exported model equals the network; damage is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[test,torch]'")

from onnxvis.errors import OnnxvisError  # noqa: E402
from onnxvis.models.finetune.checkpoint import exported, read, restore, write  # noqa: E402
from onnxvis.models.finetune.curves import Row  # noqa: E402
from onnxvis.models.finetune.data import Batch, Split  # noqa: E402
from onnxvis.models.finetune.settings import fresh  # noqa: E402
from onnxvis.models.finetune.train import Trainer, train  # noqa: E402


class Noise:
    def __init__(self, count: int) -> None:
        self.count = count

    def batch(self, indices: Sequence[int], rng: np.random.Generator | None = None) -> Batch:
        pictures = np.stack([np.random.default_rng(index).normal(size=(3, 32, 32)) for index in indices])
        noise = 0.0 if rng is None else rng.normal(0, 0.1, pictures.shape)
        return (pictures + noise).astype(np.float32), np.array(indices, np.int64) % 2


DATA = Split(("even", "odd"), Noise(14), Noise(6), "noise 14 and 6")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small pictures are quicker on one, and a busy machine slows several down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer(optimizer: str = "adam", seed: int = 0) -> Trainer:
    torch.manual_seed(seed)
    nn = torch.nn
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    given = {"size": 32, "steps": 20, "batch": 4, "optimizer": optimizer, "lr": ["0.05", "5=0.01", "0.bias=0"]}
    return Trainer(network, fresh(given, "data"))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_ten_and_ten_steps_equal_twenty(tmp_path: Path, optimizer: str) -> None:
    whole = trainer(optimizer)
    rows = list(train(whole, DATA, 5))
    first = trainer(optimizer)
    kept = list(train(first, DATA, 5, 10))
    write(tmp_path / "a.pth", first, DATA, kept)

    found = read(tmp_path / "a.pth")
    assert (found.step, found.labels, found.settings) == (10, ("even", "odd"), first.settings)
    second = trainer(optimizer, seed=9)
    restore(second, found, DATA)
    assert second.rate == pytest.approx(first.rate)
    assert [*found.rows, *train(second, DATA, 5)] == rows
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(weight, second.network.state_dict()[name]), name


def test_the_file_holds_weights_and_plain_values_only(tmp_path: Path) -> None:
    one = trainer()
    list(train(one, DATA, 5, 5))
    write(tmp_path / "a.pth", one, DATA, [Row(5, 1, 0.5, 1, 0.5, 0.1)])
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert content["step"] == 5
    assert set(content) >= {"settings", "network", "optimizer", "schedule", "random"}
    assert torch.equal(content["network"]["5.weight"], one.network[5].weight)


def test_the_exported_model_equals_the_network(tmp_path: Path) -> None:
    one = trainer()
    list(train(one, DATA, 5, 5))
    before = {name: weight.clone() for name, weight in one.network.state_dict().items()}
    model = exported(one, DATA.labels)
    assert all(torch.equal(weight, before[name]) for name, weight in one.network.state_dict().items())
    pictures, _ = DATA.held_out.batch(range(6))
    (found,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": pictures})
    np.testing.assert_allclose(found, one.logits(pictures).numpy(), atol=1e-5)
    loaded = onnx.load_from_string(model)
    assert [node.op_type for node in loaded.graph.node][:2] == ["Conv", "BatchNormalization"]
    said = {entry.key: json.loads(entry.value) for entry in loaded.metadata_props}
    assert said["onnxvis.labels"] == ["even", "odd"]
    assert said["onnxvis.preprocess"]["size"] == [32, 32]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What stands in a whole checkpoint."""
    path = tmp_path_factory.mktemp("whole") / "a.pth"
    one = trainer()
    list(train(one, DATA, 5, 5))
    write(path, one, DATA, [Row(5, 1, 0.5, 1, 0.5, 0.1)])
    found: dict[str, Any] = torch.load(path, weights_only=True)
    restore(trainer(), read(path), DATA)
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "was not written by onnxvis make finetune"),
        ({"settings": {}}, "its settings are not those"),
        ({"labels": [1]}, "its labels are damaged"),
        ({"step": 21}, "step 21 of 20 cannot be"),
        ({"step": "x"}, "step x of 20"),
        ({"rows": []}, "its curves are missing"),
        ({"rows": 5}, "its curves are damaged"),
        ({"source": "others"}, "was trained on other pictures (others; 2 classes)"),
        ({"network": {}}, "holds no weights"),
        ({"network": {"0.weight": torch.zeros(2)}}, "does not fit"),
        ({"optimizer": {}}, "is damaged"),
        ({"optimizer": {"state": {}, "param_groups": [{"params": [0]}]}}, "is damaged"),
        ({"schedule": 5}, "is damaged"),
        ({"random": torch.zeros(3)}, "is damaged"),
    ],
)
def test_damage_is_told_in_a_sentence(
    tmp_path: Path, content: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "a.pth"
    torch.save({**content, **change}, path)
    with pytest.raises(OnnxvisError) as caught:
        restore(trainer(), read(path), DATA)
    assert said in str(caught.value)
    assert "a.pth" in str(caught.value)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"nothing")
    for path in (tmp_path / "a.pth", tmp_path / "none.pth", tmp_path):
        with pytest.raises(OnnxvisError):
            read(path)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "b.pth")
    with pytest.raises(OnnxvisError, match=r"b\.pth was not written by onnxvis make finetune"):
        read(tmp_path / "b.pth")
