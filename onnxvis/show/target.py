"""Where a result may be written: never over what it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis.errors import OutputError
from onnxvis.files import one_line
from onnxvis.graph.external import reference, tensors_of

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["refuse_overwriting"]


def refuse_overwriting(target: Path, model: Model, given: Iterable[str | Path] = ()) -> None:
    """Refuse a target that is the model, its weights or another file that was `given`, by whatever name.

    Raises OutputError.
    """
    if not target.exists():
        return
    placed = (reference(item.tensor) for item in tensors_of(model.skeleton))
    own = {model.path, *(model.folder / found.location for found in placed if found is not None)}
    for source in (*own, *map(Path, given)):
        if source.exists() and target.samefile(source):
            what = "the model or its weights" if source in own else "one of the inputs"
            raise OutputError(f"{one_line(target)} is {what}, which are never changed; name another file")
