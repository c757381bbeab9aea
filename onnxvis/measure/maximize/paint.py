"""What a picture is made of while it climbs: pixels or a spectrum, colours that vary apart, and a sigmoid.

A picture (C, H, W) in 0–1 is sigmoid(M z), z = image(parameters). Each part has its exact adjoint, which takes a
gradient by what it makes to the gradient by what it is made of.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import cv2
import numpy as np

__all__ = ["COLOUR_ROOT", "KINDS", "Canvas", "Kind", "Parameters", "Pixels", "Spectrum"]

Array = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["fft", "pixels"]
KINDS: tuple[Kind, ...] = get_args(Kind)

COLOUR_ROOT = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
"""A square root of the covariance of ImageNet's colours, RGB by rows, as lucid publishes it (Olah, Mordvintsev and
Schubert, "Feature Visualization", Distill 2017, doi:10.23915/distill.00007; lucid/optvis/param/color.py)."""

_CONTRAST = 4.0
"""What lucid divides the image of a spectrum by, so that it starts as a faint grey."""


class Parameters(ABC):
    """An image (C, H, W) of any real values as an array of real parameters, on which it depends linearly."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape

    @property
    @abstractmethod
    def size(self) -> tuple[int, ...]:
        """The shape of the parameters."""

    @abstractmethod
    def image(self, parameters: Array) -> Array:
        """(C, H, W)."""

    @abstractmethod
    def adjoint(self, gradient: Array) -> Array:
        """From a gradient by the image (C, H, W) to that by the parameters."""

    @abstractmethod
    def blurred(self, parameters: Array, sd: float) -> Array:
        """The parameters of the image blurred by a Gaussian of `sd` pixels."""


class Pixels(Parameters):
    """Every value is a parameter."""

    @property
    def size(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return self.shape

    def image(self, parameters: Array) -> Array:
        """The parameters themselves."""
        return parameters

    def adjoint(self, gradient: Array) -> Array:
        """The gradient itself."""
        return gradient

    def blurred(self, parameters: Array, sd: float) -> Array:
        """Blurred by OpenCV, reflected at the edges."""
        return np.stack([cv2.GaussianBlur(plane, (0, 0), sd) for plane in parameters])


class Spectrum(Parameters):
    """The real and imaginary parts of a Fourier spectrum, (2, C, H, W // 2 + 1), divided by the frequency.

    image = irfft2(s · parameters) / 4 with unitary transforms, s = 1 / max(f, 1 / max(H, W)), f in cycles a pixel: at
    equal parameters the energy falls with the frequency as natural pictures' does (Olah et al., 2017: decay power 1).
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__(shape)
        _, height, width = shape
        self._frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        self._scale = 1 / np.maximum(self._frequencies, 1 / max(height, width)) / _CONTRAST
        # A column of the half spectrum stands for itself and its mirror image, but for the first and the middle one.
        self._twice = np.full(width // 2 + 1, 2.0)
        self._twice[0] = 1
        if width % 2 == 0:
            self._twice[-1] = 1

    @property
    def size(self) -> tuple[int, ...]:
        """(2, C, H, W // 2 + 1)."""
        channels, height, width = self.shape
        return 2, channels, height, width // 2 + 1

    def image(self, parameters: Array) -> Array:
        """The inverse transform of the scaled spectrum."""
        spectrum = (parameters[0] + 1j * parameters[1]) * self._scale
        return np.asarray(np.fft.irfft2(spectrum, s=self.shape[1:], axes=(-2, -1), norm="ortho"))

    def adjoint(self, gradient: Array) -> Array:
        """The transform of the gradient, with the columns that stand for two counted twice, scaled alike."""
        spectrum = np.fft.rfft2(gradient, norm="ortho") * (self._twice * self._scale)
        return np.stack([spectrum.real, spectrum.imag])

    def blurred(self, parameters: Array, sd: float) -> Array:
        """Multiplied by the Gaussian's own spectrum, exp(−2 (π sd f)²); the picture wraps around at the edges."""
        return np.asarray(parameters * np.exp(-2 * (np.pi * sd * self._frequencies) ** 2))


class Canvas:
    """Pictures (C, H, W) in 0–1 from parameters: sigmoid(M z).

    M: `COLOUR_ROOT` over the largest norm of its columns for three colours where they are `decorrelated`, else the
    identity.
    """

    def __init__(self, shape: tuple[int, int, int], kind: Kind = "fft", *, decorrelated: bool = True) -> None:
        self.parameters: Parameters = Spectrum(shape) if kind == "fft" else Pixels(shape)
        self._colours: Array = np.eye(shape[0])
        if decorrelated and shape[0] == 3:
            self._colours = COLOUR_ROOT / np.linalg.norm(COLOUR_ROOT, axis=0).max()

    def start(self, random: np.random.Generator, sd: float) -> Array:
        """Parameters drawn from N(0, sd²)."""
        return random.normal(0, sd, self.parameters.size)

    def picture(self, parameters: Array) -> Array:
        """The picture, (C, H, W) in 0–1."""
        return _sigmoid(np.tensordot(self._colours, self.parameters.image(parameters), 1))

    def pulled(self, gradient: Array, picture: Array) -> Array:
        """From a gradient by the `picture` (C, H, W) to that by its parameters."""
        return self.parameters.adjoint(np.tensordot(self._colours.T, gradient * picture * (1 - picture), 1))


def _sigmoid(values: Array) -> Array:
    """1 / (1 + e⁻ˣ), without overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(values / 2))
