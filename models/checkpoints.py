"""Checkpoints of PyTorch (.pth, .pt) read as weights and nothing else: no code that a file holds is ever run."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from onnxvis.errors import InputError, ModelError
from onnxvis.files import one_line

__all__ = ["load_checkpoint", "load_weights", "read_checkpoint", "renamed"]

# Where training scripts put the weights, and what wrappers (DataParallel, torch.compile, Lightning) put before names.
_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
# The names that DenseNet's layers had in torchvision's first releases, and have in the files it offers to this day.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
_CALL = re.compile(r"GLOBAL (\S+)")
_SAVE = "save weights with torch.save(network.state_dict(), FILE)"
_NAMED = 3


def load_checkpoint(path: Path | str, network: Any, *, ignore: tuple[str, ...] = ()) -> None:
    """Put the weights of the file `path` into `network` (an nn.Module), each of them and no others.

    Names that begin with one of `ignore` are passed over. Raises InputError where the file cannot be read, ModelError
    where names or shapes do not fit.
    """
    load_weights(read_checkpoint(path), network, one_line(path), ignore=ignore)


def load_weights(state: Mapping[str, Any], network: Any, where: str, *, ignore: tuple[str, ...] = ()) -> None:
    """Put `state`, tensors by name, into `network`; `where` says in errors what they come from. Raises ModelError."""
    fitted = renamed(state, network.state_dict())
    wrong = _misfits(fitted, network.state_dict())
    try:
        missing, unexpected = ([], []) if wrong else network.load_state_dict(fitted, strict=False)
    except Exception as error:  # modules bring old names and versions up to date themselves, and raise what they like
        raise ModelError(f"{where} does not fit {type(network).__name__}: {one_line(error, 300)}") from error
    # Files from before PyTorch 0.4.1 lack the counters of batch norm, which only training uses.
    missing = [name for name in missing if not name.endswith(".num_batches_tracked")]
    unexpected = [name for name in unexpected if not name.startswith(ignore or "\0")]
    complaints = (_listed("lacks", missing), _listed("has besides", unexpected), _listed("differs in", wrong))
    if any(complaints):
        said = "; it ".join(filter(None, complaints))
        raise ModelError(f"{where} does not fit {type(network).__name__}: it {said}")


def read_checkpoint(path: Path | str) -> OrderedDict[str, Any]:
    """The weights in a file, tensors by name: it holds them itself, or under `state_dict`, `model` or the like.

    Only tensors and plain containers are read (torch.load with weights_only). Raises InputError for anything else.
    """
    name = one_line(path)
    if Path(path).is_dir():
        raise InputError(f"{name} is a folder; give the file of weights itself")
    if not Path(path).is_file():
        raise InputError(f"there is no file {name}; {_SAVE}")
    _refuse_bombs(Path(path), name)
    content = _loaded(Path(path), name)
    if isinstance(content, Mapping):
        content = next((content[key] for key in _KEYS if isinstance(content.get(key), Mapping)), content)
        tensors = {key: value for key, value in content.items() if isinstance(key, str) and hasattr(value, "shape")}
        if tensors:
            return _with_versions(tensors, getattr(content, "_metadata", None))
    raise InputError(f"{name} holds no weights by name, neither itself nor under {', '.join(_KEYS)}; {_SAVE}")


def renamed(state: Mapping[str, Any], wanted: Iterable[str]) -> OrderedDict[str, Any]:
    """`state` without a prefix that all its names have and none of the `wanted` (`module.` of DataParallel)."""
    names, modules = {name: _OLD_DENSENET.sub(r"\1\2", name) for name in state}, getattr(state, "_metadata", None)
    strange = [prefix for prefix in _PREFIXES if not any(name.startswith(prefix) for name in wanted)]
    while prefix := next((prefix for prefix in strange if _all_begin(names.values(), prefix)), ""):
        names = {old: name.removeprefix(prefix) for old, name in names.items()}
        if isinstance(modules, Mapping):
            modules = {str(name).removeprefix(prefix): entry for name, entry in modules.items()}
    return _with_versions({name: state[old] for old, name in names.items()}, modules)


def _all_begin(names: Iterable[str], prefix: str) -> bool:
    return all(name.startswith(prefix) for name in names)


def _with_versions(tensors: Mapping[str, Any], modules: object) -> OrderedDict[str, Any]:
    """As nn.Module.state_dict() gives them: with the versions of the modules that wrote them as an attribute."""
    state = OrderedDict(tensors)
    if isinstance(modules, Mapping):
        state._metadata = modules  # type: ignore[attr-defined]
    return state


def _refuse_bombs(path: Path, name: str) -> None:
    """torch.save never compresses: entries larger than their file are not its work."""
    try:
        with zipfile.ZipFile(path) as archive:
            stored = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return  # the older format, which is no archive, or no checkpoint at all: torch.load says so
    if stored > path.stat().st_size:
        raise InputError(f"{name} would grow to {stored:,} bytes when read, so it was not made by torch.save")


def _loaded(path: Path, name: str) -> Any:
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        call = _CALL.search(str(error))
        if call is None:
            raise InputError(f"{name} is no checkpoint of PyTorch, or a damaged one; {_SAVE}") from error
        raise InputError(
            f"{name} holds more than weights: reading it would call {one_line(call[1])}, and code from a file is never "
            f"run; {_SAVE}"
        ) from error
    except Exception as error:  # whatever a broken or hostile file makes the reader raise
        said = one_line(" ".join(str(error).split()))
        raise InputError(
            f"{name} is no checkpoint of PyTorch, or a damaged one ({type(error).__name__}: {said}); {_SAVE}"
        ) from error


def _misfits(state: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    both = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    return [f"{name} ({_shape(state[name])}, the network has {_shape(wanted[name])})" for name in both]


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{what} {', '.join(one_line(name) for name in names[:_NAMED])}{more}"


def _shape(tensor: Any) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
