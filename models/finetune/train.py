"""The loop: steps of an optimizer over batches, and measuring in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from onnxvis.errors import ProviderError, UsageError

from .curves import Row
from .data import Pictures, Split, step_indices
from .rates import parameter_groups, set_modes
from .settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Score", "Trainer", "choose_device", "evaluate", "rate_factor", "train", "trained_indices"]

_MEASURED_AT_ONCE = 64


@dataclass(frozen=True)
class Score:
    """`loss`: mean cross-entropy (natural logarithm); `accuracy`: share named rightly, of `count` pictures."""

    loss: float
    accuracy: float
    count: int


def choose_device(asked: str) -> str:
    """'cpu' or 'cuda'; `asked` may be 'auto': CUDA where it is there. Raises ProviderError for CUDA that is not."""
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise ProviderError(
            "--device cuda: PyTorch finds no CUDA device here; give --device cpu, or see onnxvis doctor"
        )
    return asked if asked != "auto" else "cuda" if there else "cpu"


def rate_factor(step: int, steps: int) -> float:
    """The share of its highest rate at which step number `step` (from 0) of `steps` trains: one cycle, in (0, 1].

    Up in a line over the first tenth, (step + 1) / warm, then down half a cosine to zero just after the last step.
    """
    warm = max(1, round(steps / 10))
    if step < warm:
        return (step + 1) / warm
    return (1 + math.cos(math.pi * (step - warm + 1) / (steps - warm + 1))) / 2


class Trainer:
    """A network in training on `device`, with its optimizer and schedule; `step`: how many steps are done."""

    def __init__(self, network: nn.Module, settings: Settings, device: str = "cpu") -> None:
        """Raises UsageError as `parameter_groups`, for rates that name no layer."""
        # Convolutions keep the layout of their input; channels last is the faster one.
        self.network = network.to(device=device, memory_format=torch.channels_last)
        self.settings, self.device, self.step = settings, device, 0
        groups = parameter_groups(self.network, settings.rates)
        self.optimizer: Any = (
            torch.optim.SGD(groups, momentum=settings.momentum, weight_decay=settings.weight_decay)
            if settings.optimizer == "sgd"
            else torch.optim.Adam(groups, weight_decay=settings.weight_decay)
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: rate_factor(step, settings.steps)
        )

    @property
    def rate(self) -> float:
        """The highest learning rate of the step to come."""
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def advance(self, pictures: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        """One step on a batch; returns how the network did on it before.

        Raises UsageError, the network unchanged, where the loss is no finite number.
        """
        set_modes(self.network)
        images, target = self._moved(pictures, labels)
        logits = self.network(images)
        loss = nn.functional.cross_entropy(logits, target)
        score = Score(loss.item(), (logits.argmax(1) == target).float().mean().item(), len(labels))
        _check_finite(score.loss, f"step {self.step + 1}", self.rate)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        if self.step < self.settings.steps:
            self.schedule.step()
        return score

    def logits(self, pictures: NDArray[np.float32]) -> torch.Tensor:
        """What the network says of pictures (N, 3, S, S) in evaluation mode: (N, classes)."""
        self.network.eval()
        with torch.no_grad():
            found: torch.Tensor = self.network(self._moved(pictures, np.zeros(0, np.int64))[0])
        return found

    def _moved(self, pictures: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.from_numpy(pictures).to(self.device).contiguous(memory_format=torch.channels_last)
        return images, torch.from_numpy(labels).to(self.device)


def evaluate(trainer: Trainer, pictures: Pictures, indices: Sequence[int]) -> Score:
    """Loss and accuracy over the pictures at `indices`, in evaluation mode, unvaried."""
    loss, right = 0.0, 0
    for first in range(0, len(indices), _MEASURED_AT_ONCE):
        batch, labels = pictures.batch(indices[first : first + _MEASURED_AT_ONCE])
        logits, target = trainer.logits(batch), torch.from_numpy(labels).to(trainer.device)
        loss += nn.functional.cross_entropy(logits, target, reduction="sum").item()
        right += int((logits.argmax(1) == target).sum())
    return Score(loss / len(indices), right / len(indices), len(indices))


def train(
    trainer: Trainer,
    data: Split,
    every: int,
    until: int | None = None,
    tell: Callable[[int, Score], None] | None = None,
) -> Iterator[Row]:
    """Train to the last step, or to step `until`; gives a row after every `every` steps and after the last.

    What is done with a row (writing a checkpoint, say) is done before training goes on. `tell` hears every step.
    Raises UsageError where the loss is no finite number, naming the step and the rate.
    """
    settings = trainer.settings
    last = settings.steps if until is None else min(until, settings.steps)
    held_out = range(data.held_out.count or 0)
    losses, shares = [], []
    while trainer.step < last:
        step, rate = trainer.step, trainer.rate
        rng = np.random.default_rng([settings.seed, step, 1])
        indices = step_indices(data.train.count, settings.seed, step, settings.batch)
        try:
            score = trainer.advance(*data.train.batch(indices, rng))
        except torch.cuda.OutOfMemoryError as error:
            raise UsageError(
                f"the GPU has no room for a step of {settings.batch} pictures of {settings.size} pixels: give a "
                "smaller --batch or --size"
            ) from error
        losses.append(score.loss)
        shares.append(score.accuracy)
        if tell is not None:
            tell(trainer.step, score)
        if trainer.step % every == 0 or trainer.step == last:
            measured = evaluate(trainer, data.held_out, held_out)
            _check_finite(measured.loss, f"step {trainer.step}, on the held-out pictures", rate)
            yield Row(
                trainer.step, float(np.mean(losses)), float(np.mean(shares)), measured.loss, measured.accuracy, rate
            )
            losses, shares = [], []


def trained_indices(data: Split, steps: int, batch: int) -> range:
    """Of the pictures that `steps` steps of `batch` trained on, as many as are held out, evenly spread."""
    seen, most = steps * batch, data.held_out.count or 1
    if data.train.count is not None:
        seen = min(seen, data.train.count)
    return range(0, seen, max(1, -(-seen // most)))


def _check_finite(loss: float, when: str, rate: float) -> None:
    if not math.isfinite(loss):
        raise UsageError(
            f"the loss is {loss} at {when}, with a learning rate of {rate:.3g}: training has left all bounds; give a "
            f"lower --lr, such as {rate / 10:.2g}. The last checkpoint stays"
        )
