"""External data is read from inside the model's folder only, and only where the bytes are what the tensor needs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnxvis.errors import ModelError
from onnxvis.graph.external import Reference, anchor, refer, reference, stored_bytes
from onnxvis.graph.load import load

SIZE = 8192


def external(entries: dict[str, str], name: str = "w", count: int = SIZE // 4) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[count], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def write(folder: Path, *tensors: TensorProto) -> Path:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIZE // 4]) for name in "xy"]
    node = helper.make_node("Sum", ["x", *(tensor.name for tensor in tensors)], ["y"])
    graph = helper.make_graph([node], "g", values[:1], values[1:], list(tensors))
    path = folder / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def data(path: Path, size: int = SIZE, value: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.full(size // 4, value, np.float32).tobytes())
    return path


def refused(path: Path, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        load(path)
    message = str(caught.value)
    assert "'w'" in message
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../secret.bin",
        "sub/../../secret.bin",
        "..",
        "..\\secret.bin",
        "\\\\server\\share\\w.bin",
        "C:\\w.bin",
        "c:w.bin",
        "\\w.bin",
        "",
        "file:///etc/passwd",
        "sub/c:/w.bin",
    ],
)
def test_locations_that_lead_away(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    data(tmp_path / "secret.bin")
    refused(write(folder, external({"location": location, "length": str(SIZE)})), "it is not read$")


@pytest.mark.parametrize("location", [".", "./", "x" * 5000, "a/" * 3000, "m.onnx/w.bin", "\x01"])
def test_locations_that_are_no_file(location: str, tmp_path: Path) -> None:
    refused(write(tmp_path, external({"location": location})), "not a regular file|cannot be read")


@pytest.mark.parametrize("through", ["file", "folder", "chain"])
def test_symbolic_links_that_lead_away(through: str, tmp_path: Path) -> None:
    folder, outside = tmp_path / "model", data(tmp_path / "outside" / "w.bin")
    folder.mkdir()
    location = "w.bin"
    if through == "file":
        (folder / "w.bin").symlink_to(outside)
    elif through == "folder":
        (folder / "sub").symlink_to(outside.parent)
        location = "sub/w.bin"
    else:
        (folder / "w.bin").symlink_to("hop.bin")
        (folder / "hop.bin").symlink_to("/etc/passwd")
    refused(write(folder, external({"location": location})), "leads outside the model's folder; it is not read$")


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing", "loop", "dangling"])
def test_what_is_no_file(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "w.bin"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "loop":
        place.symlink_to("w.bin")
    elif kind == "dangling":
        place.symlink_to("nothing.bin")
    refused(write(tmp_path, external({"location": "w.bin"})), "not a regular file|cannot be read|outside")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"offset": "1", "length": str(SIZE)}, "is cut short"),
        ({"offset": "1"}, "needs 8192 bytes and refers to 8191"),
        ({"length": str(SIZE + 4)}, "is cut short"),
        ({"length": str(SIZE - 4)}, "needs 8192 bytes and refers to 8188"),
        ({"offset": "-4", "length": str(SIZE)}, "is cut short"),
        ({"offset": str(SIZE + 1)}, "is cut short"),
        ({"offset": str(2**70), "length": "4096"}, "is cut short"),
        ({"offset": "9" * 5000}, "at no number"),
        ({"length": "-1"}, "is cut short"),
        ({"offset": "twelve"}, "at no number"),
        ({"length": "0x10"}, "at no number"),
        ({"offset": "1.5"}, "at no number"),
    ],
)
def test_ranges(entries: dict[str, str], reason: str, tmp_path: Path) -> None:
    data(tmp_path / "w.bin")
    refused(write(tmp_path, external({"location": "w.bin", **entries})), reason)


def test_a_location_that_is_not_utf8(tmp_path: Path) -> None:
    data(tmp_path / "w.bin")
    path = write(tmp_path, external({"location": "w.bin"}))
    path.write_bytes(path.read_bytes().replace(b"w.bin", b"w\xff\xfein"))
    with pytest.raises(ModelError, match=r"not UTF-8|not an ONNX model"):
        load(path)


def test_impossible_shapes(tmp_path: Path) -> None:
    data(tmp_path / "w.bin")
    refused(write(tmp_path, external({"location": "w.bin"}, count=-1)), "impossible shape")


def test_a_name_with_control_characters_is_shown_safely(tmp_path: Path) -> None:
    tensor = external({"location": "../\x1b[31m\nw"})
    refused(write(tmp_path, tensor), r"\\x1b\[31m\\x0aw")


def test_two_files_in_folders(tmp_path: Path) -> None:
    data(tmp_path / "a.bin", value=1)
    data(tmp_path / "sub" / "b.bin", 2 * SIZE, value=2)
    first = external({"location": "a.bin", "offset": "0", "length": str(SIZE)}, "a")
    second = external({"location": "./sub/b.bin", "offset": str(SIZE), "length": str(SIZE)}, "b")
    model = load(write(tmp_path, first, second))
    assert (model.read("a")[0], model.read("b")[0]) == (1, 2)
    assert not model.read("a").flags.writeable


def test_without_a_length_the_bytes_go_to_the_end(tmp_path: Path) -> None:
    data(tmp_path / "w.bin", value=3)
    model = load(write(tmp_path, external({"location": "w.bin"})))
    assert model.read("w").tolist() == [3] * (SIZE // 4)


def test_a_link_beside_the_model_to_a_file_beside_it(tmp_path: Path) -> None:
    data(tmp_path / "real.bin", value=4)
    (tmp_path / "w.bin").symlink_to("real.bin")
    assert load(write(tmp_path, external({"location": "w.bin"}))).read("w")[0] == 4


def test_the_reference_is_rewritten_to_where_the_file_is(tmp_path: Path) -> None:
    data(tmp_path / "sub" / "w.bin")
    path = write(tmp_path, external({"location": "sub\\w.bin"}))
    model = load(path)
    tensor = model.skeleton.graph.initializer[0]
    assert reference(tensor) == Reference("sub/w.bin", 0, SIZE)
    assert anchor(model.skeleton, path) == model.folder == tmp_path.resolve()


def test_refer_leaves_no_bytes_behind() -> None:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    refer(tensor, Reference("w.bin", 8, 12))
    assert not tensor.float_data
    assert reference(tensor) == Reference("w.bin", 8, 12)
    assert reference(helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])) is None


@pytest.mark.parametrize("data_type", sorted(set(helper.get_all_tensor_dtypes())))
def test_sizes_are_those_of_onnx(data_type: int) -> None:
    if data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        assert stored_bytes(TensorProto(data_type=data_type, dims=[3])) is None
        return
    dtype = helper.tensor_dtype_to_np_dtype(data_type)
    for count in (0, 1, 3, 8):
        from onnx import numpy_helper

        expected = len(numpy_helper.from_array(np.zeros(count, dtype)).raw_data)
        assert stored_bytes(TensorProto(data_type=data_type, dims=[count])) == expected
