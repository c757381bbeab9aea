from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest

from onnxvis.cli import features, report
from onnxvis.cli import options as shared
from onnxvis.errors import UsageError
from onnxvis.measure.boxes.flags import KINDS, NO_FLAGS, DetectorFlags
from onnxvis.run.fitting import Fit, Interpolation
from onnxvis.run.flags import PreprocessFlags, override
from onnxvis.run.pictures import MAX_PIXELS
from onnxvis.run.preprocess import PRESETS, preset
from onnxvis.run.session import RunOptions
from onnxvis.show.budget import DEFAULT_BUDGET
from onnxvis.show.colormap import COLORMAPS
from onnxvis.show.export import ExportOptions
from onnxvis.show.maps import Look
from onnxvis.show.merge import MERGES
from onnxvis.show.mosaic import STRETCHES


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    shared.add_input_options(parser)
    shared.add_run_options(parser)
    shared.add_look_options(parser)
    shared.add_detector_options(parser)
    shared.add_quiet(parser)
    return parser.parse_args(arguments)


def test_defaults_ask_for_nothing() -> None:
    assert shared.preprocess_flags(parsed()) == PreprocessFlags()
    assert shared.run_options(parsed()) == RunOptions()
    assert shared.detector_flags(parsed()) == NO_FLAGS


def test_what_is_asked_for() -> None:
    flags = shared.preprocess_flags(
        parsed("--preprocess", "caffe", "--size", "224x320", "--mean", "1,2,3", "--std", "2", "--divide", "1", "--rgb")
    )
    assert flags == PreprocessFlags.parse(
        preset="caffe", size="224x320", mean="1,2,3", std="2", divide="1", bgr=False
    )  # fmt: skip
    assert shared.run_options(parsed("--provider", "cpu", "--threads", "3", "--exact")) == RunOptions("cpu", 3, True)
    words = ("--anchors", "10,13,16,30", "--detector", "yolov3", "--scale-xy", "1.2")
    assert shared.detector_flags(parsed(*words)) == DetectorFlags(((10, 13), (16, 30)), None, 1.2, "yolov3")
    with pytest.raises(UsageError, match="--anchors"):
        shared.detector_flags(parsed("--anchors", "1,2,3"))
    with pytest.raises(UsageError, match="--threads -1"):
        shared.run_options(parsed("--threads", "-1"))
    assert [shared.check_seed(seed) for seed in (0, 7, 2**63 - 1)] == [0, 7, 2**63 - 1]
    for seed in (-1, 2**63):
        with pytest.raises(UsageError, match=f"--seed {seed} is no seed"):
            shared.check_seed(seed)


def test_names_of_methods() -> None:
    assert shared.method_names([], "--method", "gradcam") == ["gradcam"]
    assert shared.method_names(["a,b", ",c"], "--method", "gradcam") == ["a", "b", "c"]
    for words in ([""], [","], ["", ","]):
        with pytest.raises(UsageError, match="names no method; give one, such as gradcam"):
            shared.method_names(words, "--method", "gradcam")


def test_a_guess_is_said_with_the_options_that_settle_it() -> None:
    settled = preset("caffe", (32, 48))
    guessed = replace(settled, guessed=True)
    for known in (settled, None):
        assert (shared.preprocessing_guess(known), shared.guess_note(known)) == (None, None)
    guess = shared.preprocessing_guess(guessed)
    assert guess is not None
    assert override(preset("unit"), shared.preprocess_flags(parsed(*guess.split()))) == settled
    assert shared.guess_note(guessed) == f"how pictures are prepared was GUESSED; settle it with: {guess}"


def test_the_choices_are_those_of_the_pictures() -> None:
    for name in COLORMAPS:
        assert parsed("--colormap", name).colormap == name
    for name in STRETCHES:
        assert parsed("--stretch", name).stretch == name
    for wrong in (("--colormap", "pink"), ("--stretch", "all"), ("--bgr", "--rgb"), ("--fit", "x")):
        with pytest.raises(SystemExit):
            parsed(*wrong)


def actions(add: Callable[[argparse.ArgumentParser], None]) -> dict[str, argparse.Action]:
    parser = argparse.ArgumentParser()
    add(parser)
    return {action.dest: action for action in parser._actions}


def test_what_the_parsers_repeat_is_what_is_done() -> None:
    """The commands say choices and defaults themselves, so that help needs no heavy import; here they are held."""
    look = actions(shared.add_look_options)
    assert look["colormap"].choices == COLORMAPS
    assert look["stretch"].choices == STRETCHES
    assert (look["colormap"].default, look["stretch"].default) == (Look().colormap, Look().stretch)
    assert actions(shared.add_detector_options)["detector"].choices == KINDS
    export = ExportOptions()
    assert (export.colormap, export.stretch) == (Look().colormap, Look().stretch)
    given = actions(shared.add_input_options)
    assert given["fit"].choices == get_args(Fit)
    assert given["interpolation"].choices == get_args(Interpolation)
    assert given["preprocess"].help == f"{', '.join([*PRESETS][:-1])} or {[*PRESETS][-1]}"
    assert given["max_pixels"].default == MAX_PIXELS
    run = actions(shared.add_run_options)
    assert (run["provider"].default, run["threads"].default) == (RunOptions().provider, RunOptions().threads)
    written = actions(features.add_arguments)
    assert written["merge"].choices == MERGES
    wanted = (export.merge, export.first, export.columns, export.upscale)
    assert tuple(written[name].default for name in ("merge", "first", "columns", "upscale")) == wanted
    assert actions(report.add_page_options)["budget"].default * 1e6 == DEFAULT_BUDGET


def test_the_command_can_be_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/onnxvis", "report", "a b.onnx", "it's.png"])
    assert shared.command_line() == """onnxvis report 'a b.onnx' 'it'"'"'s.png'"""
