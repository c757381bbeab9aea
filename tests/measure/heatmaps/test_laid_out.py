from __future__ import annotations

import numpy as np
import pytest

from onnxvis.measure.heatmaps.laid_out import as_laid_out, channels_first

VALUES = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "CHW", "HWC"])
def test_there_and_back(layout: str) -> None:
    first = VALUES[0].astype(np.float64)
    given = VALUES.transpose(0, 2, 3, 1) if layout.endswith("HWC") else VALUES
    given = given if layout.startswith("N") else given[0]
    found = channels_first(given, layout)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, first)
    np.testing.assert_array_equal(as_laid_out(found, layout), given[0] if layout.startswith("N") else given)
