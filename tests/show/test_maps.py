from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from onnxvis.graph.load import Model, load
from onnxvis.measure.activations import Activations, Probe
from onnxvis.run.session import Execution, RunOptions
from onnxvis.show.budget import Candidate, block_priorities, choose, page_bytes, top_priority
from onnxvis.show.colormap import palette
from onnxvis.show.maps import Look, map_cards, picture_of, shown_tensors
from onnxvis.show.mosaic import STRETCHES
from onnxvis.show.page import MapCard, Picture
from tests.tiny import Array, oracle, tiny, write

CPU = RunOptions("cpu", 1)
PLACEMENT = Execution("CPUExecutionProvider", (), ())
FEED = {"image": np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)}
GRAY = Look("gray")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(write(tiny(), tmp_path_factory.mktemp("maps")))


@pytest.fixture(scope="module")
def found(model: Model) -> Activations:
    with Probe(model, shown_tensors(model), CPU) as probe:
        return probe.run(FEED)


def every(cards: tuple[MapCard, ...]) -> list[MapCard]:
    return [card for top in cards for card in (top, *every(top.children))]


def decoded(picture: Picture | None) -> Array:
    assert picture is not None
    pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (picture.height, picture.width, 3)
    return np.asarray(pixels)[:, :, ::-1]


def test_what_is_shown(model: Model, found: Activations) -> None:
    cards = map_cards(model, found, None, GRAY)
    assert [card.name for card in cards if card.part == "backbone"] == [stage.name for stage in model.stages()]
    for card, stage in zip(cards, model.stages(), strict=False):
        assert (card.tensor, card.channels, card.height, card.width) == (
            stage.output, stage.channels, stage.height, stage.width,
        )  # fmt: skip
        assert [child.name for child in card.children] == [
            block.name for block in stage.children if block.output != stage.output
        ]
    assert {card.tensor for card in every(cards)} <= set(shown_tensors(model))
    assert len(shown_tensors(model)) == len(set(shown_tensors(model)))


