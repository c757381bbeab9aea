"""Every channel of ResNet-101's children, twice: coloured by JET in its own size, and enlarged to 256 × 256.

`python -m benchmarks.tutorials.resnet_children WEIGHTS PICTURE FOLDER THREADS`
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.networks import ResNet101
from benchmarks.pictures import prepared

__all__ = ["main"]


def main(weights: Path, picture: Path, folder: Path, threads: int) -> None:
    """Write `folder/CHILD/I.png` and `folder/CHILD/I_256.png` for the 6,144 channels before the last layer."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    network = ResNet101()
    network.load_state_dict(torch.load(weights))
    network.eval()
    x = torch.from_numpy(prepared(picture, 224, imagenet=True))
    found = {}
    with torch.no_grad():
        for name, child in network.named_children():
            x = child(torch.flatten(x, 1) if name == "fc" else x)
            found[name] = x
    for name, maps in found.items():
        if name == "fc":
            continue
        inside = folder / name
        inside.mkdir(parents=True)
        for channel in range(maps.shape[1]):
            values = maps[0, channel].numpy() * 255
            coloured = cv2.applyColorMap(values.astype(np.int64).astype(np.uint8), cv2.COLORMAP_JET)
            enlarged = cv2.resize(coloured, (256, 256), interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(inside / f"{channel}.png"), coloured)
            cv2.imwrite(str(inside / f"{channel}_256.png"), enlarged)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
