from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from PIL import Image

from onnxvis.cli.main import main
from onnxvis.show.colormap import palette
from tests.cli.conftest import Fails
from tests.show.test_tensorboard import events
from tests.tiny import Array, from_text, oracle, photo, rename, tiny, write

UNIT = ("--preprocess", "unit", "--fit", "stretch", "--provider", "cpu", "--threads", "1")


def fed(path: Path) -> Array:
    """A picture that has the model's size already, as `unit` feeds it."""
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32)
    return (pixels / 255).transpose(2, 0, 1)[None]


def run(*arguments: str | Path) -> int:
    return main(["features", *map(str, arguments)])


def folders(path: Path) -> list[str]:
    return sorted(item.name for item in path.iterdir() if item.is_dir())


def test_every_stage_by_default(model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(model, picture, "-o", out, *UNIT) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}\n"
    assert said.err.splitlines() == ["onnxvis: running tiny.onnx", "onnxvis: writing maps"]
    assert folders(out) == ["000-stage1", "001-stage2"]
    names = sorted(path.name for path in (out / "000-stage1").iterdir())
    assert names == [f"channel-{channel:04d}.png" for channel in range(8)] + ["merged.png", "mosaic.png"]
    maps = oracle(model, ["stage1.y/relu"], {"image": fed(picture)})["stage1.y/relu"][0]
    for channel, values in enumerate(maps):
        wanted = np.rint((values - values.min()) / (np.ptp(values) or 1) * 255).astype(np.uint8)
        found = np.asarray(Image.open(out / f"000-stage1/channel-{channel:04d}.png").convert("RGB"))
        difference = np.abs(found.astype(int) - palette("viridis")[wanted]).max()
        assert difference <= 6, "at most one index beside, where the runtimes round apart"


@pytest.mark.parametrize(
    ("words", "wanted", "labels"),
    [
        (["stage1.x/relu"], ["stage1.x/relu"], ["stage1.block2"]),
        (["stage1.x.a/conv"], ["stage1.x.a/conv"], ["stage1.x.a_conv"]),
        (["stage2.block2"], ["stage2.x/relu"], ["stage2.block2"]),
        (["stage2.block3"], ["stage2.y/relu"], ["stage2.block3"]),
        (["*first/*"], [f"stage{i}.first/{t}" for i in (1, 2) for t in ("conv", "relu")], None),
        (["stage1.first"], ["stage1.first/relu"], ["stage1.first"]),
        (["stage1.y.a"], ["stage1.y.a/relu"], ["stage1.y.a"]),
        (["pooled", "stage1", "vector"], ["stage1.y/relu", "pooled", "vector"], None),
        (["logits"], ["logits"], None),
        (["image"], ["image"], ["image"]),
        (["/stage1.y.b/"], ["stage1.y.b/conv"], None),
    ],
)
def test_tensors_by_name_pattern_block_and_scope(
    words: list[str], wanted: list[str], labels: list[str] | None, model: Path, picture: Path, tmp_path: Path
) -> None:
    asked = [part for word in words for part in ("--tensor", word)]
    npz, out = tmp_path / "maps.npz", tmp_path / "out"
    assert run(model, picture, "--npz", npz, "-o", out, *asked, *UNIT) == 0
    values = oracle(model, [name for name in wanted if name != "image"], {"image": fed(picture)})
    values["image"] = fed(picture)
    with np.load(npz) as found:
        assert found.files == wanted
        for name in wanted:
            np.testing.assert_allclose(found[name], values[name], rtol=1e-5, atol=1e-5)
    index = json.loads((out / "index.json").read_text())
    assert [entry["tensor"] for entry in index["tensors"]] == wanted
    if labels:
        assert folders(out) == [f"{number:03d}-{label}" for number, label in enumerate(labels)]