def test_numbers_are_numpys_on_an_independent_session(model: Model, found: Activations) -> None:
    cards = every(map_cards(model, found, None, GRAY))
    values = oracle(model.path, [card.tensor for card in cards], FEED)
    assert len(cards) >= 6
    for card in cards:
        maps = values[card.tensor][0].astype(np.float64)
        numbers = card.statistics
        assert numbers is not None
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(getattr(numbers, name), getattr(maps, name)(axis=(1, 2)), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(numbers.zero_fraction, (maps == 0).mean(axis=(1, 2)), atol=0.01)
        np.testing.assert_array_equal(numbers.dead, np.ptp(maps, axis=(1, 2)) == 0)
    first = next(card for card in cards if card.tensor == "stage1.first/relu")
    assert first.statistics is not None
    assert first.statistics.dead.tolist() == [channel == 5 for channel in range(8)]


def test_mosaics_give_the_values_back(model: Model, found: Activations) -> None:
    for card in every(map_cards(model, found, None, GRAY)):
        mosaic = card.mosaic
        assert mosaic is not None
        pixels = cv2.imdecode(np.frombuffer(mosaic.png, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        for channel, maps in enumerate(found.maps(card.tensor)):
            top = channel // mosaic.columns * (mosaic.tile_height + mosaic.gap)
            left = channel % mosaic.columns * (mosaic.tile_width + mosaic.gap)
            tile = pixels[top : top + mosaic.tile_height, left : left + mosaic.tile_width] / 255
            low, high = mosaic.low[channel], mosaic.high[channel]
            np.testing.assert_allclose(low + tile * (high - low), maps, atol=(high - low) / 509 + 1e-6)


def test_merged_maps_lie_over_the_picture(model: Model, found: Activations) -> None:
    picture = np.full((32, 32, 3), 200, np.uint8)
    for card in map_cards(model, found, picture, GRAY):
        merged = found.maps(card.tensor).astype(np.float64).mean(axis=0)
        heat = cv2.resize(merged.astype(np.float32), (32, 32), interpolation=cv2.INTER_LINEAR)
        span = float(np.ptp(heat)) or 1.0
        wanted = 0.65 * (heat - heat.min()) / span * 255 + 0.35 * 200
        np.testing.assert_allclose(decoded(card.merged)[:, :, 0], wanted, atol=12)  # a JPEG


def test_without_a_picture_the_merged_map_stands_alone(model: Model, found: Activations) -> None:
    card = map_cards(model, found, None, GRAY)[0]
    merged = found.maps(card.tensor).astype(np.float64).mean(axis=0)
    wanted = np.rint((merged - merged.min()) / np.ptp(merged) * 255).repeat(14, axis=0).repeat(14, axis=1)
    np.testing.assert_array_equal(decoded(card.merged)[:, :, 0], wanted)


def test_large_pictures_become_thumbnails_and_small_ones_stay(model: Model, found: Activations) -> None:
    for shape, wanted in (((500, 250), (224, 112)), ((1000, 3), (224, 1)), ((40, 30), (40, 30))):
        card = map_cards(model, found, np.zeros((*shape, 3), np.uint8), GRAY)[0]
        assert card.merged is not None
        assert (card.merged.height, card.merged.width) == wanted


def test_coolwarm_puts_zero_in_the_middle(model: Model) -> None:
    values = np.zeros((1, 8, 16, 16), np.float32)
    values[0, :, 0, 0], values[0, :, 0, 1] = -1, 4
    found = Activations({model.stages()[0].output: values}, model.maps.layouts, {}, PLACEMENT, {})
    card = map_cards(model, found_with_zeros(model, found), None, Look("coolwarm"))[0]
    assert card.mosaic is not None
    assert (card.mosaic.low[0], card.mosaic.high[0]) == (-4, 4)
    neutral = palette("coolwarm")[128]
    np.testing.assert_array_equal(decoded(card.merged)[-1, -1], neutral)


def found_with_zeros(model: Model, found: Activations) -> Activations:
    """`found` with zeros for every other tensor that is shown."""
    values = {name: np.zeros((1, 2, 4, 4), np.float32) for name in shown_tensors(model)}
    return Activations({**values, **found.values}, found.layouts, {}, PLACEMENT, {})


@pytest.mark.parametrize("picture", [None, np.zeros((32, 32, 3), np.uint8)])
@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("everything", [True, False])
def test_values_that_are_not_finite(model: Model, picture: Array | None, fill: float, everything: bool) -> None:
    values = np.random.default_rng(0).standard_normal((1, 8, 16, 16)).astype(np.float32)
    values[0, slice(None) if everything else 1] = fill
    found = Activations({model.stages()[0].output: values}, model.maps.layouts, {}, PLACEMENT, {})
    for stretch in STRETCHES:
        card = map_cards(model, found_with_zeros(model, found), picture, Look("gray", stretch))[0]
        count = 256 * (8 if everything else 1)
        assert card.notes[0] == f"{count} values are NaN or infinite; they are drawn as the lowest"
        assert card.statistics is not None
        assert int(card.statistics.nan.sum() + card.statistics.inf.sum()) == count
        assert np.isfinite([*card.mosaic.low, *card.mosaic.high]).all() if card.mosaic else False


def test_a_mosaic_larger_than_the_page_is_not_kept(model: Model, found: Activations) -> None:
    whole = every(map_cards(model, found, None, GRAY))
    sizes = {card.name: -(-len(card.mosaic.png) // 3) * 4 for card in whole if card.mosaic}
    limit = sorted(sizes.values())[len(sizes) // 2]
    for card in map_cards(model, found, None, GRAY, limit):
        assert (card.mosaic is None) == (sizes[card.name] > limit)
        assert card.left_out_bytes == (sizes[card.name] if sizes[card.name] > limit else 0)
        assert ("larger than the page's budget" in card.left_out) == (card.mosaic is None)
        assert card.statistics is not None


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0])
def test_blocks_that_the_page_has_room_for_are_drawn(model: Model, found: Activations, share: float) -> None:
    whole = map_cards(model, found, None, GRAY)
    rows = block_priorities([len(card.children) for card in whole])
    candidates = [
        Candidate(card.name, priority, page_bytes(len(card.mosaic.png)))
        for top, row in zip(whole, rows, strict=True)
        for card, priority in zip((top, *top.children), (top_priority(top.part), *row), strict=True)
        if card.mosaic
    ]
    limit = share * sum(candidate.size for candidate in candidates)
    fitting = {candidate.name for candidate in choose(candidates, int(limit)).chosen}
    cards = every(map_cards(model, found, None, GRAY, limit))
    assert fitting <= {card.name for card in cards if card.mosaic}
    assert all(card.statistics and card.left_out_bytes and card.left_out for card in cards if not card.mosaic)
    if share == 0:
        assert not any(card.mosaic for card in cards)


def test_clipped_values_are_counted(model: Model, found: Activations) -> None:
    card = map_cards(model, found, None, Look("gray", "none"))[0]
    outside = int(np.count_nonzero((found.maps(card.tensor) < 0) | (found.maps(card.tensor) > 1)))
    assert card.notes == (f"{outside} values lie outside the stretch and are clipped",)


def test_tensors_without_rows_and_columns_have_no_card(model: Model, found: Activations) -> None:
    values = {**found.values, model.stages()[1].output: np.zeros((1, 16, 64), np.float32)}
    cards = map_cards(model, Activations(values, found.layouts, {}, PLACEMENT, {}), None, GRAY)
    assert model.stages()[1].name not in [card.name for card in cards]


def test_pictures_are_lossless() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    picture = picture_of(pixels, "alt")
    np.testing.assert_array_equal(decoded(picture), pixels)
    assert (picture.alt, picture.media_type) == ("alt", "image/png")


def test_cards_do_not_touch_the_files(model: Model, found: Activations, tmp_path: Path) -> None:
    before = model.path.read_bytes()
    map_cards(model, found, None, GRAY)
    assert model.path.read_bytes() == before
