"""The loop against one written by hand in plain PyTorch, the schedule against a table, and what stays frozen."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[test,torch]'")

from onnxvis.errors import ProviderError, UsageError  # noqa: E402
from onnxvis.models.finetune.data import Batch, Split, step_indices  # noqa: E402
from onnxvis.models.finetune.settings import fresh  # noqa: E402
from onnxvis.models.finetune.train import Trainer, choose_device, evaluate, rate_factor, train, trained_indices  # noqa: E402


class Noise:
    """Random pictures of 8 pixels whose label is whether the first channel's mean is above zero."""

    def __init__(self, count: int, seed: int, scale: float = 1.0) -> None:
        self.count = count
        self.asked: list[int] = []
        rng = np.random.default_rng(seed)
        self._pictures = (rng.normal(0, scale, (count, 3, 8, 8)) + rng.normal(0, 1, (count, 1, 1, 1))).astype("float32")

    def batch(self, indices: Sequence[int], rng: np.random.Generator | None = None) -> Batch:
        self.asked += indices
        chosen = self._pictures[list(indices)]
        return chosen, (chosen[:, 0].mean(axis=(1, 2)) > 0).astype(np.int64)


def data(scale: float = 1.0) -> Split:
    return Split(("low", "high"), Noise(20, 0, scale), Noise(10, 1, scale), "noise")


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def settings(**given: Any) -> Any:
    return fresh({"steps": 8, "batch": 6, **given}, "data")


def run(trainer: Trainer, pictures: Split, *arguments: Any) -> list[Any]:
    return list(train(trainer, pictures, *arguments))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_steps_equal_a_loop_written_by_hand(optimizer: str) -> None:
    """Gradients that were not cleared, or a rate that is off, would show in the parameters."""
    ours = network()
    theirs = copy.deepcopy(ours)
    given = {"optimizer": optimizer, "lr": ["0.1", "5=0.02"], "weight_decay": 0.01, "seed": 3}
    run(Trainer(ours, settings(**given)), data(), 100)

    start = {name: 0.02 if name.startswith("5.") else 0.1 for name, _ in theirs.named_parameters()}
    momentum: dict[str, Any] = {"momentum": 0.9} if optimizer == "sgd" else {}
    kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
    by_hand = {
        name: kind([weight], lr=start[name], weight_decay=0.01, **momentum)
        for name, weight in theirs.named_parameters()
    }
    pictures = data()
    theirs.train()
    for step in range(8):
        batch, labels = pictures.train.batch(step_indices(20, 3, step, 6))
        loss = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(batch)), torch.from_numpy(labels))
        for weight in theirs.parameters():
            weight.grad = None
        loss.backward()
        for name, one in by_hand.items():
            one.param_groups[0]["lr"] = start[name] * FACTORS[step]
            one.step()
    for name, weight in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, msg=name, rtol=1e-4, atol=1e-6)


FACTORS = [1.0, *((1 + math.cos(math.pi * k / 8)) / 2 for k in range(1, 8))]


