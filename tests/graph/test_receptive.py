"""Receptive fields against what ONNX Runtime does: which input pixels change a value when they are changed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from onnxvis.errors import TensorNotFound, UsageError
from onnxvis.graph.load import Model, load
from onnxvis.graph.receptive import receptive_field
from onnxvis.graph.receptive_step import rule
from tests.zoo import build
from tests.zoo import save as save_zoo

if TYPE_CHECKING:
    from tests.zoo.core import Layout

Changed = np.ndarray[Any, np.dtype[np.bool_]]

CONV = "y = Conv <kernel_shape = [3, 3]{}> (x, w)"
W = {"w": (2, 1, 3, 3)}

# name: (input H × W, weights by shape, body in ONNX's text form; the input is x of one channel, the output y)
GRAPHS: dict[str, tuple[tuple[int, int], Mapping[str, tuple[int, ...]], str]] = {
    "strides": ((11, 13), W, CONV.format(", strides = [2, 3]")),
    "dilations": ((12, 13), W, CONV.format(", dilations = [2, 3]")),
    "asymmetric pads": ((9, 8), W, CONV.format(", pads = [2, 0, 1, 3], strides = [2, 1]")),
    "same upper": ((9, 8), W, CONV.format(', auto_pad = "SAME_UPPER", strides = [2, 2]')),
    "same lower": ((10, 7), W, CONV.format(', auto_pad = "SAME_LOWER", strides = [2, 2]')),
    "valid, kernel from the weights": ((10, 7), W, 'y = Conv <auto_pad = "VALID"> (x, w)'),
    "deep": (
        (15, 14),
        {"w": (2, 1, 3, 3), "v": (2, 2, 5, 3)},
        """a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w)
        b = Relu (a)
        c = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (b)
        y = Conv <pads = [2, 1, 2, 1]> (c, v)""",
    ),
    "residual join": (
        (9, 10),
        {"w": (1, 1, 3, 3), "v": (1, 1, 1, 1)},
        """a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w)
        b = Conv <pads = [1, 1, 1, 1]> (a, w)
        c = Conv <strides = [2, 2]> (x, v)
        y = Add (b, c)""",
    ),
    "inception join": (
        (9, 10),
        {"w": (1, 1, 1, 7), "v": (1, 1, 5, 1)},
        """a = Conv <pads = [0, 3, 0, 3]> (x, w)
        b = Conv <pads = [2, 0, 2, 0]> (x, v)
        c = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)
        y = Concat <axis = 1> (a, b, c)""",
    ),
    "transposed, stride 2": ((5, 6), {"w": (1, 2, 3, 3)}, "y = ConvTranspose <strides = [2, 2]> (x, w)"),
    "transposed, stride 1, padded": ((7, 6), {"w": (1, 2, 3, 4)}, "y = ConvTranspose <pads = [1, 0, 2, 1]> (x, w)"),
    "transposed, dilated, output padding": (
        (5, 4),
        {"w": (1, 2, 3, 2)},
        """y = ConvTranspose <strides = [3, 2], dilations = [2, 2], pads = [1, 1, 0, 1], output_padding = [1, 1]>
        (x, w)""",
    ),
    "transposed, same upper": (
        (5, 4),
        {"w": (1, 2, 3, 3)},
        'y = ConvTranspose <strides = [2, 2], auto_pad = "SAME_UPPER"> (x, w)',
    ),
    "transposed, output shape": (
        (5, 4),
        {"w": (1, 2, 3, 3)},
        "y = ConvTranspose <strides = [2, 2], output_shape = [10, 8]> (x, w)",
    ),
    "ceil pool": ((8, 11), {}, "y = MaxPool <kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1> (x)"),
    "ceil pool with pads": (
        (7, 8),
        {},
        "y = MaxPool <kernel_shape = [2, 3], strides = [2, 3], pads = [1, 1, 1, 1], ceil_mode = 1> (x)",
    ),
    "dilated pool": ((9, 9), {}, "y = MaxPool <kernel_shape = [3, 2], dilations = [2, 3]> (x)"),
    "nearest resize": (
        (5, 6),
        W,
        """s = Constant <value = float[4] {1, 1, 2, 3}> ()
        a = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , s)
        y = Conv <pads = [1, 1, 1, 1]> (a, w)""",
    ),
    "nearest resize to sizes, prefer floor": (
        (5, 6),
        {},
        """s = Constant <value = int64[4] {BATCH, 1, 7, 4}> ()
        y = Resize <mode = "nearest"> (x, , , s)""",
    ),
    "bilinear resize, half pixel": (
        (5, 6),
        W,
        """s = Constant <value = float[4] {1, 1, 2, 2}> ()
        a = Resize <mode = "linear"> (x, , s)
        y = Conv (a, w)""",
    ),
    "bilinear resize, align corners": (
        (5, 7),
        {},
        """s = Constant <value = float[4] {1, 1, 2, 1.5}> ()
        y = Resize <mode = "linear", coordinate_transformation_mode = "align_corners"> (x, , s)""",
    ),
    "bilinear halving": (
        (8, 12),
        {},
        """s = Constant <value = float[4] {1, 1, 0.5, 0.25}> ()
        y = Resize <mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"> (x, , s)""",
    ),
    "bicubic resize": (
        (6, 7),
        {},
        """s = Constant <value = float[4] {1, 1, 2, 1}> ()
        y = Resize <mode = "cubic"> (x, , s)""",
    ),
    "antialiased halving": (
        (8, 12),
        {},
        """s = Constant <value = float[4] {1, 1, 0.5, 0.25}> ()
        y = Resize <mode = "linear", antialias = 1> (x, , s)""",
    ),
    "slices (focus)": (
        (8, 10),
        {"w": (2, 4, 3, 3)},
        """zero = Constant <value = int64[2] {0, 0}> ()
        one = Constant <value = int64[2] {1, 1}> ()
        end = Constant <value = int64[2] {9223372036854775807, 9223372036854775807}> ()
        axes = Constant <value = int64[2] {2, 3}> ()
        two = Constant <value_ints = [2, 2]> ()
        a = Slice (x, zero, end, axes, two)
        b = Slice (x, one, end, axes, two)
        c = Concat <axis = 1> (a, b, a, b)
        y = Conv <pads = [1, 1, 1, 1]> (c, w)""",
    ),
    "a flip": (
        (8, 10),
        W,
        """start = Constant <value = int64[1] {-2}> ()
        end = Constant <value = int64[1] {-9223372036854775807}> ()
        axes = Constant <value = int64[1] {-1}> ()
        step = Constant <value = int64[1] {-1}> ()
        a = Slice (x, start, end, axes, step)
        y = Conv <pads = [0, 2, 0, 0]> (a, w)""",
    ),
    "NHWC": (
        (8, 9),
        W,
        """a = Transpose <perm = [0, 3, 1, 2]> (x)
        b = Conv <strides = [2, 1], pads = [1, 0, 0, 1]> (a, w)
        y = Transpose <perm = [0, 2, 3, 1]> (b)""",
    ),
    "NHWC, padded, dense": (
        (8, 9),
        {"w": (2, 1, 3, 3), "v": (2, 3)},
        """p = Constant <value = int64[8] {0, 2, 0, 0, 0, 1, 1, 0}> ()
        z = Pad (x, p)
        a = Transpose <perm = [0, 3, 1, 2]> (z)
        b = Conv <strides = [2, 2]> (a, w)
        c = Transpose <perm = [0, 2, 3, 1]> (b)
        y = MatMul (c, v)""",
    ),
    "reflecting pad": (
        (7, 8),
        W,
        """p = Constant <value = int64[8] {0, 0, 2, 1, 0, 0, 1, 3}> ()
        a = Pad <mode = "reflect"> (x, p)
        y = Conv (a, w)""",
    ),
    "edge pad, then cropped": (
        (7, 8),
        W,
        """p = Constant <value = int64[4] {2, 1, 1, 3}> ()
        q = Constant <value = int64[4] {-1, -2, 1, -1}> ()
        axes = Constant <value = int64[2] {2, 3}> ()
        a = Pad <mode = "edge"> (x, p, , axes)
        b = Pad (a, q, , axes)
        y = Conv (b, w)""",
    ),
    "space to depth and back": (
        (8, 10),
        {"w": (4, 4, 3, 3)},
        """a = SpaceToDepth <blocksize = 2> (x)
        b = Conv <pads = [1, 1, 1, 1]> (a, w)
        y = DepthToSpace <blocksize = 2> (b)""",
    ),
    "split rows, swapped": (
        (9, 6),
        W,
        """sizes = Constant <value = int64[2] {4, 5}> ()
        a, b = Split <axis = 2> (x, sizes)
        c = Concat <axis = 2> (b, a)
        y = Conv (c, w)""",
    ),
    "channel shuffle": (
        (6, 7),
        {"w": (4, 1, 3, 3)},
        """a = Conv (x, w)
        s = Constant <value = int64[5] {-1, 2, 2, 4, 5}> ()
        b = Reshape (a, s)
        c = Transpose <perm = [0, 2, 1, 3, 4]> (b)
        t = Constant <value = int64[4] {-1, 4, 4, 5}> ()
        y = Reshape (c, t)""",
    ),
    "channel shuffle with the rows merged": (
        (6, 7),
        {"w": (4, 1, 3, 3)},
        """a = Conv (x, w)
        s = Constant <value = int64[3] {-1, 2, 20}> ()
        b = Reshape (a, s)
        c = Transpose <perm = [1, 0, 2]> (b)
        t = Constant <value = int64[5] {2, -1, 2, 4, 5}> ()
        d = Reshape (c, t)
        e = Transpose <perm = [1, 0, 2, 3, 4]> (d)
        u = Constant <value = int64[4] {-1, 4, 4, 5}> ()
        y = Reshape (e, u)""",
    ),
    "squeeze and excitation": (
        (6, 7),
        {"w": (2, 1, 3, 3), "v": (2, 2, 1, 1)},
        """a = Conv <strides = [2, 2]> (x, w)
        b = GlobalAveragePool (a)
        c = Conv (b, v)
        y = Mul (a, c)""",
    ),
    "mean over the columns": (
        (6, 7),
        W,
        """a = Conv <strides = [2, 2]> (x, w)
        three = Constant <value = int64[1] {3}> ()
        y = ReduceMean <keepdims = 1> (a, three)""",
    ),
    "a row picked, its mean dropped": (
        (8, 7),
        W,
        """a = Conv (x, w)
        i = Constant <value = int64[1] {2}> ()
        b = Gather <axis = 2> (a, i)
        one = Constant <value = int64[1] {1}> ()
        c = ReduceMean <keepdims = 0> (b, one)
        y = Unsqueeze (c, one)""",
    ),
    "a row between stored rows": (
        (6, 5),
        {"w": (2, 1, 3, 3), "v": (1, 1, 2, 5)},
        """n = Constant <value = int64[4] {BATCH, 1, 2, 5}> ()
        e = Expand (v, n)
        a = Concat <axis = 2> (e, x, e)
        y = Conv (a, w)""",
    ),
    "tiled and repeated": (
        (4, 3),
        W,
        """r = Constant <value = int64[4] {1, 1, 2, 3}> ()
        a = Tile (x, r)
        y = Conv (a, w)""",
    ),
    "quantized": (
        (8, 7),
        W,
        """s = Constant <value = float {0.05}> ()
        z = Constant <value = uint8 {0}> ()
        a = QuantizeLinear (x, s, z)
        b = DequantizeLinear (a, s, z)
        y = Conv <strides = [2, 2]> (b, w)""",
    ),
}
BASE, CHANGE = 1.0, 64.0


