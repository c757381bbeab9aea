"""What a model's metadata says of preprocessing, as text."""

from __future__ import annotations

import json

from onnxvis.run.preprocess import Preprocessing


def our_metadata(settings: Preprocessing) -> str:
    """The entry `onnxvis.preprocess` that asks for exactly `settings`."""
    names = ("size", "fit", "shorter", "interpolation", "bgr", "divide", "mean", "std")
    return json.dumps({name: getattr(settings, name) for name in names})
