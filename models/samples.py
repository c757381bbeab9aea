"""The few scenes that ship with the package, as PNG files with their masks, and a JSON file of what is true about them.

python -m onnxvis.models.samples --out models/data
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .crowds import make_crowd
from .scenes import make_scene

__all__ = ["CROWDS", "SAMPLES", "SIZE", "write_crowds", "write_samples"]

SIZE = 256
SAMPLES = {
    "arrow": 2_000_000_010,
    "crescent": 2_000_000_005,
    "gear": 2_000_000_009,
    "heart": 2_000_000_004,
    "ring": 2_000_000_003,
    "star": 2_000_000_008,
}
"""Seed of each scene by kind, beyond the seeds that the classifier was trained or measured on."""

CROWDS = {"bazaar": 2_000_000_008, "dusk": 2_000_000_023, "market": 2_000_000_018}
"""Seed of each scene of several subjects, beyond those that the detector was trained or measured on."""


def write_samples(folder: Path) -> None:
    """Write `scenes/KIND.png` (RGB), `masks/KIND.png` (0 or 255) and `scenes.json` below `folder`."""
    entries = []
    for kind, seed in SAMPLES.items():
        scene = make_scene(seed, SIZE, kind)
        entry = {"file": f"scenes/{kind}.png", "mask": f"masks/{kind}.png", "name": scene.name, "label": scene.label}
        entries.append({**entry, "box": scene.box, "seed": seed})
        pictures = {entry["file"]: scene.picture[..., ::-1], entry["mask"]: scene.mask.astype("uint8") * 255}
        for name, pixels in pictures.items():
            _write_png(folder / str(name), pixels)
    text = ",\n".join(f"  {json.dumps(entry)}" for entry in entries)
    (folder / "scenes.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")


def write_crowds(folder: Path) -> None:
    """Write `crowds/NAME.png` (RGB) and `crowds.json`, with the seed and the true boxes of each, below `folder`."""
    entries = []
    (folder / "crowds").mkdir(parents=True, exist_ok=True)
    for name, seed in CROWDS.items():
        crowd = make_crowd(seed, SIZE)
        members = [{"name": member.name, "label": member.label, "box": member.box} for member in crowd.members]
        entries.append({"file": f"crowds/{name}.png", "seed": seed, "members": members})
        _write_png(folder / f"crowds/{name}.png", crowd.picture[..., ::-1])
    text = ",\n".join(f"  {json.dumps(entry)}" for entry in entries)
    (folder / "crowds.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the scenes that ship with the package."""
    parser = argparse.ArgumentParser(prog="python -m onnxvis.models.samples", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder of data to write into")
    folder = parser.parse_args(arguments).out
    write_samples(folder)
    write_crowds(folder)


if __name__ == "__main__":
    main()
