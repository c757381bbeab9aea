from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from onnxvis.cli.main import main
from onnxvis.show import report
from onnxvis.show.options import ReportOptions


def test_the_command_line_and_python_have_the_same_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classifier: Path
) -> None:
    given: list[ReportOptions] = []
    monkeypatch.setattr(report, "write_report", lambda *arguments: given.append(arguments[3]))
    assert main(["report", str(classifier), "-o", str(tmp_path / "r.html"), "--quiet"]) == 0
    (found,) = given
    assert replace(found, command="") == ReportOptions()


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (ReportOptions(), True),
        (ReportOptions(heatmaps=()), False),
        (ReportOptions(heatmaps=(), patches=Path("folder")), True),
        (ReportOptions(heatmaps=(), projections=True), True),
        (ReportOptions(heatmaps=(), projections=False), False),
        (ReportOptions(channels=0, projections=True, patches=Path("folder")), False),
    ],
)
def test_when_channels_are_shown(options: ReportOptions, shown: bool) -> None:
    assert options.shows_channels is shown
