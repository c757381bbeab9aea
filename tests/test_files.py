"""Files appear whole or not at all, under names that any file system takes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.errors import OutputError
from onnxvis.files import (
    atomic_writer,
    check_apart,
    check_target,
    one_line,
    picture_of,
    safe_name,
    sha256,
    write_atomic,
    write_many,
)

SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "report.html"
    write_atomic(path, b"first")
    write_atomic(str(path), b"second")
    assert path.read_bytes() == b"second"
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    def fail_halfway() -> None:
        with atomic_writer(path) as stream:
            stream.write(b"new")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway()
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_nothing_is_seen_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with atomic_writer(path) as stream:
        stream.write(b"x" * 100_000)
        stream.flush()
        assert not path.exists()
    assert path.stat().st_size == 100_000


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", b"")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"^cannot write .*file/a: "):
        write_atomic(tmp_path / "file" / "a", b"")
    with pytest.raises(OutputError, match=r"^cannot write "):
        write_atomic(tmp_path, b"")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


@settings(deadline=None)
@given(st.text(max_size=600))
def test_any_text_gives_a_safe_name(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name) <= 80
    assert set(name) <= SAFE
    assert not name.startswith((".", "-"))
    assert name.split(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "/layer1/layer1.0/conv1/Conv_output_0": "layer1_layer1.0_conv1_Conv_output_0",
        "../../etc/passwd": "etc_passwd",
        "CON": "_CON",
        "com7.png": "_com7.png",
        "console": "console",
        "": "_",
        "...": "_",
        "a\0b\nc": "a_b_c",
        "größe": "gr_e",
        "C:\\x": "C_x",
    }.items(),
)
def test_safe_names(text: str, expected: str) -> None:
    assert safe_name(text) == expected


def test_long_names_stay_apart() -> None:
    first, second = safe_name("a" * 500 + "1"), safe_name("a" * 500 + "2")
    assert first != second
    assert len(first) == len(second) == 80
    assert len(safe_name("x" * 1000, limit=40)) == 40


@settings(deadline=None)
@given(st.text(max_size=400))
def test_one_line_is_printable(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 120


def test_one_line_keeps_what_is_harmless() -> None:
    assert one_line("größe 模型.onnx") == "größe 模型.onnx"
    assert one_line("a\x1b[31m\n") == "a\\x1b[31m\\x0a"
    assert one_line(b"\xff") == "b'\\xff'"
    assert one_line("x" * 200, limit=10) == "xxxxxxxxx…"
    assert one_line("\ud800") == "\\xd800"


def test_sha256_of_more_than_one_piece(tmp_path: Path) -> None:
    data = os.urandom(2_500_000)
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_bytes(b"old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_atomic(tmp_path / "link.txt", b"new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_bytes() == b"new"


def test_a_pipe_is_refused_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="device or a pipe"):
        write_atomic(tmp_path / "pipe", b"new")
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="is not a folder"):
        write_atomic(tmp_path / "file" / "below" / "report.html", b"new")


def test_many_files_become_a_folder_in_one_step(tmp_path: Path) -> None:
    contents = {f"channel-{number}.png": bytes([number]) * number for number in range(20)}
    folder = tmp_path / "new" / "maps"

    def made() -> Iterator[tuple[str, bytes]]:
        for name, data in contents.items():
            assert not folder.exists()
            yield name, data

    write_many(folder, made())
    assert {item.name: item.read_bytes() for item in folder.iterdir()} == contents
    assert [item.name for item in folder.parent.iterdir()] == ["maps"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((folder / "channel-1.png").stat().st_mode) == 0o666 & ~umask


def test_many_files_replace_their_like_and_leave_the_rest(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "maps", tmp_path / "elsewhere"
    folder.mkdir()
    for path in (folder / "a", folder / "mine", elsewhere):
        path.write_bytes(b"old")
    (folder / "link").symlink_to(elsewhere)
    write_many(str(folder), [("a", b"1"), ("b", b"2"), ("link", b"3")])
    found = {item.name: item.read_bytes() for item in folder.iterdir()}
    assert found == {"a": b"1", "b": b"2", "link": b"3", "mine": b"old"}
    assert (folder / "link").is_symlink()
    assert elsewhere.read_bytes() == b"3"
    through = tmp_path / "through"
    through.symlink_to(folder)
    write_many(through, [("a", b"4")])
    assert (folder / "a").read_bytes() == b"4"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["elsewhere", "maps", "through"]


def test_an_error_midway_writes_none_of_many(tmp_path: Path) -> None:
    folder = tmp_path / "maps"

    def broken() -> Iterator[tuple[str, bytes]]:
        yield "a", b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_many(folder, broken())
    assert not list(tmp_path.iterdir())
    folder.mkdir()
    (folder / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_many(folder, broken())
    assert [item.name for item in tmp_path.iterdir()] == ["maps"]
    assert (folder / "a").read_bytes() == b"old"


def test_where_many_files_cannot_go(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "maps" / "a").mkdir(parents=True)
    for folder, words in (("file", "is not a folder"), ("file/in", "is not a folder"), ("maps", "it is a folder")):
        with pytest.raises(OutputError, match=words):
            write_many(tmp_path / folder, [("a", b"")])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "maps"]


def test_a_place_is_tried_before_the_work_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to(tmp_path / "old.png")
    for name in ("new.png", "old.png", "link.png", "new folder/below/new.png"):
        check_target(tmp_path / name)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["link.png", "old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"old"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that takes no files")
def test_where_no_file_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to("/proc/x.png")
    for path in (Path("/proc/x.png"), Path("/proc/new/x.png"), tmp_path / "link.png"):
        with pytest.raises(OutputError, match=r"no file can be made in /proc \(.+\); name another place"):
            check_target(path)


def test_two_results_are_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("real.png").write_bytes(b"")
    Path("link.png").symlink_to("real.png")
    check_apart({"-o": Path("x.png"), "--npz": Path("x.npz"), "--csv": None, "--json-file": None})
    for first, second in (
        ("x.png", "x.png"),
        ("x.png", "./x.png"),
        ("x.png", f"{tmp_path}/x.png"),
        ("link.png", "real.png"),
    ):
        with pytest.raises(OutputError, match=f"^-o and --csv cannot both be .*{Path(second).name}; name another file"):
            check_apart({"-o": Path(first), "--npz": Path("y.npz"), "--csv": Path(second)})


def test_a_picture_has_the_name_of_what_it_is_made_of(tmp_path: Path) -> None:
    """Short where nothing else in the folder could have that name; never that of a file it is made of."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    names = ["star.jpg", "moon.png", "sun.png", "Sun.jpg", "sun.png.jpg", "a.b.png", "no ending"]
    for name in names:
        (photos / name).write_bytes(b"")
    wanted = ["star", "moon", "sun.png", "Sun.jpg", "sun.png.jpg", "a.b.png", "no_ending"]
    assert [picture_of(photos / name, out) for name in names] == [out / f"{name}.png" for name in wanted]
    for folder in (photos, tmp_path / "out" / ".." / "photos"):
        out.mkdir(exist_ok=True)
        assert picture_of(photos / "moon.png", folder) == folder / "moon.png.png"
