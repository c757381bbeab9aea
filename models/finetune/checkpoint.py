"""What a training leaves behind: the network as ONNX, and a file from which it can go on as if never stopped."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from onnxvis.errors import InputError, OnnxvisError
from onnxvis.files import one_line, write_atomic

from ..checkpoints import load_checkpoint, read_checkpoint
from ..torch_export import export_module
from .curves import Row, plain_rows, rows_from_plain
from .data import Split, metadata
from .settings import Settings
from .train import Trainer

__all__ = ["Checkpoint", "exported", "read", "restore", "write"]

_FORMAT = "onnxvis finetune 1"


@dataclass(frozen=True)
class Checkpoint:
    """What stands in a file of `write`: `state` has the network, the optimizer, the schedule and PyTorch's
    random state; `rows` are the curves so far; `labels` and `source` tell the pictures it was trained on."""

    path: Path
    settings: Settings
    labels: tuple[str, ...]
    source: str
    step: int
    rows: list[Row]
    state: Mapping[str, Any]


def exported(trainer: Trainer, labels: Sequence[str]) -> bytes:
    """The network as a serialised ONNX model: batch norm and scope names kept, labels and preprocessing inside.

    Input `image` (batch, 3, S, S) float32, output `logits` (batch, classes). The network itself stays as it is.
    """
    size = trainer.settings.size
    # A copy, as a GPU's network cannot be exported from where it is.
    network = copy.deepcopy(trainer.network).to(device="cpu", memory_format=torch.contiguous_format)
    model = export_module(network, (1, 3, size, size), metadata(labels, size))
    serialised: bytes = model.SerializeToString()
    return serialised


def write(path: Path, trainer: Trainer, data: Split, rows: Sequence[Row]) -> None:
    """Write all that is needed to go on, readable by torch.load(weights_only=True). Raises OutputError."""
    content = {
        "format": _FORMAT,
        "settings": trainer.settings.plain(),
        "labels": list(data.labels),
        "source": data.source,
        "step": trainer.step,
        "rows": plain_rows(rows),
        "network": trainer.network.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.schedule.state_dict(),
        "random": torch.get_rng_state(),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())


def read(path: Path) -> Checkpoint:
    """The checkpoint in `path`. Raises InputError where it is none of `write`, or damaged."""
    name = one_line(path)
    read_checkpoint(path)  # refuses what is no file, no checkpoint, or holds more than weights and plain values
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping) or content.get("format") != _FORMAT:
        raise InputError(f"{name} was not written by onnxvis make finetune, which --resume needs; give its OUT.pth")
    settings = Settings.from_plain(content.get("settings"), name)
    labels, step = content.get("labels"), content.get("step")
    if not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise InputError(f"{name}: its labels are damaged; start anew without --resume")
    if not (isinstance(step, int) and 0 < step <= settings.steps):
        raise InputError(f"{name}: step {one_line(step)} of {settings.steps} cannot be; start anew without --resume")
    rows = rows_from_plain(content.get("rows"), name)
    if not rows:
        raise InputError(f"{name}: its curves are missing; start anew without --resume")
    return Checkpoint(path, settings, tuple(labels), str(content.get("source")), step, rows, content)


def restore(trainer: Trainer, checkpoint: Checkpoint, data: Split) -> None:
    """Bring a trainer made with the checkpoint's settings to where the checkpoint was written.

    Raises InputError where `data` are other pictures than it was trained on, or the file does not fit.
    """
    name = one_line(checkpoint.path)
    if (data.labels, data.source) != (checkpoint.labels, checkpoint.source):
        raise InputError(
            f"{name} was trained on other pictures ({one_line(checkpoint.source)}; {len(checkpoint.labels)} classes) "
            f"than these ({one_line(data.source)}; {len(data.labels)} classes): give the same, or leave --resume out"
        )
    try:
        load_checkpoint(checkpoint.path, trainer.network)
        trainer.optimizer.load_state_dict(checkpoint.state["optimizer"])
        trainer.schedule.load_state_dict(checkpoint.state["schedule"])
        torch.set_rng_state(checkpoint.state["random"])
    except OnnxvisError:
        raise
    except Exception as error:  # whatever a damaged file makes PyTorch raise
        raise InputError(f"{name} is damaged ({one_line(error)}); start anew without --resume") from error
    trainer.step = checkpoint.step
