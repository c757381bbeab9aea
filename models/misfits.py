"""Why a module does not run or cannot be exported, as far as its error tells, and what to do about it."""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

__all__ = ["advice", "takes_one_input", "unmoved"]

_OF_CHANNELS = re.compile(r"channel|running_mean|num_groups", re.IGNORECASE)


def advice(network: Any, error: BaseException) -> str:
    """What to do where `network` raised `error` for a picture, from '; ' on; '' where only its author can know.

    A size can be wrong where values or shapes do not fit, not where a name is missing or a type is another.
    """
    if not takes_one_input(network):
        return (
            "; a module that takes more than one input, or none, is not supported here: wrap it in one that takes one"
        )
    if isinstance(error, NotImplementedError) or not isinstance(
        error, RuntimeError | ValueError | AssertionError | IndexError
    ):
        return ""
    if _OF_CHANNELS.search(str(error)):
        return "; give the channels and the size that it takes with --channels and --size"
    return "; give a size that it takes with --size"


def takes_one_input(network: Any) -> bool:
    """Whether `network`'s forward can be called with one tensor; True where its signature cannot be read."""
    try:
        signature = inspect.signature(network.forward)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def unmoved(network: Any, shape: tuple[int, ...]) -> bool:
    """Whether `network` takes a picture of `shape` and gives the same for zeros and ones: a tuple of tensors."""
    import torch

    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zeros, ones = network(torch.zeros(*shape)), network(torch.ones(*shape))
    except Exception:  # a module may raise anything, and has been heard already
        return False
    return len(zeros) == len(ones) and all(map(torch.equal, zeros, ones))
