"""Checkpoints in all the shapes that training scripts give them, and files that only pretend to be some."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from onnxvis.errors import InputError, ModelError
from onnxvis.models.checkpoints import load_checkpoint, load_weights, read_checkpoint, renamed

NEEDS_TORCH = "needs PyTorch: pip install -e '.[test,torch]'"


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason=NEEDS_TORCH)


@pytest.fixture
def network(torch: Any) -> Any:
    def build(seed: int, classes: int = 4) -> Any:
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            OrderedDict(conv=torch.nn.Conv2d(3, 8, 3), bn=torch.nn.BatchNorm2d(8), fc=torch.nn.Linear(8, classes))
        )

    return build


def alike(torch: Any, one: Any, two: Any) -> bool:
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("key", ["", "state_dict", "model_state_dict", "model", "net", "network", "weights"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "model."])
@pytest.mark.parametrize("archive", [True, False])
def test_weights_come_back_whatever_is_around_them(
    torch: Any, network: Any, tmp_path: Path, key: str, prefix: str, archive: bool
) -> None:
    trained, fresh = network(1), network(2)
    state = OrderedDict((f"{prefix}{name}", value) for name, value in trained.state_dict().items())
    content = {"epoch": 7, key: state, "optimizer": {"lr": 0.1}} if key else state
    torch.save(content, tmp_path / "best.pth", _use_new_zipfile_serialization=archive)
    assert not alike(torch, trained, fresh)
    load_checkpoint(tmp_path / "best.pth", fresh)
    assert alike(torch, trained, fresh)


def test_a_prefix_that_the_network_has_itself_stays() -> None:
    assert list(renamed({"model.a": 1, "model.b": 2}, ["model.a", "model.b"])) == ["model.a", "model.b"]
    assert list(renamed({"model.a": 1, "fc.b": 2}, ["a", "fc.b"])) == ["model.a", "fc.b"], "not all have it"
    old = "module.features.denseblock1.denselayer2.norm.1.weight"
    assert list(renamed({old: 1}, ["x"])) == ["features.denseblock1.denselayer2.norm1.weight"]


class Trap:
    """What a hostile pickle does: a call on reading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize("protocol", [None, 0, 2, 4, 5])
def test_code_in_a_file_is_refused_and_never_run(
    torch: Any, network: Any, tmp_path: Path, protocol: int | None
) -> None:
    """In an archive as torch.save writes it, and in plain pickles."""
    path, mark = tmp_path / "evil.pth", tmp_path / "ran"
    if protocol is None:
        torch.save({"state_dict": network(1).state_dict(), "more": Trap(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(mark), protocol))
    said = r"no checkpoint of PyTorch" if protocol in (4, 5) else r"would call \w+\.system, .* is never run"
    with pytest.raises(InputError, match=rf"evil\.pth .*{said}"):
        read_checkpoint(path)
    assert not mark.exists()
    assert pickle.loads(pickle.dumps(Trap(mark))) == 0
    assert mark.exists(), "the trap is one"


def test_a_whole_module_is_refused_with_advice(torch: Any, network: Any, tmp_path: Path) -> None:
    torch.save(network(1), tmp_path / "module.pth")
    with pytest.raises(
        InputError, match=r"would call torch\.nn\S+Sequential.* torch\.save\(network\.state_dict\(\), FILE\)"
    ):
        read_checkpoint(tmp_path / "module.pth")


def test_files_that_are_no_checkpoints(torch: Any, network: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    torch.save(network(1).state_dict(), path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], whole[: len(whole) // 2] + bytes(len(whole) // 2)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"some\.pth"):
            read_checkpoint(path)
    contents: list[Any] = [{"epoch": 3}, [1, 2], 5, {"model": {}}, {3: torch.zeros(2)}]
    for held in contents:
        torch.save(held, path)
        with pytest.raises(InputError, match="holds no weights by name"):
            read_checkpoint(path)
    with pytest.raises(InputError, match="there is no file"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(InputError, match="is a folder; give the file of weights itself"):
        read_checkpoint(tmp_path)


def test_a_small_file_that_would_grow_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1_000_000))
    with pytest.raises(InputError, match=r"would grow to 1,000,000 bytes"):
        read_checkpoint(tmp_path / "bomb.pth")


def test_what_does_not_fit_is_named(torch: Any, network: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    state = dict(network(1, classes=9).state_dict())
    torch.save(state, path)
    with pytest.raises(ModelError, match=r"fc\.weight \(9x8, the network has 4x8\), fc\.bias \(9, the network has 4\)"):
        load_checkpoint(path, network(2))
    state = {"fc.weight": torch.zeros(4, 8), **{f"extra.{index}": torch.zeros(1) for index in range(5)}}
    torch.save(state, path)
    with pytest.raises(ModelError) as refused:
        load_checkpoint(path, network(2))
    said = str(refused.value)
    assert (
        "it lacks conv.weight, conv.bias, bn.weight and 4 more; it has besides extra.0, extra.1, extra.2 and 2" in said
    )
    assert "\n" not in said


def test_names_to_be_ignored_are_and_counters_may_be_absent(torch: Any, network: Any) -> None:
    trained, fresh = network(1), network(2)
    state = dict(trained.state_dict())
    del state["bn.num_batches_tracked"]
    load_weights({**state, "aux1.weight": torch.zeros(3)}, fresh, "FILE", ignore=("aux1.",))
    assert alike(torch, trained, fresh)
    with pytest.raises(ModelError, match=r"FILE does not fit Sequential: it has besides aux1\.weight"):
        load_weights({**state, "aux1.weight": torch.zeros(3)}, network(3), "FILE")


def test_modules_that_read_older_versions_are_told_which_it_was(torch: Any, tmp_path: Path) -> None:
    class Versioned(torch.nn.Module):  # type: ignore[misc]
        _version = 2

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2))

        def _load_from_state_dict(self, state: Any, prefix: str, local: Any, *rest: Any) -> None:
            if local.get("version") != 2:
                raise ValueError(f"version is {local.get('version')}")
            super()._load_from_state_dict(state, prefix, local, *rest)

    outer = torch.nn.Sequential(Versioned())
    with torch.no_grad():
        outer[0].weight.fill_(5)
    parallel = torch.nn.DataParallel(outer)
    torch.save({"state_dict": parallel.state_dict()}, tmp_path / "versioned.pth")
    fresh = torch.nn.Sequential(Versioned())
    load_checkpoint(tmp_path / "versioned.pth", fresh)
    assert fresh[0].weight.tolist() == [5, 5]
    with pytest.raises(ModelError, match="version is None"):
        load_weights({"0.weight": torch.ones(2)}, fresh, "FILE")
