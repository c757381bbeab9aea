"""A channel a JPEG: load Darknet-53's weights, run, and write each stage's channels times 255 as unsigned bytes.

`python -m benchmarks.tutorials.darknet_channels WEIGHTS PICTURE FOLDER THREADS`
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.networks import YOLOv3
from benchmarks.pictures import prepared

__all__ = ["main"]


def main(weights: Path, picture: Path, folder: Path, threads: int) -> None:
    """Write `folder/blockK/I.jpg` for the 1,984 channels of the five stages."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    network = YOLOv3()
    network.load_state_dict(torch.load(weights))
    network.eval()
    with torch.no_grad():
        _, stages = network(torch.from_numpy(prepared(picture, 416)))
    for number, maps in enumerate(stages):
        block = folder / f"block{number}"
        block.mkdir(parents=True)
        for channel in range(maps.shape[1]):
            values = maps[0, channel].numpy() * 255
            cv2.imwrite(str(block / f"{channel}.jpg"), values.astype(np.int64).astype(np.uint8))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
