from __future__ import annotations

import json

import pytest

from onnxvis import __version__
from onnxvis.cli.main import main
from onnxvis.run import installation


def test_a_sound_installation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(installation, "problems", list)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "no problems found" in out
    assert "CPUExecutionProvider" in out
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema_version"], found["onnxvis_version"], found["problems"]) == (1, __version__, [])
    assert set(found) >= {"packages", "providers", "auto"}


def test_problems_are_findings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(installation, "problems", lambda: ["two runtimes; mend it: pip"])
    assert main(["doctor"]) == 1
    assert "PROBLEM  two runtimes; mend it: pip\n" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == ["two runtimes; mend it: pip"]
