"""Pages for tests of budgets, and what is gone from them."""

from __future__ import annotations

from dataclasses import replace

from onnxvis.show.page import MapCard, Page
from onnxvis.show.render import render
from tests.show.sample import sample_page

__all__ = ["cards", "sample", "size", "steps"]

PLAN = (("stem", 8, 32, 0), ("layer1", 32, 56, 3), ("layer2", 64, 28, 2))


def size(page: Page) -> int:
    return len(render(page).encode())


def sample() -> Page:
    page = replace(sample_page(plan=PLAN, weights=10, layers=60), left_out=())
    return replace(page, inputs=page.inputs * 2)


def cards(page: Page) -> list[MapCard]:
    return [card for item in page.inputs for stage in item.stages for card in (stage, *stage.children)]


def steps(page: Page, fitted: Page) -> list[bool]:
    """Whether each of the eight things that go where the page is short of room has gone, in the documented order."""
    bare = [card for card in cards(fitted) if card.mosaic is None]
    stages = [card for card in bare if card.part == "backbone" and "block" not in card.name]
    others = [card for card in bare if card not in stages]
    return [
        bool(others) and not any(card.statistics for card in others),
        all(item.picture.media_type == "image/jpeg" for item in fitted.inputs if item.picture),
        len(fitted.kernels) < len(page.kernels),
        bool(stages) and not any(stage.merged for stage in stages),
        not fitted.depth,
        len(fitted.layers) < len(page.layers),
        len(fitted.weights) < len(page.weights),
        bool(stages) and not any(stage.statistics for stage in stages),
    ]
