"""torchvision's classifiers by name: built, loaded, given another number of classes, and described for the file."""

from __future__ import annotations

import contextlib
import difflib
import http.client
import io
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line

from .checkpoints import load_weights, read_checkpoint, renamed
from .describe import labels_metadata, preprocess_metadata
from .torch_export import need

__all__ = [
    "AUXILIARY", "MAX_CLASSES", "build", "build_from_checkpoint", "build_random", "check", "classes_of", "default_size",
    "describe", "names", "replace_last", "weights_megabytes",
]  # fmt: skip

AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
"""Heads of Inception and GoogLeNet that only training uses: left out, and passed over in checkpoints."""
MAX_CLASSES = 100_000

_MAX_SIDE = 16384
_TIMEOUT = 30.0
_OWN_SETTINGS: dict[str, dict[str, bool]] = {
    # As the pretrained ones: they take what all others take, and bring it to their own range themselves.
    name: {"transform_input": True, "aux_logits": False, "init_weights": True}
    for name in ("googlenet", "inception_v3")
}
# Pillow's filters average over the shrunk pixel's whole extent, which of ours only `area` does.
_INTERPOLATION = {"nearest": "nearest", "nearest-exact": "nearest"}


def names() -> list[str]:
    """Every classifier of the installed torchvision. Raises UsageError where there is no torchvision."""
    need("torch", "torchvision")
    from torchvision import models

    return sorted(models.list_models(module=models))


def build(name: str, classes: int | None = None, pretrained: bool = False, *, size: int | None = None) -> Any:
    """torchvision's network `name`, an nn.Module in evaluation mode, without auxiliary heads.

    `classes`: outputs of the last layer, 1000 by default; with `pretrained` another number gives a new last layer,
    whose weights are random. `pretrained`: torchvision's best weights, from its cache or the network; else as
    torchvision initialises. `size`: side of the input, which vision transformers must know.
    Raises UsageError for a name, number or size that cannot be, InputError where the weights cannot be had.
    """
    check(name, classes)
    from torchvision.models import get_model

    settings: dict[str, Any] = dict(_OWN_SETTINGS.get(name, {}))
    if name.startswith("vit_"):
        settings["image_size"] = size or default_size(name)
    if classes is not None and not pretrained:
        settings["num_classes"] = classes
    try:
        network = get_model(name, weights=None, **settings)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise UsageError(f"{name} cannot be made with {settings}: {one_line(error, 200)}") from error
    if pretrained:
        load_weights(_fetch(name), network, f"the pretrained file of {name}", ignore=AUXILIARY)
        replace_last(network, classes or classes_of(network))
    return network.eval()


def build_random(name: str, seed: int, classes: int | None = None, *, size: int | None = None) -> Any:
    """The network as torchvision initialises it, from `seed`; PyTorch's own random state stays as it was."""
    need("torch", "torchvision")
    import torch

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return build(name, classes, size=size)


def build_from_checkpoint(name: str, path: Path | str, classes: int | None = None, *, size: int | None = None) -> Any:
    """The network with the weights of a checkpoint; how many classes is read from its last layer where not given.

    Raises InputError where the file cannot be read, ModelError where it does not fit, and what `build` raises.
    """
    check(name, classes)
    state = read_checkpoint(path)
    network = build(name, classes, size=size)
    if classes is None:
        weight = renamed(state, network.state_dict()).get(f"{_last(network)}.weight")
        found = int(weight.shape[0]) if weight is not None and weight.ndim else classes_of(network)
        check(name, found)
        replace_last(network, found)
    load_weights(state, network, one_line(path), ignore=AUXILIARY)
    return network.eval()


def classes_of(network: Any) -> int:
    """How many outputs the last layer has."""
    return int(network.get_submodule(_last(network)).weight.shape[0])


def replace_last(network: Any, classes: int) -> None:
    """Give `network` a new last layer of `classes` outputs, where it has another number: random, as PyTorch does."""
    import torch

    name = _last(network)
    last = network.get_submodule(name)
    if last.weight.shape[0] == classes:
        return
    bias = last.bias is not None
    if isinstance(last, torch.nn.Linear):
        new: Any = torch.nn.Linear(last.in_features, classes, bias=bias)
    else:
        new = torch.nn.Conv2d(last.in_channels, classes, last.kernel_size, last.stride, last.padding, bias=bias)
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, new)


def default_size(name: str) -> int:
    """The side of the square input that the pretrained weights were measured with."""
    return int(_transforms(name).crop_size[0])


def weights_megabytes(name: str) -> float:
    """Size of the pretrained file, in MB."""
    return float(_weights(name).meta.get("_file_size", 0))


def describe(name: str, classes: int, size: tuple[int, int], labels: Sequence[str] | None = None) -> dict[str, str]:
    """Metadata of the file: ImageNet's preprocessing at `size` (height, width), and the names of the classes.

    Without `labels`, those of ImageNet for a network of as many classes as the pretrained one, none for another.
    The shorter side keeps the proportion to the crop that it has for the pretrained weights.
    """
    transforms = _transforms(name)
    mode = str(getattr(transforms.interpolation, "value", ""))
    settings: Mapping[str, Any] = {
        "size": list(size),
        "fit": "crop",
        "shorter": min(round(min(size) * transforms.resize_size[0] / transforms.crop_size[0]), _MAX_SIDE),
        "interpolation": _INTERPOLATION.get(mode, "area"),
        "bgr": False,
        "divide": 255,
        "mean": list(transforms.mean),
        "std": list(transforms.std),
    }
    known = _weights(name).meta["categories"]
    labels = known if labels is None and len(known) == classes else labels
    return preprocess_metadata(settings) | (labels_metadata(labels) if labels else {})


def check(name: str, classes: int | None = None) -> None:
    """Raise UsageError for a name that torchvision has no classifier of, or a number of classes that cannot be."""
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, 3, 0.4)
        nearest = f"; nearest: {', '.join(near)}" if near else f"; there are {', '.join(known[:5])} and others"
        raise UsageError(f"torchvision has no classifier {one_line(name)!r}{nearest}")
    if classes is not None and not 1 <= classes <= MAX_CLASSES:
        raise UsageError(f"a network of {classes} classes cannot be made; the number goes from 1 to {MAX_CLASSES:,}")


def _last(network: Any) -> str:
    """The name of the layer that makes the classes: the last linear one, or the last convolution (SqueezeNet)."""
    import torch

    for kind in (torch.nn.Linear, torch.nn.Conv2d):
        found = [name for name, module in network.named_modules() if isinstance(module, kind)]
        if found:
            return str(found[-1])
    raise UsageError(f"{type(network).__name__} has neither a linear layer nor a convolution to make classes")


def _weights(name: str) -> Any:
    from torchvision.models import get_model_weights

    return get_model_weights(name).DEFAULT


def _transforms(name: str) -> Any:
    return _weights(name).transforms()


def _fetch(name: str) -> Mapping[str, Any]:
    import torch

    try:
        with _bounded():
            state: Mapping[str, Any] = torch.hub.load_state_dict_from_url(
                _weights(name).url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        why = one_line(getattr(error, "reason", None) or error)
        raise InputError(
            f"the pretrained weights of {name} could not be fetched ({why}); give a file with --checkpoint FILE.pth, "
            "or begin with random weights: --random in make torchvision, no --pretrained in make finetune"
        ) from error
    return state


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """A network that does not answer is given up; what torch.hub says on stdout goes nowhere."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)
