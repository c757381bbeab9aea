from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnxvis.errors import InputError
from onnxvis.run.nearby import LIMIT, Table, beside, read_json, read_text, read_toml


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_files_with_a_limit(tmp_path: Path) -> None:
    assert read_text(write(tmp_path / "a", "\ufeffé")) == "é"
    with pytest.raises(InputError, match="larger than 1,048,576 bytes"):
        read_text(write(tmp_path / "b", "x" * (LIMIT + 1)))
    (tmp_path / "c").write_bytes(b"ab\xff")
    with pytest.raises(InputError, match=r"not UTF-8 text \(byte 2\)"):
        read_text(tmp_path / "c")


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "nonsense", "[" * 100_000, '{"a":' * 50_000, "9" * 10_000, '{"a": ' + "9" * 5000 + "}"],
    ids=["empty", "list", "words", "deep-list", "deep-object", "long-number", "long-value"],
)
def test_json_that_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"a\.json"):
        read_json(write(tmp_path / "a.json", text))


@pytest.mark.parametrize("text", ["a = ", "a = " + "[" * 100_000, "x = 1\nx = 2"], ids=["cut", "deep", "twice"])
def test_toml_that_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"a\.toml is not valid TOML"):
        read_toml(write(tmp_path / "a.toml", text))


def test_beside(tmp_path: Path) -> None:
    write(tmp_path / "config.json", "{}")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "other").mkdir()
    assert beside(tmp_path / "m.onnx", "config.json") == tmp_path / "config.json"
    assert beside(tmp_path / "onnx" / "m.onnx", "config.json") == tmp_path / "config.json"
    assert beside(tmp_path / "other" / "m.onnx", "config.json") is None


READERS: list[tuple[Callable[[Table, str], object], list[Any], list[Any]]] = [
    (Table.text, ["a"], [1, ["a"], True]),
    (Table.boolean, [True, False], [1, "true", []]),
    (Table.number, [1, 2.5], ["1", True, float("inf"), float("nan"), 1e300, [1]]),
    (Table.integer, [1, -3], [1.5, "1", True]),
    (Table.numbers, [1, [1, 2.0, 3]], ["1", [], [1] * 5, ["a"], [None], [float("nan")]]),
    (Table.sides, [224, [224, 320]], ["224", [1], [1, 2, 3], [1.5, 2], [True, 1]]),
    (Table.table, [{}], [[], 1, "a"]),
]


@pytest.mark.parametrize(("reader", "good", "bad"), READERS)
def test_types_are_checked(reader: Callable[[Table, str], object], good: list[Any], bad: list[Any]) -> None:
    assert reader(Table("f.toml", {}), "key") is None
    for value in good:
        assert reader(Table("f.toml", {"key": value}), "key") is not None
    for value in bad:
        with pytest.raises(InputError, match=r"f\.toml: 'key' must be .*, not "):
            reader(Table("f.toml", {"key": value}), "key")
