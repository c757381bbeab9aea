"""A Page to one HTML file that asks for nothing outside itself.

Everything from the model passes through jinja2's autoescape. The page's policy forbids every script and style but the
two that ship with this package, by their hashes, and every request.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import math
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemBytecodeCache, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from onnxvis.show import text
from onnxvis.show.chart import Histogram, histogram
from onnxvis.show.colormap import COLORMAPS, is_signed, palette
from onnxvis.version import __version__

if TYPE_CHECKING:
    from jinja2.bccache import Bucket
    from numpy.typing import NDArray

    from onnxvis.measure.channels import ChannelStatistics
    from onnxvis.measure.statistics import TensorStatistics
    from onnxvis.measure.weights import WeightNumbers
    from onnxvis.show.kernels import KernelPicture
    from onnxvis.show.page import KernelCard, MapCard, MosaicCard, Page, Score

__all__ = ["Press", "render", "warm"]

_KERNEL_SIZE, _FIRST_KERNEL_SIZE, _LARGEST_PIXEL = (244, 200), (560, 420), 40
_STOPS, _BARS = 9, 128


def render(page: Page) -> str:
    """The report as HTML. Raises UsageError where `page.colormap` is unknown."""
    return Press().render(page)


def warm() -> None:
    """Compile the templates, so that the first page does not wait for it: call it in a thread while a model runs."""
    for template in resources.files("onnxvis.templates").iterdir():
        if template.name.endswith(".j2"):
            _environment().get_template(template.name)


class Press:
    """Renders pages that have cards in common, as they have while what fits is chosen: each part is made once.

    Parts are known by identity, so cards must not change; they are kept as long as this is.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], tuple[tuple[object, ...], Any]] = {}

    def render(self, page: Page) -> str:
        """The report as HTML. Raises UsageError where `page.colormap` is unknown."""
        palette(page.colormap)
        style, script = _resource("report.css"), _resource("report.js")
        policy = (
            f"default-src 'none'; img-src data: blob:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'"
        )
        return (
            _environment()
            .get_template("report.html.j2")
            .render(
                page=page,
                press=self,
                policy=policy,
                style=_trusted(style),
                script=_trusted(script),
                palettes={name: palette(name).tobytes() for name in COLORMAPS},
            )
        )

    def part(self, template: str, macro: str, *things: object) -> Any:
        """What `macro` of `template` makes of `things`."""

        def make() -> object:
            return getattr(_environment().get_template(template).module, macro)(*things)

        return self._once((template, macro), things, make)

    def lines(self, statistics: ChannelStatistics) -> Any:
        """Every channel's numbers, escaped."""
        return self._once(("lines",), (statistics,), lambda: escape(text.channel_lines(statistics)))

    def base64(self, data: bytes) -> Any:
        """`data` in base64, escaped."""
        return self._once(("base64",), (data,), lambda: escape(_base64(data)))

    def _once(self, kind: tuple[str, ...], things: tuple[object, ...], make: Callable[[], object]) -> Any:
        # What a key was made of is kept beside it: an id belongs to one thing only while that lives.
        key = (*kind, *map(id, things))
        if key not in self._kept:
            self._kept[key] = (things, make())
        return self._kept[key][1]


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_resource),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        bytecode_cache=_compiled_before(),
        optimized=False,  # templates are rendered a few times only: optimising them takes longer than it saves
    )
    environment.filters.update(
        bars=_bars,
        base64=_base64,
        bytes=text.size,
        capitalize_first=_capitalize_first,
        clean=text.clean,
        count=text.count,
        ends=_ends,
        by_name=_by_name,
        histogram=_histogram,
        places_of=_places_of,
        zero_at=_zero_at,
        ending=text.ending,
        number=text.number,
        percent=text.percent,
        rows_of=_rows_of,
        seconds=text.seconds,
        shape=text.shape,
        shorten=text.shorten,
        steps=_steps,
        stops=_stops,
    )
    environment.globals.update(shown_size=_shown_size)
    environment.tests.update(centred=_centred, signed=is_signed)
    return environment


class _Compiled(FileSystemBytecodeCache):
    """Compiled templates in the user's own folder for temporary files: what .pyc files are to modules."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the next page 0.07 s, not this one its life
            super().dump_bytecode(bucket)


def _compiled_before() -> FileSystemBytecodeCache | None:
    """None where there is no folder that is the user's alone."""
    try:
        return _Compiled(pattern=f"onnxvis-{__version__}-%s.cache")
    except (OSError, RuntimeError):
        return None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _capitalize_first(sentence: str) -> str:
    """The first letter as a capital, the others as they are: names and formulas keep theirs."""
    return sentence[:1].upper() + sentence[1:]


