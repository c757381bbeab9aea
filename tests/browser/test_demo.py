"""What a newcomer meets first: the demo's report, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from onnxvis.cli.main import main
from tests.browser.chromium import find_chromium, look

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome on PATH"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "report.html"
    assert main(["demo", "-o", str(path), "--quiet"]) == 0
    return path


def test_the_demo_opens_offline_without_an_error_or_a_request(report: Path) -> None:
    count = len(re.findall(r"<canvas [^>]*data-sprite", report.read_text()))
    assert count > 10
    until = f"document.querySelectorAll('canvas.painted').length === {count}"
    visit = look(report, height=700, open_all=True, until=until)
    assert visit.console == ()
    assert visit.requests == ()


def test_the_demo_reads_with_scripts_off(report: Path) -> None:
    visit = look(report, scripts=False, until="")
    assert visit.console == ()
    assert visit.requests == ()
    for text in ("classifier.onnx", "arrow", "layer4", "As the model saw it"):
        assert text in visit.dom
