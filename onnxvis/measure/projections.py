"""What a feature map has found, as pixels: a channel's activation sent back down to the picture.

Zeiler and Fergus, Visualizing and Understanding Convolutional Networks (2014, arXiv:1311.2901), section 2.1. With A the
layer's activation (C, h, w), the backward pass starts from a seed s of that shape, which holds A in one channel (or in
one position of it) and 0 everywhere else, and gives (dA/dx)ᵀ s by the picture x, with the variant's own rule at every
unit like Relu (`rewrite.rules.guided`); max-pools send it to the places of their maxima, and where windows overlap it
adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line
from onnxvis.measure.heatmaps.laid_out import as_laid_out, channels_first
from onnxvis.measure.heatmaps.probe import GradientProbe
from onnxvis.measure.target import Target
from onnxvis.rewrite.tape import Variant
from onnxvis.run.picture_input import image_input

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.run.session import RunOptions

__all__ = ["POSITIONS", "Position", "Projection", "SeededProbe", "project", "seed_of", "strongest_channels"]

Array = np.ndarray[Any, np.dtype[Any]]
Tell = Callable[[str, int, int], None]

Position = Literal["all", "strongest"]
"""What of a channel the backward pass starts from: all of its map, or its single largest value."""
POSITIONS: tuple[Position, ...] = get_args(Position)


@dataclass(frozen=True, eq=False)
class Projection:
    """A channel of a layer, projected back to the picture; the whole layer where `channel` is None.

    `values`: (C, H, W) float64, signed, of the picture as it is fed. `activation`: (h, w) float64, the channel's map,
    of a whole layer the mean over its channels. `peak`: (row, column, value) of the largest value in the channel, or in
    the layer. `notes`: what should be known, such as the units that a rule was extended to, or why nothing shows.
    """

    tensor: str
    channel: int | None
    values: Array
    activation: Array
    peak: tuple[int, int, float]
    variant: Variant
    position: Position
    notes: tuple[str, ...]
    provider: str


def project(
    model: Model,
    feeds: Mapping[str, Array],
    tensor: str,
    channels: Sequence[int] | None,
    *,
    variant: Variant = "deconvnet",
    position: Position = "all",
    options: RunOptions | None = None,
    progress: Tell | None = None,
) -> tuple[Projection, ...]:
    """A projection of each of `channels` of `tensor`, for the first picture of `feeds`; None: one of the whole layer.

    `tensor` is a feature map, or a vector (batch, K), whose elements count as channels of one position. With `position`
    'strongest' the seed holds a single value: the largest of the channel, or of the whole layer. One session serves
    all, and each channel is one run. `progress` is told what is done, how much of it, of how much.
    Raises UsageError for a channel that is not there and a model without a picture, InputError for a tensor that has no
    channels, TensorNotFound, RewriteError where no gradient passes, and the errors of running.
    """
    probe = SeededProbe(model, feeds, tensor, options)
    return tuple(probe.project(channels, variant=variant, position=position, progress=progress))


def strongest_channels(activation: Array, count: int) -> tuple[int, ...]:
    """The `count` channels of `activation` (C, h, w) with the largest maximum, strongest first.

    Of equal ones the first comes first; values that are not finite count for nothing.
    """
    peaks = np.where(np.isfinite(activation), activation, -np.inf).reshape(len(activation), -1).max(axis=1)
    return tuple(np.argsort(-peaks, kind="stable")[:count].tolist())


class SeededProbe(GradientProbe):
    """A model seen at one input, with a backward pass that starts at a tensor, from any seed.

    `picture_source`: the tensor that stands for the picture: the input, or the floats that its whole numbers are made.
    Raises UsageError for a model that takes no picture of floats.
    """

    def __init__(
        self, model: Model, feeds: Mapping[str, Array], tensor: str, options: RunOptions | None = None
    ) -> None:
        seen = model.at({name: tuple(value.shape) for name, value in feeds.items()})
        picture = image_input(seen.inputs) or next((item for item in seen.inputs if item.name in seen.maps), None)
        if picture is None:
            raise UsageError(f"{model.name} takes no picture, so '{one_line(tensor)}' cannot be projected to one")
        super().__init__(seen, feeds, picture.name, Target(tensor, (), tensor, ()), options)
        self.tensor = tensor
        self.picture_source, self._picture_layout = self._differentiable_input()

    @property
    def activation(self) -> Array:
        """What the tensor holds: (C, h, w) float64, a vector's K elements as (K, 1, 1). Computed once.

        Raises InputError for a tensor of another kind.
        """
        return self._maps(self.tensor, self._value())

    def project(
        self,
        channels: Sequence[int] | None,
        *,
        variant: Variant = "deconvnet",
        position: Position = "all",
        progress: Tell | None = None,
    ) -> Iterator[Projection]:
        """As the function `project`, one by one."""
        activation = self.activation
        chosen: Sequence[int | None] = [None] if channels is None else list(channels)
        for channel in chosen:
            _check_seed(activation, channel, position, self.tensor)
        seeds = (seed_of(activation, channel, position) for channel in chosen)
        runs = self.backward(seeds, len(chosen), [self.picture_source], variant)
        for number, (channel, found) in enumerate(zip(chosen, runs, strict=True), 1):
            if progress is not None:
                progress("projecting channels" if channels is not None else "projecting the layer", number, len(chosen))
            values = found[self.picture_source]
            own = activation if channel is None else activation[channel : channel + 1]
            notes = (*_remarks(own, values, channel), *self.notes)
            yield Projection(
                self.tensor, channel, values, own.mean(axis=0), _peak(own), variant, position, notes, self.provider
            )

    def backward(
        self, seeds: Iterable[Array], count: int, wrt: Sequence[str], variant: Variant
    ) -> Iterator[dict[str, Array]]:
        """For each of `count` seeds (C, h, w): {tensor of `wrt`: (dA/dT)ᵀ seed, by the variant's rules}.

        Each is (C, h, w) float64. Raises InputError for a tensor without channels, RewriteError.
        """
        found = self._gradient(wrt, [], variant)
        (entry,) = found.seeds.values()
        declared = next(item for item in found.proto.graph.input if item.name == entry)
        dtype = np.float64 if declared.type.tensor_type.elem_type == 11 else np.float32  # 11: DOUBLE
        shape = self._value().shape
        layout = self._layout_of(self.tensor, len(shape))
        with self._session(found, count) as session:
            for seed in seeds:
                whole = np.zeros(shape, dtype)
                first = whole[0] if "N" in layout else whole
                first[...] = as_laid_out(seed, layout).reshape(first.shape)
                given = session.run({**self._feeds, entry: whole})
                yield {name: self._maps(name, given[output]) for name, output in found.gradients.items()}

    def _value(self) -> Array:
        """What the tensor holds, as the model lays it out."""
        return self._once("seeded", lambda: self._exposed([self.tensor])).values[self.tensor]

    def _maps(self, name: str, value: Array) -> Array:
        layout = self._layout_of(name, value.ndim)
        return channels_first(value[:, :, None, None] if value.ndim == 2 else value, layout)

    def _layout_of(self, name: str, rank: int) -> str:
        if name == self.picture_source:
            return self._picture_layout
        layout = "NCHW" if rank == 2 else self.model.maps.layouts.get(name)
        if layout is None:
            raise InputError(
                f"'{one_line(name)}' is no feature map, so it has no channels to project; list feature maps with: "
                f"onnxvis layers {self.model.name}"
            )
        return layout


def seed_of(activation: Array, channel: int | None, position: Position = "all", tensor: str = "the layer") -> Array:
    """What the backward pass starts from: `activation` (C, h, w) in that channel, in all where it is None, else zeros.

    With 'strongest', of that only the largest value, the first where there are several. Raises UsageError for a channel
    that is not there.
    """
    _check_seed(activation, channel, position, tensor)
    part = slice(None) if channel is None else slice(channel, channel + 1)
    seed = np.zeros_like(activation)
    seed[part] = activation[part]
    if position == "strongest":
        place = int(_finite(activation[part]).argmax()) + (0 if channel is None else channel * activation[0].size)
        kept = seed.reshape(-1)[place]
        seed[...] = 0
        seed.reshape(-1)[place] = kept
    return seed


def _check_seed(activation: Array, channel: int | None, position: str, tensor: str) -> None:
    count = len(activation)
    if channel is not None and not 0 <= channel < count:
        raise UsageError(f"'{one_line(tensor)}' has {count} channels, 0 to {count - 1}; there is no channel {channel}")
    if position not in POSITIONS:
        raise UsageError(f"no position is called '{one_line(position)}'; choose one of: {', '.join(POSITIONS)}")


def _finite(values: Array) -> Array:
    """`values` with what is not finite below all that is."""
    return np.where(np.isfinite(values), values, -np.inf)


def _peak(maps: Array) -> tuple[int, int, float]:
    _, row, column = np.unravel_index(int(_finite(maps).argmax()), maps.shape)
    return int(row), int(column), float(_finite(maps).max())


def _remarks(activation: Array, values: Array, channel: int | None) -> Iterator[str]:
    """What a reader should know of one projection, given what was projected, (n, h, w)."""
    what = "the layer" if channel is None else f"channel {channel}"
    if not np.isfinite(activation).all():
        yield f"{what} holds NaN or infinite values"
    elif not activation.any():
        yield f"{what} is 0 everywhere on this picture, so there is nothing to project"
    elif not values.any():
        yield f"the projection of {what} is blank: no gradient gets through to the picture"
    elif activation.min() < 0:
        yield f"{what} holds negative values too, which are projected with their sign"
