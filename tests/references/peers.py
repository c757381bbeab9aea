"""The libraries that people explain PyTorch models with, imported as far as heatmaps need them."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import Any
from unittest.mock import MagicMock

__all__ = ["pytorch_grad_cam"]

_ELSEWHERE = ("torchvision", "sklearn", "scipy", "matplotlib")
_PARTS = ("", ".transforms", ".transforms.functional", ".decomposition", ".ndimage", ".sparse", ".sparse.linalg")


def pytorch_grad_cam() -> Any:
    """The library; what it imports for other purposes may be missing (pip install --no-deps grad-cam ttach tqdm)."""
    for name in _ELSEWHERE:
        if name not in sys.modules and find_spec(name) is None:
            sys.modules |= {name + part: MagicMock() for part in _PARTS}
    return importlib.import_module("pytorch_grad_cam")
