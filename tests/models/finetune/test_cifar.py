"""CIFAR-10 through torchvision, which is stood in for: nothing is fetched in tests."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from onnxvis.errors import InputError, UsageError
from onnxvis.models.finetune.cifar import cifar10_split
from onnxvis.models.finetune.data import normalised

NEEDS = "needs PyTorch and torchvision: pip install -e '.[test,make]'"


@pytest.fixture
def datasets() -> Any:
    pytest.importorskip("torch", reason=NEEDS)
    pytest.importorskip("torchvision", reason=NEEDS)
    import torchvision.datasets

    return torchvision.datasets


def small(root: str, train: bool, download: bool) -> SimpleNamespace:
    print("Files already downloaded and verified")
    assert download
    rng = np.random.default_rng(train)
    count = 30 if train else 20
    pixels = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return SimpleNamespace(data=pixels, targets=[k % 10 for k in range(count)], classes=[f"c{k}" for k in range(10)])


def test_its_own_test_pictures_are_held_out(
    datasets: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datasets, "CIFAR10", small)
    data = cifar10_split(tmp_path, lambda pixels: pixels.repeat(2, 0).repeat(2, 1), 15)
    assert capsys.readouterr().out == ""
    assert data.labels == tuple(f"c{k}" for k in range(10))
    assert (data.train.count, data.held_out.count) == (30, 15)
    pictures, labels = data.held_out.batch([0, 14])
    assert labels.tolist() == [0, 4]
    original = small("", False, True).data[[0, 14]]
    np.testing.assert_array_equal(pictures[:, :, ::2, 1::2], normalised(original))
    trained, _ = data.train.batch([3])
    np.testing.assert_array_equal(trained[:, :, ::2, ::2], normalised(small("", True, True).data[[3]]))


def test_offline_it_says_where_the_archive_goes(datasets: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*given: object, **named: object) -> None:
        raise OSError("Name or service not known")

    before = socket.getdefaulttimeout()
    monkeypatch.setattr(datasets, "CIFAR10", unreachable)
    with pytest.raises(InputError, match=r"cannot be downloaded \(Name.*put cifar-10-python\.tar\.gz .*into "):
        cifar10_split(tmp_path, lambda pixels: pixels, 10)
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize("held_out", [0.2, 10_001, 7.5])
def test_a_share_is_refused_before_anything_is_read(tmp_path: Path, held_out: float) -> None:
    with pytest.raises(UsageError, match="has its own 10,000 test pictures"):
        cifar10_split(tmp_path, lambda pixels: pixels, held_out)
