from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from onnxvis.rewrite.tape import Choices, Tape
from tests.rewrite.differences import run
from tests.rewrite.running import from_text
from tests.tiny import Array

BODY = "g (float[2] x, float[2] a, float[2] b, float[2] c) => (float[2] y) { y = Relu(x) }"


@pytest.fixture
def tape() -> Tape:
    return Tape(from_text(BODY), Path.cwd())


def value(tape: Tape, name: str, **feeds: Array) -> Array:
    tape.proto.graph.output.append(helper.make_empty_tensor_value_info(name))
    zeros = {key: np.zeros(2, np.float32) for key in ("x", "a", "b", "c")}
    return run(tape.proto, {**zeros, **feeds}, [name])[name]


def test_a_gradient_is_the_sum_of_what_was_given(tape: Tape) -> None:
    tape.begin(frozenset({"x"}), {"y": "a"})
    feeds = {
        "a": np.array([1, 2], np.float32),
        "b": np.array([30, 40], np.float32),
        "c": np.array([500, 600], np.float32),
    }
    assert tape.upstream("x") is None
    tape.give("x", "a")
    assert tape.upstream("x") == "a"
    tape.give("x", "b")
    tape.give("x", "c")
    total = tape.upstream("x")
    assert total is not None
    np.testing.assert_array_equal(value(tape, total, **feeds), [531, 642])
    tape.give("x", "a")
    more = tape.upstream("x")
    assert more is not None
    np.testing.assert_array_equal(value(tape, more, **feeds), [532, 644])


def test_asking_again_adds_nothing(tape: Tape) -> None:
    tape.begin(frozenset(), {})
    tape.give("x", "a")
    tape.give("x", "b")
    first = tape.upstream("x")
    count = len(tape.proto.graph.node)
    assert tape.upstream("x") == first
    assert len(tape.proto.graph.node) == count


def test_seeds_are_where_gradients_start(tape: Tape) -> None:
    tape.begin(frozenset(), {"y": "a"})
    assert tape.upstream("y") == "a"
    tape.give("y", "b")
    total = tape.upstream("y")
    assert total is not None
    found = value(tape, total, a=np.array([1, 2], np.float32), b=np.array([30, 40], np.float32))
    np.testing.assert_array_equal(found, [31, 42])


def test_a_pass_forgets_the_one_before(tape: Tape) -> None:
    tape.begin(frozenset({"x"}), {"y": "a"})
    tape.give("x", "b")
    tape.begin(frozenset({"a"}), {"y": "c"})
    assert (tape.wants("x"), tape.wants("a")) == (False, True)
    assert (tape.upstream("x"), tape.upstream("y")) == (None, "c")


def test_notes_are_kept_once_and_in_order(tape: Tape) -> None:
    for text in ("second thoughts", "first thoughts", "second thoughts"):
        tape.note(text)
    assert list(tape.notes) == ["second thoughts", "first thoughts"]


def test_convolutions_are_flipped_unless_told_otherwise(tape: Tape) -> None:
    assert tape.choices == Choices(flip_convolutions=True)
    other = Choices(flip_convolutions=False)
    assert Tape(from_text(BODY), Path.cwd(), other).choices is other
