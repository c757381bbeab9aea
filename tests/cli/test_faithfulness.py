from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from onnxvis.cli.main import main
from onnxvis.graph.load import load
from onnxvis.measure.faithfulness.curves import faithfulness_of
from onnxvis.measure.heatmaps.explain import METHOD_NAMES, explain
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.reading import Reading
from tests.cli.conftest import Fails
from tests.tiny import photo

RAW = ("--preprocess", "raw", "--fit", "stretch", "--quiet", "--faithfulness")


def test_methods_are_ranked_with_the_controls_beside_them(
    model: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["heatmap", str(model), str(picture), "--method", "gradcam,saliency", *RAW]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split() == ["method", "insertion", "deletion", "difference", "seconds"]
    assert {line.split()[0] for line in lines[1:]} == {"gradcam", "saliency", "(random)", "(edges)"}
    differences = [float(line.split()[3]) for line in lines[1:]]
    assert differences == sorted(differences, reverse=True)
    assert said.err == ""


def test_the_numbers_are_those_of_the_library(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "out" / "ranking.csv"
    words = ["--target", "4", "--blur", "3", "--layer", "stage1", "--seed", "2", "--json", "--csv", str(table)]
    assert main(["heatmap", str(model), str(picture), *words, *RAW]) == 0
    data = json.loads(capsys.readouterr().out)
    opened = load(model)
    item = next(Reading.of(opened, PreprocessFlags.parse(preset="raw", fit="stretch")).read([picture]))
    (found,) = explain(opened, item.feeds, target="4", layers=["stage1"])
    wanted = faithfulness_of(opened, item, found, found.target, sigma=3, random_seed=2)
    row = next(row for row in data["ranking"] if row["method"] == "gradcam")
    assert row["insertion"] == pytest.approx(wanted.insertion.area, abs=1e-5)
    assert row["deletion"] == pytest.approx(wanted.deletion.area, abs=1e-5)
    (one,) = data["inputs"]
    assert (one["input"], one["target"]) == (str(picture), "logits:4")
    assert [method["method"] for method in one["methods"]] == ["gradcam", "random", "edges"]
    with table.open() as stream:
        assert [line["method"] for line in csv.DictReader(stream)] == [row["method"] for row in data["ranking"]]


def test_a_folder_with_masks_its_picture_and_shuffled_weights(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, masks = tmp_path / "photos", tmp_path / "masks"
    for each in (folder, masks):
        each.mkdir()
    for place, name in enumerate(("a.png", "b.png", "c.png")):
        photo(folder, name, height=32, width=32, seed=place)
        if name != "c.png":
            Image.fromarray(np.full((32, 32), 255, np.uint8)).save(masks / name)
    out = tmp_path / "page.png"
    words = ["--mask", str(masks), "--randomisation", "-o", str(out)]
    assert main(["heatmap", str(model), str(folder), *words, *(word for word in RAW if word != "--quiet")]) == 0
    said = capsys.readouterr()
    by_name = {line.split()[0]: line.split() for line in said.out.splitlines()}
    assert by_name["method"][4:6] == ["pointing", "similarity"]
    assert by_name["gradcam"][4] == "2/2", "wherever a map points, the mask is there"
    assert by_name["(edges)"][4:6] == ["2/2", "1.00"]
    assert f"no mask or box is known for {folder / 'c.png'}" in said.err
    assert "on the weights: similarity" in said.err
    drawn = cv2.imread(str(out))
    assert drawn is not None
    assert drawn.shape[1] == 1000


def test_a_map_points_where_its_maximum_is(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = load(model)
    item = next(Reading.of(opened, PreprocessFlags.parse(preset="raw", fit="stretch")).read([picture]))
    (found,) = explain(opened, item.feeds)
    row, column = (int(place) for place in np.unravel_index(found.map.argmax(), found.map.shape))
    other = (row + 16) % 32, (column + 16) % 32
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"file": "photos/photo.png", "box": [column, row, column + 1, row + 1]}]))
    elsewhere = f"{other[1]},{other[0]},{other[1] + 1},{other[0] + 1}"
    for words, hits in (
        (["--box", str(boxes)], 1),
        (["--box", elsewhere], 0),
        (["--box", elsewhere, "--tolerance", "16"], 0),
        (["--box", elsewhere, "--tolerance", "23"], 1),
    ):
        assert main(["heatmap", str(model), str(picture), *words, "--json", *RAW]) == 0
        ranking = json.loads(capsys.readouterr().out)["ranking"]
        (found_row,) = (line for line in ranking if line["method"] == "gradcam")
        assert (found_row["hits"], found_row["asked"]) == (hits, 1)


@pytest.mark.slow
def test_all_methods(classifier: Path, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["heatmap", str(classifier), str(scene), "--method", "all", "--faithfulness", "--quiet"]) == 0
    named = {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]}
    assert named - {"(random)", "(edges)"} <= {*METHOD_NAMES}
    assert {"gradcam", "saliency"} <= named


def test_what_is_refused(model: Path, picture: Path, tmp_path: Path, fails: Fails) -> None:
    start = ("heatmap", model, picture, *RAW)
    assert "leave --npz out" in fails(*start, "--npz", tmp_path / "x.npz")
    assert "--tolerance -1 is no number of pixels" in fails(*start, "--tolerance", "-1")
    assert "--blur 0 blurs nothing" in fails(*start, "--blur", "0")
    assert "longer side, 32" in fails(*start, "--blur", "33")
    assert "no heatmap method is called 'nothing'" in fails(*start, "--method", "nothing")
    assert "give one of them" in fails(*start, "--mask", picture, "--box", "0,0,1,1")
    assert "has no pixel in" in fails(*start, "--box", "40,40,50,50")
    assert "never changed" in fails(*start, "-o", model)
    assert "never changed" in fails(*start, "--csv", picture)
    mask = photo(tmp_path, "mask.png", 8, 8)
    assert "8×8 pixels" in fails(*start, "--mask", mask)
    assert "never changed" in fails(*start, "--mask", mask, "-o", mask)
    assert "has no element 99" in fails(*start, "--target", "99")
