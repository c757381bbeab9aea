"""The stages, blocks and tensors of a model, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxvis.graph.blocks import Block
    from onnxvis.graph.load import Model

__all__ = ["add_arguments", "run"]

_NAME_WIDTH = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis layers MODEL [--json]`."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--all", action="store_true", help="list every tensor, not only the blocks")


def run(options: argparse.Namespace) -> int:
    """Print what the model is made of."""
    from onnxvis.graph.load import load

    model = load(Path(options.model))
    if options.json:
        from onnxvis.graph.heads import raw_heads
        from onnxvis.show.data import describe_layers

        heads = [asdict(head) for head in raw_heads(model)]
        print(json.dumps({**describe_layers(model), "raw_heads": heads}, indent=1))
    else:
        _print_table(model, options.all)
    return 0


def _print_table(model: Model, every: bool) -> None:
    from onnxvis.files import one_line
    from onnxvis.graph import cost
    from onnxvis.show.text import shape

    macs = cost.macs(model.view)
    work = f", {macs:,} multiply-accumulates" if macs is not None else ""
    print(f"{model.name}: opset {model.opset}, {cost.parameters(model):,} parameters{work}")
    for tensor in model.inputs:
        print(f"  input   {one_line(tensor.name, _NAME_WIDTH)}  {tensor.dtype} {shape(tensor.shape)}")
    for tensor in model.outputs:
        print(f"  output  {one_line(tensor.name, _NAME_WIDTH)}  {tensor.dtype} {shape(tensor.shape)}")
    for name, assumed in model.assumed_shapes.items():
        print(f"  sizes below are for {one_line(name, _NAME_WIDTH)} of {shape(assumed)}")
    if not model.parts:
        print("  no feature maps: nothing here is convolved over a picture")
    for part in model.parts:
        print(_line(model, part, 0))
        for child in part.children:
            print(_line(model, child, 1))
            for block in child.children if part.name == "backbone" else ():
                print(_line(model, block, 2))
    _print_raw_heads(model)
    if every or not model.parts:
        for item in model.tensors():
            print(f"  {item.op:<20} {shape(item.shape):<20} {item.block or item.part:<16} {one_line(item.name)}")


def _print_raw_heads(model: Model) -> None:
    from onnxvis.files import one_line
    from onnxvis.graph.heads import raw_heads
    from onnxvis.show.text import shape

    for head in raw_heads(model):
        size, name = shape(model.view.shape(head.tensor)), one_line(head.tensor, _NAME_WIDTH)
        reader = f"feeds {one_line(head.feeds, 40)} '{one_line(head.node, 40)}'"
        print(f"  {'raw head':<32} {head.role:<18} {size:<20} {name}  {reader}")


def _line(model: Model, block: Block, depth: int) -> str:
    from onnxvis.files import one_line
    from onnxvis.show.text import shape

    name = f"{'  ' * depth}{one_line(block.name, 40)}"
    dims = model.view.shape(block.output)
    is_map = dims is not None and len(dims) == 4
    size = f"{block.channels} × {block.height} × {block.width}" if is_map else shape(dims)
    return f"  {name:<32} {block.kind:<18} {size:<20} {one_line(block.output, _NAME_WIDTH)}"
