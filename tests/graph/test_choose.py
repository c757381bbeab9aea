from __future__ import annotations

from pathlib import Path

import pytest

from onnxvis.errors import TensorNotFound
from onnxvis.graph.choose import choose_weights
from onnxvis.graph.load import Model, load
from tests.tiny import from_text, tiny, write

CONVS = [f"stage{i}.{name}" for i in (1, 2) for name in ("first", "x.a", "x.b", "y.a", "y.b")]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load(write(tiny(), tmp_path))


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["fc.weight"], ["fc.weight"]),
        (["fc.bias", "stage1.first.weight", "fc.bias"], ["stage1.first.weight", "fc.bias"]),
        (["conv kernel"], [f"{name}.weight" for name in CONVS]),
        (["fully connected weight"], ["fc.weight"]),
        (["*.bias"], [f"{name}.bias" for name in [*CONVS, "fc"]]),
        (["stage?.first.*"], [f"stage{i}.first.{end}" for i in (1, 2) for end in ("weight", "bias")]),
        (["stage1.x"], [f"stage1.x.{conv}.{end}" for conv in "ab" for end in ("weight", "bias")]),
        (["/fc/", "stage2.y.b.weight"], ["stage2.y.b.weight", "fc.weight", "fc.bias"]),
        (["*"], [f"{name}.{end}" for name in [*CONVS, "fc"] for end in ("weight", "bias")]),
        ([], []),
    ],
)
def test_names_roles_patterns_and_scopes(words: list[str], wanted: list[str], model: Model) -> None:
    assert list(choose_weights(model, words)) == wanted


@pytest.mark.parametrize(
    ("word", "near"),
    [("fc.weigth", "'fc.weight'"), ("conv kernels", "'conv kernel'"), ("", "has no"), ("/", "has no"), ("x[*", "")],
)
def test_what_is_not_there(word: str, near: str, model: Model) -> None:
    with pytest.raises(
        TensorNotFound, match=r"stores no weight .*List them with: onnxvis weights model\.onnx"
    ) as error:
        choose_weights(model, ["fc.bias", word])
    if near.startswith("'"):
        assert f"nearest: {near}" in str(error.value)


def test_shapes_are_chosen_by_their_own_name_only(tmp_path: Path) -> None:
    body = """g (float[1,4] x) => (float[2,2] y) <float[1,4] w = {1, 2, 3, 4}, int64[2] to = {2, 2}> {
        z = Mul(x, w)
        y = Reshape(z, to)
    }"""
    model = load(write(from_text(body), tmp_path))
    assert choose_weights(model, ["*"]) == ("w",)
    assert choose_weights(model, ["to"]) == ("to",)


def test_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    body = """g (float[1,2] x) => (float[1,2] y) <float[1,2] a = {1, 2}, float[1,2] b = {1, 2}> {
        z = Mul(x, a)
        y = Mul(z, b)
    }"""
    proto = from_text(body)
    proto.graph.initializer[0].name = proto.graph.node[0].input[1] = "[ab]*"
    model = load(write(proto, tmp_path))
    assert choose_weights(model, ["[ab]*"]) == ("[ab]*",)
    assert choose_weights(model, ["[b]*"]) == ("b",)