def test_the_rate_rises_over_a_tenth_and_falls_to_nearly_nothing() -> None:
    assert [rate_factor(step, 8) for step in range(8)] == pytest.approx(FACTORS)
    hundred = [rate_factor(step, 100) for step in range(100)]
    assert hundred[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert hundred[10:] == sorted(hundred[10:], reverse=True)
    assert hundred[54] == pytest.approx((1 + math.cos(math.pi * 45 / 91)) / 2)
    assert 0 < hundred[-1] < 0.001
    assert [rate_factor(step, steps) for steps in (1, 2) for step in range(steps)] == pytest.approx([1, 1, 0.5])


def test_frozen_layers_stay_bit_by_bit_and_others_move() -> None:
    ours = network()
    before = copy.deepcopy(ours.state_dict())
    run(Trainer(ours, settings(lr=["0.1", "0=0", "1=0"], optimizer="sgd")), data(), 100)
    same = {name for name, weight in ours.state_dict().items() if torch.equal(weight, before[name])}
    assert same == {name for name in before if name.startswith(("0.", "1."))}


def test_rows_come_at_every_and_at_the_end_with_what_was_seen() -> None:
    pictures = data()
    seen: list[tuple[int, float, float]] = []
    trainer = Trainer(network(), settings())
    rows = run(trainer, pictures, 3, None, lambda step, score: seen.append((step, score.loss, score.accuracy)))
    assert [row.step for row in rows] == [3, 6, 8]
    assert [step for step, _, _ in seen] == list(range(1, 9))
    for row, part in zip(rows, (seen[:3], seen[3:6], seen[6:]), strict=True):
        assert row.train_loss == pytest.approx(np.mean([loss for _, loss, _ in part]))
        assert row.train_accuracy == pytest.approx(np.mean([share for _, _, share in part]))
        assert row.rate == pytest.approx(0.001 * FACTORS[row.step - 1])
    batch, labels = pictures.held_out.batch(range(10))
    with torch.no_grad():
        logits = trainer.network.eval()(torch.from_numpy(batch))
    assert rows[-1].held_out_accuracy == pytest.approx((logits.argmax(1).numpy() == labels).mean())
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item()
    assert rows[-1].held_out_loss == pytest.approx(expected, rel=1e-5)


def test_measuring_in_pieces_changes_nothing() -> None:
    trainer = Trainer(network(), settings())
    many = Noise(150, 2)
    before = copy.deepcopy(trainer.network.state_dict())
    found = evaluate(trainer, many, range(150))
    batch, labels = many.batch(range(150))
    logits = trainer.logits(batch)
    assert found.accuracy == pytest.approx((logits.argmax(1).numpy() == labels).mean())
    assert found.loss == pytest.approx(
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item(), rel=1e-5
    )
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.network.state_dict().items())


def test_training_never_asks_for_held_out_pictures() -> None:
    pictures = data()
    assert isinstance(pictures.train, Noise)
    run(Trainer(network(), settings()), pictures, 100)
    assert pictures.train.asked == [index for step in range(8) for index in step_indices(20, 0, step, 6)]


def states(trainer: Trainer) -> list[Any]:
    return list(trainer.network.state_dict().values())


def test_the_same_seed_gives_the_same_network() -> None:
    first, second = (Trainer(network(), settings()) for _ in range(2))
    run(first, data(), 3)
    run(second, data(), 5)
    assert all(torch.equal(a, b) for a, b in zip(states(first), states(second), strict=True))


def test_a_loss_that_is_no_number_stops_with_step_and_rate() -> None:
    trainer = Trainer(network(), settings(lr=["100"], optimizer="sgd"))
    with torch.no_grad():
        trainer.network[5].weight.fill_(float("inf"))
    before = copy.deepcopy(trainer.network.state_dict())
    with pytest.raises(UsageError, match=r"the loss is nan at step 1, with a learning rate of 100: .* lower --lr.* 10"):
        run(trainer, data(), 3)
    assert torch.equal(trainer.network[0].weight, before["0.weight"])


def test_training_that_leaves_all_bounds_is_stopped() -> None:
    trainer = Trainer(network(), settings(lr=["100"], optimizer="sgd", steps=60, weight_decay=1.0))
    with pytest.raises(UsageError, match=r"the loss is (nan|inf) at step \d+"):
        run(trainer, data(1e3), 50)


def test_a_gpu_without_room_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise torch.cuda.OutOfMemoryError

    trainer = Trainer(network(), settings())
    monkeypatch.setattr(trainer, "advance", full)
    with pytest.raises(UsageError, match="no room for a step of 6 pictures of 224 pixels: give a smaller --batch"):
        run(trainer, data(), 3)


def test_cuda_is_chosen_where_it_is_and_refused_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto") == expected
        assert choose_device("cpu") == "cpu"
    with pytest.raises(ProviderError, match="finds no CUDA device"):
        choose_device("cuda")


def test_the_training_pictures_measured_are_those_it_saw() -> None:
    assert trained_indices(data(), 100, 6) == range(0, 20, 2)
    assert list(trained_indices(data(), 1, 6)) == list(range(6))
    assert len(trained_indices(data(), 1, 15)) == 8
