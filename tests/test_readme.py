"""What the README says is so: its commands are what .ci/run runs, its links lead somewhere, its Python runs."""

from __future__ import annotations

import argparse
import re
import shlex
from importlib import import_module
from pathlib import Path

import cv2
import pytest

from onnxvis.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIGURE = ROOT / "docs/report.png"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


SHELL = [line for block in blocks("sh") for line in block.splitlines()]
ROWS = re.findall(r"^\| `onnxvis (\w+)([^`]*)` \|(.*)\|$", README, re.MULTILINE)


def test_ci_runs_the_two_commands_exactly() -> None:
    promised = [line for line in SHELL if line.startswith("pip install")]
    assert promised == ["pip install . && onnxvis demo", "pip install -e '.[test]' && pytest"]
    script = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert [line for line in script if re.match(r"\s*pip install .*&&", line)] == promised
    assert script.index("set -euo pipefail") < script.index(promised[0])


def test_links_lead_to_files() -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", README) if "://" not in link]
    assert len(links) >= 5
    assert not [link for link in links if not (ROOT / link.partition("#")[0]).is_file()]


def test_the_figure_is_small() -> None:
    assert f"]({FIGURE.relative_to(ROOT).as_posix()})" in README
    assert FIGURE.stat().st_size <= 300_000
    assert cv2.imread(str(FIGURE)) is not None


def test_the_table_names_every_command() -> None:
    assert sorted({name for name, _, _ in ROWS}) == sorted(COMMANDS)


@pytest.mark.parametrize(("name", "arguments", "text"), ROWS, ids=[name for name, _, _ in ROWS])
def test_every_command_of_the_table_has_help(
    name: str, arguments: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for option in re.findall(r"(?<!\w)--?[a-z]+", f"{arguments} {' '.join(re.findall('`([^`]+)`', text))}"):
        assert re.search(rf"(?<![\w-]){option}\b", said), option


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("onnxvis")])
def test_every_example_is_understood(line: str) -> None:
    _, name, *rest = shlex.split(line)
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    import_module(f"onnxvis.cli.{name}").add_arguments(parser)
    parser.parse_args(rest)


def test_the_python_runs(
    classifier: Path, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("python")
    assert {'"resnet50.onnx"', '"cat.jpg"'} <= set(re.findall(r'"[^"]+"', code))
    code = code.replace('"resnet50.onnx"', repr(str(classifier))).replace('"cat.jpg"', repr(str(scene)))
    code = code.replace('"yolov3.onnx"', repr(str(classifier.with_name("detector.onnx"))))
    code = code.replace('"street.png"', repr(str(classifier.parent / "crowds/market.png")))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    stages = names["model"].stages()  # type: ignore[attr-defined]
    first = stages[0]
    assert names["maps"].shape == (first.channels, first.height, first.width)  # type: ignore[attr-defined]
    assert names["exposed"].proto.graph.output[-1].name == stages[3].output  # type: ignore[attr-defined]
    assert names["found"].boxes[0].score > 0.5  # type: ignore[attr-defined]
    assert capsys.readouterr().out.count("\n") == len(stages) + 1
    assert "classifier.onnx" in (tmp_path / "report.html").read_text(encoding="utf-8")
