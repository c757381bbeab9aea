"""Reading bars back from the outline that an SVG path draws."""

from __future__ import annotations

import re

__all__ = ["bar_heights"]


def bar_heights(path: str, step: int = 2) -> list[int]:
    """The height of each bar, `step` wide each, as a browser would draw it; equal neighbours may share a line."""
    found = re.fullmatch(r"M0 (\d+)((?:V\d+h\d+)*)V(\d+)z", path)
    assert found
    bottom = int(found[1])
    assert bottom == int(found[3])
    lines = [(int(top), int(width)) for top, width in re.findall(r"V(\d+)h(\d+)", found[2])]
    assert all(width and width % step == 0 for _, width in lines)
    return [bottom - top for top, width in lines for _ in range(width // step)]
