"""Exported modules against PyTorch itself: what they compute, how they are named, and what is refused."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxvis.errors import InputError, ModelError, UsageError
from onnxvis.models.torch_export import check_opset, export_checked, export_module, need, try_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEEDS_TORCH = "needs PyTorch: pip install -e '.[test,torch]'"


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason=NEEDS_TORCH)


@pytest.fixture
def body(torch: Any) -> Any:
    """Convolution, batch norm with statistics of its own, relu."""
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    body[1].running_mean.normal_()
    body[1].running_var.uniform_(0.5, 2)
    return body


@pytest.fixture
def returning(torch: Any, body: Any) -> Callable[[Callable[[Any, Any], Any]], Any]:
    """A module around `body` that returns what a function makes of its input and the body's output."""

    def make(function: Callable[[Any, Any], Any]) -> Any:
        class Returning(torch.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.body = body
                self.extra = torch.nn.Parameter(torch.arange(7.0))

            def forward(self, picture: Any) -> Any:
                return function(picture, self.body(picture))

        return Returning()

    return make


def pictures(batch: int, size: int = 8, seed: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(batch, 3, size, size)).astype(np.float32)


def run(model: onnx.ModelProto, given: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, {"image": given})]


def sides(model: onnx.ModelProto) -> dict[str, list[str | int]]:
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }


@pytest.mark.parametrize("fold", [False, True])
def test_the_file_computes_what_the_module_does(torch: Any, body: Any, fold: bool) -> None:
    exported = export_checked(body, (1, 3, 8, 8), {"key": "value"}, name="Body", fold=fold)
    given = pictures(3)
    with torch.no_grad():
        expected = body(torch.from_numpy(given)).numpy()
    (found,) = run(exported.model, given)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    kinds = Counter(node.op_type for node in exported.model.graph.node)
    assert kinds == ({"Conv": 1, "Relu": 1} if fold else {"Conv": 1, "BatchNormalization": 1, "Relu": 1})
    assert {entry.key: entry.value for entry in exported.model.metadata_props} == {"key": "value"}
    assert exported.difference < 1e-5
    assert exported.notes == ()


def test_scopes_and_the_free_batch_are_in_the_file(returning: Any) -> None:
    model = export_checked(returning(lambda _, y: y), (1, 3, 8, 8), {}, name="Body").model
    assert model.graph.node[0].name == "/body/body.0/Conv"
    assert sides(model) == {"image": ["batch", 3, 8, 8], "output": ["batch", 4, 8, 8]}
    assert not any(node.doc_string for node in model.graph.node)


def test_outputs_in_any_containers_are_laid_out_flat(torch: Any, returning: Any) -> None:
    module: Any = returning(lambda x, y: {"z": y, "a": [y.mean(), (None, x + 1)], "m": (module.extra + 0,)})
    exported = export_checked(module, (1, 3, 8, 8), {}, name="Many")
    given = pictures(2)
    found = run(exported.model, given)
    with torch.no_grad():
        result: Any = module(torch.from_numpy(given))
    for value, expected in zip(found, (result["z"], *result["a"][:1], given + 1, np.arange(7.0)), strict=True):
        np.testing.assert_allclose(value, np.asarray(expected), atol=1e-5)
    assert [output.name for output in exported.model.graph.output] == ["output0", "output1", "output2", "output3"]
    assert sides(exported.model)["output3"] == [7], "its side is not the batch"
    assert isinstance(result, Mapping), "the module returns again what it did"


def test_sides_that_grow_with_the_batch_otherwise_are_left_unsaid(returning: Any) -> None:
    module = returning(lambda _, y: (y.transpose(0, 1), y.flatten(0, 1), y.view(y.shape[0], 2, -1, 8, 8)))
    model = export_checked(module, (1, 3, 8, 8), {}, name="Sides").model
    assert sides(model) == {
        "image": ["batch", 3, 8, 8],
        "output0": [4, "batch", 8, 8],
        "output1": [0, 8, 8],
        "output2": ["batch", 2, 2, 8, 8],
    }


def test_constants_are_computed_where_weights_keep_their_names(torch: Any, returning: Any) -> None:
    """The scales of a resize, without which its size is not known; but not a transposed weight of a transformer."""
    up = torch.nn.functional.interpolate
    module = returning(lambda x, y: up(y, scale_factor=2) + up(x[:, :1], size=(y.shape[2] * 2, y.shape[3] * 2)))
    model = export_checked(module, (1, 3, 8, 8), {}, name="Up").model
    model.graph.ClearField("value_info")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.value_info
    shapes = {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in inferred}
    resized = [node.output[0] for node in model.graph.node if node.op_type == "Resize"]
    assert [shapes[name][2:] for name in resized] == [[16, 16], [16, 16]]
    linear = torch.nn.Linear(8, 5)
    module = returning(lambda _, y: linear(y))
    module.linear = linear
    model = export_checked(module, (1, 3, 8, 8), {}, name="Linear").model
    assert "linear.weight" in {weight.name for weight in model.graph.initializer}
    assert "Transpose" in {node.op_type for node in model.graph.node}


def test_a_module_for_one_picture_gets_a_batch_of_one(torch: Any, returning: Any) -> None:
    """Once where the module itself refuses two, once where only the traced graph does."""
    for flat in (lambda _, y: y.reshape(1, 256), lambda _, y: y.reshape(int(y.shape[0]), 256)):
        module = returning(flat)
        exported = export_checked(module, (1, 3, 8, 8), {}, name="One")
        assert sides(exported.model)["image"] == [1, 3, 8, 8]
        assert "one picture at a time" in exported.notes[0]
        given = pictures(1)
        with torch.no_grad():
            np.testing.assert_allclose(run(exported.model, given)[0], module(torch.from_numpy(given)), atol=1e-5)


