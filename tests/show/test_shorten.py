from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np

from onnxvis.show.fit import fit_page
from onnxvis.show.maps import picture_of
from onnxvis.show.page import Page
from onnxvis.show.render import render
from onnxvis.show.shorten import KERNELS_SHARE
from tests.show.sample import class_map_card, detected, sample_page, with_excited
from tests.show.tight import cards, sample, size, steps


def test_what_goes_first_goes_in_the_documented_order() -> None:
    page = sample()
    noise = picture_of(np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8), "noise")
    page = replace(page, inputs=tuple(replace(item, picture=noise) for item in page.inputs))
    seen = set()
    for budget in range(size(fit_page(page, 1)) - 3000, 370_000, 3000):
        fitted = fit_page(page, budget)
        gone = steps(page, fitted)
        assert gone == sorted(gone, reverse=True)
        assert size(fitted) <= budget or all(gone)
        seen.add(sum(gone))
    assert seen == set(range(9))


def test_numbers_give_way_to_the_mosaics_of_stages_where_all_of_those_then_fit() -> None:
    page = sample()
    seen = set()
    for budget in range(200_000, 320_000, 10_000):
        fitted = fit_page(page, budget)
        stages = [stage for item in fitted.inputs for stage in item.stages if stage.part == "backbone"]
        seen.add((all(stage.mosaic for stage in stages), steps(page, fitted)[0]))
    assert seen == {(False, False), (True, True), (True, False)}


def test_lists_are_cut_last_and_say_so() -> None:
    page = replace(sample(), layers=sample_page(layers=3000).layers)
    fitted = fit_page(page, 200_000)
    assert size(fitted) <= 200_000
    assert 0 < len(fitted.layers) < 3000
    assert fitted.layers == page.layers[: len(fitted.layers)]
    assert fitted.layers_note == f"Of 3000 only the first {len(fitted.layers)} are listed, for the page's budget."
    assert not any(card.mosaic for card in cards(fitted))


def picture_bytes(page: Page) -> int:
    return sum(len(base64.b64encode(card.drawn.png)) for card in page.kernels)


def test_kernels_take_their_share_first_layers_first() -> None:
    page = replace(sample_page(weights=60, layers=5), left_out=(), inputs=())
    assert len(page.kernels) == 40
    seen = set()
    for budget in (250_000, 300_000, 400_000, 10**7):
        fitted = fit_page(page, budget)
        shown = len(fitted.kernels)
        seen.add(shown)
        assert fitted.kernels == page.kernels[:shown]
        assert picture_bytes(fitted) <= KERNELS_SHARE * budget
        assert size(fitted) <= budget
        if shown < 40:
            (line,) = fitted.left_out
            left = page.kernels[shown:]
            assert line.name == f"kernels of {left[0].kernel.weight} and of {len(left) - 1} more layers"
            assert line.bytes == picture_bytes(replace(page, kernels=left))
            # The share was used: one more picture, with what stands around it, would have been too much.
            one = max(len(base64.b64encode(card.drawn.png)) for card in left) + 1200
            assert picture_bytes(fitted) + 1200 * shown + one > KERNELS_SHARE * budget
        else:
            assert fitted == page
    assert len(seen) == 4
    assert 40 in seen


def test_a_single_layer_without_its_kernels_is_named_alone() -> None:
    page = replace(sample_page(weights=1, layers=5), left_out=(), inputs=())
    fitted = fit_page(page, 3000)
    assert fitted.kernels == ()
    assert fitted.kernels_note == ""
    assert [item.name for item in fitted.left_out] == [f"kernels of {page.kernels[0].kernel.weight}"]


def test_weak_boxes_and_class_maps_give_way_and_say_so() -> None:
    plain = replace(sample_page(), left_out=())
    card = replace(plain.inputs[0], found=detected(60), class_maps=(class_map_card(),))
    page = replace(plain, inputs=(card,))
    seen = set()
    for budget in range(size(fit_page(page, 1)), size(page) + 4000, 8000):
        fitted = fit_page(page, budget)
        found, (shown,) = fitted.inputs[0].found, fitted.inputs[0].class_maps
        assert found is not None
        assert card.found is not None
        less = len(found.boxes) < 60
        assert found.boxes == card.found.boxes[: 20 if less else 60]
        assert found.left_out == 60 - len(found.boxes)
        assert shown == (replace(card.class_maps[0], jpeg=b"") if less else card.class_maps[0])
        stages = [stage for stage in fitted.inputs[0].stages if stage.part == "backbone"]
        assert less or (all(stage.merged for stage in stages) and fitted.depth)
        assert not less or not fitted.kernels
        assert size(fitted) <= budget or fitted.notices[-1].title == "Over the budget"
        seen.add(less)
    assert seen == {False, True}
    assert "of what stays, the 40 weakest are not on this page" in render(fit_page(page, 1))


def test_a_few_boxes_stay_whatever_the_budget() -> None:
    plain = replace(sample_page(), left_out=())
    page = replace(plain, inputs=(replace(plain.inputs[0], found=detected(20)),))
    assert fit_page(page, 1).inputs[0].found is page.inputs[0].found


def test_pictures_of_single_channels_give_way_before_the_mosaics_of_stages_and_say_so() -> None:
    """First the patches, then maps and projections; their numbers stay."""
    page = with_excited(sample())
    seen = set()
    for budget in range(60_000, size(page) + 30_000, 30_000):
        fitted = fit_page(page, budget)
        stages = [stage for item in fitted.inputs for stage in item.stages if stage.part == "backbone"]
        channels = [card for stage in stages if stage.strongest for card in stage.strongest.channels]
        assert len(channels) == 12
        assert all(len(card.patches) == 5 for card in channels)
        patches = {bool(patch.jpeg) for card in channels for patch in card.patches}
        maps = {bool(card.over and card.projection) for card in channels}
        assert len(patches) == len(maps) == 1
        assert patches <= {False} | maps
        said = {item.name for item in fitted.left_out if "strongest channels" in item.name}
        assert ("patches that excite the strongest channels of 4 stages" in said) == (patches == {False})
        assert ("maps and projections of the strongest channels of 4 stages" in said) == (maps == {False})
        html = render(fitted)
        assert ("The pictures were left out" in html) == (maps == {False})
        assert ("The patches were left out" in html) == (maps == {True} and patches == {False})
        if maps == {True}:
            without = fit_page(sample(), budget)
            whole = [bool(stage.mosaic) for item in without.inputs for stage in item.stages if stage.part == "backbone"]
            assert all(stage.mosaic for stage in stages) or not all(whole)
        assert size(fitted) <= budget or all(steps(page, fitted))
        seen.add((patches == {True}, maps == {True}))
    assert seen == {(False, False), (False, True), (True, True)}


def test_what_pictures_of_channels_take_is_what_the_page_shrinks_by() -> None:
    page = with_excited(sample())
    fitted = fit_page(page, 200_000)
    lines = {item.name.split()[0]: item.bytes for item in fitted.left_out if "strongest channels" in item.name}
    cards = [
        card for item in page.inputs for stage in item.stages if stage.strongest for card in stage.strongest.channels
    ]
    pictures = [card.over for card in cards] + [card.projection for card in cards]
    assert lines["maps"] == sum(len(base64.b64encode(data)) for data in pictures)
    assert lines["patches"] == sum(len(base64.b64encode(patch.jpeg)) for card in cards for patch in card.patches)
