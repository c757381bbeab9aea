"""A small network and a picture for the commands, and what each of them must keep to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onnxvis.cli.main import main
from tests.tiny import photo, tiny, write

Fails = Callable[..., str]


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Path]:
    """The tiny network's file, which no command may change."""
    path = write(tiny(), tmp_path, "tiny.onnx")
    before = hashlib.sha256(path.read_bytes()).digest()
    yield path
    assert hashlib.sha256(path.read_bytes()).digest() == before


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture that has the network's size already."""
    return photo(tmp_path, height=32, width=32)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run a command that must end with code 2 and one sentence on stderr, which is returned."""

    def run(*arguments: str | Path) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        lines = [line for line in said.err.splitlines() if line.startswith("onnxvis: ")]
        assert said.err.splitlines() == lines, "every line is ours"
        assert "Traceback" not in said.err
        assert "fault of onnxvis" not in said.err
        assert len(lines[-1]) < 800
        return lines[-1].removeprefix("onnxvis: ")

    return run