def test_a_forward_that_goes_several_ways_is_told(returning: Any) -> None:
    exported = export_checked(returning(lambda x, y: y * 2 if x.abs().sum() > 0 else y), (1, 3, 8, 8), {}, name="Two")
    assert exported.difference == pytest.approx(0.5)
    assert "differ from the module's by 50.0%" in exported.notes[0]


def test_no_numbers_are_alike_and_infinities_differ_from_numbers(torch: Any, returning: Any) -> None:
    nothing = export_checked(returning(lambda _, y: y - y / 0 * 0), (1, 3, 8, 8), {}, name="Nan")
    assert nothing.difference == 0
    one_way = returning(lambda x, y: y / 0 if x.abs().sum() > 0 else y)
    assert not export_checked(one_way, (1, 3, 8, 8), {}, name="Inf").difference <= 1


def test_weights_that_are_equal_stay_apart(torch: Any) -> None:
    class Twice(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)

        def forward(self, picture: Any) -> Any:
            return self.two(self.one(picture)), self.one.weight

    model = export_checked(Twice(), (1, 3, 8, 8), {}, name="Twice").model
    assert {"one.weight", "two.weight", "one.running_var", "two.running_var"} <= {
        weight.name for weight in model.graph.initializer
    }
    np.testing.assert_array_equal(run(model, pictures(1))[1], np.ones(3))


def test_height_and_width_can_be_free_too(torch: Any, body: Any) -> None:
    model = export_module(body, (1, 3, 8, 8), {}, free=(0, 2, 3))
    assert sides(model)["image"] == ["batch", 3, "height", "width"]
    given = pictures(2, size=11)
    with torch.no_grad():
        np.testing.assert_allclose(run(model, given)[0], body(torch.from_numpy(given)), atol=1e-5)


def test_a_module_that_does_not_run_is_told_with_its_own_words(returning: Any) -> None:
    with pytest.raises(
        InputError, match=r"Body does not run on an input of 1x4x8x8 .*expected .* 3 channels.*--channels and --size$"
    ):
        export_checked(returning(lambda _, y: y), (1, 4, 8, 8), {}, name="Body")

    def leave(_x: object, _y: object) -> None:
        sys.exit("gone")

    with pytest.raises(InputError, match=r"^Body ended the process instead of running \(sys.exit\(gone\)\)"):
        try_out(returning(leave), (1, 3, 8, 8), "Body")


def test_what_is_no_tensor_is_refused(returning: Any) -> None:
    with pytest.raises(ModelError, match="Body returns a str"):
        try_out(returning(lambda _, y: [y, "text"]), (1, 3, 8, 8), "Body")
    with pytest.raises(ModelError, match="Body returns no tensor"):
        try_out(returning(lambda _x, _y: [None, {}]), (1, 3, 8, 8), "Body")


def test_what_the_exporter_cannot_write_is_told(torch: Any, returning: Any) -> None:
    module = returning(lambda _, y: torch.nn.functional.adaptive_avg_pool2d(y, 3))
    with pytest.raises(ModelError, match=r"Pool cannot be exported for an input of 1x3x8x8: .*adaptive"):
        export_checked(module, (1, 3, 8, 8), {}, name="Pool")


def test_an_output_that_does_not_depend_on_the_input_is_told(torch: Any, returning: Any) -> None:
    for still in (lambda _x, _y: torch.ones(3), lambda _x, _y: {"a": torch.ones(3), "b": torch.zeros(2)}):
        with pytest.raises(ModelError, match=r"Still cannot be exported .*: what it returns does not depend on its"):
            export_checked(returning(still), (1, 3, 8, 8), {}, name="Still")


def test_the_exporter_prints_nothing(torch: Any, returning: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="fft"):
        export_checked(returning(lambda _, y: torch.fft.fft(y)), (1, 3, 8, 8), {}, name="Fft")
    assert capfd.readouterr() == ("", "")


def test_what_no_file_can_hold_is_refused_before_any_work(torch: Any, returning: Any) -> None:
    module = returning(lambda _, y: y)
    module.register_buffer("large", torch.zeros(1).expand(600_000_000))
    with pytest.raises(ModelError, match=r"2\.4 GB of weights"):
        export_checked(module, (1, 3, 8, 8), {}, name="Large")


@pytest.mark.parametrize("opset", [11, 13, 20])
def test_opsets(torch: Any, body: Any, opset: int) -> None:
    model = export_checked(body, (1, 3, 8, 8), {}, name="Body", opset=opset).model
    assert [entry.version for entry in model.opset_import] == [opset]


def test_opsets_that_cannot_be_are_refused() -> None:
    for opset in (10, 21):
        with pytest.raises(UsageError, match=f"opsets 11 to 20, not {opset}"):
            check_opset(opset)


def test_a_package_that_is_not_there_is_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r'no_such_package is not installed: pip install "onnxvis\[make\]"'):
        need("json", "no_such_package")
    need("json")
    Path(tmp_path, "onnxvis_test_broken.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"does not start \(operator nms does not exist\).*onnxvis\[make\]"):
        need("onnxvis_test_broken")
