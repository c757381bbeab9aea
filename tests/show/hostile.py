"""A page on which every text that may come from a model, a file name or a label is hostile."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from onnxvis.show.page import Page
from tests.show.sample import class_map_card, detected, heatmap_cards, sample_page, scene, trust, with_excited

HOSTILE = (
    "</script></style></pre></title>--><img src=x onerror=alert(1)><svg/onload=alert(2)>\"'`&{{ 7*7 }}{% raw %}"
    "\n\r\t\x00\u202egnp.live\u2066\u200b "
)
LONG = HOSTILE + "x" * 60_000 + "END"
_PATHS = {"mean_path", "band_path", "min_path", "max_path", "marker_path", "line_path", "fill_path"}
_KEPT = {"colormap", "media_type", "level", "stretch", "colour", "ink"} | _PATHS


def _poison(value: Any, name: str = "") -> Any:
    """`value` with each string in it replaced, through tuples and dataclasses; arrays and bytes stay."""
    if isinstance(value, str):
        return value if name in _KEPT else LONG
    if isinstance(value, tuple):
        return tuple(_poison(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _poison(getattr(value, f.name), f.name) for f in fields(value)})
    return value


def harmless_page() -> Page:
    """The sample page with heatmaps, boxes, a map of classes, strong channels and faithfulness."""
    page = with_excited(sample_page(layers=6))
    heatmaps = tuple(replace(card, faithfulness=trust()) for card in heatmap_cards(scene()))
    found = detected()
    heatmaps = (*heatmaps, replace(heatmaps[0], box=found.boxes[0].outline))
    card = replace(
        page.inputs[0], heatmaps=heatmaps, heatmaps_note="cam: there is none", found=found,
        class_maps=(class_map_card(),), strongest_note="Without projections.",
    )  # fmt: skip
    return replace(page, inputs=(card, *page.inputs[1:]))


def hostile_page() -> Page:
    """The harmless page, poisoned."""
    page: Page = _poison(harmless_page())
    return page
