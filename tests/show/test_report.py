from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from PIL import Image

from onnxvis.errors import InputError, OutputError, UsageError
from onnxvis.graph.load import load
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.session import RunOptions
from onnxvis.show import gather, report
from onnxvis.show.maps import Look
from onnxvis.show.page import InputCard, MapCard, Page
from onnxvis.show.render import render
from onnxvis.show.report import MAX_INPUTS, ReportOptions, build_page, write_report
from tests.tiny import Array, from_text, oracle, photo, rename, tiny, write
from tests.zoo import build, materialize

UNIT = PreprocessFlags.parse(preset="unit", fit="stretch")
OPTIONS = ReportOptions(run=RunOptions("cpu", 1), preprocess=UNIT)
GUESSING = replace(OPTIONS, preprocess=PreprocessFlags())


def page_of(proto: ModelProto, folder: Path, inputs: Sequence[Path | str], options: ReportOptions = OPTIONS) -> Page:
    return build_page(load(write(proto, folder)), inputs, options)


def fed(path: Path) -> Array:
    """A picture that has the model's size already, as `unit` feeds it."""
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32)
    return (pixels / 255).transpose(2, 0, 1)[None]


def cards(card: InputCard) -> list[MapCard]:
    return [shown for stage in card.stages for shown in (stage, *stage.children)]


def notices(page: Page) -> str:
    return "\n".join(f"{item.title} {item.text}" for item in page.notices)


