from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnxvis.errors import InputError
from onnxvis.run.labels import Labels, read_labels


def read(path: Path, text: str) -> Labels:
    path.write_text(text, encoding="utf-8")
    found = read_labels(path.parent / "model.onnx", {}, path)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "cat\ndog\nbird\n\n"),
        ("l.txt", "\ufeffcat\r\ndog\r\nbird"),
        ("synset.txt", "n02123045 cat\nn02084071 dog\nn01503061 bird\n"),
        ("l.json", '["cat", "dog", "bird"]'),
        ("l.txt", '["cat", "dog", "bird"]'),
        ("l.json", '{"0": "cat", "2": "bird", "1": "dog"}'),
        ("l.json", '{"0": ["n02123045", "cat"], "1": ["n02084071", "dog"], "2": ["n01503061", "bird"]}'),
        ("l.json", '{"architectures": 1, "id2label": {"0": "cat", "1": "dog", "2": "bird"}}'),
        ("l.txt", "{0: 'cat',\n 1: \"dog\", 2: 'bird',\n}"),
    ],
)
def test_files(tmp_path: Path, name: str, text: str) -> None:
    labels = read(tmp_path / name, text)
    assert dict(labels.names) == {0: "cat", 1: "dog", 2: "bird"}
    assert labels.source == name
    assert labels.note(3) is None
    assert labels.note(1000) == f"{name} has 3 labels, the model 1000 classes: names may be shifted or missing"


def test_names_are_one_line_and_numbers_where_there_is_none() -> None:
    labels = Labels({0: "a\nb\x1b[31m", 1: "x" * 500}, "f")
    assert labels.name(0) == r"a\x0ab\x1b[31m"
    assert len(labels.name(1)) == 120
    assert labels.name(7) == "7"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.json", "3"), ("l.json", '{"a": "cat"}'), ("l.json", "[1, 2]"), ("l.json", '{"0": ["a", "b", "c"]}'),
        ("l.json", "[" * 100_000), ("l.json", '{"-1": "cat"}'), ("l.json", '{"9999999999999": "cat"}'),
        ("l.json", '{"id2label": 3}'), ("l.txt", ""), ("l.txt", "\n\n"), ("l.txt", "{0: cat}"),
        ("l.json", '{"²": "a"}'),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read(tmp_path / name, text)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none\.txt"):
        read_labels(tmp_path / "model.onnx", {}, tmp_path / "none.txt")


def test_order(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    assert read_labels(model, {}) is None
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "from config"}}))
    found = [read_labels(model, {})]
    metadata = {"names": "{0: 'from ultralytics'}"}
    found.append(read_labels(model, metadata))
    metadata["onnxvis.labels"] = '["from us"]'
    found.append(read_labels(model, metadata))
    (tmp_path / "model.toml").write_text('labels = ["from toml"]')
    found.append(read_labels(model, metadata))
    (tmp_path / "l.txt").write_text("from file")
    found.append(read_labels(model, metadata, tmp_path / "l.txt"))
    assert [labels and (labels.name(0), labels.source) for labels in found] == [
        ("from config", "config.json"),
        ("from ultralytics", "metadata names"),
        ("from us", "metadata onnxvis.labels"),
        ("from toml", "model.toml"),
        ("from file", "l.txt"),
    ]
    (tmp_path / "model.toml").write_text('labels = "l.txt"')
    labels = read_labels(model, metadata)
    assert labels is not None
    assert labels.name(0) == "from file"


@pytest.mark.parametrize(
    "path", ["/etc/hostname", "../l.txt", "a/../../l.txt", "C:/l.txt", "\\\\host\\l.txt", "..\\l.txt"]
)
def test_a_sidecar_cannot_name_files_elsewhere(tmp_path: Path, path: str) -> None:
    (tmp_path / "model.toml").write_text(f"labels = '{path}'")
    with pytest.raises(InputError, match=r"model\.toml: 'labels' must be a list, or the name of a file"):
        read_labels(tmp_path / "model.onnx", {})


def test_ultralytics_names(tmp_path: Path) -> None:
    names = {0: "person", 1: "rock'n'roll", 2: 'say "hi"', 3: "a\\b", 4: "naïve, 5: 'x'"}
    labels = read_labels(tmp_path / "m.onnx", {"names": repr(names)})
    assert labels is not None
    assert dict(labels.names) == names
    # Nobody's reserved word: what is not understood is passed over, and nothing deep is ever evaluated.
    for text in (
        "x",
        "{" * 10**6,
        "[" * 10**6,
        "{0: " + "(" * 10**6,
        "-" * 10**6,
        "{0: __import__('os')}",
        "{0: 'a' 1: 'b'}",
    ):
        assert read_labels(tmp_path / "m.onnx", {"names": text}) is None


def test_a_config_without_labels(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 3}')
    assert read_labels(tmp_path / "m.onnx", {}) is None
    (tmp_path / "config.json").write_text('{"id2label": {"0": 3}}')
    with pytest.raises(InputError, match=r"config\.json: id2label must go from an index to a name; it has '0': 3"):
        read_labels(tmp_path / "m.onnx", {})
