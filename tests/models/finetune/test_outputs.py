"""The names of what a training writes, and what it must not write over."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxvis.errors import OutputError, UsageError
from onnxvis.models.finetune.outputs import Outputs


def test_everything_is_named_after_the_model() -> None:
    outputs = Outputs.of(Path("out/cats.v1.onnx"), None)
    assert outputs.state == Path("out/cats.v1.pth")
    assert outputs.table == Path("out/cats.v1.curves.csv")
    assert outputs.picture == Path("out/cats.v1.curves.png")
    assert outputs.at_step(200) == Path("out/cats.v1-step000200.onnx")
    elsewhere = Outputs.of(Path("a.onnx"), Path("b/c.d"))
    assert (elsewhere.table, elsewhere.picture) == (Path("b/c.d.csv"), Path("b/c.d.png"))


def test_a_model_needs_its_ending() -> None:
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        Outputs.of(Path("cats"), None)


def test_what_was_given_is_never_written_over(tmp_path: Path) -> None:
    given = tmp_path / "list.csv"
    given.touch()
    Outputs.of(tmp_path / "a.onnx", None).check([given, tmp_path])
    with pytest.raises(OutputError, match="one of the inputs"):
        Outputs.of(tmp_path / "a.onnx", tmp_path / "list").check([given])
    (tmp_path / "b.pth").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        Outputs.of(tmp_path / "b.onnx", None).check([])