def save(folder: Path, size: tuple[int, int], weights: Mapping[str, tuple[int, ...]], body: str) -> Path:
    """A model whose batch holds the plain picture and one for each pixel that is changed."""
    batch = size[0] * size[1] + 1
    shape = [batch, *size, 1] if "perm = [0, 3, 1, 2]" in body else [batch, 1, *size]
    text = f'<ir_version: 8, opset_import: ["" : 18]> g (float{shape} x) => (float[] y) {{ {body} }}'
    model = onnx.parser.parse_model(text.replace("BATCH", str(batch)))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    rng = np.random.default_rng(1)
    for name, dims in weights.items():
        values = rng.uniform(0.5, 1.5, dims).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def changes(path: Path, size: tuple[int, int], channels: int) -> Changed:
    """(rows of y, columns of y, H, W): whether a change of input pixel [h, w] changes y anywhere in its channels."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pixels = size[0] * size[1]
    pictures = np.full((pixels + 1, pixels), BASE, np.float32)
    pictures[np.arange(pixels), np.arange(pixels)] += CHANGE
    (values,) = session.run(None, {"x": pictures.reshape(session.get_inputs()[0].shape)})
    result = np.asarray(values)
    changed: Changed = (result[:-1] != result[-1:]).any(axis=channels)
    return changed.transpose(1, 2, 0).reshape(*changed.shape[1:], *size)


def bounds(pixels: Changed) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return (0, 0, 0, 0)
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def check(path: Path, size: tuple[int, int], *, channels: int = 1) -> None:
    expected = changes(path, size, channels)
    field = receptive_field(load(path), "y")
    assert (len(field.rows), len(field.columns)) == expected.shape[:2]
    for y, x in itertools.product(*map(range, expected.shape[:2])):
        assert field.at(y, x) == bounds(expected[y, x]), (y, x)
    for which, axis in enumerate((field.rows, field.columns)):
        if axis.interior is not None:
            size_, stride, offset = axis.interior
            begins = offset + stride * np.arange(len(axis))
            inside = (begins >= 0) & (begins + size_ <= size[which]) & (axis.last >= axis.first)
            assert (begins[inside] <= axis.first[inside]).all()
            assert (axis.last[inside] < begins[inside] + size_).all()


@pytest.mark.parametrize("name", GRAPHS)
def test_equals_the_pixels_that_change_the_value(name: str, tmp_path: Path) -> None:
    size, weights, body = GRAPHS[name]
    check(save(tmp_path, size, weights, body), size, channels=3 if "NHWC" in name else 1)


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[int, int], dict[str, tuple[int, ...]], str]:
    """Up to four windows in a row, each with its own kernel, stride, dilation, pads and rounding."""
    size = (draw(st.integers(9, 16)), draw(st.integers(9, 16)))
    weights: dict[str, tuple[int, ...]] = {}
    lines, lengths = [], list(size)
    for step in range(draw(st.integers(1, 4))):
        kernel, stride, dilation = (tuple(draw(st.integers(1, high)) for _ in lengths) for high in (4, 3, 2))
        reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        pads = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
        if any(length + pads[i] + pads[i + 2] <= reach[i] for i, length in enumerate(lengths)):
            break
        attributes = (
            f"kernel_shape = {list(kernel)}, strides = {list(stride)}, dilations = {list(dilation)}, pads = {pads}"
        )
        source = f"t{step}" if step else "x"
        if draw(st.booleans()):
            weights[f"w{step}"] = (1, 1, *kernel)
            lines.append(f"t{step + 1} = Conv <{attributes}> ({source}, w{step})")
            ceil = False
        else:
            ceil = draw(st.booleans())
            lines.append(f"t{step + 1} = MaxPool <{attributes}, ceil_mode = {int(ceil)}> ({source})")
        for i in range(2):
            spare = lengths[i] + pads[i] + pads[i + 2] - reach[i] - 1
            starts = range(0, spare + (stride[i] if ceil else 1), stride[i])
            lengths[i] = sum(start < lengths[i] + pads[i] or not ceil for start in starts)
    lines.append(f"y = Identity ({f't{len(lines)}' if lines else 'x'})")
    return size, weights, "\n".join(lines)


@settings(max_examples=60, deadline=None)
@given(chains())
def test_random_chains(
    tmp_path_factory: pytest.TempPathFactory, chain: tuple[tuple[int, int], dict[str, tuple[int, ...]], str]
) -> None:
    size, weights, body = chain
    check(save(tmp_path_factory.mktemp("chain"), size, weights, body), size)


# (size, stride, offset) of the last feature map. Sizes and strides: the table in Araujo et al. (2019) for AlexNet and
# VGG-16 up to their last pool, and for torchvision's ResNets (whose bottlenecks stride in the middle) by its formula.
PUBLISHED = {
    ("alexnet", "/avgpool/AveragePool"): (195, 32, None),
    ("vgg16", "/avgpool/AveragePool"): (212, 32, -90),
    ("resnet18", "/layer4/layer4.1/relu_1/Relu"): (435, 32, -217),
    ("resnet34", "/layer4/layer4.2/relu_1/Relu"): (899, 32, -449),
    ("resnet50", "/layer4/layer4.2/relu_2/Relu"): (427, 32, -213),
    ("resnet101", "/layer4/layer4.2/relu_2/Relu"): (971, 32, -485),
}


@pytest.mark.parametrize("layout", ["nchw", "nhwc_everywhere"])
@pytest.mark.parametrize(("name", "node"), PUBLISHED)
def test_published_sizes(name: str, node: str, layout: Layout, tmp_path: Path) -> None:
    model = load(save_zoo(build(name, layout=layout), tmp_path))
    tensor = next(n.outputs[0] for n in model.view.nodes if n.name == node)
    size, stride, offset = PUBLISHED[name, node]
    field = receptive_field(model, tensor)
    assert (field.size, field.stride) == ((size, size), (stride, stride))
    if offset is not None:
        assert field.offset == (offset, offset)
    assert field.at(0, 0)[0] == 0


def test_every_map_of_the_zoo_has_a_field_that_holds_its_neighbours(tmp_path: Path) -> None:
    for name in ("unet", "shufflenet_v2_x1_0", "yolov3"):
        model = load(save_zoo(build(name), tmp_path))
        for stage in model.stages():
            field = receptive_field(model, stage.output)
            assert (len(field.rows), len(field.columns)) == (stage.height, stage.width)
            assert field.size[0] is not None
            assert (np.diff(field.rows.first) >= 0).all()
            assert (np.diff(field.rows.last) >= 0).all()


def parsed(body: str, folder: Path, inputs: str = "float[1, 1, 8, 8] x") -> Model:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float[] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return load(path)


def test_a_vector_depends_on_everything(tmp_path: Path) -> None:
    model = parsed(
        "a = MaxPool <kernel_shape = [3, 3], strides = [3, 3]> (x) y = Flatten (a)", tmp_path, "float[1, 3, 8, 8] x"
    )
    field = receptive_field(model, "y")
    assert field.at(0, 0) == (0, 6, 0, 6)  # the last two rows and columns fit no window
    assert (field.size, field.stride, field.offset) == ((6, 6), (0, 0), (0, 0))


def test_rows_put_into_one_axis_keep_their_positions(tmp_path: Path) -> None:
    model = parsed(
        """
        s = Constant <value = int64[3] {1, 1, 64}> () a = Reshape (x, s) b = Relu (a)
        axes = Constant <value = int64[1] {2}> () from = Constant <value = int64[1] {8}> ()
        to = Constant <value = int64[1] {16}> ()
        c = Slice (b, from, to, axes) t = Constant <value = int64[4] {1, 1, 8, 8}> () y = Reshape (b, t)""",
        tmp_path,
    )
    assert receptive_field(model, "b").at(2, 3) == (2, 3, 3, 4)
    assert receptive_field(model, "y").at(2, 3) == (2, 3, 3, 4)
    assert receptive_field(model, "c").at(0, 0) == (0, 8, 0, 8)


def test_malformed_nodes_are_a_reason(tmp_path: Path) -> None:
    model = parsed("y = Conv (x)", tmp_path)
    with pytest.raises(UsageError, match="the node is not as its operator should be"):
        receptive_field(model, "y")


def test_softmax_of_old_operator_sets_mixes_the_whole_map(tmp_path: Path) -> None:
    shape = "float[1, 3, 4, 5]"
    text = f'<ir_version: 8, opset_import: ["" : 11]> g ({shape} x) => ({shape} y) {{{{ y = Softmax {{}}(x) }}}}'
    for attributes, expected in (("", (0, 4, 0, 5)), ("<axis = 3> ", (1, 2, 0, 5))):
        path = tmp_path / "old.onnx"
        path.write_bytes(onnx.parser.parse_model(text.format(attributes)).SerializeToString())
        assert receptive_field(load(path), "y", "x").at(1, 1) == expected


def test_padding_alone_gives_an_empty_field(tmp_path: Path) -> None:
    model = parsed("y = MaxPool <kernel_shape = [1, 1], pads = [0, 0, 0, 0]> (x)", tmp_path)
    assert receptive_field(model, "y").at(7, 0) == (7, 8, 0, 1)
    padded = parsed("p = Constant <value = int64[8] {0, 0, 1, 0, 0, 0, 0, 0}> () y = Pad (x, p)", tmp_path)
    assert receptive_field(padded, "y").at(0, 3) == (0, 0, 0, 0)
    assert receptive_field(padded, "y").at(1, 3) == (0, 1, 3, 4)


def test_the_input_itself_and_the_choice_of_an_input(tmp_path: Path) -> None:
    inputs = "float[1, 3, 8, 8] x, float[1, 3, 16, 16] z"
    model = parsed("a = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (z) y = Add (x, a)", tmp_path, inputs)
    assert receptive_field(model, "x").at(2, 3) == (2, 3, 3, 4)
    assert receptive_field(model, "y").source == "x"
    assert receptive_field(model, "y", "z").at(2, 3) == (4, 6, 6, 8)
    with pytest.raises(UsageError, match=r"no picture input of m\.onnx; these are: x, z"):
        receptive_field(model, "y", "q")


@pytest.mark.parametrize(
    ("body", "tensor", "reason"),
    [
        ("y = Relu (x)", "nope", "no tensor 'nope'"),
        ("w = Constant <value = float[1] {2}> () y = Mul (x, w)", "w", "depends on no picture input"),
        ("s = Shape (x) y = Relu (x)", "s", "depends on no picture input"),
        ("y = GridSample (x, g)", "y", "an input besides the first|no rule for this operator"),
        ("y = Conv (x, x)", "y", "weights depend on the picture"),
        ("t = Transpose (x) y = Add (x, t)", "y", "different axes"),
        ("t = Transpose (x) y = MaxPool <kernel_shape = [1, 1]> (t)", "y", "not its height and width"),
    ],
)
def test_reasons(body: str, tensor: str, reason: str, tmp_path: Path) -> None:
    inputs = "float[1, 1, 8, 8] x" + (", float[1, 8, 8, 2] g" if "(x, g)" in body else "")
    model = parsed(body, tmp_path, inputs)
    with pytest.raises((TensorNotFound, UsageError), match=reason):
        receptive_field(model, tensor)


def test_positions_outside_are_refused(tmp_path: Path) -> None:
    field = receptive_field(parsed("y = Relu (x)", tmp_path), "y")
    with pytest.raises(UsageError, match=r"tensor 'y' has 8 × 8 positions; \(8, 0\) is not one"):
        field.at(8, 0)


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="two rules for Conv"):
        rule("Conv")(lambda step: step.only)
