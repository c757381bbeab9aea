"""Writing files whole or not at all, and names that are safe on every file system."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from onnxvis.errors import OutputError

__all__ = [
    "atomic_writer",
    "check_apart",
    "check_target",
    "one_line",
    "picture_of",
    "refuse_overwriting",
    "safe_name",
    "sha256",
    "write_atomic",
    "write_many",
]

_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


@contextmanager
def atomic_writer(path: Path | str) -> Iterator[BinaryIO]:
    """Open a binary file that appears at `path` only when the block ends without an error.

    The bytes go to a temporary file in the same folder, which then replaces `path` in one step; on any error it is
    removed and an older file at `path` stays as it was. A link is followed, missing parent folders are made.
    Raises OutputError when the folder cannot be written, or where `path` is a folder, a device or a pipe.
    """
    target = Path(path).resolve() if Path(path).is_symlink() else Path(path)
    _check_kind(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".onnxvis-", suffix=".part", dir=target.parent)
    except OSError as error:
        raise OutputError(f"cannot write {one_line(target)}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {one_line(target)}: {error.strerror or error}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def check_target(path: Path) -> None:
    """Raise OutputError where no file can be written: on a folder, a device or a pipe, below what is no folder, or in a
    folder that takes none.

    A temporary file in the nearest folder that is there tells: its permissions alone do not, of a disk that is
    read-only for instance.
    """
    target = path.resolve() if path.is_symlink() else path
    _check_kind(target)
    above = _nearest(target)
    if above is None:
        return
    try:
        with tempfile.TemporaryFile(prefix=".onnxvis-", suffix=".part", dir=above):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write {one_line(path)}: no file can be made in {one_line(above)} ({error.strerror}); name another "
            "place"
        ) from error


def check_apart(results: Mapping[str, Path | None]) -> None:
    """Raise OutputError where two of `results`, {option: its file}, are the same file, by whatever name."""
    seen: dict[Path, str] = {}
    for option, path in results.items():
        if path is None:
            continue
        other = seen.setdefault(path.resolve(), option)
        if other != option:
            raise OutputError(f"{other} and {option} cannot both be {one_line(path)}; name another file")


def _check_kind(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"cannot write {one_line(path)}: it is a folder; name a file")
    if path.exists() and not path.is_file():
        raise OutputError(f"cannot write {one_line(path)}: it is a device or a pipe; name a file")
    above = _nearest(path)
    if above is not None and not above.is_dir():
        raise OutputError(f"cannot write {one_line(path)}: {one_line(above)} is not a folder; name another place")


def _nearest(path: Path) -> Path | None:
    """What is there already of the folders above `path`."""
    return next((folder for folder in path.absolute().parents if folder.exists()), None)


def write_atomic(path: Path | str, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all. Raises OutputError."""
    with atomic_writer(path) as stream:
        stream.write(data)


def write_many(folder: Path | str, contents: Iterable[tuple[str, bytes]]) -> None:
    """Write each (name, data) of `contents` to a file of that name in `folder`: each whole or not at all, and none
    before all are made. Files of other names that stand there stay.

    The files are made in a temporary folder beside it, which becomes `folder` in one step where there is none yet:
    that costs a fraction of a temporary file for each. Names must be plain file names. Raises OutputError.
    """
    target = Path(folder).resolve() if Path(folder).is_symlink() else Path(folder)
    _check_kind(target / "file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".onnxvis-", suffix=".part", dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write {one_line(target)}: {error.strerror}") from error
    try:
        names = [_write_new(temporary, name, data) for name, data in contents]
        temporary.chmod(0o777 & ~_umask())
        _move_all(temporary, target, names)
    except OSError as error:
        raise OutputError(f"cannot write in {one_line(target)}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_new(folder: Path, name: str, data: bytes) -> str:
    descriptor = os.open(
        f"{folder}{os.sep}{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666
    )
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
    return name


def _move_all(source: Path, target: Path, names: Iterable[str]) -> None:
    if not target.exists():
        source.rename(target)
        return
    for name in names:
        if (target / name).is_symlink():
            write_atomic(target / name, (source / name).read_bytes())
        else:
            _check_kind(target / name)
            (source / name).replace(target / name)


def refuse_overwriting(
    target: Path, own: Iterable[Path], given: Iterable[Path | str] = (), instead: str = "another file"
) -> None:
    """Refuse a target that is the model or its weights (`own`) or another file that was `given`, by whatever name: a
    link, or another spelling of it. `instead` is what the message says to name.

    Raises OutputError, also where no file can be written there: see `check_target`.
    """
    check_target(target)
    if not target.exists():
        return
    for what, sources in (("the model or its weights", own), ("one of the inputs", map(Path, given))):
        if any(source.exists() and target.samefile(source) for source in sources):
            raise OutputError(f"{one_line(target)} is {what}, which are never changed; name {instead}")


def safe_name(text: str, limit: int = 80) -> str:
    """A file name made from any text: letters, digits and `._-` only, at most `limit` characters.

    Names that had to be cut keep a short hash of the whole text, so two long names stay apart. Never empty, never a
    path, never starting with a dot, never a reserved Windows device name. Two texts may still give the same name where
    they differ only in characters that were replaced: number the files.
    """
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", text[: 4 * limit]).strip("._-")
    if not clean or _RESERVED.match(clean):
        clean = f"_{clean}"
    if len(clean) > limit or len(text) > 4 * limit:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        clean = f"{clean[: limit - 9]}-{digest}"
    return clean


def picture_of(source: Path, folder: Path) -> Path:
    """The PNG in `folder` for what is made of the file `source`: `star.png` of `star.jpg`.

    It is `star.jpg.png` where that could be another's: where a file beside it differs in its ending alone, where its
    name has a further dot, or where `folder` is its own.
    """
    own = folder.exists() and source.parent.exists() and folder.samefile(source.parent)
    stems = [one.stem.casefold() for one in source.parent.iterdir()]
    alone = not own and "." not in source.stem and stems.count(source.stem.casefold()) == 1
    return folder / f"{safe_name(source.stem if alone else source.name)}.png"


def one_line(value: object, limit: int = 120) -> str:
    """`value` as text that is safe inside a one-line message: no control characters, at most `limit` characters."""
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(value)[: 2 * limit])
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces of 1 MiB."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
