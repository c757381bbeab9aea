"""How far linear classifiers get on the scenes: if they got far, the shapes could be told without seeing them.

python -m onnxvis.models.check_scenes
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .classifier import FRESH_SEEDS, SIZE
from .scenes import make_scene
from .shapes import KINDS

__all__ = ["FEATURES", "colour_histogram", "linear_accuracy", "pixels", "ridge_accuracy"]

Matrix = NDArray[np.float32]


def pixels(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Every value of the picture, (H · W · 3,) in [0, 1]."""
    return picture.reshape(-1).astype(np.float32) / np.float32(255)


def colour_histogram(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Square roots of the shares of 8 × 8 × 8 colour bins and of 32 bins a channel, (608,)."""
    levels = picture.reshape(-1, 3)
    joint = np.bincount((levels >> 5).astype(np.int64) @ (64, 8, 1), minlength=512)
    single = [np.bincount(levels[:, channel] >> 3, minlength=32) for channel in range(3)]
    return np.sqrt(np.concatenate([joint, *single]) / len(levels)).astype(np.float32)


FEATURES = {"pixels": pixels, "colour histogram": colour_histogram}


def linear_accuracy(feature: str, training: Iterable[int], fresh: Iterable[int]) -> float:
    """Accuracy on the scenes of the seeds `fresh` of the best linear classifier fitted to those of `training`.

    `feature` is a key of FEATURES. See `ridge_accuracy`.
    """
    extract = FEATURES[feature]

    def table(seeds: Iterable[int]) -> tuple[Matrix, NDArray[np.int64]]:
        scenes = [make_scene(seed, SIZE) for seed in seeds]
        return np.stack([extract(scene.picture) for scene in scenes]), np.array([scene.label for scene in scenes])

    return ridge_accuracy(*table(training), *table(fresh))


def ridge_accuracy(
    features: Matrix,
    labels: NDArray[np.int64],
    fresh_features: Matrix,
    fresh_labels: NDArray[np.int64],
    penalties: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
) -> float:
    """Accuracy of ridge regression onto one-hot labels, standardised features, in its dual form.

    W = Xᵀ (X Xᵀ + λ I)⁻¹ Y, class = argmax(x W). The penalty λ is the one best on the *fresh* rows: that flatters the
    linear classifier, so its figure is an upper bound.
    """
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    x = (features - centre) / (spread * np.sqrt(features.shape[1]))
    fresh = (fresh_features - centre) / (spread * np.sqrt(features.shape[1]))
    gram = (x @ x.T).astype(np.float64)
    across = (fresh @ x.T).astype(np.float64)
    wanted = np.eye(labels.max() + 1)[labels]
    wanted -= wanted.mean(axis=0)
    best = 0.0
    for penalty in penalties:
        scores = across @ np.linalg.solve(gram + penalty * np.eye(len(gram)), wanted)
        best = max(best, float((scores.argmax(axis=1) == fresh_labels).mean()))
    return best


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure linear classifiers on the scenes: neither may get far above chance."""
    parser = argparse.ArgumentParser(prog="python -m onnxvis.models.check_scenes", description=main.__doc__)
    parser.add_argument("--training", type=int, default=6000, help="scenes to fit (default: 6000)")
    parser.add_argument("--fresh", type=int, default=2000, help="scenes to test (default: 2000)")
    options = parser.parse_args(arguments)
    fresh = range(FRESH_SEEDS, FRESH_SEEDS + options.fresh)
    print(f"chance: {1 / len(KINDS):.1%}")
    for feature in FEATURES:
        print(f"linear on {feature}: {linear_accuracy(feature, range(options.training), fresh):.1%}")


if __name__ == "__main__":
    main()
