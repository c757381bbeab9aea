"""Where a result may be written: never over what it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis import files

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["refuse_overwriting"]


def refuse_overwriting(target: Path, model: Model, given: Iterable[str | Path] = ()) -> None:
    """Refuse a target that is the model, its weights or another file that was `given`, by whatever name.

    Raises OutputError.
    """
    files.refuse_overwriting(target, model.files, given)
