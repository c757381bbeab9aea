"""One picture on its way up: what it is, what is shown to the model next, and what it makes of a gradient."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.measure.maximize.optimizers import Optimizer, optimizer
from onnxvis.measure.maximize.paint import Canvas
from onnxvis.measure.maximize.penalties import contrast, variation
from onnxvis.measure.maximize.settings import BLUR, START, Settings

if TYPE_CHECKING:
    from onnxvis.measure.maximize.warp import Warp

__all__ = ["Climb"]

Array = np.ndarray[Any, np.dtype[Any]]

_LOUDER, _TRIES = 2.0, 10
_NOTHING = 1e-9
_SILENT = (
    "the gradient is zero however strong the noise that the picture starts from: the unit is dead, or silent on all of "
    "it; name the tensor before its activation"
)
_LOUD = "the picture started from noise {:g} times as strong as usual: on less, the gradient was zero"


class Climb:
    """A picture of `shape` (C, H, W) that climbs as `settings` say; `label` and the seed alone decide what is random.

    Call `next`, then `follow` with the gradient by what `next` gave. Where there is no gradient at all before the first
    step, as from a unit that is silent on grey, the picture starts again from twice the noise; `stuck` after ten times.
    Gradients are divided by the root mean square of the first one, zeros left out, so that rates mean the same for
    every model.
    """

    def __init__(self, shape: tuple[int, int, int], settings: Settings, label: str) -> None:
        self._settings = settings
        self._canvas = Canvas(shape, settings.kind, decorrelated=settings.decorrelated)
        self._random = np.random.default_rng([settings.seed, zlib.crc32(label.encode("utf-8", "surrogatepass"))])
        self._optimizer: Optimizer = optimizer(settings.optimizer, settings.rate)
        self._noise = START
        self._parameters = self._canvas.start(self._random, self._noise)
        self._picture = self._canvas.picture(self._parameters)
        self._warp: Warp | None = None
        self._unit = 0.0
        self._steps = 0
        self.curve: list[float] = []

    @property
    def stuck(self) -> bool:
        """Whether no noise gave a gradient."""
        return self._noise > START * _LOUDER**_TRIES

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be known of the start."""
        if self.stuck:
            return (_SILENT,)
        if self._noise > START:
            return (_LOUD.format(self._noise / START),)
        return ()

    def pixels(self) -> Array:
        """The picture, (C, H, W) uint8."""
        return np.asarray(np.rint(255 * self._picture), np.uint8)

    def picture(self) -> Array:
        """The picture, (C, H, W) float32 in 0–1."""
        return self._picture.astype(np.float32)

    def next(self) -> Array:
        """The picture moved a little, (C, H, W) in 0–1."""
        self._warp = self._settings.wobble.draw(self._random, (self._picture.shape[1], self._picture.shape[2]))
        return self._picture if self._warp is None else self._warp.apply(self._picture)

    def follow(self, value: float, gradient: Array) -> None:
        """A step along `gradient`, by what `next` gave, where the model's answer was `value`."""
        self.curve.append(value)
        if not self._unit and not gradient.any():
            self._noise *= _LOUDER
            self._parameters = self._canvas.start(self._random, self._noise)
        else:
            self._step(gradient if self._warp is None else self._warp.adjoint(gradient))
        self._picture = self._canvas.picture(self._parameters)

    def _step(self, by_picture: Array) -> None:
        settings = self._settings
        for weight, penalty in ((settings.l2, contrast), (settings.tv, variation)):
            if weight:
                by_picture = by_picture - weight * penalty(self._picture)[1]
        gradient = self._canvas.pulled(by_picture, self._picture)
        if not self._unit:
            size = np.abs(gradient)
            moving = size[size > _NOTHING * size.max()]
            self._unit = math.sqrt(float((moving**2).mean())) if moving.size else 0.0
        if self._unit:
            self._parameters = self._parameters + self._optimizer.step(gradient / self._unit)
        self._steps += 1
        if settings.blur and self._steps % settings.blur == 0:
            self._parameters = self._canvas.parameters.blurred(self._parameters, BLUR)
