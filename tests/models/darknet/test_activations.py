"""Every activation against its formula, number by number."""

from __future__ import annotations

import numpy as np
import pytest

from onnxvis.models.darknet.activations import ACTIVATIONS, activate
from onnxvis.models.darknet.draft import Draft
from tests.models.darknet import oracle
from tests.models.darknet.cfgs import run


def test_the_oracle_knows_every_one() -> None:
    assert set(ACTIVATIONS) == set(oracle.ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_equals_its_formula(name: str) -> None:
    x = np.concatenate([np.linspace(-9, 9, 361), [-30, -20, 0, 20, 30]]).astype(np.float32)
    draft = Draft("x")
    draft.port("image", (len(x),), is_input=True)
    found = activate(draft, name, "image", "y")
    assert found == ("image" if name == "linear" else "y")
    draft.node("Identity", [found], "out")
    draft.port("out", (len(x),))
    (values,) = run(draft.model, x[None])["out"]
    expected = [oracle.ACTIVATIONS[name](float(value)) for value in x]
    np.testing.assert_allclose(values, expected, rtol=2e-6, atol=2e-6)


def test_two_activations_share_their_constants_and_no_other_name() -> None:
    draft = Draft("x")
    draft.port("image", (4,), is_input=True)
    activate(draft, "gelu", activate(draft, "gelu", "image", "a"), "b")
    assert len(draft.model.graph.initializer) == 4
    assert len({node.output[0] for node in draft.model.graph.node}) == len(draft.model.graph.node) == 16
