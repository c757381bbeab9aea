"""The package as people get it: a wheel in a clean environment outside the checkout, and an editable install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MUST_HOLD = ("onnxvis/py.typed", "onnxvis/models/data/classifier.onnx", "onnxvis/templates/report.html.j2")


def run(*command: object, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ONNXVIS", "COV"))}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of every file of the checkout that git keeps."""
    folder = tmp_path_factory.mktemp("source")
    for name in run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def built(kind: str, source: Path, folder: Path) -> Path:
    """`source` packed as a wheel or an sdist; building leaves files behind, so a copy is built."""
    copy = shutil.copytree(source, folder / "copy")
    run(sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", folder, copy, cwd=folder)
    return next(folder.glob("onnxvis-*"))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", source, tmp_path_factory.mktemp("wheel"))


def environment(folder: Path, *install: object) -> Path:
    """A virtual environment that sees the dependencies installed here, with the package itself installed afresh."""
    venv.create(folder, with_pip=True)
    here = [path for path in sys.path if path.endswith("site-packages")]
    pth = next(folder.glob("lib/python*/site-packages")) / "dependencies.pth"
    pth.write_text("\n".join(here))
    python = folder / "bin/python"
    # An old setuptools that comes with the environment would stand before the one that is installed here.
    run(python, "-m", "pip", "uninstall", "-q", "-y", "setuptools", cwd=folder)
    # Only what this environment itself holds counts as installed, so the package is never taken from elsewhere.
    alone = ("--no-deps", "--no-build-isolation", "--ignore-installed")
    run(python, "-m", "pip", "install", "-q", *alone, *install, cwd=folder)
    return folder


@pytest.mark.slow
def test_the_wheel_holds_what_it_needs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert all(name in names for name in MUST_HOLD)
    assert not [name for name in names if name.startswith(("tests/", "models/", "templates/"))]


@pytest.mark.slow
def test_the_sdist_holds_the_checkout(source: Path, tmp_path: Path) -> None:
    with tarfile.open(built("sdist", source, tmp_path)) as archive:
        packed = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    kept = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert {"CHANGELOG.md", "CONTRIBUTING.md", "docs/report.png", "tests/conftest.py", "tests/zoo/core.py"} <= kept
    assert kept - packed == {".gitignore"}
    made = {name for name in packed - kept if not name.startswith("onnxvis.egg-info/")}
    assert made == {"PKG-INFO", "setup.cfg"}


@pytest.mark.slow
def test_the_wheel_runs_the_demo_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    folder = environment(tmp_path / "venv", wheel)
    where = run(folder / "bin/python", "-c", "import onnxvis; print(onnxvis.__file__)", cwd=tmp_path)
    assert where.startswith(str(folder))
    output = tmp_path / "out" / "report.html"
    assert run(folder / "bin/onnxvis", "demo", "-o", output, cwd=tmp_path).strip() == str(output)
    assert "classifier.onnx" in output.read_text()


@pytest.mark.slow
def test_an_editable_install_runs_the_demo(tmp_path: Path) -> None:
    folder = environment(tmp_path / "venv", "-e", ROOT)
    output = tmp_path / "report.html"
    run(folder / "bin/onnxvis", "demo", "-o", output, cwd=tmp_path)
    assert output.stat().st_size > 100_000
