from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onnxvis
from onnxvis.graph.load import load
from onnxvis.measure.activations import Activations
from onnxvis.measure.heatmaps.explain import Heatmap
from onnxvis.measure.statistics import summarise
from onnxvis.measure.target import Target
from onnxvis.measure.weights import WeightNumbers, WeightTable
from onnxvis.run.session import Execution
from onnxvis.show.colormap import palette
from onnxvis.show.notebook import activations_html, heatmap_html, model_html, weights_html
from tests.show.outline import bar_heights
from tests.tiny import Array, photo, rename, tiny, write

HOSTILE = "</td></table><script>alert(1)</script><img src=x onerror=alert(2)>\"' style=x&amp;{{ 7*7 }}\n\x00\u202e"
TAGS = {"div", "p", "b", "br", "table", "thead", "tbody", "tr", "th", "td", "svg", "path", "img"}
VOID = {"br", "img"}


class Checker(HTMLParser):
    """What a piece of HTML is made of; fails on what it may not hold."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.images: list[bytes] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("href", "srcset")]
        source = dict(attrs).get("src")
        if source is not None:
            kind, _, data = source.partition(",")
            assert kind == "data:image/png;base64"
            self.images.append(base64.b64decode(data, validate=True))
        if tag in ("td", "th"):
            self.cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "path"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def numbers(name: str, values: Array, role: str = "bias") -> WeightNumbers:
    return WeightNumbers(name, role, "Conv", "raw_data", "", values.shape, str(values.dtype), summarise(values))


def found(values: Mapping[str, Array]) -> Activations:
    return Activations(dict(values), {}, {}, Execution("CPUExecutionProvider", (), ()), {})


def test_a_model_says_what_it_is(tmp_path: Path) -> None:
    html = model_html(load(write(tiny(), tmp_path)))
    page = Checker(html)
    for words in ("model.onnx", "opset: 17", "made by: tests 1", "image, float32 1 × 3 × 32 × 32", "parameters: "):
        assert words in html
    assert page.cells[3:] == [
        "stage1", "8 × 16 × 16", "stage1.y/relu", "stage2", "16 × 8 × 8", "stage2.y/relu",
    ]  # fmt: skip


def test_weights_are_a_table_of_their_numbers() -> None:
    values = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32)
    odd = np.array([np.nan, 1, np.inf])
    html = weights_html(WeightTable((numbers("a", values), numbers("b", odd)), 3, ("w cannot be read",)))
    cells = Checker(html).cells
    wide = values.astype(np.float64)
    wanted = [f"{number:.4g}".replace("-", "−") for number in (wide.mean(), wide.std(ddof=1), wide.min(), wide.max())]
    assert cells[10:19] == ["a", "bias", "4 × 3 × 2", "float32", *wanted, "0 %"]
    assert cells[29].split() == ["1", "NaN", "1", "infinite"]
    assert html.count("<svg") == 2
    (path, _) = re.findall(r'<path d="([^"]*)"', html)
    assert [height > 0 for height in bar_heights(path)] == (summarise(values).counts > 0).tolist()
    for words in ("2 weights, 27 parameters", "3 tensors of shapes", "not read: w cannot be read"):
        assert words in html


def test_the_first_weights_and_how_many_more() -> None:
    weights = tuple(numbers(f"w{place}", np.arange(3.0)) for place in range(1234))
    html = weights_html(WeightTable(weights, 0, ()))
    assert Checker(html).cells.count("bias") == 200
    assert "and 1,034 more weights" in html
    assert len(html) < 300_000
    assert "more weights" not in weights_html(WeightTable(weights[:200], 0, ()))


def test_activations_are_pictures() -> None:
    maps = np.random.default_rng(1).standard_normal((1, 6, 5, 7)).astype(np.float32)
    html = activations_html(found({"conv": maps, "tokens": np.zeros((1, 2, 3), np.float32)}))
    merged, laid = Checker(html).images
    mean = maps[0].astype(np.float64).mean(axis=0)
    indices = np.rint((mean - mean.min()) / np.ptp(mean) * 255).astype(np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(merged)).convert("RGB")).astype(int)
    assert np.abs(shown - palette("viridis")[indices]).max() <= 6
    assert Image.open(io.BytesIO(laid)).size[0] >= 2 * 7
    for words in ("<b>conv</b> float32 1 × 6 × 5 × 7, channels 0 to 5 of 6", "<b>tokens</b> float32 1 × 2 × 3</p>"):
        assert words in html


def test_many_and_large_activations_stay_small() -> None:
    large = np.random.default_rng(1).standard_normal((1, 64, 300, 400)).astype(np.float32)
    html = activations_html(found({"large": large, **{f"t{i}": np.ones((1, 4, 3, 3), np.float32) for i in range(40)}}))
    assert len(Checker(html).images) == 2 * 12
    assert "channels 0 to 4 of 64" in html
    assert "and 29 more tensors" in html
    assert len(html) < 2_000_000


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    names = {"stage1.y/relu": HOSTILE, "image": HOSTILE + "2", "logits": HOSTILE + "3"}
    proto = rename(tiny(), names)
    proto.producer_name = HOSTILE
    table = WeightTable((numbers(HOSTILE, np.arange(3.0), HOSTILE),), 1, (HOSTILE,))
    maps = found({HOSTILE: np.ones((1, 2, 3, 3)), HOSTILE + "x" * 60_000: np.ones((1, 1))})
    model = load(write(proto, tmp_path, "<b>&.onnx"))
    for html in (model_html(model), weights_html(table), activations_html(maps)):
        Checker(html)
        assert "<script" not in html
        assert "&lt;" in html
        assert len(html) < 20_000
        assert not [c for c in html if not c.isprintable()]


@pytest.mark.parametrize("first", ["load", "weights", "activations", "report", "Model", "WeightTable", "Activations"])
def test_hooks_are_there_however_results_are_reached(first: str, tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    code = (
        f"import sys, onnxvis\nfirst = onnxvis.{first}\n"
        f"model = onnxvis.load({str(path)!r})\nresults = (model, onnxvis.weights(model))\n"
        "assert 'onnxvis.show.notebook' not in sys.modules\n"
        "print([result._repr_html_()[:5] for result in results], hasattr(onnxvis.Activations, '_repr_html_'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['<div>', '<div>'] True\n"


def test_results_show_themselves(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    model = onnxvis.load(path)
    maps = onnxvis.activations(model, photo(tmp_path))
    for result, drawn in ((model, model_html(model)), (maps, activations_html(maps))):
        assert result._repr_html_() == drawn  # type: ignore[union-attr]
    assert "<table>" in onnxvis.weights(model)._repr_html_()  # type: ignore[attr-defined]
    assert type(drawn) is not str
    assert type(model._repr_html_()) is str  # type: ignore[attr-defined]


def test_a_heatmap_shows_its_map_and_what_it_was_made_of() -> None:
    target = Target("logits", (3,), "logits", (1, 10))
    values = np.broadcast_to(np.linspace(0, 1, 20), (10, 20)).astype(np.float32)
    html = heatmap_html(Heatmap("gradcam", HOSTILE, (HOSTILE,), target, values, values, (HOSTILE,), "CPU"))
    checked = Checker(html)
    drawn = np.asarray(Image.open(io.BytesIO(checked.images[0])).convert("RGB")).astype(int)
    assert drawn.shape == (10, 20, 3)
    assert np.abs(drawn[0, [0, -1]] - palette("turbo")[[0, 255]]).max() <= 1
    assert "target logits:3" in html
    assert "<script" not in html
