"""ONNX Runtime sessions on the right device, made from a model's skeleton with the weights left in their file."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError, ModelError, ProviderError
from onnxvis.files import one_line
from onnxvis.graph.external import embed, references
from onnxvis.graph.protos import copied

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession, SessionOptions

__all__ = ["Execution", "RunOptions", "Session", "cuda_devices", "resolve_provider"]

Array = np.ndarray[Any, np.dtype[Any]]

_KNOWN = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_FOLDER_ENTRY = "session.model_external_initializers_file_folder_path"
_ASSIGNMENT_ENTRY = "session.record_ep_graph_assignment_info"
_ROUNDS = 8
_SOURCE_LINE = r"(?:/\S+/)?\w+\.(?:cc|cpp|h|hpp):\d+"
_SIGNATURE = (
    r"(?:[\w:<>*&]+ ){0,4}[\w:<>*&]*::[\w~<>]+\((?:[^()]|\([^()]*\))*\)"
    r"(?: const)?(?:::<lambda[^>]*>)?(?: \[with [^\]]*\])?"
)
_INSTALL_CUDA = (
    "install it with: pip install 'onnxvis[cuda]' (needs an NVIDIA driver; `onnxvis doctor` says what is there)"
)


@dataclass(frozen=True)
class RunOptions:
    """How to run: provider 'auto', 'cpu', 'cuda' or ONNX Runtime's own name; threads 0 means one a core.

    `exact` turns every graph optimisation off, so that each tensor is computed as the graph says; only float16, which
    the CPU computes in float32, is still rounded just where a tensor is an output. None leaves it to the task: tensors
    that are exposed are exact unless the model is quantised, everything else is optimised. `tf32` lets CUDA round
    float32 products to 10 bits of mantissa.
    """

    provider: str = "auto"
    threads: int = 0
    exact: bool | None = None
    tf32: bool = False

    @property
    def workers(self) -> int:
        """How many threads the work around the model may use: as many as the model, at most 8."""
        return min(8, self.threads or os.cpu_count() or 1)


@dataclass(frozen=True)
class Execution:
    """Where a session really runs: the provider, the nodes that fell to the CPU, and what should be known of it."""

    provider: str
    cpu_nodes: tuple[str, ...]
    notes: tuple[str, ...]


def resolve_provider(wanted: str) -> tuple[str, tuple[str, ...]]:
    """ONNX Runtime's name for `wanted`, and notes. 'auto' is CUDA where it is there, else the CPU, saying why.

    Raises ProviderError, with what to install, for one that this ONNX Runtime does not have.
    """
    available = _available()
    if wanted == "auto":
        if _KNOWN["cuda"] in available and cuda_devices():
            return _KNOWN["cuda"], ()
        reason = "no CUDA device was found" if _KNOWN["cuda"] in available else "this ONNX Runtime has no CUDA provider"
        return _KNOWN["cpu"], (f"ran on the CPU: {reason}",)
    by_lower = {name.lower(): name for name in available}
    by_lower |= {name.lower().removesuffix("executionprovider"): name for name in available}
    name = by_lower.get(wanted.lower())
    if name is None:
        there = ", ".join(available)
        raise ProviderError(f"provider '{one_line(wanted)}' is not in this ONNX Runtime ({there}); {_advice(wanted)}")
    if name == _KNOWN["cuda"] and not cuda_devices():
        raise ProviderError(f"provider 'cuda' was asked for and no CUDA device was found; {_INSTALL_CUDA}")
    return name, ()


class Session:
    """A running model. Use it in a `with` block, or call `close`, so that its memory goes before the next is made.

    Raises ProviderError where the provider fails to start, ModelError where ONNX Runtime refuses the graph.
    """

    def __init__(self, proto: ModelProto, folder: Path, options: RunOptions, name: str = "the model") -> None:
        self._name = name
        self._session: InferenceSession | None
        self._session, provider, notes = _open(proto, folder, options, name)
        self.outputs = tuple(output.name for output in self._session.get_outputs())
        self.placement = _placement(self._session, provider, notes)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the session and its memory."""
        self._session = None

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """Run once; returns {output: array}. Raises InputError where ONNX Runtime cannot take the feeds."""
        if self._session is None:
            raise RuntimeError("the session is closed")
        wanted = list(self.outputs if outputs is None else outputs)
        if not wanted:
            return {}
        known = {item.name for item in self._session.get_inputs()}
        try:
            values = self._session.run(wanted, {name: value for name, value in feeds.items() if name in known})
        except Exception as error:
            given = ", ".join(f"{one_line(name)} {_described(value)}" for name, value in feeds.items()) or "nothing"
            raise InputError(f"{self._name} cannot run on {given}: {_first_line(error)}") from error
        return dict(zip(wanted, values, strict=True))


def _available() -> list[str]:
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def cuda_devices() -> bool:
    """Whether the CUDA driver is there and counts a device; asked of the driver itself, which is quick and quiet."""
    import ctypes
    import sys

    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _advice(wanted: str) -> str:
    return _INSTALL_CUDA if wanted.lower().startswith("cuda") else "install the ONNX Runtime package that brings it"


