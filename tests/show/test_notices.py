"""What the reader is told before believing the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import pytest

from onnxvis.graph.load import Model, load
from onnxvis.show.notices import finding_notices
from onnxvis.show.report import ReportOptions, build_page

NAN = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 3, 8, 8] x) => (float[1, 4] y) {
  w = Constant<value: tensor = float[4, 3, 1, 1] {1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1}>()
  c = Conv(x, w)
  p = GlobalAveragePool(c)
  f = Flatten(p)
  z = Sub(f, f)
  y = Div(z, z)
}
"""


@pytest.fixture
def model(tmp_path: Path) -> Model:
    path = tmp_path / "nan.onnx"
    path.write_bytes(onnx.parser.parse_model(NAN).SerializeToString())
    return load(path)


def test_outputs_that_are_not_finite_and_dead_channels_are_told_once(model: Model, tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).random((1, 3, 8, 8), np.float32))
    page = build_page(model, [tmp_path / "a.npy", tmp_path / "b.npy"], ReportOptions())
    told = {notice.title: notice.text for notice in page.notices}
    assert told["Outputs that are not finite"].startswith("y: 4 of 4 values are NaN or infinite")
    assert told["Dead channels"] == ("Channels that stay constant: 1 in stage1 (on a.npy); 1 in stage1 (on b.npy).")
    output = page.inputs[0].outputs[0]
    assert output.scores == ()
    assert output.max_abs_difference is None


def test_nothing_found_is_nothing_told() -> None:
    assert finding_notices([], None, {}) == []
