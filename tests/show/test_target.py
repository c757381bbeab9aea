from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from onnxvis.errors import OutputError
from onnxvis.graph.load import load
from onnxvis.show.target import refuse_overwriting
from tests.tiny import photo, tiny, write


def test_files_that_were_given_are_not_written_over(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    picture = photo(tmp_path)
    refuse_overwriting(tmp_path / "new.html", model, [picture, tmp_path / "none.png"])
    (tmp_path / "old.html").write_text("x")
    refuse_overwriting(tmp_path / "old.html", model, [picture])
    for target, words in ((model.path, "the model or its weights"), (picture, "one of the inputs")):
        with pytest.raises(OutputError, match=words):
            refuse_overwriting(target, model, [picture])


def test_other_names_of_the_same_file(tmp_path: Path) -> None:
    proto = tiny()
    onnx.external_data_helper.convert_model_to_external_data(proto, location="w.bin", size_threshold=0)
    onnx.save_model(proto, tmp_path / "m.onnx")
    (tmp_path / "soft").symlink_to("w.bin")
    (tmp_path / "hard").hardlink_to(tmp_path / "m.onnx")
    for name in ("w.bin", "soft", "hard", "./m.onnx"):
        with pytest.raises(OutputError, match="never changed"):
            refuse_overwriting(tmp_path / name, load(tmp_path / "m.onnx"))
