"""What is no model is refused in one sentence; what is one tells what it is."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import onnxvis.graph.load
from onnxvis.errors import ModelError
from onnxvis.graph.layout import guess_layout
from onnxvis.graph.load import load
from tests.zoo import build, save

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, this is no model\n",
        PNG,
        b"\x00" * 100,
        b"\x08\x08",
        b"<html></html>",
        os.urandom(3000),
        b"PK\x03\x04",
    ],
    ids=["empty", "text", "PNG", "zeros", "only a version", "HTML", "noise", "zip"],
)
def test_other_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^model\.onnx is not an ONNX model") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is a folder; name the \.onnx file in it$"):
        load(tmp_path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot open .*nope\.onnx: No such file or directory$"):
        load(tmp_path / "nope.onnx")
    with pytest.raises(ModelError, match=r"^cannot open"):
        load(tmp_path / "a\0b.onnx")


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"is not a regular file$"):
        load(tmp_path / "m.onnx")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = save(build("alexnet"), tmp_path)
    path.chmod(0)
    with pytest.raises(ModelError, match=r"cannot open .*: Permission denied"):
        load(path)


def test_names_in_messages_stay_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "new\nline\x1b[31m.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value).isprintable()


def test_what_a_model_says_of_itself(tmp_path: Path) -> None:
    proto = build("resnet18", batch="N")
    proto.metadata_props.add(key="names", value="{0: 'cat'}")
    model = load(save(proto, tmp_path))
    assert (model.name, model.producer, model.opset) == ("model.onnx", "zoo", 17)
    assert model.metadata == {"names": "{0: 'cat'}"}
    assert model.size == (tmp_path / "model.onnx").stat().st_size
    assert [(t.name, t.shape, t.dtype) for t in model.inputs] == [("input", ("N", 3, 224, 224), "float32")]
    assert [(t.name, t.shape, t.dtype) for t in model.outputs] == [("output", ("N", 1000), "float32")]
    assert model.assumed_shapes == {"input": (1, 3, 224, 224)}
    assert [stage.name for stage in model.stages()] == ["layer1", "layer2", "layer3", "layer4"]


def test_other_input_shapes(tmp_path: Path) -> None:
    graph = onnx.parser.parse_graph("""g (float[N, 3, H, W] x) => (float[] y) {
        w = Constant <value = float[1, 3, 1, 1] {1, 2, 3}> () y = Conv <strides = [2, 2]> (x, w) }""")
    graph.output[0].type.tensor_type.ClearField("shape")
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    model = load(path)
    assert model.view.shape("y") == (1, 1, 112, 112)
    other = model.at({"x": (2, 3, 64, 96)})
    assert other.view.shape("y") == (2, 1, 32, 48)
    assert model.view.shape("y") == (1, 1, 112, 112)
    assert other.at({"x": (2, 3, 64, 96)}) is other


@pytest.mark.parametrize(
    ("declared", "assumed"),
    [
        (["N", "H", "W", "channels"], (1, 224, 224, 3)),
        (["N", 0, 0, 3], (1, 224, 224, 3)),
        ([0, 3, 0, 0], (1, 3, 224, 224)),
        (["N", "c", 64, "W"], (1, 3, 64, 224)),
        (["N", 64, "H", "W"], (1, 64, 224, 224)),
        ([2, 3, 64, 64], None),
        (["N", 10], None),
    ],
)
def test_free_sizes_are_assumed_where_channels_are(
    declared: list[int | str], assumed: tuple[int, ...] | None, tmp_path: Path
) -> None:
    """The same axis that pictures are fed along."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, declared) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    model = load(written(tmp_path, graph))
    assert model.assumed_shapes == ({"x": assumed} if assumed else {})
    layout = guess_layout(tuple(declared))
    assert assumed is None or layout is None or assumed[layout.index("C")] == 3


def test_the_declared_shape_is_no_other_shape(tmp_path: Path) -> None:
    model = load(save(build("squeezenet1_1"), tmp_path))
    assert model.assumed_shapes == {}
    assert model.at({"input": (1, 3, 224, 224)}) is model
    assert model.at({"input": (1, 3, 192, 224)}) is not model


