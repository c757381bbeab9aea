"""The files that the experiments read, all made by `benchmarks.make_inputs`: no download, the same for both sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Inputs"]


@dataclass(frozen=True)
class Inputs:
    """Where each file stands in `folder`."""

    folder: Path

    @property
    def yolov3(self) -> Path:
        """YOLOv3 on Darknet-53 at 416 × 416 as .onnx, batch norm kept."""
        return self.folder / "yolov3.onnx"

    @property
    def resnet101(self) -> Path:
        """ResNet-101 at 224 × 224 as .onnx, batch norm kept."""
        return self.folder / "resnet101.onnx"

    @property
    def yolov3_weights(self) -> Path:
        """The same weights as a PyTorch state dict."""
        return self.folder / "yolov3.pth"

    @property
    def resnet101_weights(self) -> Path:
        """The same weights as a PyTorch state dict."""
        return self.folder / "resnet101.pth"

    @property
    def picture(self) -> Path:
        """A JPEG with the statistics of a photo."""
        return self.folder / "picture.jpg"

    @property
    def yolov3_input(self) -> Path:
        """The picture as YOLOv3 is fed, (1, 3, 416, 416) float32, as .npy."""
        return self.folder / "yolov3-input.npy"

    @property
    def small_model(self) -> Path:
        """The classifier that comes with onnxvis, below 5 MB."""
        return self.folder / "classifier.onnx"

    @property
    def small_picture(self) -> Path:
        """One of its scenes."""
        return self.folder / "scene.png"

    def complete(self) -> bool:
        """Whether every file is there."""
        names = [name for name, value in vars(Inputs).items() if isinstance(value, property)]
        return all(getattr(self, name).is_file() for name in names)
