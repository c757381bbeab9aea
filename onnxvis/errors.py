"""The errors onnxvis raises. Each kind carries the exit code that the command line ends with."""

from __future__ import annotations

__all__ = [
    "InputError",
    "ModelError",
    "OnnxvisError",
    "OutputError",
    "ProviderError",
    "RewriteError",
    "TensorNotFound",
    "UsageError",
]


class OnnxvisError(Exception):
    """Root of every error a caller may want to catch. Its text is one sentence or two, with the next step in it."""

    exit_code = 2


class ModelError(OnnxvisError):
    """The model file cannot be opened, or what it says is contradictory or unsafe."""


class TensorNotFound(OnnxvisError):
    """A tensor, block or scope that was asked for is not in the model."""


class RewriteError(OnnxvisError):
    """The graph cannot be changed in the way that was asked for."""


class InputError(OnnxvisError):
    """A picture, folder or array cannot be read, or does not fit the model's input."""


class ProviderError(OnnxvisError):
    """The execution provider that was asked for is not there, or failed to start."""


class OutputError(OnnxvisError):
    """A result cannot be written where it was asked to go."""


class UsageError(OnnxvisError):
    """Options contradict each other, or one has a value that it cannot take."""
