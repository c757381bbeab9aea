"""A Page to one HTML file that asks for nothing outside itself.

Everything from the model passes through jinja2's autoescape. The page's policy forbids every script and style but the
two that ship with this package, by their hashes, and every request.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from onnxvis.show import text
from onnxvis.show.chart import histogram
from onnxvis.show.colormap import COLORMAPS, is_signed, palette

if TYPE_CHECKING:
    from onnxvis.show.page import MapCard, MosaicCard, Page, Score

__all__ = ["render"]


def render(page: Page) -> str:
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
            policy=policy,
            style=_trusted(style),
            script=_trusted(script),
            palettes={name: palette(name).tobytes() for name in COLORMAPS},
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_resource),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        base64=lambda data: base64.b64encode(data).decode("ascii"),
        bars=_bars,
        bytes=text.size,
        channel_lines=text.channel_lines,
        clean=text.clean,
        count=text.count,
        ends=_ends,
        histogram=histogram,
        number=text.number,
        percent=text.percent,
        seconds=text.seconds,
        shape=text.shape,
        shorten=text.shorten,
    )
    environment.tests.update(centred=_centred, signed=is_signed)
    return environment


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