def test_mosaics_alone(model: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(model, picture, "-o", out, "--mosaics", *UNIT) == 0
    for folder in ("000-stage1", "001-stage2"):
        assert sorted(path.name for path in (out / folder).iterdir()) == ["merged.png", "mosaic.png"]


def test_weights_beside_the_maps(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(model, picture, "-o", out, "--mosaics", "--weights", "--quiet", *UNIT) == 0
    assert capsys.readouterr().out == f"{out}\n{out / 'weights.json'}\n"
    found = json.loads((out / "weights.json").read_text())
    assert main(["weights", str(model), "--json", "--quiet"]) == 0
    assert found == json.loads(capsys.readouterr().out)


def test_tensorboard_has_a_step_an_input(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, board, out = tmp_path / "photos", tmp_path / "board", tmp_path / "out"
    photos.mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        photo(photos, name, 32, 32, seed)
    asked = ("--tensor", "stage1", "--tensor", "logits", "--tensor", "stage2.x/relu")
    assert run(model, photos, "--tensorboard", board, "-o", out, *asked, *UNIT) == 0
    (file,) = board.iterdir()
    assert capsys.readouterr().out.splitlines()[-1] == str(file)
    written = {(step, value.tag): value for step, value in events(file)}
    names, groups = ("stage1_stage1.y/relu", "stage2.block2_stage2.x/relu"), ("activations", "mosaic", "merged")
    wanted = {(step, f"{group}/{name}") for step in (0, 1) for name in names for group in groups}
    assert {key for key in written if "logits" not in key[1]} == wanted
    assert sum("logits" in key[1] for key in written) == 6
    for step, name in enumerate(("a.png", "b.png")):
        values = oracle(model, ["stage1.y/relu"], {"image": fed(photos / name)})["stage1.y/relu"]
        histogram = written[step, "activations/stage1_stage1.y/relu"].histo
        assert histogram.num == values.size
        assert histogram.max == pytest.approx(values.max(), rel=1e-5)
        assert histogram.sum == pytest.approx(values.astype(float).sum(), rel=1e-4)
        assert sum(histogram.bucket) == values.size
        for kind in ("mosaic", "merged"):
            png = written[step, f"{kind}/stage1_stage1.y/relu"].image.encoded_image_string
            assert png == (out / f"{step:03d}-{name}" / "000-stage1" / f"{kind}.png").read_bytes()


def test_how_maps_are_drawn(model: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    look = ("--stretch", "none", "--colormap", "gray", "--upscale", "64", "--merge", "max")
    assert run(model, picture, "-o", out, "--tensor", "stage2", *look, *UNIT) == 0
    maps = oracle(model, ["stage2.y/relu"], {"image": fed(picture)})["stage2.y/relu"][0]
    small = np.asarray(Image.open(out / "000-stage2/channel-0003.png").convert("L"))
    np.testing.assert_allclose(small, np.rint(np.clip(maps[3] * 255, 0, 255)), atol=1)
    large = np.asarray(Image.open(out / "000-stage2/channel-0003-64px.png").convert("L"))
    np.testing.assert_array_equal(large, small.repeat(8, 0).repeat(8, 1))
    merged = maps.max(0)
    wanted = np.rint((merged - merged.min()) / np.ptp(merged) * 255)
    found = np.asarray(Image.open(out / "000-stage2/merged.png").convert("L"))
    np.testing.assert_allclose(found, wanted, atol=1)


def test_one_titled_page(model: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(model, picture, "-o", out, "--tensor", "stage2", "--first", "12", "--columns", "4", *UNIT) == 0
    assert sorted(path.name for path in (out / "000-stage2").iterdir()) == ["merged.png", "mosaic.png", "page.png"]
    with Image.open(out / "000-stage2/page.png") as page:
        assert page.size == (4 * 140 + 12, 40 + 3 * 160)


def test_exact_values_are_those_of_an_unoptimised_session(model: Path, picture: Path, tmp_path: Path) -> None:
    assert run(model, picture, "--npz", tmp_path / "m.npz", "--tensor", "*", "--exact", *UNIT) == 0
    with np.load(tmp_path / "m.npz") as found:
        wanted = oracle(model, found.files, {"image": fed(picture)}, exact=True)
        assert len(found.files) == 27
        for name in found.files:
            np.testing.assert_array_equal(found[name], wanted[name])


def test_only_the_needed_part_runs(picture: Path, tmp_path: Path) -> None:
    """The head reshapes to sizes that do not fit, so it would fail if it ran."""
    proto = tiny()
    proto.graph.node.append(helper.make_node("Constant", [], ["shape"], value_ints=[7, 7]))
    proto.graph.node.append(helper.make_node("Reshape", ["logits", "shape"], ["broken"]))
    proto.graph.output.append(helper.make_tensor_value_info("broken", 1, ["a", "b"]))
    path = write(proto, tmp_path)
    assert run(path, picture, "--npz", tmp_path / "m.npz", *UNIT) == 0
    assert main(["report", str(path), str(picture), "-o", str(tmp_path / "r.html")]) == 2


def test_folders_of_pictures(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    photo(photos, "b.jpg", 60, 40)
    photo(photos, "a b.png", 20, 90)
    (photos / "c.png").write_bytes(b"\x89PNG broken")
    out = tmp_path / "out"
    assert run(model, photos, "-o", out, "--quiet", *UNIT) == 0
    said = capsys.readouterr()
    assert said.out == f"{out / '000-a_b.png'}\n{out / '001-b.jpg'}\n"
    assert said.err.startswith("onnxvis: passed over: ")
    assert "c.png" in said.err
    assert said.err.count("\n") == 1
    for name in ("000-a_b.png", "001-b.jpg"):
        assert folders(out / name) == ["000-stage1", "001-stage2"]
        assert (out / name / "index.json").exists()


def test_arrays_as_input(model: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "x.npz", image=values)
    wanted = oracle(model, ["pooled"], {"image": values})["pooled"]
    for name in ("x.npy", "x.npz"):
        assert run(model, tmp_path / name, "--npz", tmp_path / "m.npz", "--tensor", "pooled") == 0
        with np.load(tmp_path / "m.npz") as found:
            np.testing.assert_allclose(found["pooled"], wanted, rtol=1e-5, atol=1e-6)


def test_channels_last(picture: Path, tmp_path: Path) -> None:
    body = """g (float[1,32,32,3] x) => (float[1,32,32,2] y) {
        t = Transpose<perm = [0, 3, 1, 2]>(x)
        w = Constant<value = float[2,3,1,1] {1, 0, 0, 0, 0, 1}>()
        c = Conv<kernel_shape = [1, 1]>(t, w)
        y = Transpose<perm = [0, 2, 3, 1]>(c)
    }"""
    path = write(from_text(body), tmp_path)
    out = tmp_path / "out"
    options = ("--tensor", "y", "--stretch", "none", "--colormap", "gray")
    assert run(path, picture, "-o", out, *options, *UNIT) == 0
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    (inside,) = out.glob("000-*")
    for channel, colour in enumerate((0, 2)):
        found = np.asarray(Image.open(inside / f"channel-{channel:04d}.png").convert("L"))
        np.testing.assert_allclose(found.astype(int), pixels[:, :, colour], atol=1)


def test_what_is_no_map_is_said_and_the_rest_written(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = tiny()
    proto.graph.node.append(helper.make_node("Constant", [], ["to"], value_ints=[16, 64]))
    proto.graph.node.append(helper.make_node("Constant", [], ["axis"], value_ints=[0]))
    proto.graph.node.append(helper.make_node("Reshape", ["stage2.y/relu", "to"], ["flat"]))
    proto.graph.node.append(helper.make_node("Unsqueeze", ["flat", "axis"], ["tokens"]))
    path, out = write(proto, tmp_path), tmp_path / "out"
    asked = ("--tensor", "tokens", "--tensor", "stage1")
    assert run(path, picture, "-o", out, *asked, "--quiet", *UNIT) == 0
    said = capsys.readouterr()
    assert said.err == (
        "onnxvis: passed over: 'tokens' is float32 of shape [1, 16, 64], no feature map; --npz writes it\n"
    )
    assert folders(out) == ["000-stage1"]
    assert run(path, picture, "--npz", tmp_path / "m.npz", "--tensor", "tokens", *UNIT) == 0


def test_guesses_and_fillings_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = """g (float[1,3,8,8] x, float[2] extra) => (float[1,3,8,8] y) {
        z = Relu(x)
        s = ReduceSum(extra)
        y = Mul(z, s)
    }"""
    path = write(from_text(body), tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    photo(photos, "a.png")
    photo(photos, "b.png")
    assert run(path, photos, "-o", tmp_path / "out", "--tensor", "y") == 0
    err = capsys.readouterr().err
    assert err.count("was GUESSED; settle it with: --preprocess imagenet --size 8x8") == 1
    assert err.count("input 'extra' (float32, 2) was filled with 0") == 1
    assert run(path, photos, "-o", tmp_path / "out", "--tensor", "y", "--quiet") == 0
    assert capsys.readouterr().err == ""
    assert run(path, photos, "-o", tmp_path / "o", "--tensor", "y", "--feed", "extra=[1,2]", *UNIT) == 0
    err = capsys.readouterr().err
    assert "GUESSED" not in err
    assert "filled" not in err


def test_hostile_tensor_names(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attacks = {
        "stage1.x/relu": "../../etc/passwd", "stage1.y/relu": "/x", "stage2.x/relu": "a\x1b[31m\nb", "pooled": "file",
        "vector": "..", "stage1.x.a/conv": "x" * 60_000, "stage1.x.a/relu": "con",
    }  # fmt: skip
    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    path = write(rename(tiny(), attacks), inside)
    assert run(path, picture, "-o", inside / "out", "--npz", inside / "m.npz", "--tensor", "*", *UNIT) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.err
    assert sorted(item.name for item in (tmp_path / "deep").iterdir()) == ["er"]
    assert sorted(item.name for item in inside.iterdir()) == ["m.npz", "model.onnx", "out"]
    wanted = oracle(path, list(attacks.values()), {"image": fed(picture)})
    index = {entry["tensor"]: entry for entry in json.loads((inside / "out/index.json").read_text())["tensors"]}
    with np.load(inside / "m.npz") as found:
        for name in attacks.values():
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5)
            assert (inside / "out" / index[name]["folder"] / "mosaic.png").exists()


def test_an_interrupt_ends_with_130_and_keeps_the_old_file(
    model: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    npz = tmp_path / "m.npz"
    npz.write_bytes(b"old")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", interrupt)
    before = sorted(item.name for item in tmp_path.iterdir())
    assert run(model, picture, "--npz", npz, *UNIT) == 130
    assert capsys.readouterr().out == ""
    assert npz.read_bytes() == b"old"
    assert sorted(item.name for item in tmp_path.iterdir()) == before


def test_what_is_refused(model: Path, picture: Path, tmp_path: Path, fails: Fails) -> None:
    out = ("-o", tmp_path / "out")
    bad = tmp_path / "bad.png"
    bad.write_bytes(picture.read_bytes()[:200])
    empty = tmp_path / "empty"
    empty.mkdir()
    np.savez(tmp_path / "wrong.npz", image=np.zeros((1, 3, 16, 16), np.float32))
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        ((picture,), "say where to: -o DIR for pictures, --npz FILE for arrays"),
        ((tmp_path / "none.png", *out), "cannot read"),
        ((bad, *out), "bad.png"),
        ((empty, *out), "nothing in"),
        ((empty, "--npz", tmp_path / "m.npz"), "--npz holds the arrays of one input"),
        ((tmp_path / "wrong.npz", *out), "(1, 3, 16, 16)"),
        ((picture, *out, "--tensor", "stage9"), "has no tensor 'stage9'; nearest: "),
        ((picture, *out, "--size", "99"), "--size 99x99 does not fit"),
        ((picture, *out, "--size", "x"), "--size is 'x'"),
        ((picture, *out, "--mean", "a,b"), "is not one number or several"),
        ((picture, *out, "--preprocess", "unknown"), "unknown"),
        ((picture, *out, "--max-pixels", "5"), "pixels"),
        ((picture, *out, "--provider", "tpu"), "provider 'tpu' is not in this ONNX Runtime"),
        ((picture, *out, "--threads", "-2"), "--threads -2"),
        ((picture, *out, "--first", "-1"), "--first -1 is below 0"),
        ((picture, *out, "--feed", "x=1"), "names no input"),
        ((picture, *out, "--mosaics", "--upscale", "64"), "--mosaics writes no single channels"),
        ((picture, *out, "--mosaics", "--first", "4"), "--mosaics writes no single channels"),
        ((picture, "--npz", tmp_path / "m.npz", "--weights"), "--weights writes beside the pictures; add -o DIR"),
        ((picture, "--tensorboard", picture / "x"), "is not a folder"),
        ((picture, "-o", picture / "x"), "cannot write"),
        ((picture, "--npz", picture / "m.npz"), "cannot write"),
        ((picture, "--npz", model), "is the model or its weights, which are never changed"),
        ((picture, "--npz", picture), "is one of the inputs"),
    ]
    for arguments, words in cases:
        assert words in fails("features", model, *arguments)
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "m.npz").exists()


def test_cuda_that_is_not_there(
    model: Path, picture: Path, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxvis.run.session.cuda_devices", lambda: False)
    said = fails("features", model, picture, "-o", tmp_path / "out", "--provider", "cuda")
    assert "pip install 'onnxvis[cuda]'" in said


def test_a_model_without_stages(tmp_path: Path, fails: Fails) -> None:
    path = write(from_text("g (float[1,7] x) => (float[1,7] y) { y = Relu(x) }"), tmp_path)
    np.save(tmp_path / "x.npy", np.ones((1, 7), np.float32))
    said = fails("features", path, tmp_path / "x.npy", "-o", tmp_path / "out")
    assert "has no stages; name tensors with --tensor. List them: onnxvis layers model.onnx" in said
    assert run(path, tmp_path / "x.npy", "-o", tmp_path / "out", "--tensor", "y") == 0
