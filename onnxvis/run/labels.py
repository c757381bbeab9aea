"""The names of a model's classes, from a file, a sidecar, the model's metadata or its Hugging Face config."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from onnxvis.errors import InputError
from onnxvis.files import one_line
from onnxvis.run.nearby import Table, beside, parse_json, read_json, read_text
from onnxvis.run.settings import read_sidecar

__all__ = ["Labels", "read_labels"]

_LIMIT = 8 << 20
_WORDNET = re.compile(r"^n\d{8}[\s,:]+(?=\S)")
_PAIR = re.compile(r"""\s*(\d{1,9})\s*:\s*('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")\s*(?:,|(?=\}))""")


@dataclass(frozen=True)
class Labels:
    """Names by class index, and where they come from."""

    names: Mapping[int, str]
    source: str

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The name of a class on one line, at most 120 characters; its number where it has none."""
        return one_line(self.names[index]) if index in self.names else str(index)

    def note(self, classes: int) -> str | None:
        """What to say where the names are not as many as the model's classes; None where they are."""
        if len(self.names) == classes:
            return None
        return (
            f"{self.source} has {len(self.names)} labels, the model {classes} classes: names may be shifted or missing"
        )


def read_labels(model_path: Path, metadata: Mapping[str, str], labels_file: Path | None = None) -> Labels | None:
    """The labels of a model, or None where nobody names its classes (numbers then).

    In this order: `labels_file`; `labels` in MODEL.toml (a list, or a file's name in the same folder); the model's
    metadata (`onnxvis.labels`, a JSON list; Ultralytics' `names`); `id2label` in `config.json` beside the model.
    A text file has one label a line, WordNet numbers before them dropped; a JSON file is a list, {"0": "cat"},
    {"0": ["n02123597", "cat"]}, or an object with `id2label`. Raises InputError naming the file and the key.
    """
    if labels_file is not None:
        return _from_file(labels_file)
    return _from_sidecar(model_path) or _from_metadata(metadata) or _from_config(model_path)


def _from_file(path: Path) -> Labels:
    text, where = read_text(path, _LIMIT), one_line(path.name)
    if path.suffix.lower() == ".json" or text.lstrip()[:1] == "[":
        return _from_json(text, where)
    if text.lstrip()[:1] == "{":
        return Labels(_literal(text, where), where)
    lines = [_WORDNET.sub("", line.strip()) for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"{where} has no labels")
    return Labels({index: line for index, line in enumerate(lines) if line}, where)


def _from_json(text: str, where: str) -> Labels:
    content = parse_json(text, where)
    if isinstance(content, dict) and "id2label" in content:
        content = content["id2label"]
    return Labels(_names(content, where), where)


def _names(content: Any, where: str) -> dict[int, str]:
    """A list of names, or an object from index to name or to [WordNet number, name]."""
    if isinstance(content, list):
        pairs: Iterable[tuple[Any, Any]] = enumerate(content)
    elif isinstance(content, dict):
        pairs = content.items()
    else:
        raise InputError(f"{where} must hold a list of labels or an object from index to label")
    names: dict[int, str] = {}
    for key, value in pairs:
        if isinstance(value, list) and len(value) == 2 and isinstance(content, dict):
            value = value[1]
        text = str(key)
        if not isinstance(value, str) or not (text.isdecimal() and text.isascii() and len(text) < 10):
            pair = f"{one_line(repr(key), 40)}: {one_line(repr(value), 40)}"
            raise InputError(f"{where} must go from an index to a name; it has {pair}")
        names[int(text)] = value
    return names


def _literal(text: str, where: str) -> dict[int, str]:
    """Python's or JSON's `{0: 'person', 1: "rock'n'roll"}`, item by item.

    The whole is never evaluated: a deeply nested text can bring Python's own parser down. Each string is, alone.
    """
    body = text.strip()
    names: dict[int, str] = {}
    if body.startswith("{") and body.endswith("}"):
        position = 1
        while match := _PAIR.match(body, position):
            try:
                names[int(match[1])] = str(ast.literal_eval(match[2]))
            except (ValueError, SyntaxError):
                break
            position = match.end()
        if not body[position:].strip(" \t\r\n}") and names:
            return names
    return _names(parse_json(text, where), where)


def _from_sidecar(model_path: Path) -> Labels | None:
    sidecar = read_sidecar(model_path)
    if sidecar is None or "labels" not in sidecar:
        return None
    content = sidecar.values["labels"]
    if not isinstance(content, str):
        return Labels(_names(content, f"{sidecar.where}: labels"), one_line(model_path.with_suffix(".toml").name))
    # A sidecar comes with a model from anywhere: it may not name files elsewhere, whose text would show in reports.
    outside = PurePosixPath(content).is_absolute() or PureWindowsPath(content).drive or PureWindowsPath(content).root
    if outside or ".." in re.split(r"[/\\]", content):
        raise sidecar.refuse("labels", "a list, or the name of a file in the model's own folder")
    return _from_file(model_path.parent / content)


def _from_metadata(metadata: Mapping[str, str]) -> Labels | None:
    ours, names = metadata.get("onnxvis.labels"), metadata.get("names")
    if ours is not None:
        return _from_json(ours, "metadata onnxvis.labels")
    if names is None:
        return None
    try:
        return Labels(_literal(names[:_LIMIT], "metadata names"), "metadata names")
    except InputError:
        # `names` is nobody's reserved word: another tool's entry of that name is not an error.
        return None


def _from_config(model_path: Path) -> Labels | None:
    path = beside(model_path, "config.json")
    if path is None:
        return None
    table: Table = read_json(path, _LIMIT)
    return (
        Labels(_names(table.values["id2label"], "config.json: id2label"), "config.json")
        if "id2label" in table
        else None
    )
