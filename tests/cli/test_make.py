"""The dispatcher of recipes: which there are, how each is found, and what is said of others."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module

import pytest

from onnxvis.cli.main import main
from onnxvis.cli.make import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_has_a_module_and_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = import_module(f"onnxvis.cli.recipes.{name}")
    parser = argparse.ArgumentParser()
    recipe.add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings}
    assert "-o" in options
    with pytest.raises(SystemExit) as ended:
        main(["make", name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: onnxvis make {name} ")
    assert " ".join(RECIPES[name].split()[1:4]) in " ".join(said.split())
    assert all(option in said for option in options)


def test_help_lists_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["make", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: onnxvis make RECIPE ...")
    assert all(f"  {name}  " in said and summary in said for name, summary in RECIPES.items())


def test_without_a_recipe_all_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["make"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(name in said for name in RECIPES)


@pytest.mark.parametrize(("arguments", "said"), [(["cake"], "'cake'"), (["-o", "x.onnx"], "'x.onnx'")])
def test_what_is_no_recipe_ends_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["make", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_options_are_those_of_the_recipe_and_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    for extra in ("--rand", "--cfg"):
        with pytest.raises(SystemExit) as ended:
            main(["make", "torchvision", "resnet18", "-o", "x.onnx", extra])
        assert ended.value.code == 2
        assert f"onnxvis make torchvision: error: unrecognized arguments: {extra}" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, contextlib, io\nfrom onnxvis.cli.main import main\nfrom onnxvis.cli.make import RECIPES\n"
        "for name in RECIPES:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main(['make', name, '--help'])\n"
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'cv2', 'PIL', 'torch', 'torchvision') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
