from __future__ import annotations

import argparse
import sys

import pytest

from onnxvis.cli import options as shared
from onnxvis.errors import UsageError
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.session import RunOptions
from onnxvis.show.colormap import COLORMAPS
from onnxvis.show.mosaic import STRETCHES


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    shared.add_input_options(parser)
    shared.add_run_options(parser)
    shared.add_look_options(parser)
    shared.add_quiet(parser)
    return parser.parse_args(arguments)


def test_defaults_ask_for_nothing() -> None:
    assert shared.preprocess_flags(parsed()) == PreprocessFlags()
    assert shared.run_options(parsed()) == RunOptions()


def test_what_is_asked_for() -> None:
    flags = shared.preprocess_flags(
        parsed("--preprocess", "caffe", "--size", "224x320", "--mean", "1,2,3", "--std", "2", "--divide", "1", "--rgb")
    )
    assert flags == PreprocessFlags.parse(
        preset="caffe", size="224x320", mean="1,2,3", std="2", divide="1", bgr=False
    )  # fmt: skip
    assert shared.run_options(parsed("--provider", "cpu", "--threads", "3", "--exact")) == RunOptions("cpu", 3, True)
    with pytest.raises(UsageError, match="--threads -1"):
        shared.run_options(parsed("--threads", "-1"))


def test_the_choices_are_those_of_the_pictures() -> None:
    for name in COLORMAPS:
        assert parsed("--colormap", name).colormap == name
    for name in STRETCHES:
        assert parsed("--stretch", name).stretch == name
    for wrong in (("--colormap", "pink"), ("--stretch", "all"), ("--bgr", "--rgb"), ("--fit", "x")):
        with pytest.raises(SystemExit):
            parsed(*wrong)


def test_the_command_can_be_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/onnxvis", "report", "a b.onnx", "it's.png"])
    assert shared.command_line() == """onnxvis report 'a b.onnx' 'it'"'"'s.png'"""
