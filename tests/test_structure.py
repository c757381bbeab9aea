"""The folders show the flow of data: a folder imports only from those to its left."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ("graph", "rewrite", "run", "measure", "show", "cli")
ANYWHERE = {"errors", "files", "version"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "onnxvis":
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("onnxvis.")}
    return found


@pytest.mark.parametrize("folder", ORDER)
def test_a_folder_imports_only_from_its_left(folder: str) -> None:
    allowed = set(ORDER[: ORDER.index(folder) + 1]) | ANYWHERE
    if folder in ("show", "cli"):
        allowed |= {"templates"}
    if folder == "cli":
        allowed |= {"models", "api"}
    files = sorted((ROOT / "onnxvis" / folder).rglob("*.py"))
    assert files
    wrong = {path.name: imports(path) - allowed for path in files}
    assert not {name: found for name, found in wrong.items() if found}


def test_models_import_only_graph_and_rewrite() -> None:
    allowed = {"graph", "rewrite"} | ANYWHERE
    wrong = {path.name: imports(path) - allowed for path in (ROOT / "models").rglob("*.py")}
    assert not {name: found for name, found in wrong.items() if found}


def modules_imported(path: Path) -> set[str]:
    """Wherever in the file: at its top, in a function, or only for types."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "onnxvis":
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_no_module_imports_itself_in_a_circle() -> None:
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "onnxvis").rglob("*.py")}
    edges = {name: modules_imported(path) for name, path in files.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' → '.join((*trail, name))}"
        if name in done or name not in edges:
            return
        for other in edges[name]:
            visit(other, (*trail, name))
        done.add(name)

    for name in edges:
        visit(name, ())


ELSEWHERE = {
    "onnxvis/show/page.py": "tests/show/test_report.py",  # data without code: held by what builds and draws it
    "onnxvis/version.py": "tests/cli/test_main.py",
    "models/resnet.py": "tests/models/test_classifier.py",
}


def test_tests_mirror_the_code() -> None:
    """Each module has a test file of its own name in the folder of its own name; the exceptions are named here."""
    missing = {}
    for path in [*(ROOT / "onnxvis").rglob("*.py"), *(ROOT / "models").rglob("*.py")]:
        module = path.relative_to(ROOT)
        inside = module.relative_to("onnxvis") if module.parts[0] == "onnxvis" else module
        test = Path("tests") / inside.parent / f"test_{inside.name}"
        if path.name != "__init__.py" and not (ROOT / test).is_file():
            missing[module.as_posix()] = test.as_posix()
    assert missing.keys() == ELSEWHERE.keys()
    assert all((ROOT / other).is_file() for other in ELSEWHERE.values())


def best_of(command: list[str], runs: int = 7) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def test_help_is_instant() -> None:
    code = "import sys; from onnxvis.cli.main import main; sys.argv = ['onnxvis', '--help']; main()"
    assert best_of([sys.executable, "-c", code]) <= 3 * best_of([sys.executable, "-c", "pass"])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, contextlib, io\nfrom onnxvis.cli.main import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main(['--help'])\n"
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'cv2', 'PIL', 'jinja2') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_no_file_is_too_long() -> None:
    long = {p.name: n for p in (ROOT / "onnxvis").rglob("*.py") if (n := len(p.read_text().splitlines())) > 320}
    assert not long
