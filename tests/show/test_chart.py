from __future__ import annotations

import re

import numpy as np
import pytest

from onnxvis.show.chart import histogram


def heights(path: str, step: int) -> list[int]:
    """Read the bars back from the path, as a browser would draw it."""
    assert re.fullmatch(r"[MVhz0-9 ]+", path)
    start = re.match(r"M0 (\d+)", path)
    assert start
    bottom = int(start.group(1))
    bars = re.findall(r"V(\d+)h(\d+)", path)
    assert all(int(width) == step for _, width in bars)
    assert path.endswith(f"V{bottom}z")
    return [bottom - int(top) for top, _ in bars]


@pytest.mark.parametrize("counts", [[1, 2, 4], [0, 0, 5, 0], [10**12, 1, 0], list(range(50)), [3]])
def test_bars_are_as_high_as_their_share(counts: list[int]) -> None:
    result = histogram(np.array(counts), height=40, step=2)
    expected = [max(1, round(40 * count / max(counts) - 0.5 + 1e-9)) if count else 0 for count in counts]
    assert np.abs(np.array(heights(result.path, 2)) - expected).max() <= 1
    assert max(heights(result.path, 2)) == 40
    assert [height == 0 for height in heights(result.path, 2)] == [count == 0 for count in counts]
    assert result.view_box == f"0 0 {2 * len(counts)} 40"


def test_empty_histograms() -> None:
    assert heights(histogram([0, 0]).path, 2) == [0, 0]
    assert histogram([]).path == "M0 40V40z"
