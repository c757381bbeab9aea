from __future__ import annotations

import io
import sys

import pytest

from onnxvis.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_each_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        for done in range(1, 4):
            progress("weights", done, 3)
        progress("writing")
        progress.tell("a note")
        progress("writing")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["onnxvis: weights", "onnxvis: writing", "onnxvis: a note", "onnxvis: writing"]


def test_quiet_says_only_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=True) as progress:
        progress("weights", 1, 2)
        progress.tell("a note")
        progress.tell("a fault", always=True)
    assert capsys.readouterr().err == "onnxvis: a fault\n"


def test_on_a_terminal_one_line_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress() as progress:
        progress("weights", 1, 2)
        progress("weights", 2, 2)
        progress.tell("a note")
        progress("writing")
    clear = "\r\x1b[K"
    assert terminal.getvalue() == (f"{clear}weights 1/2{clear}weights 2/2{clear}onnxvis: a note\n{clear}writing{clear}")


def test_results_go_to_stdout_and_clear_the_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(quiet=True) as progress:
        progress.result("made.png")
    assert capsys.readouterr() == ("made.png\n", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress() as progress:
        progress("writing")
        progress.result("made.png")
    assert terminal.getvalue() == "\r\x1b[Kwriting\r\x1b[K"
    assert capsys.readouterr().out == "made.png\n"
