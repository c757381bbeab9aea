"""Detectors that run in a millisecond, at 64 × 64: raw heads as YOLOv3 has, rows as YOLOv5, columns as YOLOv8."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from onnxvis.graph.load import Model
from onnxvis.measure.boxes.flags import DetectorFlags
from tests.rewrite.differences import run
from tests.tiny import Array, from_text

__all__ = [
    "ANCHORS", "CLASSES", "FLAGS", "SIDE", "columns", "declared", "logit", "opened", "outputs_of", "picture", "raw",
    "rows", "sigmoid", "with_metadata",
]  # fmt: skip

SIDE, CLASSES = 64, 3
ANCHORS = ((5.0, 6.0), (9.0, 7.0), (20.0, 16.0), (30.0, 34.0))
FLAGS = DetectorFlags(ANCHORS)

_TRUNK = """
  p3 = Conv <strides = [8, 8]> (image, w3)  q3 = Tanh (p3)
  p4 = Conv <strides = [2, 2]> (q3, w4)  q4 = Tanh (p4)
  p5 = Conv <strides = [2, 2]> (q4, w5)  q5 = Tanh (p5)
"""
_TRUNK_WEIGHTS = {"w3": (6, 3, 8, 8), "w4": (8, 6, 2, 2), "w5": (8, 8, 2, 2)}
_WIDTHS = {3: 6, 4: 8, 5: 8}


def raw(last: str = "Identity") -> ModelProto:
    """`head8` and `head16`, (1, 2 · (5 + 3), 8 | 4, …), behind the operator `last`."""
    body = "".join(f"r{n} = Conv (q{n}, h{n})  {name} = {last} (r{n})  " for n, name in ((3, "head8"), (4, "head16")))
    channels = 2 * (5 + CLASSES)
    shapes: dict[str, tuple[int, ...]] = {f"h{n}": (channels, _WIDTHS[n], 1, 1) for n in (3, 4)}
    return _model(_TRUNK + body, shapes, ["head8", "head16"])


def rows() -> ModelProto:
    """`output` (1, 252, 5 + 3), three boxes a cell, decoded in pixels as YOLOv5 does it."""
    body = ""
    constants: dict[str, Any] = {}
    for n, side in ((3, 8), (4, 4), (5, 2)):
        stride = SIDE // side
        grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).astype(np.float32)
        constants |= {
            f"grid{n}": (grid - 0.5)[None, None], f"stride{n}": np.float32(stride),
            f"anchor{n}": np.float32(4 * stride),
            f"cut{n}": np.array([1, 3, 5 + CLASSES, side, side]), f"flat{n}": np.array([1, -1, 5 + CLASSES]),
        }  # fmt: skip
        body += f"""
          a{n} = Conv (q{n}, h{n})  b{n} = Reshape (a{n}, cut{n})  c{n} = Transpose <perm = [0, 1, 3, 4, 2]> (b{n})
          d{n} = Sigmoid (c{n})  xy{n}, wh{n}, rest{n} = Split <axis = 4> (d{n}, parts)
          e{n} = Mul (xy{n}, two)  f{n} = Add (e{n}, grid{n})  centre{n} = Mul (f{n}, stride{n})
          g{n} = Mul (wh{n}, two)  i{n} = Mul (g{n}, g{n})  size{n} = Mul (i{n}, anchor{n})
          j{n} = Concat <axis = 4> (centre{n}, size{n}, rest{n})  k{n} = Reshape (j{n}, flat{n})
        """
    constants |= {"two": np.float32(2), "parts": np.array([2, 2, 1 + CLASSES])}
    shapes: dict[str, tuple[int, ...]] = {f"h{n}": (3 * (5 + CLASSES), _WIDTHS[n], 1, 1) for n in (3, 4, 5)}
    return _model(_TRUNK + body + "output = Concat <axis = 1> (k3, k4, k5)", shapes, ["output"], constants)


def columns() -> ModelProto:
    """`output0` (1, 4 + 3, 84): of each grid a branch for boxes and one for classes, then side by side."""
    body = ""
    shapes: dict[str, tuple[int, ...]] = {}
    for n in (3, 4, 5):
        body += f"""
          u{n} = Conv (q{n}, bb{n})  v{n} = Softplus (u{n})  box{n} = Conv (v{n}, b{n})
          s{n} = Conv (q{n}, cc{n})  t{n} = Tanh (s{n})  class{n} = Conv (t{n}, c{n})
          level{n} = Concat <axis = 1> (box{n}, class{n})  line{n} = Reshape (level{n}, flat)
        """
        shapes |= {f"bb{n}": (5, _WIDTHS[n], 1, 1), f"b{n}": (4, 5, 1, 1)}
        shapes |= {f"cc{n}": (5, _WIDTHS[n], 1, 1), f"c{n}": (CLASSES, 5, 1, 1)}
    body += """
      all = Concat <axis = 2> (line3, line4, line5)  near, logits = Split <axis = 1> (all, parts)
      far = Softplus (near)  boxes = Mul (far, twenty)  scores = Sigmoid (logits)
      output0 = Concat <axis = 1> (boxes, scores)
    """
    constants = {
        "flat": np.array([1, 4 + CLASSES, -1]), "parts": np.array([4, CLASSES]), "twenty": np.float32(20),
    }  # fmt: skip
    return _model(_TRUNK + body, shapes, ["output0"], constants)


def _model(
    body: str, shapes: dict[str, tuple[int, ...]], outputs: list[str], constants: dict[str, Any] | None = None
) -> ModelProto:
    """The model of a graph's text, with random weights of these shapes."""
    rng = np.random.default_rng(3)
    declared = ", ".join(outputs)
    proto = from_text(f"g (float[1, 3, {SIDE}, {SIDE}] image) => ({declared}) {{ {body} }}")
    for name, shape in {**_TRUNK_WEIGHTS, **shapes}.items():
        used = any(name in node.input for node in proto.graph.node)
        scale = 1.5 / math.sqrt(math.prod(shape[1:]))
        values = (rng.standard_normal(shape) * scale).astype(np.float32)
        if used:
            proto.graph.initializer.append(numpy_helper.from_array(values, name))
    for name, value in (constants or {}).items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return proto


def with_metadata(proto: ModelProto, **entries: str) -> ModelProto:
    """The model with metadata; `__` in a key stands for a dot."""
    helper.set_model_props(proto, {key.replace("__", "."): value for key, value in entries.items()})
    return proto


def declared(**changes: Any) -> dict[str, Any]:
    """What `onnxvis.detector` says of `raw()`."""
    heads = [
        {"output": f"head{stride}", "stride": stride, "anchors": [list(pair) for pair in pairs], "scale_xy": 1.0,
         "new_coords": False}
        for stride, pairs in ((8, ANCHORS[:2]), (16, ANCHORS[2:]))
    ]  # fmt: skip
    return json.loads(json.dumps({"kind": "yolo", "classes": CLASSES, "heads": heads} | changes))  # type: ignore[no-any-return]


def opened(proto: ModelProto) -> Model:
    """The model, as if it were in a file."""
    return Model(Path("case.onnx"), proto, Path.cwd())


def picture(seed: int = 0) -> dict[str, Array]:
    """What is fed."""
    return {"image": np.random.default_rng(seed).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)}


def outputs_of(proto: ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """By ONNX Runtime."""
    return run(proto, feeds)


def sigmoid(value: float) -> float:
    """As it is written in books."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def logit(score: float) -> float:
    """The inverse of the sigmoid."""
    return math.log(score / (1 - score))
