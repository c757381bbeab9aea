from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onnxvis.errors import UsageError
from onnxvis.graph.load import Model
from onnxvis.measure.maximize.objective import Objective
from onnxvis.measure.maximize.stage import Stage
from onnxvis.run.session import RunOptions
from tests.tiny import from_text, tiny

OPTIONS = RunOptions(provider="cpu", threads=1)
CLASSES = [Objective(target=str(index)) for index in range(3)]
ONE_BY_ONE = "one picture at a time"


def stage(proto: Any, objectives: list[Objective], copies: int = 1) -> Stage:
    return Stage.of(Model(Path("case.onnx"), proto, Path.cwd()), objectives, OPTIONS, copies=copies)


def merged(batch: int | str) -> Any:
    """A model whose output has all pictures in one row."""
    return from_text(
        f"g (float[{batch},3,8,8] image) => (float[1,M] y) {{ f = Flatten<axis=0>(image) y = Identity(f) }}"
    )


def test_a_free_batch_takes_all_together() -> None:
    found = stage(tiny("N"), CLASSES)
    assert found.feeding.batch == 3
    assert list(found.together()) == [[0, 1, 2]]
    assert not any(ONE_BY_ONE in note for note in found.notes)
    assert stage(tiny("N"), CLASSES[:1], copies=5).feeding.batch == 5


def test_a_batch_of_one_is_said_to_go_one_after_the_other() -> None:
    found = stage(tiny(1), CLASSES)
    assert list(found.together()) == [[0], [1], [2]]
    assert any(ONE_BY_ONE in note for note in found.notes)
    assert not any(ONE_BY_ONE in note for note in stage(tiny(1), CLASSES[:1]).notes)


def test_a_fixed_batch_is_filled() -> None:
    found = stage(tiny(2), CLASSES)
    assert [aim.weights.shape for aim in found.aims] == [(1, 10)] * 3
    assert list(found.together()) == [[0, 1], [2]]


def test_tensors_climb_apart() -> None:
    objectives = [Objective("stage1.y/relu", 1), Objective("logits", 2), Objective("stage1.y/relu", 3)]
    found = stage(tiny("N"), objectives)
    assert list(found.together()) == [[0, 2], [1]]
    assert [aim.label for aim in found.aims] == ["stage1.y/relu:1", "logits:2", "stage1.y/relu:3"]


def test_where_pictures_of_a_batch_are_mixed_they_go_one_after_the_other() -> None:
    objectives = [Objective("y", 0), Objective("y", 191)]
    found = stage(merged("N"), objectives)
    assert found.feeding.batch == 1
    assert [aim.weights.shape for aim in found.aims] == [(1, 192)] * 2
    with pytest.raises(UsageError, match="takes 2 pictures at once and mixes them"):
        stage(merged(2), objectives)