class Markup(HTMLParser):
    """Every element and attribute of a page, and whether all that was opened was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(attributes)) for tag, attributes in self.elements]


# What the page says, against an independent session


def test_maps_are_those_of_an_independent_session(tmp_path: Path) -> None:
    picture = photo(tmp_path, height=32, width=32)
    path = write(tiny(), tmp_path)
    page = build_page(load(path), [picture], OPTIONS)
    (card,) = page.inputs
    shown = cards(card)
    values = oracle(path, [item.tensor for item in shown], {"image": fed(picture)})
    assert {item.name for item in card.stages} >= {"stage1", "stage2"}
    for item in shown:
        maps = values[item.tensor].reshape(item.channels, item.height, item.width).astype(np.float64)
        assert item.statistics is not None
        for name in ("min", "max", "mean", "std"):
            wanted = getattr(maps, name)(axis=(1, 2))
            np.testing.assert_allclose(getattr(item.statistics, name), wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(item.statistics.dead, np.ptp(maps, axis=(1, 2)) == 0)
    first = next(item for item in shown if item.tensor == "stage1.first/relu")
    assert first.statistics is not None
    assert first.statistics.dead[5]
    assert not first.statistics.dead.all()


def test_the_picture_is_what_the_model_saw(tmp_path: Path) -> None:
    path = photo(tmp_path, height=50, width=70)
    (card,) = page_of(tiny(), tmp_path, [path]).inputs
    assert card.picture is not None
    found = cv2.imdecode(np.frombuffer(card.picture.data, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    original = np.asarray(Image.open(path).convert("RGB"))
    resized = cv2.resize(original, (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(np.asarray(found)[:, :, ::-1].astype(int), resized, atol=40)
    (same,) = page_of(tiny(), tmp_path, [photo(tmp_path, "same.png", 32, 32)]).inputs
    assert same.picture is not None
    np.testing.assert_array_equal(
        np.asarray(cv2.imdecode(np.frombuffer(same.picture.data, np.uint8), cv2.IMREAD_COLOR))[:, :, ::-1],
        np.asarray(Image.open(tmp_path / "same.png").convert("RGB")),
    )
    facts = {fact.label: fact.value for fact in card.preparation}
    assert facts["Original"] == "70 × 50 pixels"
    assert facts["Fed as"].startswith("32 × 32 pixels, RGB, fit stretch")
    assert facts["Values"] == "pixel / 255"
    assert facts["Settings from"] == "flags"
    assert "--preprocess unit" in facts["As flags"]


def test_predictions_are_a_softmax_of_the_deployed_run(tmp_path: Path) -> None:
    picture = photo(tmp_path, height=32, width=32)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"kind {index}" for index in range(10)))
    page = page_of(tiny(), tmp_path, [picture], replace(OPTIONS, labels=labels))
    logits = oracle(tmp_path / "model.onnx", [], {"image": fed(picture)})["logits"][0].astype(np.float64)
    wanted = np.exp(logits) / np.exp(logits).sum()
    (output,) = page.inputs[0].outputs
    order = np.argsort(-wanted)[:5]
    assert [score.index for score in output.scores] == order.tolist()
    assert [score.label for score in output.scores] == [f"kind {index}" for index in order]
    np.testing.assert_allclose([score.score for score in output.scores], wanted[order], rtol=1e-5)
    assert (output.shape, output.dtype, output.scores_are) == ((1, 10), "float32", "softmax of logits")
    assert "labels" not in notices(page)


def test_differences_are_those_between_the_two_runs(tmp_path: Path) -> None:
    """Rounded to float16 inside: what the optimiser merges before exposing and not after shows in the last digits."""
    picture = photo(tmp_path, height=32, width=32)
    path = write(tiny(), tmp_path)
    page = build_page(load(path), [picture], OPTIONS)
    exposed = [item.tensor for item in cards(page.inputs[0])]
    a = oracle(path, exposed, {"image": fed(picture)})["logits"].astype(np.float64)
    b = oracle(path, [], {"image": fed(picture)})["logits"].astype(np.float64)
    (output,) = page.inputs[0].outputs
    assert output.max_abs_difference == pytest.approx(np.abs(a - b).max(), abs=1e-5)
    assert output.relative_difference == pytest.approx(np.abs(a - b).max() / np.abs(b).max(), abs=1e-5)


def test_too_few_labels_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("one\ntwo")
    page = page_of(tiny(), tmp_path, [photo(tmp_path)], replace(OPTIONS, labels=tmp_path / "l.txt"))
    assert "l.txt has 2 labels, the model 10 classes" in notices(page)


def test_dead_channels_are_noticed(tmp_path: Path) -> None:
    proto = tiny()
    bias = next(item for item in proto.graph.initializer if item.name == "stage1.y.b.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(8, -1e4, np.float32), bias.name))
    page = page_of(proto, tmp_path, [photo(tmp_path)])
    assert "8 in stage1" in notices(page)


def test_how_it_ran(tmp_path: Path) -> None:
    page = page_of(tiny(), tmp_path, [photo(tmp_path)], replace(OPTIONS, run=RunOptions("cpu", 1, exact=True)))
    assert page.run is not None
    assert (page.run.provider, page.run.exact) == ("CPUExecutionProvider", True)
    assert all(seconds >= 0 for _, seconds in page.run.seconds)
    assert len(page.run.seconds) >= 3
    assert page.run.fallback == ()


@pytest.mark.parametrize("threads", [1, 2])
def test_weights_are_timed_also_beside_the_run(threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.3)
        return gather.weight_cards(*arguments, **options)

    monkeypatch.setattr(report, "weight_cards", slow)
    page = page_of(tiny(), tmp_path, [photo(tmp_path)], replace(OPTIONS, run=RunOptions("cpu", threads)))
    assert page.run is not None
    assert dict(page.run.seconds)["Weights and kernels"] >= 0.3


def test_a_guess_is_said_and_flags_settle_it(tmp_path: Path) -> None:
    page = page_of(tiny(), tmp_path, [photo(tmp_path)], GUESSING)
    assert page.guess is not None
    assert "--preprocess imagenet" in page.guess.flags
    assert "GUESSED" in render(page)
    settled = page_of(tiny(), tmp_path, [photo(tmp_path)])
    assert settled.guess is None
    assert "GUESSED" not in render(settled)


@pytest.mark.parametrize(
    "name", ["squeezenet1_1", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenet_v2", "resnet18"))]
)
def test_well_known_networks(name: str, tmp_path: Path) -> None:
    picture = photo(tmp_path, height=224, width=224)
    path = write(materialize(build(name)), tmp_path)
    page = build_page(load(path), [picture], OPTIONS)
    shown = cards(page.inputs[0])
    values = oracle(path, [item.tensor for item in shown], {load(path).inputs[0].name: fed(picture)})
    assert len([card for card in shown if card.part == "backbone"]) >= 8
    for item in shown:
        maps = values[item.tensor].reshape(item.channels, item.height, item.width).astype(np.float64)
        assert item.statistics is not None
        np.testing.assert_allclose(item.statistics.mean, maps.mean(axis=(1, 2)), rtol=1e-3, atol=1e-4 * maps.max())
        np.testing.assert_allclose(item.statistics.max, maps.max(axis=(1, 2)), rtol=1e-3, atol=1e-4 * maps.max())


# Inputs of every kind


def test_without_input_there_are_weights_and_the_reason(tmp_path: Path) -> None:
    page = page_of(tiny(), tmp_path, [])
    assert page.inputs == ()
    assert page.run is None
    assert page.guess is None
    assert len(page.weights) == len(tiny().graph.initializer)
    assert "No picture was given" in notices(page)
    assert "<h1>" in render(page)


def test_a_model_without_picture_inputs(tmp_path: Path) -> None:
    proto = from_text("g (float[1,7] sound) => (float[1,7] y) <float[7] w = {1,2,3,4,5,6,7}> { y = Mul(sound, w) }")
    page = page_of(proto, tmp_path, [])
    assert "This model takes no picture" in notices(page)
    assert "sound float32 1 × 7" in notices(page)
    assert [card.name for card in page.weights] == ["w"]
    with pytest.raises(InputError, match="no input of this model takes pictures"):
        page_of(proto, tmp_path, [photo(tmp_path)])
    np.save(tmp_path / "x.npy", np.ones((1, 7), np.float32))
    with_array = page_of(proto, tmp_path, [tmp_path / "x.npy"])
    assert [output.shape for output in with_array.inputs[0].outputs] == [(1, 7)]
    assert with_array.inputs[0].stages == ()
    render(with_array)


def test_several_inputs_are_shown_in_order(tmp_path: Path) -> None:
    paths = [photo(tmp_path, f"{seed}.png", 32, 32, seed) for seed in range(3)]
    page = page_of(tiny(), tmp_path, paths)
    assert [card.name for card in page.inputs] == [path.name for path in paths]
    for path, card in zip(paths, page.inputs, strict=True):
        logits = oracle(tmp_path / "model.onnx", [], {"image": fed(path)})["logits"][0]
        assert card.outputs[0].scores[0].index == logits.argmax()
    render(page)


def test_more_than_six_inputs(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for seed in range(MAX_INPUTS + 2):
        photo(folder, f"{seed}.png", 32, 32, seed)
    page = page_of(tiny(), tmp_path, [folder])
    assert [Path(card.name).name for card in page.inputs] == [f"{seed}.png" for seed in range(MAX_INPUTS)]
    assert "Only the first 6 inputs are shown." in notices(page)
    six = page_of(tiny(), tmp_path, [folder / f"{seed}.png" for seed in range(MAX_INPUTS)])
    assert "Only the first" not in notices(six)


def test_unreadable_files_of_a_folder_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    photo(folder, "good.png", 32, 32)
    (folder / "bad.png").write_bytes(b"nothing")
    (folder / "notes.txt").write_text("x")
    page = page_of(tiny(), tmp_path, [folder])
    assert len(page.inputs) == 1
    assert "2 files could not be read and were passed over" in notices(page)
    assert "bad.png" in notices(page)
    assert "notes.txt" in notices(page)


def test_arrays_are_fed_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    page = page_of(tiny(), tmp_path, [tmp_path / "x.npy"], GUESSING)
    logits = oracle(tmp_path / "model.onnx", [], {"image": values})["logits"][0]
    (card,) = page.inputs
    assert card.picture is None
    assert card.outputs[0].scores[0].index == logits.argmax()
    assert page.guess is None
    render(page)


def test_arrays_of_another_shape_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.zeros((1, 3, 16, 16), np.float32))
    with pytest.raises(InputError, match=r"\(1, 3, 32, 32\).*\(1, 3, 16, 16\)"):
        page_of(tiny(), tmp_path, [tmp_path / "x.npz"])


def test_half_precision(tmp_path: Path) -> None:
    page = page_of(tiny(dtype="float16"), tmp_path, [photo(tmp_path, height=32, width=32)])
    assert page.inputs[0].outputs[0].dtype == "float16"
    assert all(card.statistics is not None for card in cards(page.inputs[0]))
    render(page)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_four_channels(channels: int, tmp_path: Path) -> None:
    (card,) = page_of(tiny(channels=channels), tmp_path, [photo(tmp_path)]).inputs
    assert card.picture is not None
    assert len(card.stages) >= 2


def test_bytes_as_input(tmp_path: Path) -> None:
    body = """g (uint8[1,8,8,3] x) => (float[1,2,8,8] y) {
        f = Cast<to = 1>(x)
        t = Transpose<perm = [0, 3, 1, 2]>(f)
        w = Constant<value = float[2,3,1,1] {1, 0, 0, 0, 0, 1}>()
        y = Conv<kernel_shape = [1, 1]>(t, w)
    }"""
    path = photo(tmp_path, height=8, width=8)
    page = page_of(from_text(body), tmp_path, [path], GUESSING)
    pixels = np.asarray(Image.open(path).convert("RGB"))
    card = cards(page.inputs[0])[0]
    assert card.statistics is not None
    np.testing.assert_allclose(card.statistics.max, [pixels[..., 0].max(), pixels[..., 2].max()])


def test_dynamic_sizes_are_those_of_the_first_input(tmp_path: Path) -> None:
    options = replace(OPTIONS, preprocess=PreprocessFlags.parse(preset="unit", size="native"))
    inputs = [photo(tmp_path, "a.png", 48, 64), photo(tmp_path, "b.png", 40, 32)]
    page = page_of(tiny(batch="N", side="S"), tmp_path, inputs, options)
    sizes = [[(card.height, card.width) for card in item.stages[:2]] for item in page.inputs]
    assert sizes == [[(24, 32), (12, 16)], [(20, 16), (10, 8)]]
    assert page.model.inputs[0].note == "seen here at 1 × 3 × 48 × 64"
    assert page.model.macs is not None


def test_a_fixed_batch_is_filled(tmp_path: Path) -> None:
    page = page_of(tiny(batch=3), tmp_path, [photo(tmp_path)])
    assert page.inputs[0].outputs[0].shape == (3, 10)
    assert "fed 3 times" in " ".join(page.inputs[0].notes)


# Odd graphs


def test_outputs_like_a_detectors(tmp_path: Path) -> None:
    proto = tiny()
    proto.graph.node.append(helper.make_node("Constant", [], ["shape"], value_ints=[1, 8, -1]))
    proto.graph.node.append(helper.make_node("Reshape", ["stage2.y/relu", "shape"], ["boxes"]))
    proto.graph.output.append(helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 8, 128]))
    page = page_of(proto, tmp_path, [photo(tmp_path)])
    found = {output.name: output for output in page.inputs[0].outputs}
    assert found["boxes"].scores == ()
    assert found["boxes"].shape == (1, 8, 128)
    assert found["logits"].scores


def test_outputs_that_are_sequences(tmp_path: Path) -> None:
    proto = tiny()
    proto.graph.node.append(helper.make_node("SequenceConstruct", ["logits", "logits"], ["list"]))
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 10]))
    proto.graph.output.append(helper.make_value_info("list", kind))
    page = page_of(proto, tmp_path, [photo(tmp_path)])
    found = {output.name: output for output in page.inputs[0].outputs}
    assert found["list"].note == "not a tensor; it is not shown"
    assert len(page.inputs[0].stages) >= 2
    render(page)


def test_tensors_of_no_size(tmp_path: Path) -> None:
    proto = tiny()
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((0, 8), np.float32), "none"))
    for name, value in (("starts", 0), ("ends", 0), ("axes", 1)):
        proto.graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    proto.graph.node.append(helper.make_node("Slice", ["stage2.y/relu", "starts", "ends", "axes"], ["nothing"]))
    proto.graph.output.append(helper.make_tensor_value_info("nothing", TensorProto.FLOAT, [1, 0, 8, 8]))
    page = page_of(proto, tmp_path, [photo(tmp_path)])
    assert "nothing" not in [card.tensor for card in cards(page.inputs[0])]
    assert "none" not in [card.name for card in page.weights]
    assert {output.name: output.shape for output in page.inputs[0].outputs}["nothing"] == (1, 0, 8, 8)
    render(page)


def test_an_output_of_no_rows(tmp_path: Path) -> None:
    body = """g (float[1,3,8,8] x) => (float[N,4] boxes, float[1,2,8,8] y) {
        w = Constant<value = float[2,3,1,1] {1, 0, 0, 0, 0, 1}>()
        y = Conv<kernel_shape = [1, 1]>(x, w)
        big = Constant<value = float {1e9}>()
        over = Greater(y, big)
        indices = NonZero(over)
        t = Transpose(indices)
        boxes = Cast<to = 1>(t)
    }"""
    page = page_of(from_text(body), tmp_path, [photo(tmp_path)])
    assert {output.name: output.shape for output in page.inputs[0].outputs}["boxes"] == (0, 4)
    render(page)


def test_weights_in_branches_are_there(tmp_path: Path) -> None:
    body = """g (float[1,3,8,8] x, bool flag) => (float[1,3,8,8] y) {
        y = If(flag) <
            then_branch = yes () => (float[1,3,8,8] t) <float[3,1,1] inner = {5, 6, 7}> { t = Add(x, inner) },
            else_branch = no () => (float[1,3,8,8] e) { e = Identity(x) }>
    }"""
    page = page_of(from_text(body), tmp_path, [photo(tmp_path)])
    assert [(card.name, card.statistics.max) for card in page.weights] == [("inner", 7)]
    render(page)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("colormap", ["viridis", "coolwarm"])
def test_weights_and_maps_that_are_not_finite(value: float, colormap: str, tmp_path: Path) -> None:
    proto = tiny()
    bias = next(item for item in proto.graph.initializer if item.name == "stage1.first.bias")
    values = numpy_helper.to_array(bias).copy()
    values[2] = value
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    page = page_of(proto, tmp_path, [photo(tmp_path)], replace(OPTIONS, look=Look(colormap)))
    card = next(card for card in page.weights if card.name == "stage1.first.bias")
    assert card.statistics.nan + card.statistics.inf == 1
    assert page.inputs[0].outputs[0].scores == () or value == -np.inf
    first = next(card for card in cards(page.inputs[0]) if card.tensor == "stage1.first/relu")
    assert first.statistics is not None
    if value > 0 or np.isnan(value):
        assert first.statistics.nan[2] + first.statistics.inf[2] > 0
        assert first.notes
    render(page)


# Size and safety


@pytest.mark.parametrize("megabytes", [0.4, 1, 3, 10])
def test_the_budget_is_kept(megabytes: float, tmp_path: Path) -> None:
    inputs = [photo(tmp_path, f"{seed}.png", 500, 400, seed) for seed in range(3)]
    options = replace(
        OPTIONS, preprocess=PreprocessFlags.parse(preset="unit", size="native"), budget=int(megabytes * 1e6)
    )
    page = page_of(tiny(batch="N", side="S"), tmp_path, inputs, options)
    html = render(page).encode()
    assert len(html) <= megabytes * 1e6
    assert bool(page.left_out) == (megabytes <= 3)
    if megabytes == 1:
        assert any(stage.mosaic for card in page.inputs for stage in card.stages)


ATTACKS = (
    '<script>alert("x")</script>', "<img src=x onerror=alert(1)>", '"><svg/onload=alert(2)>', "</script></style>",
    "{{ 7*7 }}{% raw %}", "javascript:alert(1)", "' onmouseover='alert(3)", "a\nb\r\n\tc", "\u202egnp.live",
    "&lt;b&gt;", "</title>", "x" * 60_000, "<b>" * 20_000, "/" * 300, "猫🐈", " ", "\x01\x7f", "..", "]]>",
    "<!--", "--><p hidden>",
)  # fmt: skip


def hostile() -> ModelProto:
    """The tiny network, all of whose names, documents and labels attack the page."""
    safe = tiny()
    names = sorted({name for node in safe.graph.node for name in (*node.input, *node.output)} | {"logits"})
    proto = rename(safe, {name: f"{ATTACKS[i % len(ATTACKS)]}{i}" for i, name in enumerate(names)})
    for number, node in enumerate(proto.graph.node):
        node.name = f"{ATTACKS[number % len(ATTACKS)]}/{number}"
    proto.producer_name = proto.producer_version = proto.domain = proto.doc_string = ATTACKS[0]
    proto.graph.name = proto.graph.doc_string = ATTACKS[2]
    for number, attack in enumerate(ATTACKS):
        proto.metadata_props.add(key=f"{attack}{number}", value=attack)
    labels = ",".join(f'"{index}": {attack!r}' for index, attack in enumerate(("<script>1</script>",) * 10))
    proto.metadata_props.add(key="names", value="{" + labels.replace('"', "") + "}")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "<i>batch"
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param = ATTACKS[11]
    return proto


@pytest.fixture(scope="module")
def hostile_pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, Page]:
    """The page of the attacking model, and of the same one with tame names."""
    folder = tmp_path_factory.mktemp("hostile")
    picture = photo(folder, "<img src=x onerror=alert(4)>.png".replace("/", "-"), 32, 32)
    first = build_page(load(write(hostile(), folder, "<script>alert(5).onnx")), [picture], OPTIONS)
    tame = tiny()
    for number in range(len(ATTACKS)):
        tame.metadata_props.add(key=f"key{number}", value="value")
    second = build_page(load(write(tame, folder, "tame.onnx")), [picture], OPTIONS)
    return first, second


def test_hostile_names_make_no_markup(hostile_pages: tuple[Page, Page]) -> None:
    attacked, tame = (Markup(render(page)) for page in hostile_pages)
    assert {tag for tag, _ in attacked.elements} <= {tag for tag, _ in tame.elements} | {
        "aside",
        "strong",
        "p",
        "small",
    }
    known = {name for _, attributes in tame.elements for name in attributes} | {"class", "title"}
    for tag, attributes in attacked.elements:
        assert set(attributes) <= known, tag
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    count = [tag for tag, _ in attacked.elements].count("script")
    assert count == [tag for tag, _ in tame.elements].count("script")


def test_hostile_names_are_short_lines_everywhere(hostile_pages: tuple[Page, Page]) -> None:
    html = render(hostile_pages[0])
    assert "x" * 5000 not in html
    assert "<b><b>" not in html
    assert "{{ 7*7 }}{% raw %}" in html
    assert "\u202e" not in html
    assert "\x01" not in html
    assert len(html) <= OPTIONS.budget


def test_the_policy_allows_only_its_own_style_and_script(hostile_pages: tuple[Page, Page]) -> None:
    html = render(hostile_pages[0])
    metas = [
        a for tag, a in Markup(html).elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(metas) == 1
    policy = str(metas[0]["content"])
    assert policy.startswith("default-src 'none'; img-src data: blob:;")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_numbers_do_not_depend_on_names(hostile_pages: tuple[Page, Page]) -> None:
    attacked, tame = (cards(page.inputs[0]) for page in hostile_pages)
    by_shape = [
        {(c.channels, c.height, round(float(c.statistics.max.max()), 4)) for c in found if c.statistics is not None}
        for found in (attacked, tame)
    ]
    assert by_shape[0] & by_shape[1]


def test_the_model_is_never_changed(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    build_page(load(path), [photo(tmp_path)], OPTIONS)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["model.onnx", "photo.png"]


def test_a_picture_that_patches_are_looked_for_in_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    given = photo(tmp_path / "pictures")
    before = given.read_bytes()
    model, seen = load(write(tiny(), tmp_path)), photo(tmp_path)
    with pytest.raises(OutputError, match="one of the inputs"):
        write_report(model, [seen], given, replace(OPTIONS, patches=tmp_path / "pictures"))
    assert given.read_bytes() == before


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[Any] = []
    build_page(load(write(tiny(), tmp_path)), [photo(tmp_path)], OPTIONS, lambda *args: told.append(args))
    steps = list(dict.fromkeys(what for what, _, _ in told))
    wanted = ["running the model as deployed", "looking inside", "projecting channels", "gradients for gradcam"]
    assert steps[:5] == [*wanted, "weights"]
    assert all(done <= of for _, done, of in told)


def test_contradicting_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--size 64x64 does not fit"):
        page_of(tiny(), tmp_path, [photo(tmp_path)], replace(OPTIONS, preprocess=PreprocessFlags.parse(size="64")))
    with pytest.raises(InputError, match=r"cannot read .*none\.png"):
        page_of(tiny(), tmp_path, [tmp_path / "none.png"])


def test_the_built_in_classifier_is_right(data: Path, classifier: Path) -> None:
    """And needs no flags: labels and preparation stand in its metadata."""
    scenes = json.loads((data / "scenes.json").read_text())[:MAX_INPUTS]
    options = replace(GUESSING, run=RunOptions("cpu", 1))
    page = build_page(load(classifier), [data / scene["file"] for scene in scenes], options)
    assert page.guess is None
    for scene, card in zip(scenes, page.inputs, strict=True):
        best = card.outputs[0].scores[0]
        assert (best.index, best.label) == (scene["label"], scene["name"])
        difference = card.outputs[0].relative_difference
        assert difference is not None
        assert difference < 1e-4
    assert len([stage for stage in page.inputs[0].stages if stage.part == "backbone"]) == 4
    assert len(render(page).encode()) <= OPTIONS.budget


def test_external_weights(tmp_path: Path) -> None:
    proto = tiny()
    onnx.external_data_helper.convert_model_to_external_data(proto, location="w.bin", size_threshold=0)
    onnx.save_model(proto, tmp_path / "model.onnx")
    page = build_page(load(tmp_path / "model.onnx"), [photo(tmp_path)], OPTIONS)
    whole = page_of(tiny(), tmp_path, [photo(tmp_path)])
    assert page.inputs[0].outputs[0].scores == whole.inputs[0].outputs[0].scores
    assert page.model.external_bytes > 0
