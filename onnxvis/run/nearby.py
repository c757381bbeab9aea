"""Small text files that lie beside a model or are named by a user: read with a limit, checked key by key.

Nothing in them is trusted: a wrong type is an InputError that names the file and the key.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxvis.errors import InputError
from onnxvis.files import one_line
from onnxvis.run.pictures import open_regular

__all__ = ["LIMIT", "Table", "beside", "parse_json", "read_json", "read_text", "read_toml"]

LIMIT = 1 << 20


def beside(model: Path, name: str) -> Path | None:
    """The file `name` in the model's folder, or in the folder above where that is called `onnx`, as on Hugging Face."""
    folders = (model.parent, model.parent.parent) if model.absolute().parent.name == "onnx" else (model.parent,)
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def read_text(path: Path, limit: int = LIMIT) -> str:
    """The UTF-8 text of a file of at most `limit` bytes. Raises InputError."""
    with open_regular(path) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise InputError(f"{one_line(path)} is larger than {limit:,} bytes, too large for a file of settings or labels")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{one_line(path)} is not UTF-8 text (byte {error.start})") from error


def read_toml(path: Path) -> Table:
    """A TOML file. Raises InputError."""
    try:
        return Table(one_line(path), tomllib.loads(read_text(path)))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{one_line(path)} is not valid TOML: {one_line(error)}") from error


def read_json(path: Path, limit: int = LIMIT) -> Table:
    """A JSON file that holds an object. Raises InputError."""
    where = one_line(path)
    content = parse_json(read_text(path, limit), where)
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold a JSON object, not {type(content).__name__}")
    return Table(where, content)


def parse_json(text: str, where: str) -> Any:
    """JSON from text. Raises InputError naming `where`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON: {one_line(error)}") from error


@dataclass(frozen=True)
class Table:
    """Keys and values from an untrusted file, read with their types checked. A key that is not there gives None."""

    where: str
    values: Mapping[str, Any]

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def refuse(self, key: str, wanted: str) -> InputError:
        """The error for a value of the wrong kind: file, key, what is wanted and what stands there."""
        return InputError(f"{self.where}: {key!r} must be {wanted}, not {one_line(repr(self.values.get(key)), 60)}")

    def text(self, key: str) -> str | None:
        """A string."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.refuse(key, "text")
        return value

    def boolean(self, key: str) -> bool | None:
        """true or false."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def number(self, key: str) -> float | None:
        """A finite number."""
        value = self.values.get(key)
        if value is None:
            return None
        if not _is_number(value):
            raise self.refuse(key, "a number")
        return float(value)

    def integer(self, key: str) -> int | None:
        """A whole number."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self.refuse(key, "a whole number")
        return value

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """One number, or a list of at most four."""
        value = self.values.get(key)
        if value is None:
            return None
        items = value if isinstance(value, list) else [value]
        if not 1 <= len(items) <= 4 or not all(map(_is_number, items)):
            raise self.refuse(key, "a number or a list of 1 to 4 numbers")
        return tuple(map(float, items))

    def sides(self, key: str) -> tuple[int, int] | None:
        """[height, width], or one number for both."""
        value = self.values.get(key)
        if value is None:
            return None
        items = value if isinstance(value, list) else [value, value]
        if len(items) != 2 or not all(isinstance(item, int) and not isinstance(item, bool) for item in items):
            raise self.refuse(key, "a whole number or [height, width]")
        return items[0], items[1]

    def table(self, key: str) -> Table | None:
        """A table inside this one."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.refuse(key, "a table")
        return Table(f"{self.where}: {key}", value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e30 and math.isfinite(value)
