"""Whatever goes together gives what each gives alone; what cannot, goes one by one, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from onnxvis.run.batches import Batches, Job
from onnxvis.run.session import RunOptions
from tests.rewrite.differences import run
from tests.tiny import Array, from_text, tiny

CPU = RunOptions("cpu", 1)


def picture(seed: int = 0, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape or (3, 32, 32)).astype(np.float32)


def job(proto: ModelProto, output: str = "logits", **asked: Any) -> Job:
    feeds = asked.pop("feeds", {"image": picture()[None]})
    return Job(proto, Path.cwd(), "case.onnx", feeds, "image", output, **asked)


def values_of(given: Job, pictures: list[Array], memory: int = 1 << 30) -> tuple[list[Array], Batches]:
    with Batches(given, len(pictures), CPU, memory) as batches:
        return list(batches.run(pictures)), batches


def alone(proto: ModelProto, pictures: list[Array], output: str = "logits", batch: int = 1) -> list[Array]:
    return [run(proto, {"image": np.repeat(one[None], batch, axis=0)})[output][:1] for one in pictures]


@pytest.mark.parametrize("batch", [1, "n", 3])
def test_a_batch_gives_what_single_runs_give(batch: int | str) -> None:
    proto, pictures = tiny(batch=batch), [picture(seed) for seed in range(70)]
    size = 3 if batch == 3 else 1
    given = job(proto, feeds={"image": np.repeat(picture()[None], size, axis=0)}, fixed=batch != "n")
    found, batches = values_of(given, pictures)
    assert batches.size == 64
    freed = "" if batch == "n" else "; the batch of the model, which is fixed, was freed for them"
    assert batches.notes == (f"70 runs of the model, 64 at a time{freed}",)
    for one, other in zip(found, alone(proto, pictures, batch=size), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_no_more_go_together_than_memory_allows() -> None:
    """At most the picture and four maps of 8 × 16 × 16 numbers are there at a time, and two of them at least."""
    pictures = [picture(seed) for seed in range(30)]
    found, batches = values_of(job(tiny()), pictures, 10 * (3 * 32 * 32 + 3 * 8 * 16 * 16) * 4)
    assert batches.size == 10
    for one, other in zip(found, alone(tiny(), pictures), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_where_two_are_too_many_they_go_one_by_one() -> None:
    pictures = [picture(seed) for seed in range(3)]
    found, batches = values_of(job(tiny()), pictures, 1 << 15)
    assert batches.notes == ("3 runs of the model, one by one: two at a time would take more than 0 MB",)
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(alone(tiny(), pictures)), rtol=1e-5, atol=1e-5)


MIXED = (
    "g (float[1, 3, 32, 32] image) => (float[1, 3, 32, 32] y) { m = ReduceMean <axes = [0]> (image)"
    "  y = Sub (image, m) }"
)
ROWS = "g (float[1, 3, 32, 32] image) => (float[3, 1024] y) <int64[2] flat = {3, 1024}> { y = Reshape (image, flat) }"
TURNED = (
    "g (float[1, 3, 32, 32] image) => (float[3, 1024] y) <int64[2] flat = {3, 1024}> "
    "{ t = Transpose <perm = [1, 0, 2, 3]> (image)  s = Squeeze (t)  y = Reshape (s, flat) }"
)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (MIXED, "several pictures at a time give other numbers than each alone"),
        (TURNED, "the model cannot take several pictures at a time"),
    ],
)
def test_pictures_that_would_mix_go_one_by_one(body: str, reason: str) -> None:
    proto, pictures = from_text(body, 13), [picture(seed) for seed in range(3)]
    found, batches = values_of(job(proto, "y"), pictures)
    assert batches.notes == (f"3 runs of the model, one by one: {reason}",)
    for one, other in zip(found, pictures, strict=True):
        np.testing.assert_array_equal(one, run(proto, {"image": other[None]})["y"])


def test_a_result_may_have_several_rows_a_picture() -> None:
    proto, pictures = from_text(ROWS), [picture(seed) for seed in range(3)]
    found, batches = values_of(job(proto, "y"), pictures)
    assert batches.size == 3
    for one, other in zip(found, pictures, strict=True):
        np.testing.assert_array_equal(one, other.reshape(3, 1024))


def test_an_input_without_a_batch_goes_one_by_one() -> None:
    proto = from_text("g (float[3, 32, 32] image) => (float[3, 32, 32] y) { y = Neg (image) }")
    pictures = [picture(seed) for seed in range(3)]
    found, batches = values_of(job(proto, "y", feeds={"image": picture()}, batched=False, part="that"), pictures)
    assert batches.notes == ("3 runs of that, one by one: the input that is changed has no batch",)
    np.testing.assert_array_equal(np.stack(found), -np.stack(pictures))


def test_other_inputs_go_with_every_picture() -> None:
    proto = from_text(
        "g (float[1, 3, 32, 32] image, float[1, 1, 1, 1] scale, float[1] shift) => (float[1, 3, 32, 32] y) "
        "{ a = Mul (image, scale)  y = Add (a, shift) }"
    )
    pictures = [picture(seed) for seed in range(3)]
    feeds = {"image": picture()[None], "scale": np.full((1, 1, 1, 1), 2, np.float32), "shift": np.ones(1, np.float32)}
    found, batches = values_of(job(proto, "y", feeds=feeds), pictures)
    assert batches.size == 3
    np.testing.assert_allclose(np.concatenate(found), 2 * np.stack(pictures) + 1, rtol=1e-6)


def test_whole_numbers_are_tried_too() -> None:
    proto = from_text("g (uint8[1, 3, 32, 32] image) => (float[1, 3, 32, 32] y) { y = Cast <to = 1> (image) }")
    pictures = [np.full((3, 32, 32), value, np.uint8) for value in (0, 7, 255)]
    found, batches = values_of(job(proto, "y", feeds={"image": pictures[1][None]}), pictures)
    assert batches.size == 3
    np.testing.assert_array_equal(np.concatenate(found), np.stack(pictures))
