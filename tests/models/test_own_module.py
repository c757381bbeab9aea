"""Modules of the user's own: files run with their siblings, modules made with arguments, or refused in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnxvis.errors import InputError, UsageError
from onnxvis.models.own_module import build_own, own_imports, parse_arguments, parse_where

NEEDS_TORCH = "needs PyTorch: pip install -e '.[test,torch]'"
NET = """
import torch
from torch import nn

print("a tutorial says hello")

class Small(nn.Module):
    def __init__(self, channels, kernel=3, act="relu"):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, kernel)
        self.act = act

    def forward(self, x):
        return self.conv(x)

class Other(nn.ReLU):
    pass

def small(channels=2):
    return Small(channels)

def number():
    return 5

ready = small(6)
"""


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason=NEEDS_TORCH)


@pytest.fixture
def built(torch: Any, tmp_path: Path) -> Callable[..., Any]:
    """Write NET, or another text, into a file, and build what is named in it."""

    def build(name: str, text: str = NET, file: Path = tmp_path / "net.py", **arguments: Any) -> Any:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        with own_imports(file):
            return build_own(file, name, arguments)

    return build


def test_a_place_is_a_file_and_a_name() -> None:
    assert parse_where("nets/yolo.py:YoloBody") == (Path("nets/yolo.py"), "YoloBody")
    assert parse_where("C:/a.py:Net") == (Path("C:/a.py"), "Net")
    for text in ("net.py", "net.py:", ":Net", "net.py:a b", "net.py:a.b"):
        with pytest.raises(UsageError, match=r"FILE\.py:CLASS"):
            parse_where(text)


def test_arguments_are_literals_or_text() -> None:
    texts = [
        "n=5",
        "sizes=[1, (2, 3)]",
        "act=relu",
        "name='x'",
        "none=None",
        "flag=True",
        "empty=",
        "eq=a=b",
        "lr=-1e-3",
    ]
    assert parse_arguments(texts) == {
        "n": 5, "sizes": [1, (2, 3)], "act": "relu", "name": "x", "none": None, "flag": True, "empty": "", "eq": "a=b",
        "lr": -0.001,
    }  # fmt: skip
    assert parse_arguments(["call=__import__('os').getcwd()"]) == {"call": "__import__('os').getcwd()"}


def test_arguments_without_a_name_are_refused() -> None:
    for text in ("5", "=5", "a b=5", "a-b=5"):
        with pytest.raises(UsageError, match="NAME=VALUE"):
            parse_arguments([text])
    with pytest.raises(UsageError, match="gives n twice"):
        parse_arguments(["n=5", "n=6"])
    with pytest.raises(UsageError, match="nested too deeply"):
        parse_arguments(["n=" + "-" * 100_000 + "1"])


def test_classes_functions_and_modules_give_modules(built: Any) -> None:
    assert built("Small", channels=4, kernel=5).conv.weight.shape == (4, 3, 5, 5)
    assert built("small").conv.weight.shape == (2, 3, 3, 3)
    assert built("ready").conv.weight.shape == (6, 3, 3, 3)


def test_random_weights_come_from_the_seed(torch: Any, tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(NET)
    state = torch.random.get_rng_state()
    with own_imports(file):
        one, same, other = (build_own(file, "small", {}, seed) for seed in (1, 1, 2))
    assert torch.equal(one.conv.weight, same.conv.weight)
    assert not torch.equal(one.conv.weight, other.conv.weight)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_it_prints_goes_to_stderr(built: Any, capsys: pytest.CaptureFixture[str]) -> None:
    built("small")
    said = capsys.readouterr()
    assert said.out == ""
    assert "a tutorial says hello" in said.err


@pytest.mark.parametrize(
    ("folder", "start"),
    [
        (".", "from parts_of_it import width"),
        ("nets_of_mine", "from nets_of_mine.parts_of_it import width"),
        ("nets_of_mine", "from .parts_of_it import width"),
        ("json", "from parts_of_it import width"),
        ("not-a-name", "from parts_of_it import width"),
    ],
)
def test_siblings_are_found_and_forgotten(built: Any, tmp_path: Path, folder: str, start: str) -> None:
    file = tmp_path / folder / "net.py"
    path, loaded = list(sys.path), set(sys.modules)
    for width in (4, 9):
        file.parent.mkdir(exist_ok=True)
        # Of different length: Python goes by time and size of a file when it takes one compiled before.
        (file.parent / "parts_of_it.py").write_text(f"width = {width}{' ' * width}\n")
        text = f"{start}\nimport torch\ndef make(): return torch.nn.Linear(width, 1)"
        assert built("make", text, file).in_features == width
        assert sys.path == path
        assert not {name for name in set(sys.modules) - loaded if "net" in name.split(".") or "parts_of_it" in name}


def test_files_that_cannot_be_run_are_told(built: Any, tmp_path: Path) -> None:
    cases = {
        "import no_such_thing_here": "ModuleNotFoundError: No module named 'no_such_thing_here'; install that",
        "x = (": "SyntaxError",
        "raise ValueError('two\\nlines')": "ValueError: two lines",
        "import sys; sys.exit('usage: train')": "SystemExit: usage: train; put what it does .*__main__",
    }
    path = list(sys.path)
    for text, said in cases.items():
        with pytest.raises(InputError, match=rf"net\.py cannot be imported: {said}"):
            built("Net", text)
    assert sys.path == path
    with own_imports(tmp_path / "absent.py"), pytest.raises(InputError, match=r"no file .*absent\.py"):
        build_own(tmp_path / "absent.py", "Net", {})
    with pytest.raises(InputError, match=r"net\.txt is no Python file"):
        built("Net", file=tmp_path / "net.txt")


def test_names_that_are_not_there_are_met_with_those_that_are(built: Any) -> None:
    with pytest.raises(UsageError, match=r"net\.py has no class Net; its modules are Other, Small$"):
        built("Net")
    with pytest.raises(UsageError, match=r"number in .* gives a int, not an nn\.Module; its modules are Other, Small"):
        built("number")
    with pytest.raises(UsageError, match=r"gives a module, not an nn\.Module"):
        built("torch")
    with pytest.raises(UsageError, match=r"it has no nn\.Module at all"):
        built("Net", "x = 5")
    with pytest.raises(UsageError, match=r"ready .* is made already and takes no --args"):
        built("ready", channels=5)


def test_constructors_that_fail_say_what_they_take(built: Any) -> None:
    said = r"missing 1 required positional argument: 'channels'; it is Small\(channels, kernel=3, act='relu'\).*--args"
    with pytest.raises(InputError, match=rf"Small in .*net\.py cannot be made: TypeError: .*{said}"):
        built("Small")
    with pytest.raises(InputError, match=r"fails in .* cannot be made: ValueError: no; arguments"):
        built("fails", "def fails(): raise ValueError('no')")
