from __future__ import annotations

from typing import Any

import pytest

from onnxvis.errors import UsageError
from onnxvis.measure.maximize.settings import Settings
from onnxvis.measure.maximize.warp import Wobble


def test_the_usual_settings_are_those_that_are_published() -> None:
    usual = Settings()
    assert (usual.kind, usual.decorrelated, usual.optimizer, usual.steps) == ("fft", True, "adam", 512)
    assert usual.wobble == Wobble(8, 0.1, 10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "wavelets"}, "made of fft or pixels, not of 'wavelets'"),
        ({"optimizer": "lion"}, "no optimiser is called 'lion'"),
        ({"steps": 0}, r"--steps 0 is out of range; give a number from 1 to 1,000,000$"),
        ({"steps": 2_000_000}, r"--steps 2,000,000 is out of range; give a number from 1 to 1,000,000$"),
        ({"blur": 10**400}, "--blur 10,000,000,.*… is out of range"),
        ({"steps": -3}, "--steps -3"),
        ({"blur": -1}, "--blur -1"),
        ({"seed": -1}, "--seed -1"),
        ({"l2": -1.0}, "--l2 -1 is out of range; give a number from 0 up$"),
        ({"tv": float("inf")}, "--tv inf"),
        ({"tv": float("nan")}, "--tv nan"),
        ({"rate": 0.0}, "--rate 0"),
        ({"rate": float("nan")}, "--rate nan"),
        ({"until": float("nan")}, "--until takes a finite number"),
        ({"wobble": Wobble(scale=1.0)}, "--scale 1"),
        ({"wobble": Wobble(jitter=-1.0)}, "--jitter -1"),
        ({"wobble": Wobble(rotate=181.0)}, "--rotate 181"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Settings(**given)
