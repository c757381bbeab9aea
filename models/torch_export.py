"""PyTorch modules as ONNX models, written so that they can be looked into: scope names and batch norm are kept."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxvis.errors import InputError, ModelError, UsageError
from onnxvis.files import one_line

from .misfits import advice, unmoved
from .stdout_kept import stdout_kept

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSETS", "Exported", "check_opset", "export_checked", "export_module", "need", "try_out"]

OPSETS = (11, 20)
"""The first and last opset that can be asked for; PyTorch's exporter ends there."""

_LARGEST = 2_000_000_000
_ALIKE = 1e-3


@dataclass(frozen=True)
class Exported:
    """A model and how it compares with the module: the largest difference of an output on random input, relative to
    that output's largest value. `notes`: what a reader should know, a sentence each."""

    model: onnx.ModelProto
    difference: float
    notes: tuple[str, ...] = ()


def need(*modules: str) -> None:
    """Raise UsageError where one of PyTorch's packages is not installed, or does not start."""
    for name in modules:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise UsageError(
                f'this needs {" and ".join(modules)}, and {error.name} is not installed: pip install "onnxvis[make]"'
            ) from error
        except (ImportError, OSError, RuntimeError) as error:
            raise UsageError(
                f'{name} is installed but does not start ({one_line(error)}); mend it with: pip install "onnxvis[make]"'
            ) from error


def check_opset(opset: int) -> None:
    """Raise UsageError for an opset that PyTorch's exporter cannot write."""
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise UsageError(f"PyTorch's exporter writes opsets {OPSETS[0]} to {OPSETS[1]}, not {opset}")


def try_out(network: Any, shape: tuple[int, ...], name: str) -> list[Any]:
    """Run `network` on zeros of `shape`, in evaluation mode; its output tensors, out of lists, tuples and dicts.
    `name`: what errors call it.

    Raises InputError with what the module says, ModelError where what it returns is not made of tensors.
    """
    import torch

    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = network.eval()(torch.zeros(*shape))
    except SystemExit as error:
        said = one_line(error.code, 100)
        raise InputError(
            f"{name} ended the process instead of running (sys.exit({said})); take that out of its forward"
        ) from error
    except Exception as error:  # a module may raise anything
        said = one_line(" ".join(str(error).split()) or type(error).__name__, 300)
        raise InputError(
            f"{name} does not run on an input of {_shape(shape)} ({said}){advice(network, error)}"
        ) from error
    tensors = _tensors(result, name)
    if not tensors:
        raise ModelError(f"{name} returns no tensor, so there is nothing to export")
    return tensors


def export_checked(
    network: Any,
    shape: tuple[int, ...],
    metadata: Mapping[str, str],
    *,
    name: str,
    outputs: tuple[str, ...] | None = None,
    fold: bool = False,
    opset: int = 17,
) -> Exported:
    """`network` tried out, exported with a free batch, and compared with the module on two random pictures.

    `name`: what errors call it; `outputs`: their names, by default `output`, or `output0`, `output1`, … for a module
    that returns several. Where the module or the traced graph takes one picture only, the batch is fixed to that.
    Raises UsageError for an opset, InputError where the module does not run, ModelError where it cannot be exported.
    """
    check_opset(opset)
    tensors = try_out(network, shape, name)
    if outputs is None:
        outputs = tuple(f"output{index}" for index in range(len(tensors))) if len(tensors) > 1 else ("output",)
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > _LARGEST:
        raise ModelError(f"{name} has {size / 1e9:.1f} GB of weights; one .onnx file holds 2 GB at most")
    reason: Exception | None = None
    for free in (True, False):
        try:
            with _flat(network, name):
                model = _export(
                    network, shape, metadata, outputs=outputs, fold=fold, opset=opset, free=(0,) if free else ()
                )
                found, difference = _compare(model, network, (2 if free else 1, *shape[1:]))
            _name_sides(model, tensors, found)
        except Exception as error:  # of the exporter, of ONNX Runtime, or of the module
            reason = reason or error
        else:
            return Exported(model, difference, tuple(_notes(difference, reason)))
    said = one_line(" ".join(str(reason).split()), 300)
    with _flat(network, name):
        if isinstance(reason, IndexError) and unmoved(network, shape):
            said = "what it returns does not depend on its input"
    raise ModelError(f"{name} cannot be exported for an input of {_shape(shape)}: {said}") from reason


