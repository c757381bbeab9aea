from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnxvis.show.input_data import all_finite, describe_input, finite, port
from tests.show.sample import heatmap_cards, sample_page, scene, trust, with_excited


def test_a_stage_has_its_strongest_channels_with_their_patches() -> None:
    card = with_excited(sample_page()).inputs[0]
    found = describe_input(replace(card, strongest_note="a reason"))
    assert found["strongest_note"] == "a reason"
    for stage, said in zip(card.stages, found["stages"], strict=True):
        assert (stage.strongest is None) == ("strongest" not in said)
        if stage.strongest is None:
            continue
        assert said["strongest_notes"] == ["patches of 5 pictures", "the rule was extended to Clip"]
        for channel, one in zip(stage.strongest.channels, said["strongest"], strict=True):
            assert one["channel"] == channel.channel
            assert one["peak"] == {"row": channel.row, "column": channel.column, "value": channel.value}
            assert one["projected"]
            assert one["patches"] == [
                {"path": f"pictures/{place}.png", "value": 5.5 - place, "row": 1, "column": 2,
                 "window": list(channel.patches[place].window)}
                for place in range(5)
            ]  # fmt: skip


def test_a_heatmap_has_its_curves_where_they_were_asked_for() -> None:
    tested, plain = heatmap_cards(scene())
    card = replace(sample_page().inputs[0], heatmaps=(replace(tested, faithfulness=trust()), plain))
    first, second = describe_input(card)["heatmaps"]
    assert "faithfulness" not in second
    said = first["faithfulness"]
    assert said["score_is"] == "the class's probability"
    assert said["insertion"]["area"] == 0.6
    assert said["insertion"]["fractions"] == pytest.approx(np.arange(29) / 28)
    assert said["insertion"]["scores"] == pytest.approx(0.9 * np.sqrt(np.arange(29) / 28))
    assert said["deletion"]["scores"] == said["insertion"]["scores"][::-1]


def test_what_json_does_not_have_is_none() -> None:
    assert [finite(value) for value in (1.5, float("nan"), float("inf"), None)] == [1.5, None, None, None]
    assert all_finite([float("-inf"), 2.0]) == [None, 2.0]
    assert port("x", [1, "N"], "float32") == {"name": "x", "shape": [1, "N"], "dtype": "float32"}
