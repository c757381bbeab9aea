"""How a picture was prepared, in words: on the page it stands beside what the model made of it."""

from __future__ import annotations

from onnxvis.files import one_line
from onnxvis.run.flags import flags_text
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.preprocess import Preprocessing
from onnxvis.show.page import Fact, Guess
from onnxvis.show.text import shape

__all__ = ["guess", "preparation", "value_formula"]


def preparation(item: PreparedInput) -> tuple[Fact, ...]:
    """The steps from the file to what was fed, in the order they happened."""
    settings = item.preprocessing
    facts = []
    if item.original_size:
        facts.append(Fact("Original", f"{item.original_size[1]} × {item.original_size[0]} pixels"))
    if settings and item.picture is not None:
        height, width = item.picture.shape[:2]
        order = "BGR" if settings.bgr else "RGB"
        fed = f"{width} × {height} pixels, {order}, fit {settings.fit}, {settings.interpolation} interpolation"
        facts += [
            Fact("Fed as", fed),
            Fact("Values", value_formula(settings)),
            Fact("Settings from", settings.source),
            Fact("As flags", flags_text(settings)),
        ]
    for name, value in item.feeds.items():
        facts.append(Fact(f"Input {one_line(name, 60)}", f"{value.dtype} {shape(value.shape)}"))
    return tuple(facts)


def guess(settings: Preprocessing | None) -> Guess | None:
    """What was guessed and how to settle it; None where nothing was."""
    if settings is None or not settings.guessed:
        return None
    order = "BGR" if settings.bgr else "RGB"
    what = f"{order}, {value_formula(settings)}, fit {settings.fit}"
    why = "Neither flags, nor the model, nor a file beside it say how pictures are prepared."
    return Guess(what, why, flags_text(settings))


def value_formula(settings: Preprocessing) -> str:
    """The formula from pixel to value, without the steps that change nothing: '(pixel / 255 − 0.5) / 0.25'."""
    text = "pixel" if settings.divide == 1 else f"pixel / {settings.divide:g}"
    scaled = set(settings.std) != {1.0}
    if any(settings.mean):
        text = f"{text} − {_listed(settings.mean)}"
        text = f"({text})" if scaled else text
    return f"{text} / {_listed(settings.std)}" if scaled else text


def _listed(values: tuple[float, ...]) -> str:
    unique = values[:1] if len(set(values)) == 1 else values
    text = ", ".join(f"{value:g}" for value in unique)
    return text if len(unique) == 1 else f"({text})"