def export_module(
    network: Any,
    shape: tuple[int, ...],
    metadata: Mapping[str, str],
    *,
    inputs: str = "image",
    outputs: tuple[str, ...] = ("logits",),
    fold: bool = False,
    constants: bool = False,
    opset: int = 17,
    free: tuple[int, ...] = (0,),
) -> onnx.ModelProto:
    """`network` (an nn.Module, put in evaluation mode) as an ONNX model, checked with onnx.checker.

    `shape`: of the input, the batch included; `free`: its dimensions that stay open, the batch by default;
    `constants`: let the exporter compute what does not depend on the input, as the scales of a resize; `fold`: that,
    and batch norm folded into the convolutions before it; `metadata`: written into the file.
    Raises what PyTorch's exporter raises.
    """
    import onnx
    import torch

    names = {0: "batch", 2: "height", 3: "width"}
    axes = {axis: names.get(axis, f"d{axis}") for axis in free}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), stdout_kept():
        # The older exporter is asked for on purpose: it keeps module scopes in the names and batch norm unfolded.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(*shape),),
            Path(folder, "model.onnx"),
            dynamo=False,
            opset_version=opset,
            do_constant_folding=fold or constants,
            training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
            input_names=[inputs],
            output_names=list(outputs),
            dynamic_axes={inputs: axes, **{name: {0: "batch"} for name in outputs if 0 in free}},
        )
        model = onnx.load(Path(folder, "model.onnx"))
    _give_each_its_own(model)
    for node in model.graph.node:
        node.ClearField("doc_string")
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def _give_each_its_own(model: onnx.ModelProto) -> None:
    """Replace Identity nodes that read an initializer by initializers.

    The exporter stores equal weights once, and the two biases that meet in a join are always equal: both begin at zero
    and get the same gradient.
    """
    stored = {weight.name: weight for weight in model.graph.initializer}
    returned = {output.name for output in model.graph.output}
    for node in list(model.graph.node):
        if node.op_type == "Identity" and node.input[0] in stored and node.output[0] not in returned:
            weight = model.graph.initializer.add()
            weight.CopyFrom(stored[node.input[0]])
            weight.name = node.output[0]
            model.graph.node.remove(node)


def _export(network: Any, *arguments: Any, **options: Any) -> onnx.ModelProto:
    """`export_module` with constants computed, unless that costs weights their names, as transposed ones lose theirs.

    Without it no one can tell the size that a resize gives.
    """
    model = export_module(network, *arguments, constants=True, **options)
    if options["fold"] or not _nameless(model, network):
        return model
    plain = export_module(network, *arguments, **options)
    return plain if _nameless(plain, network) < _nameless(model, network) else model


def _nameless(model: onnx.ModelProto, network: Any) -> int:
    """How many parameters of the network are not in the file under their own names."""
    stored = {weight.name for weight in model.graph.initializer}
    return sum(name not in stored for name, _ in network.named_parameters())


@contextlib.contextmanager
def _flat(network: Any, name: str) -> Iterator[None]:
    """While it lasts, `network` returns a tuple of the tensors that it else returns in any containers.

    Its forward is replaced and not wrapped: a wrapper would stand at the head of every scope name.
    """
    own, forward = vars(network).get("forward"), network.forward
    network.forward = lambda picture: tuple(_tensors(forward(picture), name))
    try:
        yield
    finally:
        if own is None:
            del network.forward
        else:
            network.forward = own


def _compare(model: onnx.ModelProto, network: Any, shape: tuple[int, ...]) -> tuple[list[Any], float]:
    """The file's outputs on random input, and how far they are from the module's: the largest difference relative to
    the largest value of the same output."""
    import onnxruntime
    import torch

    pictures = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [tensor.detach().numpy() for tensor in network(pictures)]
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    found = session.run(None, {model.graph.input[0].name: pictures.numpy()})
    return found, max(map(_relative, found, expected))


def _name_sides(model: onnx.ModelProto, one: Sequence[Any], two: Sequence[Any]) -> None:
    """Write what is known of the outputs' shapes: `one` are the outputs for one picture, `two` for two (or again one).

    The exporter calls the first side of each the batch, and leaves others unnamed that are the same always.
    """
    for output, first, second in zip(model.graph.output, one, two, strict=True):
        for side, less, more in zip(output.type.tensor_type.shape.dim, first.shape, second.shape, strict=False):
            if less == more > 0:
                side.dim_value = less
            elif (less, more) == (1, 2):
                side.dim_param = "batch"
            else:
                side.Clear()


def _relative(found: Any, expected: Any) -> float:
    """max |found − expected| / max |expected|, over the values that are not the same infinity or both no number."""
    import numpy as np

    if found.shape != expected.shape:
        return float("inf")
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    differing = ~((found == expected) | (np.isnan(found) & np.isnan(expected)))
    if not differing.any():
        return 0.0
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return float(np.abs(found - expected)[differing].max() / (scale or 1.0))


def _notes(difference: float, reason: Exception | None) -> Iterator[str]:
    if reason is not None:
        yield f"it takes one picture at a time, since more fail: {one_line(' '.join(str(reason).split()), 200)}"
    if not difference <= _ALIKE:
        yield (
            f"the file's outputs differ from the module's by {difference:.1%}: its forward is random, or goes another "
            "way for other values, and only one way is in the file"
        )


def _tensors(result: object, name: str) -> list[Any]:
    """The tensors in `result`, in order: a tensor, or lists, tuples and dicts of them; None is passed over."""
    import torch

    if isinstance(result, torch.Tensor):
        return [result]
    if result is None:
        return []
    if not isinstance(result, Mapping | Sequence) or isinstance(result, str):
        raise ModelError(f"{name} returns a {type(result).__name__}; only tensors, lists, tuples and dicts of them do")
    values = result.values() if isinstance(result, Mapping) else result
    return [tensor for value in values for tensor in _tensors(value, name)]


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
