"""What is known of where the subject is: masks and boxes in files, found by the picture's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line
from onnxvis.measure.faithfulness.pointing import Box, region_of_box, region_of_mask
from onnxvis.run.nearby import parse_json, read_text
from onnxvis.run.pictures import read_picture

if TYPE_CHECKING:
    from onnxvis.run.inputs import PreparedInput

__all__ = ["Truth", "read_boxes"]

Array = np.ndarray[Any, np.dtype[Any]]

_NUMBER = r"-?\d{1,9}(?:\.\d{1,9})?"
_BOX = re.compile(rf"{_NUMBER}(?:,{_NUMBER}){{3}}")
_LIMIT = 64 << 20
_MASK_FROM = 128


@dataclass(frozen=True)
class Truth:
    """Where subjects are: in `mask`, a picture or a folder of pictures, in one `box`, or in `boxes` by file name."""

    mask: Path | None = None
    box: Box | None = None
    boxes: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, mask: str | None, box: str | None, *, folder: bool) -> Truth:
        """What the command line says. `mask`: a picture, for a `folder` of inputs a folder with pictures of their
        names; `box`: 'x0,y0,x1,y1', or a JSON file, see `read_boxes`.

        Raises UsageError for both at once, one mask or box for a whole folder, and numbers that are no box; InputError
        for a file that is not there or holds no boxes.
        """
        if mask is not None and box is not None:
            raise UsageError("the subject is where --mask or where --box says; give one of them")
        if mask is not None:
            if folder != Path(mask).is_dir():
                wanted = "a folder of masks for a folder of pictures" if folder else "a mask's file for one picture"
                raise UsageError(f"--mask {one_line(mask)}: give {wanted}")
            return cls(mask=Path(mask))
        if box is None:
            return cls()
        if not _BOX.fullmatch(box):
            return cls(boxes=read_boxes(Path(box)))
        if folder:
            raise UsageError("--box x0,y0,x1,y1 is of one picture; for a folder name a JSON file with a box for each")
        return cls(box=_checked([float(number) for number in box.split(",")], "--box"))

    @property
    def known(self) -> bool:
        """Whether anything is known at all."""
        return self.mask is not None or self.box is not None or bool(self.boxes)

    def region(self, item: PreparedInput, size: tuple[int, int]) -> Array | None:
        """The subject's pixels of what is fed, (H, W) bool of `size`; None where nothing is known of this input.

        A mask's pixels count from 128 of 255 on. Raises InputError for a mask that cannot be read or does not fit, and
        for a subject outside of what is fed.
        """
        name = Path(item.path).name
        if self.mask is not None:
            path = self._mask_of(name)
            if path is None:
                return None
            return region_of_mask(read_picture(path, 1).pixels[..., 0] >= _MASK_FROM, item, size, path)
        boxes = (self.box,) if self.box is not None else self.boxes.get(name, ())
        if not boxes:
            return None
        return np.asarray(np.any([region_of_box(box, item, size) for box in boxes], axis=0))

    def _mask_of(self, name: str) -> Path | None:
        if self.mask is None or not self.mask.is_dir():
            return self.mask
        places = (self.mask / name, (self.mask / name).with_suffix(".png"))
        return next((path for path in places if path.is_file()), None)


def read_boxes(path: Path) -> dict[str, tuple[Box, ...]]:
    """{file name: its boxes} of a JSON list such as [{"file": "scenes/star.png", "box": [x0, y0, x1, y1]}, …].

    Only the last part of "file" counts; several entries of one file are several boxes. Raises InputError.
    """
    where = one_line(path)
    data = parse_json(read_text(path, _LIMIT), where)
    if not isinstance(data, list):
        raise InputError(f'{where} is no list of boxes, as [{{"file": "a.png", "box": [x0, y0, x1, y1]}}, …]')
    found: dict[str, tuple[Box, ...]] = {}
    for place, entry in enumerate(data):
        file, box = (entry.get("file"), entry.get("box")) if isinstance(entry, dict) else (None, None)
        if not isinstance(file, str) or not isinstance(box, list):
            raise InputError(f'{where}: entry {place} has no "file" with its name and no "box" with four numbers')
        name = file.replace("\\", "/").rpartition("/")[2]
        found[name] = (*found.get(name, ()), _checked(box, f"{where}: the box of {one_line(name)}"))
    return found


def _checked(numbers: list[Any], where: str) -> Box:
    plain = len(numbers) == 4 and all(type(number) in (int, float) for number in numbers)
    if not plain or not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        raise InputError(f"{where} is no box: give x0,y0,x1,y1 in pixels, x0 below x1 and y0 below y1")
    return (float(numbers[0]), float(numbers[1]), float(numbers[2]), float(numbers[3]))
