"""The files that a training writes, all named after its model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from onnxvis.errors import UsageError
from onnxvis.files import one_line, refuse_overwriting

__all__ = ["Outputs"]


@dataclass(frozen=True)
class Outputs:
    """`model`: OUT.onnx; `curves`: what stands before .csv and .png, OUT.curves where nobody says.

    Raises UsageError for a model whose name does not end in .onnx.
    """

    model: Path
    curves: Path

    def __post_init__(self) -> None:
        if self.model.suffix.lower() != ".onnx":
            raise UsageError(
                f"-o {one_line(self.model)}: give a name that ends in .onnx; the checkpoints are named after it"
            )

    @classmethod
    def of(cls, model: Path, curves: Path | None) -> Outputs:
        """The outputs of `-o` and `--curves`."""
        return cls(model, curves or model.with_name(f"{model.stem}.curves"))

    @property
    def state(self) -> Path:
        """OUT.pth, from which training can go on."""
        return self.model.with_suffix(".pth")

    @property
    def table(self) -> Path:
        """The curves as a table."""
        return self.curves.with_name(f"{self.curves.name}.csv")

    @property
    def picture(self) -> Path:
        """The curves as a picture."""
        return self.curves.with_name(f"{self.curves.name}.png")

    def at_step(self, step: int) -> Path:
        """The model after `step` steps: OUT-step000200.onnx."""
        return self.model.with_name(f"{self.model.stem}-step{step:06d}.onnx")

    def check(self, given: Iterable[Path]) -> None:
        """Raise OutputError where one cannot be written, or is a file that was `given`."""
        given = [path for path in given if path.is_file()]
        for path in (self.model, self.state, self.table, self.picture):
            refuse_overwriting(path, (), given)
