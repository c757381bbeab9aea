"""Modules of the user's own: a Python file is run, and a class or function in it makes an nn.Module."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line

from .torch_export import need

__all__ = ["build_own", "own_imports", "parse_arguments", "parse_where"]

_NAMED = 8


def parse_where(text: str) -> tuple[Path, str]:
    """'nets/yolo.py:YoloBody' → (Path('nets/yolo.py'), 'YoloBody'). Raises UsageError."""
    file, colon, name = text.rpartition(":")
    if not colon or not file or not name.isidentifier():
        raise UsageError(f"{one_line(text)!r} names no class in a file; write it as FILE.py:CLASS")
    return Path(file), name


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """['num_classes=5', 'act=relu'] → {'num_classes': 5, 'act': 'relu'}: Python literals, or else text.

    Raises UsageError for what has no name, or a name used twice.
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--args {one_line(text)!r} is not of the form NAME=VALUE")
        if name in arguments:
            raise UsageError(f"--args gives {name} twice")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[name] = value
        except (MemoryError, RecursionError) as error:
            raise UsageError(f"--args {name} has a value that is nested too deeply") from error
    return arguments


@contextlib.contextmanager
def own_imports(file: Path) -> Iterator[None]:
    """While it lasts, imports find what stands beside `file`, then what stands in the folder above and the working
    folder. Afterwards the search path is as it was, and the modules found there are forgotten.

    What the user's code prints goes to stderr.
    """
    folder = file.absolute().parent
    path, modules = list(sys.path), set(sys.modules)
    sys.path[:] = [str(folder), *path, str(folder.parent), str(Path.cwd())]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            module = sys.modules[name]
            # A package without __init__.py has no file, but places.
            origin = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
            # What was loaded already, as torch, may load further parts of itself meanwhile: those stay.
            if origin and name.partition(".")[0] not in modules and not _installed(Path(origin), path):
                del sys.modules[name]


def _installed(origin: Path, path: Sequence[str]) -> bool:
    """Whether a module's file lies below an entry of the search path `path`."""
    return any(Path(entry).absolute() in origin.absolute().parents for entry in path)


def build_own(file: Path, name: str, arguments: dict[str, Any], seed: int = 0) -> Any:
    """The nn.Module that `name` in the Python file `file` makes of `arguments`: a class, a function, or a module made.

    The file is run, with PyTorch's random state set by `seed`. Call it within `own_imports`.
    Raises InputError where the file or the constructor fails, UsageError where there is no such name or it makes no
    module.
    """
    need("torch")
    import torch

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return _made(_run(file), file, name, arguments)


def _made(content: ModuleType, file: Path, name: str, arguments: dict[str, Any]) -> Any:
    import torch

    made = getattr(content, name, None)
    if made is None:
        raise UsageError(f"{one_line(file)} has no class {name}; {_listed(content)}")
    if callable(made) and not isinstance(made, torch.nn.Module):
        made = _called(made, name, arguments, file)
    elif arguments:
        raise UsageError(f"{name} in {one_line(file)} is made already and takes no --args")
    if not isinstance(made, torch.nn.Module):
        raise UsageError(
            f"{name} in {one_line(file)} gives a {type(made).__name__}, not an nn.Module; {_listed(content)}"
        )
    return made


def _run(file: Path) -> ModuleType:
    if not file.is_file():
        raise InputError(f"there is no file {one_line(file)}; write it as FILE.py:CLASS")
    name = _module_name(file)
    spec = importlib.util.spec_from_file_location(name, file.absolute())
    if spec is None or spec.loader is None:
        raise InputError(f"{one_line(file)} is no Python file; its name must end in .py")
    content = importlib.util.module_from_spec(spec)
    # Dataclasses, and siblings that import this file, look for it here.
    sys.modules[name] = content
    try:
        spec.loader.exec_module(content)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"{one_line(file)} cannot be imported: {_said(error)}{_advice(error)}") from error
    return content


def _module_name(file: Path) -> str:
    """As a module of the folder's package, so that `from .parts import X` works, unless the folder's name is taken."""
    folder, own = file.absolute().parent, f"onnxvis_own_{file.stem}"
    if not folder.name.isidentifier() or folder.name in sys.modules:
        return own
    try:
        spec = importlib.util.find_spec(folder.name)
    except (ImportError, ValueError):
        return own
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return f"{folder.name}.{file.stem}" if str(folder) in places else own


def _called(factory: Any, name: str, arguments: dict[str, Any], file: Path) -> Any:
    try:
        return factory(**arguments)
    except (Exception, SystemExit) as error:
        takes = ""
        if isinstance(error, TypeError):
            with contextlib.suppress(TypeError, ValueError):
                takes = f"; it is {name}{one_line(inspect.signature(factory), 200)}"
        raise InputError(
            f"{name} in {one_line(file)} cannot be made: {_said(error)}{takes}; arguments are given with "
            "--args NAME=VALUE"
        ) from error


def _said(error: BaseException) -> str:
    """The kind of error and its text on one line."""
    return f"{type(error).__name__}: {one_line(' '.join(str(error).split()), 300)}"


def _advice(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "; put what it does as a script under: if __name__ == '__main__'"
    if isinstance(error, ModuleNotFoundError):
        return "; install that, or run onnxvis in the folder that its imports start from"
    return ""


def _listed(content: ModuleType) -> str:
    """The nn.Modules in a file, its own before imported ones."""
    import torch

    found = [
        (value.__module__ != content.__name__, name)
        for name, value in vars(content).items()
        if isinstance(value, type) and issubclass(value, torch.nn.Module)
    ]
    names = [one_line(name) for _, name in sorted(found)]
    if not names:
        return "it has no nn.Module at all"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"its modules are {', '.join(names[:_NAMED])}{more}"