def _shown_size(drawn: KernelPicture, first: bool) -> tuple[int, int]:
    """Width and height in CSS pixels: a whole number of them a weight, near the width of a place in the gallery."""
    width, height = _FIRST_KERNEL_SIZE if first else _KERNEL_SIZE
    scale = max(1, min(width // drawn.width, height // drawn.height, _LARGEST_PIXEL))
    return drawn.width * scale, drawn.height * scale


def _stops(name: str) -> list[tuple[int, str]]:
    """A colormap as the stops of a gradient: per cent and colour."""
    colours = palette(name)
    places = [round(255 * step / (_STOPS - 1)) for step in range(_STOPS)]
    return [(round(100 * place / 255), "#" + colours[place].tobytes().hex()) for place in places]


def _rows_of(weights: tuple[WeightNumbers, ...]) -> dict[str, int]:
    """The row of the table that each weight stands in, from 1."""
    return {item.name: row for row, item in enumerate(weights, 1)}


def _places_of(kernels: tuple[KernelCard, ...]) -> dict[str, int]:
    """The place in the gallery of each weight's first picture, from 1."""
    return {card.kernel.weight: place for place, card in reversed(list(enumerate(kernels, 1)))}


def _by_name(weights: tuple[WeightNumbers, ...]) -> dict[str, WeightNumbers]:
    return {item.name: item for item in weights}


def _steps(item: WeightNumbers, weights: dict[str, WeightNumbers]) -> str:
    """How quantised values stand in the file: 'int8 codes −127…127, scale 0.012'."""
    if item.steps is None or item.quantization is None:
        return ""
    codes = f"{text.shorten(item.dtype, 16)} codes {text.number(item.steps.min, 6)}…{text.number(item.steps.max, 6)}"
    factors = [weights[name].statistics for name in item.quantization.scales if name in weights]
    return ", ".join([codes, *map(_scale, factors)])


def _scale(found: TensorStatistics) -> str:
    if found.count == 1:
        return f"scale {text.number(found.min, 3)}"
    return f"{found.count} scales {text.number(found.min, 3)}…{text.number(found.max, 3)}"


def _histogram(counts: NDArray[np.int64]) -> Histogram:
    """The drawn histogram, neighbouring bins joined where there are more than can be seen."""
    joined = -(-len(counts) // _BARS)
    return histogram(np.add.reduceat(counts, range(0, len(counts), joined)) if joined > 1 else counts)


def _zero_at(found: TensorStatistics, width: int) -> int | None:
    """Where zero lies in a histogram `width` wide; None where it is not inside."""
    first, last = float(found.edges[0]), float(found.edges[-1])
    return round(width * (first / (first - last))) if first < 0 < last and math.isfinite(first - last) else None


def _bars(scores: tuple[Score, ...]) -> list[tuple[Score, int]]:
    """Each score with the length of its bar, 0 to 1000: of 1 where all lie in 0–1, else of the largest magnitude."""
    values = [score.score for score in scores]
    unit = all(0 <= value <= 1 for value in values)
    largest = 1.0 if unit else max((abs(value) for value in values if abs(value) < float("inf")), default=0) or 1.0
    lengths = [min(1.0, abs(value) / largest) if value == value else 0.0 for value in values]
    return [(score, round(1000 * length)) for score, length in zip(scores, lengths, strict=True)]


def _ends(card: MapCard) -> Markup:
    """The attribute with the values behind a mosaic's first and last colour, 'low:high' for each channel.

    Nothing where they are each channel's own range, which stands in its numbers; one pair where all channels share it.
    """
    drawn, numbers = card.mosaic, card.statistics
    if drawn is None:
        return Markup()
    pairs = list(zip(drawn.low, drawn.high, strict=True))
    own = numbers is not None and all(
        pair == range_ or range_[0] != range_[0]
        for pair, range_ in zip(pairs, zip(numbers.min.tolist(), numbers.max.tolist(), strict=True), strict=True)
    )
    if own:
        return Markup()
    shown = pairs[:1] if len(set(pairs)) == 1 else pairs
    return Markup(' data-ends="{}"').format(" ".join(f"{low:.4g}:{high:.4g}" for low, high in shown))


def _centred(drawn: MosaicCard) -> bool:
    """Whether zero lies in the middle of every channel's colours."""
    return all(low == -high for low, high in zip(drawn.low, drawn.high, strict=True)) and any(drawn.high)


@cache
def _resource(name: str) -> str:
    return resources.files("onnxvis.templates").joinpath(name).read_text(encoding="utf-8")


def _trusted(source: str) -> Markup:
    """A style or script of this package as it is: inside <style> and <script> nothing is unescaped by the browser.

    The only place where markup is not escaped; it takes package resources, never anything that came from a model.
    """
    if "</" in source:
        raise ValueError("a style or script holds '</', which could end its element")
    return Markup(source)  # noqa: S704


def _hash(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode('ascii')}"
