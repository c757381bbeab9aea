"""A model of 2.5 GB is opened, listed, exposed and written in little memory, though protobuf could not hold it."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from onnxvis.graph.load import load

CHANNELS, LAYERS = 1700, 24
SHAPE = (CHANNELS, CHANNELS, 3, 3)
BYTES = 4 * math.prod(SHAPE)
LIMIT = 300_000_000

WORK = """
import json, sys
from pathlib import Path
from onnxvis.graph.load import load
from onnxvis.rewrite import save
from onnxvis.rewrite.expose import expose

source, target, how = sys.argv[1:]
model = load(source)
stages = model.stages()
tensors = model.tensors()
exposed = expose(model, [stage.output for stage in stages])
files = getattr(save, how)(exposed.proto, model, Path(target))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({
    "stages": [[stage.name, stage.output, stage.channels, stage.height] for stage in stages],
    "tensors": len(tensors), "files": [path.name for path in files], "peak": int(peak.split()[1]) * 1024,
}))
"""

COMMAND = """
import sys
from onnxvis.cli.main import main

code = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024, file=sys.stderr)
sys.exit(code)
"""


def network() -> tuple[ModelProto, list[TensorProto]]:
    """24 convolutions of 104 MB, every sixth halving the picture; the weights are declared and not there."""
    nodes, tensors, last = [], [], "picture"
    for index in range(LAYERS):
        stride = 2 if index % 6 == 0 else 1
        attributes: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [stride] * 2}
        nodes.append(helper.make_node("Conv", [last, f"weight{index}"], [f"conv{index}"], **attributes))
        nodes.append(helper.make_node("Relu", [f"conv{index}"], [f"relu{index}"]))
        tensors.append(TensorProto(name=f"weight{index}", data_type=TensorProto.FLOAT, dims=SHAPE))
        last = f"relu{index}"
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CHANNELS, side, side])
        for name, side in (("picture", 256), (last, 16))
    ]
    graph = helper.make_graph(nodes, "large", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tensors


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def with_external_data(folder: Path) -> Path:
    proto, tensors = network()
    for index, tensor in enumerate(tensors):
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "large.bin"), ("offset", index * BYTES), ("length", BYTES)):
            tensor.external_data.add(key=key, value=str(value))
    proto.graph.initializer.extend(tensors)
    with open(folder / "large.bin", "wb") as stream:
        stream.truncate(LAYERS * BYTES)
    path = folder / "large.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def in_one_file(folder: Path) -> Path:
    """Field 7 of the model is the graph, field 5 of a graph an initializer, field 9 of a tensor its raw_data."""
    proto, tensors = network()
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    heads = []
    for tensor in tensors:
        head = tensor.SerializeToString() + b"\x4a" + varint(BYTES)
        heads.append(b"\x2a" + varint(len(head) + BYTES) + head)
    length = len(graph) + sum(len(head) + BYTES for head in heads)
    path = folder / "one.onnx"
    with open(path, "wb") as stream:
        stream.write(proto.SerializeToString() + b"\x3a" + varint(length) + graph)
        for index, head in enumerate(heads):
            stream.write(head)
            stream.write(np.float32(index + 1).tobytes())
            stream.seek(BYTES - 4, 1)
        stream.truncate(stream.tell())
    return path


def handle(source: Path, target: Path, how: str) -> list[Path]:
    """Open, list, expose and write in a process of its own; checks what it says and returns what it wrote."""
    files = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in source.parent.iterdir()}
    assert sum(size for size, _ in files.values()) > 2_400_000_000
    arguments = [str(source), str(target), how]
    done = subprocess.run([sys.executable, "-c", WORK, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"{how}: peak memory {found['peak'] / 1e6:.0f} MB")
    assert found["peak"] <= LIMIT
    assert found["tensors"] == 2 * LAYERS
    assert [stage[2:] for stage in found["stages"]] == [[CHANNELS, side] for side in (128, 64, 32, 16)]
    assert {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files} == files
    onnx.checker.check_model(str(target))
    written = load(target)
    assert {output.name for output in written.outputs} == {"relu23", *(stage[1] for stage in found["stages"])}
    for index in (0, LAYERS - 1):
        first = written.read(f"weight{index}")[0, 0, 0, :2]
        np.testing.assert_array_equal(first, [index + 1 if "one" in source.name else 0, 0])
    return [target.with_name(name) for name in found["files"]]


large = pytest.mark.parametrize("make", [with_external_data, in_one_file])
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs sparse files and /proc")


@linux
@large
def test_a_large_model_is_exposed_by_reference_in_little_memory(make: Callable[[Path], Path], tmp_path: Path) -> None:
    (written,) = handle(make(tmp_path), tmp_path / "linked.onnx", "save_linked")
    assert written.stat().st_size < 100_000


@linux
@large
def test_a_large_model_is_opened_in_well_under_a_second(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        load(path)
        seconds.append(time.perf_counter() - start)
    print(f"opened in {min(seconds) * 1000:.0f} ms")
    assert min(seconds) < 0.5


def layers(path: Path, *options: str) -> str:
    """What `onnxvis layers` prints about a model, in a process of its own that stays small."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "layers", str(path), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    print(f"layers {' '.join(options)}: peak memory {int(done.stderr) / 1e6:.0f} MB")
    assert int(done.stderr) <= LIMIT
    return done.stdout


@linux
@large
def test_the_layers_of_a_large_model_are_listed_in_little_memory(make: Callable[[Path], Path], tmp_path: Path) -> None:
    said = layers(make(tmp_path))
    assert f"{LAYERS * math.prod(SHAPE):,} parameters" in said
    assert f"{CHANNELS} × 16 × 16" in said


@linux
@large
@pytest.mark.slow
def test_the_hash_of_a_large_model_is_taken_in_little_memory(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """`--json` names the file by its hash, so all of it is read, but a piece at a time."""
    path = make(tmp_path)
    with open(path, "rb") as stream:
        assert (
            json.loads(layers(path, "--json"))["model"]["sha256"] == hashlib.file_digest(stream, "sha256").hexdigest()
        )


@linux
@large
@pytest.mark.slow
def test_a_large_model_is_copied_whole_in_little_memory(make: Callable[[Path], Path], tmp_path: Path) -> None:
    written, data = handle(make(tmp_path), tmp_path / "out" / "whole.onnx", "save_self_contained")
    assert written.stat().st_size < 100_000
    assert data.name == "whole.onnx.data"
    assert data.stat().st_size >= LAYERS * BYTES
    assert data.stat().st_blocks * 512 < 100_000_000
