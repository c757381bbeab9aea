from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnxvis import __version__
from onnxvis.cli import doctor
from onnxvis.cli.main import COMMANDS, main
from onnxvis.errors import ModelError
from tests.cli.conftest import Fails
from tests.tiny import photo, tiny, write

RUN = "import sys; from onnxvis.cli.main import main; sys.exit(main())"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)
    assert main([]) == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"onnxvis {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: onnxvis {name}")


@pytest.mark.parametrize("arguments", [["bogus"], ["--bogus"], ["report"], ["layers", "a", "b"], ["features", "a"]])
def test_wrong_use_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "usage: onnxvis" in said.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "onnxvis: interrupted"),
        (ModelError("no good"), 2, "onnxvis: no good"),
        (OSError(28, "No space left on device"), 2, "onnxvis: No space left on device, while writing or reading"),
        (RuntimeError("odd\n  text"), 2, "onnxvis: RuntimeError: odd text. This is a fault of onnxvis"),
        (RuntimeError("\x1b[2J\u202ered"), 2, "onnxvis: RuntimeError: \\x1b[2J\\x202ered. This is a fault of onnxvis"),
    ],
)
def test_every_error_is_one_line(
    error: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(options: object) -> int:
        raise error

    monkeypatch.delenv("ONNXVIS_TRACEBACK", raising=False)
    monkeypatch.setattr(doctor, "run", run)
    assert main(["doctor"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(words)
    assert said.err.count("\n") == 1


def test_faults_can_be_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: object) -> int:
        raise RuntimeError("odd")

    monkeypatch.setenv("ONNXVIS_TRACEBACK", "1")
    monkeypatch.setattr(doctor, "run", run)
    with pytest.raises(RuntimeError, match="odd"):
        main(["doctor"])


@pytest.mark.parametrize("command", ["layers", "report", "features", "expose"])
def test_files_that_are_no_model(command: str, tmp_path: Path, fails: Fails) -> None:
    whole = write(tiny(), tmp_path).read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("hello\n" * 100)
    rest: dict[str, list[str | Path]] = {
        "layers": [], "report": ["-o", tmp_path / "r.html"], "expose": ["-o", tmp_path / "e.onnx", "--tensor", "x"],
        "features": [photo(tmp_path), "-o", tmp_path / "f"],
    }  # fmt: skip
    for name, words in (
        ("none.onnx", "No such file"), ("photo.png", "is not an ONNX model"), ("cut.onnx", "cut short"),
        ("empty.onnx", "is not an ONNX model"), ("text.onnx", "is not an ONNX model"), (".", "is a folder"),
    ):  # fmt: skip
        photo(tmp_path)
        assert words in fails(command, tmp_path / name, *rest[command])
    assert not (tmp_path / "r.html").exists()
    assert not (tmp_path / "e.onnx").exists()
    assert not (tmp_path / "f").exists()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    read, wrote = os.pipe()
    os.close(read)
    with os.fdopen(wrote, "wb") as out:
        for arguments in (["layers", str(path), "--json"], ["layers", str(path)]):
            done = subprocess.run([sys.executable, "-c", RUN, *arguments], stdout=out, stderr=subprocess.PIPE)
            assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "utf-8"])
def test_any_terminal_can_show_the_table(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tiny(), tmp_path)
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, write_through=True) as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert main(["layers", str(path)]) == 0
        assert b"stage1" in raw.getvalue()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")
def test_paths_that_are_no_text_are_printed_as_they_are(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    target = os.fsencode(tmp_path / "caf") + b"\xe9.html"
    command: list[str | bytes] = [sys.executable, "-c", RUN, "report", str(path), "-o", target, "--quiet"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONUTF8": "1"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == target + b"\n"
    assert Path(os.fsdecode(target)).exists()


@pytest.mark.parametrize("closed", ["2>&-", ">&-"])
def test_a_closed_stream_is_no_fault(closed: str) -> None:
    code = "import sys; from onnxvis.cli.main import main; sys.exit(main(['doctor']))"
    done = subprocess.run(f'"{sys.executable}" -c "{code}" {closed}', shell=True, capture_output=True, text=True)
    assert done.returncode == 0
    assert "fault" not in done.stdout + done.stderr


ENTRY = "import atexit, sys; from onnxvis.cli.main import entry; atexit.register(print, 'taken apart'); entry()"


def test_the_command_ends_at_once_with_all_that_it_printed(tmp_path: Path) -> None:
    model = write(tiny(), tmp_path)
    for arguments, code in ((["layers", str(model), "--json"], 0), (["layers", str(tmp_path / "none.onnx")], 2)):
        done = subprocess.run([sys.executable, "-c", ENTRY, *arguments], capture_output=True, text=True)
        printed = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (code, printed.stdout, printed.stderr)
        assert "taken apart" not in done.stdout


def test_a_reader_that_has_gone_is_no_failure(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENTRY, "layers", str(write(tiny(), tmp_path)), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