def test_ports_are_read_without_inference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old files list their weights as inputs, too."""
    graph = onnx.parser.parse_graph("g (float[1, 3] x, float[3] w) => (float[N, 3] y) { y = Add (x, w) }")
    graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [3], [1, 2, 3]))
    model = load(written(tmp_path, graph))
    monkeypatch.setattr("onnxvis.graph.shapes.infer", None)
    assert [(t.name, t.shape, t.dtype) for t in model.inputs] == [("x", (1, 3), "float32")]
    assert [(t.name, t.shape, t.dtype) for t in model.outputs] == [("y", ("N", 3), "float32")]


def test_the_files_of_a_model(tmp_path: Path) -> None:
    whole = load(save(build("squeezenet1_1"), tmp_path))
    beside = {path.resolve() for path in tmp_path.iterdir()}
    assert whole.files == beside
    (tmp_path / "link.onnx").symlink_to("model.onnx")
    assert load(tmp_path / "link.onnx").files == beside


def test_names_in_functions_are_paired_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("here", 1)]
    body = [helper.make_node("Neg", ["a"], ["hidden"]), helper.make_node("Relu", ["hidden"], ["b"])]
    function = helper.make_function("here", "F", ["a"], ["b"], body, opsets[:1])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("F", ["x"], ["y"], domain="here")], "g", values[:1], values[1:])
    path = tmp_path / "m.onnx"
    path.write_bytes(
        helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8).SerializeToString()
    )
    model = load(path)
    assert model.tensors()
    assert "function_names" not in vars(model)
    assert list(model.function_names.values()) == ["F[call 0]/hidden"]


def written(folder: Path, graph: onnx.GraphProto) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def test_each_tensor_has_its_place(tmp_path: Path) -> None:
    model = load(save(build("yolov3"), tmp_path))
    places = {tensor.name: (tensor.part, tensor.stage, tensor.block) for tensor in model.tensors()}
    stage1 = "backbone.stage1"
    assert places["/backbone/stem/conv/Conv_output_0"][:2] == ("stem", "")
    assert places["/backbone/stage1/down/conv/Conv_output_0"] == ("backbone", stage1, f"{stage1}.down")
    assert places["/neck/neck.1/lateral/conv/Conv_output_0"] == ("neck", "", "neck.1")
    assert places["output1"][0] == "head2"
    assert {part for part, _, _ in places.values()} <= {
        "stem",
        "backbone",
        "neck",
        "head1",
        "head2",
        "head3",
        "weights",
    }


def test_the_protobuf_limit_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model, and longer than the limit")
    monkeypatch.setattr(onnxvis.graph.load, "_PROTOBUF_LIMIT", 10)
    with pytest.raises(ModelError, match="too large to parse whole"):
        load(path)


def sparse_model(folder: Path, count: int) -> Path:
    """`count` weights of 240 MB in one file that takes no space, and a chain of convolutions that reads them."""
    size = 4 * 64 * 1024 * 1024 - 65536
    x = helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1, 1024, 8, 8])
    y = helper.make_tensor_value_info(f"t{count}", TensorProto.FLOAT, None)
    nodes, weights = [], []
    for i in range(count):
        t = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[1024, 1024, 8, 7])
        t.data_location = TensorProto.EXTERNAL
        length = 4 * 1024 * 1024 * 8 * 7
        assert length < size
        for key, value in (("location", "data.bin"), ("offset", str(i * size)), ("length", str(length))):
            t.external_data.add(key=key, value=value)
        weights.append(t)
        nodes.append(helper.make_node("Conv", [f"t{i}", f"w{i}"], [f"t{i + 1}"], pads=[3, 3, 4, 3]))
    with open(folder / "data.bin", "wb") as stream:
        stream.truncate(count * size)
    path = folder / "m.onnx"
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def test_more_than_2_gb_in_little_memory(tmp_path: Path) -> None:
    path = sparse_model(tmp_path, 10)
    assert (tmp_path / "data.bin").stat().st_size > 2.4e9
    script = f"""
from onnxvis.graph.load import load
model = load({str(path)!r})
assert len(model.tensors()) == 10 and model.stages()
assert model.read("w9").shape == (1024, 1024, 8, 7) and not model.read("w9")[-1].any()
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert int(done.stdout) < 300_000  # kB


def test_a_file_of_more_than_2_gb_opens_in_place(tmp_path: Path) -> None:
    """The weights lie in the .onnx itself, which protobuf alone could not parse."""
    from onnxvis.graph.wire import encode_bytes, encode_varint

    length = 2_400_000_000
    head = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[length // 4]).SerializeToString()
    raw = encode_varint(9 << 3 | 2) + encode_varint(length)
    graph = onnx.parser.parse_graph("g (float[1] x) => (float[1] y) { y = Relu (x) }").SerializeToString()
    tensor_tag = encode_varint(5 << 3 | 2) + encode_varint(len(head) + len(raw) + length)
    graph_size = len(graph) + len(tensor_tag) + len(head) + len(raw) + length
    model = helper.make_model(helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", 17)])
    model.ClearField("graph")
    opening = model.SerializeToString() + encode_varint(7 << 3 | 2) + encode_varint(graph_size)
    path = tmp_path / "large.onnx"
    with open(path, "wb") as stream:
        stream.write(opening + graph + tensor_tag + head + raw)
        stream.truncate(stream.tell() + length)
    loaded = load(path)
    assert len(loaded.skeleton.SerializeToString()) < 1000
    assert loaded.read("w").shape == (600_000_000,)
    assert not loaded.read("w")[-1]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2_000_000
    assert encode_bytes(1, b"") == b"\x0a\x00"
