"""A matplotlib figure a parameter: its histogram of 50 bins, under its name.

ResNet-101's state dict has 626 entries; the 104 counters `num_batches_tracked`, which are no weights and which an .onnx
file does not hold, are left out, so that 522 are drawn.

`python -m benchmarks.tutorials.weight_histograms WEIGHTS FOLDER THREADS`
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot as plt

__all__ = ["main"]


def main(weights: Path, folder: Path, threads: int) -> None:
    """Write `folder/NAME.jpg` for each parameter."""
    matplotlib.use("Agg")
    torch.set_num_threads(threads)
    folder.mkdir(parents=True)
    for name, values in torch.load(weights).items():
        if name.endswith("num_batches_tracked"):
            continue
        plt.figure()
        plt.hist(values.numpy().reshape(-1), bins=50)
        plt.title(name)
        plt.savefig(folder / f"{name}.jpg")
        plt.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