def _described(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def _open(
    proto: ModelProto, folder: Path, options: RunOptions, name: str
) -> tuple[InferenceSession, str, tuple[str, ...]]:
    """The session, the provider that it runs on, and notes. Only 'auto' may end on another provider than the first."""
    provider, notes = resolve_provider(options.provider)
    try:
        return _start(proto, folder, options, provider, name), provider, notes
    except (ProviderError, ModelError) as error:
        if options.provider != "auto" or provider == _KNOWN["cpu"]:
            raise
        reason = f"ran on the CPU: {one_line(error, 400)}"
    return _start(proto, folder, options, _KNOWN["cpu"], name), _KNOWN["cpu"], (reason,)


def _start(proto: ModelProto, folder: Path, options: RunOptions, provider: str, name: str) -> InferenceSession:
    missing = _preload_cuda() if provider == _KNOWN["cuda"] else ""
    settings = _session_options(folder, options)
    providers: list[Any] = [provider]
    if provider == _KNOWN["cuda"]:
        providers = [(provider, {"use_tf32": "1" if options.tf32 else "0"})]
    if provider != _KNOWN["cpu"]:
        providers.append(_KNOWN["cpu"])
    with _quiet() if provider != _KNOWN["cpu"] else contextlib.nullcontext():
        session = _create(proto, folder, settings, providers, name)
    if provider not in session.get_providers():
        raise ProviderError(f"provider '{provider}' did not start{missing}; {_advice(provider)}")
    return session


def _preload_cuda() -> str:
    """Load the CUDA and cuDNN wheels' libraries; returns what was missing, which ONNX Runtime would print to stdout."""
    import onnxruntime

    said = io.StringIO()
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(said):
            onnxruntime.preload_dlls()
    first = said.getvalue().partition("\n")[0]
    return f" ({one_line(first)})" if first else ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep a provider that fails to load from writing to stderr: what went wrong is in our own message."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(2)  # its default; the present level cannot be asked for


def _session_options(folder: Path, options: RunOptions) -> SessionOptions:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = options.threads
    settings.add_session_config_entry(_FOLDER_ENTRY, str(folder))
    settings.add_session_config_entry(_ASSIGNMENT_ENTRY, "1")
    if options.exact:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return settings


def _create(
    proto: ModelProto, folder: Path, settings: SessionOptions, providers: list[Any], name: str
) -> InferenceSession:
    """Make the session; where ONNX Runtime needs a value it cannot read by reference, inline that one and try again.

    It names them one by one: before the last of the rounds all that are no larger are inlined with them.
    """
    import onnxruntime

    longest = 0
    for rounds_left in reversed(range(_ROUNDS)):
        try:
            # Its own fallback would print to stdout and go on with another provider than the one asked for.
            data = proto.SerializeToString()
            return onnxruntime.InferenceSession(data, settings, providers=providers, enable_fallback=0)
        except Exception as error:
            lengths = {item.name: found.length or 0 for item, found in references(proto)}
            named = {tensor for tensor in lengths if _names(str(error), tensor)}
            if not named or not rounds_left:
                raise ModelError(f"ONNX Runtime cannot load {name}: {_first_line(error)}") from error
            longest = max(longest, *(lengths[tensor] for tensor in named))
            if rounds_left == 1:
                named = {tensor for tensor, length in lengths.items() if length <= longest}
            proto = _inline(proto, folder, named)
    raise AssertionError("the last round returns or raises")


def _names(message: str, tensor: str) -> bool:
    return bool(tensor) and re.search(rf"(?<![\w./]){re.escape(tensor)}(?![\w/])", message) is not None


def _inline(proto: ModelProto, folder: Path, names: set[str]) -> ModelProto:
    """`proto` with the external tensors of these names put into the message."""
    inlined = copied(proto)
    for item, found in references(inlined):
        if item.name in names:
            embed(item.tensor, found, folder)
    return inlined


def _placement(session: InferenceSession, provider: str, notes: tuple[str, ...]) -> Execution:
    if provider == _KNOWN["cpu"]:
        return Execution(provider, (), notes)
    fallen: list[str] = []
    if hasattr(session, "get_provider_graph_assignment_info"):
        for graph in session.get_provider_graph_assignment_info():
            if graph.ep_name == _KNOWN["cpu"]:
                fallen += [one_line(node.name or node.op_type) for node in graph.get_nodes()]
    else:
        notes = (*notes, "this ONNX Runtime does not say which nodes fell to the CPU")
    return Execution(provider, tuple(fallen), notes)


def _first_line(error: Exception) -> str:
    """ONNX Runtime's complaint without its code, its source file, its function's signature and its stack."""
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:4000]
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(rf"{_SOURCE_LINE} {_SIGNATURE}", "", text)
    text = re.sub(rf"{_SOURCE_LINE} \S+( \[[^\]]*\])?", "", text)
    return one_line(re.sub(r"\s+", " ", text).strip(), 300)
